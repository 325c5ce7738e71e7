/*
 * Target qemu_cache_timer: a qcow2 image on the file driver, with its threads, in an io thread. The timer that cleans its caches is started
 * and stopped as the image is opened, moved, reopened with another interval, read, and closed.
 *
 * Invariants: what is read is what the image holds.
 *
 * The empty scenario opens the image, moves it into the io thread and closes it.
 */
#include "fuzz/qemu/scenario_image.h"

#include "qemu/cutils.h"

#define IMAGE        "image.qcow2"
#define CLUSTER_BITS 9
#define CLUSTER      (1 << CLUSTER_BITS)
#define DISK_BYTES   4096
#define READERS_MAX  2u
#define INTERVAL_S   SCENARIO_INTERVAL_S

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk;
    unsigned interval_s;
    bool writes;
} World;

static BlockDriverState *open_image(unsigned interval_s)
{
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "qcow2");
    qdict_put_str(options, "node-name", "disk");
    qdict_put_int(options, "cache-clean-interval", interval_s);
    qdict_put_str(options, "file.driver", "file");
    qdict_put_str(options, "file.filename", IMAGE);
    qdict_put_str(options, "file.locking", "off");
    return bdrv_open(NULL, NULL, options, BDRV_O_RDWR, &error_fatal);
}

/* ---- requests: not beside changes of the graph, which is qemu_drain's matter */

static void coroutine_fn request_entry(void *opaque)
{
    World *world = opaque;
    uint8_t buffer[CLUSTER] = { 0 };

    if (world->writes) {
        fuzz_check(blk_co_pwrite(world->blk, 0, sizeof(buffer), buffer, 0) == 0);
    }
    fuzz_check(blk_co_pread(world->blk, 0, sizeof(buffer), buffer, 0) == 0);
    fuzz_check(buffer_is_zero(buffer, sizeof(buffer)));
}

static void read_it(World *world)
{
    if (blk_get_aio_context(world->blk) != qemu_get_aio_context()) {
        scenario_start(&world->scenario, 1, request_entry, world);
        scenario_wait(&world->scenario);
    }
}

static void write_it(World *world)
{
    world->writes = true;
    read_it(world);
}

/* ---- what the main thread does */

static void reopen(World *world)
{
    QDict *options = qdict_new();

    world->interval_s = world->interval_s == INTERVAL_S ? 2 * INTERVAL_S : INTERVAL_S;
    qdict_put_int(options, "cache-clean-interval", world->interval_s);
    fuzz_check(bdrv_reopen(world->disk, options, true, &error_fatal) == 0);
}

static void move(World *world)
{
    unsigned index = blk_get_aio_context(world->blk) == qemu_get_aio_context();

    fuzz_check(blk_set_aio_context(world->blk, scenario_context(&world->scenario, index), &error_fatal) == 0);
}

static void serve(World *world)
{
    main_loop_wait(true);
}

static void (*const operations[])(World *) = { reopen, move, serve, read_it, write_it };

/* ---- the scenario */

static void run(FuzzInput *in)
{
    World world = { .interval_s = INTERVAL_S };
    unsigned operation_count = fuzz_choice(in, 4);

    scenario_make_qcow2(IMAGE, CLUSTER_BITS, DISK_BYTES);
    scenario_begin(&world.scenario, 1);
    world.disk = open_image(world.interval_s);
    world.blk = scenario_new_backend(&world.scenario, 1, world.disk);
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    blk_remove_bs(world.blk);
    bdrv_unref(world.disk);
    blk_unref(world.blk);
    scenario_end(&world.scenario);
    fuzz_check(unlink(IMAGE) == 0);
}

const FuzzTarget fuzz_target = { .name = "qemu_cache_timer", .run = run };
