/*
 * Target qemu_export: an NBD export of a file in an io thread, and its clients. Meanwhile the main thread drains, adds and deletes nodes, moves
 * the disk between threads, removes the export and adds it again, and ends as nbd-server-stop does.
 *
 * Needs: include/block/nbd.h handshake_max_secs
 *
 * Invariants: those of the clients (scenario_nbd.h). No node, no request, no connection is left.
 *
 * The empty scenario is one client with two requests, which the main thread serves until it has left.
 */
#include "fuzz/qemu/scenario_image.h"
#include "fuzz/qemu/scenario_nbd.h"
#include "fuzz/qemu/scenario_qmp.h"

#include "block/export.h"

#define OPERATIONS_MAX 6u

typedef struct World {
    Scenario scenario;
    NbdServer server;
    NbdPeer peers[SCENARIO_NBD_PEERS_MAX];
    unsigned peer_count;
    bool fixed_thread;
} World;

/* ---- what the main thread does */

static void serve(World *world)
{
    main_loop_wait(true);
}

static void connect_next(World *world)
{
    for (unsigned i = 0; i < world->peer_count; i++) {
        if (!world->peers[i].connected) {
            scenario_nbd_connect(&world->server, &world->peers[i]);
            return;
        }
    }
    serve(world);
}

static bool add_export(World *world)
{
    return scenario_qmp(
        "{'execute': 'block-export-add', 'arguments': {'type': 'nbd', 'id': 'export', 'node-name': 'disk', 'name': 'disk',"
        "'writable': true, 'iothread': 'iothread0', 'fixed-iothread': %i}}",
        world->fixed_thread);
}

static void add_export_again(World *world)
{
    add_export(world);
}

static void remove_safely(World *world)
{
    world->server.removed = true;
    scenario_qmp("{'execute': 'block-export-del', 'arguments': {'id': 'export', 'mode': 'safe'}}");
}

static void remove_export(World *world)
{
    world->server.removed = true;
    scenario_qmp("{'execute': 'block-export-del', 'arguments': {'id': 'export', 'mode': 'hard'}}");
}

static void drain_disk(World *world)
{
    BlockDriverState *bs = bdrv_find_node("disk");

    bdrv_drained_begin(bs);
    bdrv_drained_end(bs);
}

static void drain_all(World *world)
{
    bdrv_drain_all_begin();
    bdrv_drain_all_end();
}

static void come_and_go(World *world)
{
    scenario_qmp_good("{'execute': 'blockdev-add', 'arguments': {'driver': 'null-co', 'node-name': 'passer-by'}}");
    scenario_qmp_good("{'execute': 'blockdev-del', 'arguments': {'node-name': 'passer-by'}}");
}

static void move_here(World *world)
{
    scenario_qmp("{'execute': 'x-blockdev-set-iothread', 'arguments': {'node-name': 'disk', 'iothread': null, 'force': true}}");
}

static void move_there(World *world)
{
    g_autofree char *name = g_strdup_printf("iothread%u", world->scenario.thread_count - 1);

    scenario_qmp("{'execute': 'x-blockdev-set-iothread', 'arguments': {'node-name': 'disk', 'iothread': %s, 'force': true}}",
                 name);
}

static void (*const operations[])(World *) = { serve,     connect_next, drain_disk,    drain_all,     come_and_go,
                                               move_here, move_there,   remove_export, remove_safely, add_export_again };

/* ---- the scenario */

static void run(FuzzInput *in)
{
    static const char *const nodes[] = { "disk", NULL };
    World world = { 0 };
    uint8_t flags = fuzz_byte(in);
    unsigned operation_count = fuzz_choice(in, OPERATIONS_MAX + 1);
    bool stops = flags & 8;

    world.peer_count = 1 + (flags & 1);
    world.fixed_thread = flags & 2;
    for (unsigned i = 0; i < world.peer_count; i++) {
        scenario_nbd_read(&world.peers[i], i, in);
    }
    scenario_make_raw("disk.raw", SCENARIO_NBD_DISK_BYTES, 0);
    scenario_begin_named(&world.scenario, 1 + (flags >> 4 & 1));
    scenario_nbd_begin(&world.server);
    scenario_add_file("disk", "disk.raw", flags & 4);
    fuzz_check(add_export(&world));
    connect_next(&world);
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    while (world.server.connections && !stops) {
        main_loop_wait(false);
    }
    world.server.removed = true;
    blk_exp_close_all_type(BLOCK_EXPORT_TYPE_NBD);
    scenario_nbd_hang_up(&world.server);
    for (unsigned i = 0; i < world.peer_count; i++) {
        scenario_nbd_join(&world.peers[i]);
    }
    scenario_delete_nodes(nodes);
    scenario_qmp_end();
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "qemu_export", .run = run };
