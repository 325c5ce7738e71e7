/*
 * Target qemu_drain: a guest's requests through a device as virtio-blk is one (scenario_device.h), served by io threads, against what the
 * main thread does beside them: drained sections of the node, of the backend and of all nodes; a medium that is taken out and put back, as
 * drive_del and the removal of a medium take it out; the device stopped, moved to other threads and started; failed requests started again;
 * nodes added and deleted, the disk reopened with another file below it, and resized, by QMP.
 *
 * Needs: hw/block/virtio-blk.c vq_aio_context
 *
 * Invariants: those of the device. No node, no request, no drained section is left.
 *
 * The empty scenario is one write against one change of medium.
 */
#include "fuzz/qemu/scenario_device.h"
#include "fuzz/qemu/scenario_image.h"
#include "fuzz/qemu/scenario_qmp.h"

#define DISK "disk.raw"

typedef enum Disk { NOTHING, FILE_WITH_THREADS, FILE_ON_AIO, DISKS } Disk; /* nothing: null-co, which completes at once */

typedef struct World {
    Scenario scenario;
    Device device;
    BlockBackend *blk;
    BlockDriverState *disk;
    Disk kind;
    bool other_file, large;
    unsigned moves;
} World;

/* ---- what the main thread does */

static void change_medium(World *world)
{
    blk_remove_bs(world->blk);
    fuzz_check(blk_insert_bs(world->blk, world->disk, &error_fatal) == 0);
}

static void drain_node(World *world)
{
    bdrv_drained_begin(world->disk);
    bdrv_drained_end(world->disk);
}

static void drain_all(World *world)
{
    bdrv_drain_all_begin();
    bdrv_drain_all_end();
}

static void drain_backend(World *world)
{
    blk_drain(world->blk);
}

static void add_and_delete(World *world)
{
    scenario_qmp_good("{'execute': 'blockdev-add', 'arguments': {'driver': 'null-co', 'node-name': 'passer-by'}}");
    scenario_qmp_good("{'execute': 'blockdev-del', 'arguments': {'node-name': 'passer-by'}}");
}

static void restart(World *world)
{
    scenario_device_restart(&world->device);
}

static void move(World *world)
{
    scenario_device_stop(&world->device);
    scenario_device_start(&world->device, ++world->moves);
}

/* "file-a" and "file-b" are nodes of one and the same file. */
static void add_file(World *world, const char *node)
{
    if (world->kind == NOTHING) {
        scenario_qmp_good(
            "{'execute': 'blockdev-add', 'arguments': {'driver': 'null-co', 'node-name': %s, 'size': %d, 'read-zeroes': true}}",
            node, DEVICE_DISK_BYTES);
    } else {
        scenario_add_file(node, DISK, world->kind == FILE_ON_AIO);
    }
}

static void reopen(World *world)
{
    if (!bdrv_find_node("file-b")) {
        add_file(world, "file-b");
    }
    world->other_file = !world->other_file;
    scenario_qmp_good(
        "{'execute': 'blockdev-reopen', 'arguments': {'options': [{'driver': 'raw', 'node-name': 'disk', 'file': %s}]}}",
        world->other_file ? "file-b" : "file-a");
}

static void resize(World *world)
{
    bool good;

    world->large = !world->large;
    good = scenario_qmp_coroutine("{'execute': 'block_resize', 'arguments': {'node-name': 'disk', 'size': %d}}",
                                  world->large ? 2 * DEVICE_DISK_BYTES : DEVICE_DISK_BYTES);
    fuzz_check(good == (world->kind != NOTHING)); /* the null-co driver has a size for good */
}

static void serve(World *world)
{
    main_loop_wait(true);
}

static void (*const operations[])(World *) = { change_medium, drain_node, drain_all, drain_backend, add_and_delete,
                                               restart,       move,       reopen,    resize,        serve };

/* ---- the scenario */

static void add_disk(World *world)
{
    scenario_make_raw(DISK, DEVICE_DISK_BYTES, 0);
    add_file(world, "file-a");
    scenario_qmp_good("{'execute': 'blockdev-add', 'arguments': {'driver': 'raw', 'node-name': 'disk', 'file': 'file-a'}}");
    world->disk = bdrv_find_node("disk");
}

static void run(FuzzInput *in)
{
    static const char *const nodes[] = { "disk", "file-a", "file-b", NULL };
    uint8_t flags = fuzz_byte(in);
    World world = { .kind = (flags >> 1 & 3) % DISKS };
    unsigned operation_count = 1 + (flags >> 3 & 3);

    scenario_device_read(&world.device, in);
    scenario_begin_named(&world.scenario, 1 + (flags & 1));
    add_disk(&world);
    world.blk = scenario_new_backend(&world.scenario, 0, world.disk);
    blk_set_allow_aio_context_change(world.blk, (flags >> 5 & 3) == 3); /* a device does not let others move it, an export may */
    scenario_device_begin(&world.device, &world.scenario, world.blk, world.kind == NOTHING);
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    scenario_device_end(&world.device);
    blk_remove_bs(world.blk);
    blk_unref(world.blk);
    scenario_delete_nodes(nodes);
    scenario_qmp_end();
    scenario_end(&world.scenario);
    scenario_device_destroy(&world.device);
}

static const char *const windows[] = { "request-without-medium", "failed-request-restarted", NULL };

const FuzzTarget fuzz_target = { .name = "qemu_drain", .run = run, .windows = windows };
