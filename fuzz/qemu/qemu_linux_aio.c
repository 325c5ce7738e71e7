/*
 * Target qemu_linux_aio: requests to a disk on Linux AIO, in an io thread, by several coroutines at a time, with flushes between them, and
 * beside a backup of it. The disk is a raw file, or a vmdk image of several files: then one request is split over descriptors, and the first
 * write changes the image's content id in another one. The files are O_DIRECT, as they must be when they are opened, or cached, as
 * blockdev-reopen leaves them: then Linux completes reads and writes within io_submit, and a flush later.
 *
 * Needs: block/linux-aio.c laio_deferred_fn
 *
 * Invariants: each request is completed once; what is read is what was written. The backup holds what was there when it began.
 *
 * The empty scenario is one coroutine with a write, a flush and then reads of a cached raw file: enough for QEMU's 6864bec553.
 */
#include "fuzz/qemu/scenario_image.h"
#include "fuzz/qemu/scenario_qmp.h"

#include "os/os.h"

#define CLIENTS_MAX   6u
#define SECTOR        512u
#define REGION_BYTES  (2 * SECTOR)
#define REQUESTS      40u
#define RECURSION_MAX 32u   /* QEMU's fix goes 8 levels deep */
#define SPREAD_BYTES  32768 /* from one client's region to the next where there is a backup, whose clusters are twice as large */

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk, *target;
    bool cached, vmdk;
    size_t spread_bytes, disk_bytes;
    unsigned completed; /* for the invariant: no point */
    uint8_t written[CLIENTS_MAX], issued[CLIENTS_MAX]; /* what the regions hold, and will: no points either */
} World;

typedef struct Client {
    World *world;
    unsigned number, requests;
    bool writes, flushes;
} Client;

/* ---- requests: each client has a region, which with vmdk lies in two files, if the client is one of the first two */

static void coroutine_fn write_region(Client *client)
{
    World *world = client->world;
    uint8_t buffer[REGION_BYTES] __attribute__((aligned(4096)));
    uint8_t pattern = ++world->issued[client->number];

    memset(buffer, pattern, REGION_BYTES);
    fuzz_check(blk_co_pwrite(world->blk, client->number * world->spread_bytes, REGION_BYTES, buffer, 0) == 0);
    world->written[client->number] = pattern;
}

static void coroutine_fn read_region(Client *client)
{
    World *world = client->world;
    uint8_t buffer[REGION_BYTES] __attribute__((aligned(4096)));

    memset(buffer, ~world->written[client->number], REGION_BYTES);
    fuzz_check(blk_co_pread(world->blk, client->number * world->spread_bytes, REGION_BYTES, buffer, 0) == 0);
    fuzz_check(scenario_pattern(buffer, REGION_BYTES) == world->written[client->number]);
}

static void coroutine_fn client_entry(void *opaque)
{
    Client *client = opaque;

    for (unsigned i = 0; i < client->requests; i++) {
        if (i == 0 || (client->writes && i % 2)) {
            write_region(client);
        } else {
            read_region(client);
        }
        if (i == 0 && client->flushes) {
            fuzz_check(blk_co_flush(client->world->blk) == 0); /* QEMU leaves out one without a write before it */
        }
        __atomic_fetch_add(&client->world->completed, 1, __ATOMIC_SEQ_CST);
    }
}

/* ---- disks: as "-drive aio=native,cache.direct=on" opens them, with all files below */

static BlockDriverState *open_native(World *world, const char *node, const char *name, bool vmdk)
{
    QDict *options = qdict_new();
    Error *error = NULL;
    BlockDriverState *bs;

    qdict_put_str(options, "node-name", node);
    qdict_put_bool(options, "cache.direct", true);
    qdict_put_str(options, "driver", vmdk ? "vmdk" : "file");
    qdict_put_str(options, vmdk ? "file.filename" : "filename", name);
    qdict_put_str(options, vmdk ? "file.locking" : "locking", "off");
    if (vmdk) {
        qdict_put_str(options, "file.driver", "file");
        qdict_put_str(options, "extents.0.locking", "off");
        qdict_put_str(options, "extents.1.locking", "off");
        qdict_put_str(options, "extents.2.locking", "off");
    }
    bs = bdrv_open(NULL, NULL, options, BDRV_O_RDWR | BDRV_O_NATIVE_AIO, &error);
    if (!bs) {
        fuzz_violated("%s: %s", name, error_get_pretty(error));
    }
    if (world->cached) {
        options = qdict_new();
        qdict_put_bool(options, "cache.direct", false);
        fuzz_check(bdrv_reopen(bs, options, true, &error_fatal) == 0);
    }
    return bs;
}

