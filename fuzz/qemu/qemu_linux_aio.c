/*
 * Target qemu_linux_aio: requests to a file on Linux AIO, in an io thread, by several coroutines at a time, with flushes between them. The
 * file is O_DIRECT, as it must be when it is opened, or cached, as blockdev-reopen leaves it: then Linux completes reads and writes
 * within io_submit, and a flush later.
 *
 * Needs: block/linux-aio.c laio_deferred_fn
 *
 * Invariants: each request is completed once; what is read is what was written.
 *
 * The empty scenario is one coroutine with a write, a flush and then reads of a cached file: enough for QEMU's 6864bec553.
 */
#include "fuzz/qemu/scenario_image.h"

#define IMAGE         "disk.raw"
#define CLIENTS_MAX   6u
#define SECTOR        512
#define DISK_BYTES    (8 * SECTOR)
#define REQUESTS      40u
#define RECURSION_MAX 32u /* QEMU's fix goes 8 levels deep */

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk;
    unsigned completed; /* for the invariant: no point */
} World;

typedef struct Client {
    World *world;
    unsigned number, requests;
    bool writes, flushes;
    uint8_t pattern; /* what its sector holds */
} Client;

static void coroutine_fn write_sector(Client *client, uint8_t pattern)
{
    uint8_t buffer[SECTOR] __attribute__((aligned(4096)));

    memset(buffer, pattern, SECTOR);
    fuzz_check(blk_co_pwrite(client->world->blk, client->number * SECTOR, SECTOR, buffer, 0) == 0);
    client->pattern = pattern;
}

static void coroutine_fn read_sector(Client *client)
{
    uint8_t buffer[SECTOR] __attribute__((aligned(4096)));

    memset(buffer, ~client->pattern, SECTOR);
    fuzz_check(blk_co_pread(client->world->blk, client->number * SECTOR, SECTOR, buffer, 0) == 0);
    fuzz_check(buffer[0] == client->pattern && buffer[SECTOR - 1] == client->pattern);
}

static void coroutine_fn client_entry(void *opaque)
{
    Client *client = opaque;

    for (unsigned i = 0; i < client->requests; i++) {
        if (i == 0 || (client->writes && i % 2)) {
            write_sector(client, (uint8_t)(client->number + i));
        } else {
            read_sector(client);
        }
        if (i == 0 && client->flushes) {
            fuzz_check(blk_co_flush(client->world->blk) == 0); /* QEMU leaves out one without a write before it */
        }
        __atomic_fetch_add(&client->world->completed, 1, __ATOMIC_SEQ_CST);
    }
}

static BlockDriverState *open_image(bool cached)
{
    QDict *options = qdict_new();
    BlockDriverState *disk;

    qdict_put_str(options, "driver", "file");
    qdict_put_str(options, "node-name", "disk");
    qdict_put_str(options, "filename", IMAGE);
    qdict_put_str(options, "locking", "off");
    qdict_put_str(options, "aio", "native");
    qdict_put_bool(options, "cache.direct", true);
    disk = bdrv_open(NULL, NULL, options, BDRV_O_RDWR, &error_fatal);
    if (cached) {
        options = qdict_new();
        qdict_put_bool(options, "cache.direct", false);
        fuzz_check(bdrv_reopen(disk, options, true, &error_fatal) == 0);
    }
    return disk;
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    Client clients[CLIENTS_MAX];
    bool cached = !fuzz_flag(in);
    unsigned client_count = 1 + fuzz_choice(in, CLIENTS_MAX);
    unsigned wanted = 0;

    scenario_make_raw(IMAGE, DISK_BYTES, 0);
    scenario_begin(&world.scenario, 1);
    world.disk = open_image(cached);
    world.blk = scenario_new_backend(&world.scenario, 1, world.disk);
    for (unsigned i = 0; i < client_count; i++) {
        uint8_t flags = fuzz_byte(in);

        clients[i] = (Client){
            .world = &world,
            .number = i,
            .requests = flags & 1 ? 1 + flags / 8 : REQUESTS,
            .writes = flags & 2,
            .flushes = !(flags & 4),
        };
        wanted += clients[i].requests;
    }
    for (unsigned i = 0; i < client_count; i++) {
        scenario_start(&world.scenario, 1, client_entry, &clients[i]);
    }
    scenario_wait(&world.scenario);
    fuzz_check(world.completed == wanted);
    blk_remove_bs(world.blk);
    bdrv_unref(world.disk);
    blk_unref(world.blk);
    scenario_end(&world.scenario);
    fuzz_check(unlink(IMAGE) == 0);
}

const FuzzTarget fuzz_target = { .name = "qemu_linux_aio", .run = run, .recursion_max = RECURSION_MAX };