static BlockDriverState *open_disk(World *world)
{
    const size_t extents[] = { SECTOR, world->spread_bytes, world->disk_bytes - SECTOR - world->spread_bytes };

    if (world->vmdk) {
        scenario_make_vmdk("disk", extents, G_N_ELEMENTS(extents));
    } else {
        scenario_make_raw("disk", world->disk_bytes, 0);
    }
    return open_native(world, "disk", "disk", world->vmdk);
}

/* ---- the backup */

typedef struct Backup {
    uint8_t least[CLIENTS_MAX], most[CLIENTS_MAX]; /* what the target's regions may hold */
} Backup;

static void open_target(World *world)
{
    scenario_make_raw("target", world->disk_bytes, 0xff);
    world->target = open_native(world, "target", "target", false);
}

static void start_backup(World *world, Backup *backup)
{
    memcpy(backup->least, world->written, sizeof(backup->least));
    scenario_qmp_good(
        "{'execute': 'blockdev-backup', 'arguments': {'job-id': 'job', 'device': 'disk', 'target': 'target', 'sync': 'full'}}");
    memcpy(backup->most, world->issued, sizeof(backup->most));
}

static void check_backup(World *world, const Backup *backup)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        uint8_t pattern = scenario_file_pattern("target", i * world->spread_bytes, REGION_BYTES);

        fuzz_check(pattern >= backup->least[i] && pattern <= backup->most[i]);
    }
}

/* ---- the scenario */

static unsigned read_clients(World *world, Client *clients, unsigned count, FuzzInput *in)
{
    unsigned wanted = 0;

    for (unsigned i = 0; i < count; i++) {
        uint8_t flags = fuzz_byte(in);

        clients[i] = (Client){
            .world = world,
            .number = i,
            .requests = flags & 1 ? 1 + flags / 8 : REQUESTS,
            .writes = flags & 2,
            .flushes = !(flags & 4),
        };
        wanted += clients[i].requests;
    }
    return wanted;
}

static void run(FuzzInput *in)
{
    uint8_t flags = fuzz_byte(in);
    bool backs_up = flags & 4, early = flags & 8;
    World world = {
        .cached = !(flags & 1),
        .vmdk = flags & 2,
        .spread_bytes = backs_up ? SPREAD_BYTES : REGION_BYTES,
        .disk_bytes = CLIENTS_MAX * (backs_up ? SPREAD_BYTES : REGION_BYTES),
    };
    Client clients[CLIENTS_MAX];
    Backup backup;
    unsigned client_count = 1 + fuzz_choice(in, CLIENTS_MAX);
    unsigned wanted = read_clients(&world, clients, client_count, in);

    os_aio_set_faults((flags & 16 ? OS_AIO_SHORT_BATCH : 0) | (flags & 32 ? OS_AIO_EAGAIN : 0));
    scenario_begin(&world.scenario, 1);
    world.disk = open_disk(&world);
    world.blk = scenario_new_backend(&world.scenario, 1, world.disk);
    if (backs_up) {
        blk_set_allow_aio_context_change(world.blk, false); /* see target qemu_jobs */
        open_target(&world);
        scenario_qmp_begin();
    }
    if (backs_up && early) {
        start_backup(&world, &backup);
    }
    for (unsigned i = 0; i < client_count; i++) {
        scenario_start(&world.scenario, 1, client_entry, &clients[i]);
    }
    if (backs_up && !early) {
        start_backup(&world, &backup);
    }
    while (backs_up && scenario_find_job("job")) {
        main_loop_wait(false);
    }
    scenario_wait(&world.scenario);
    fuzz_check(world.completed == wanted);
    blk_remove_bs(world.blk);
    blk_unref(world.blk);
    bdrv_unref(world.disk);
    bdrv_unref(world.target);
    if (backs_up) {
        check_backup(&world, &backup);
        scenario_qmp_end();
        fuzz_reached(world.vmdk ? "vmdk-backed-up" : "raw-backed-up");
    }
    scenario_end(&world.scenario);
}

static const char *const windows[] = { "raw-backed-up", "vmdk-backed-up", NULL };

/* An io thread that polls for 32 us takes a thousand steps for each of some hundred waits (docs/findings.md, F3). */
#define STEPS_MAX 1000000

const FuzzTarget fuzz_target = {
    .name = "qemu_linux_aio", .run = run, .steps_max = STEPS_MAX, .recursion_max = RECURSION_MAX, .windows = windows
};
