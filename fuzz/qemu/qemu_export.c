/*
 * Target qemu_export: an export of a file in an io thread, by NBD or by vhost-user-blk, and its clients. Meanwhile the main thread drains, adds and
 * deletes nodes, moves the disk between threads, removes the export and adds it again, and ends as nbd-server-stop does.
 *
 * Needs: include/block/nbd.h handshake_max_secs
 *
 * Invariants: those of the clients and guests (scenario_nbd.h, scenario_vhost.h). No node, no request, no connection, no descriptor and no
 * mapping is left.
 *
 * The empty scenario is one NBD client with two requests, which the main thread serves until it has left.
 */
#include "fuzz/qemu/scenario_image.h"
#include "fuzz/qemu/scenario_nbd.h"
#include "fuzz/qemu/scenario_qmp.h"
#include "fuzz/qemu/scenario_vhost.h"

#include "block/export.h"

#define OPERATIONS_MAX 6u
#define PEERS_MAX      SCENARIO_NBD_PEERS_MAX

QEMU_BUILD_BUG_ON(SCENARIO_VHOST_GUESTS_MAX != PEERS_MAX);

typedef struct World {
    Scenario scenario;
    bool is_vhost; /* the export; else by NBD */
    NbdServer nbd;
    NbdPeer clients[PEERS_MAX];
    VhostServer vhost;
    VhostGuest guests[PEERS_MAX];
    unsigned peer_count, connected;
    unsigned resizing; /* commands under way */
    bool fixed_thread;
} World;

/* ---- what the main thread does */

static void serve(World *world)
{
    main_loop_wait(true);
}

static void connect_next(World *world)
{
    if (world->connected == world->peer_count) {
        serve(world);
    } else if (world->is_vhost) {
        scenario_vhost_start(&world->vhost, &world->guests[world->connected++]);
    } else {
        scenario_nbd_connect(&world->nbd, &world->clients[world->connected++]);
    }
}

static bool add_export(World *world)
{
    if (world->is_vhost) {
        return scenario_qmp(
            "{'execute': 'block-export-add', 'arguments': {'type': 'vhost-user-blk', 'id': 'export', 'node-name': 'disk',"
            "'addr': {'type': 'unix', 'path': %s}, 'writable': true, 'iothread': 'iothread0', 'fixed-iothread': %i}}",
            SCENARIO_VHOST_SOCKET, world->fixed_thread);
    }
    return scenario_qmp(
        "{'execute': 'block-export-add', 'arguments': {'type': 'nbd', 'id': 'export', 'node-name': 'disk', 'name': 'disk',"
        "'writable': true, 'iothread': 'iothread0', 'fixed-iothread': %i}}",
        world->fixed_thread);
}

static void add_export_again(World *world)
{
    add_export(world);
}

static void about_to_remove(World *world)
{
    world->nbd.removed = world->vhost.removed = true;
}

static void remove_safely(World *world)
{
    about_to_remove(world);
    scenario_qmp("{'execute': 'block-export-del', 'arguments': {'id': 'export', 'mode': 'safe'}}");
}

static void remove_export(World *world)
{
    about_to_remove(world);
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

static void coroutine_fn resize_entry(void *opaque)
{
    World *world = opaque;

    scenario_qmp("{'execute': 'block_resize', 'arguments': {'node-name': 'disk', 'size': %d}}", (int)SCENARIO_NBD_DISK_BYTES);
    world->resizing--;
}

/* block_resize, to the size that it has: its drained section lasts while the main loop goes on. An NBD export refuses it as long as it is there.
 * With a vhost-user-blk export the daemon ends at once (docs/findings.md, L6). */
static void resize(World *world)
{
    if (world->is_vhost) {
        serve(world);
        return;
    }
    world->resizing++;
    qemu_coroutine_enter(qemu_coroutine_create(resize_entry, world));
}

static void (*const operations[])(World *) = { serve,      connect_next,  drain_disk,    drain_all,        come_and_go, move_here,
                                               move_there, remove_export, remove_safely, add_export_again, resize };

/* ---- the scenario */

static void read_peers(World *world, FuzzInput *in)
{
    for (unsigned i = 0; i < world->peer_count; i++) {
        if (world->is_vhost) {
            scenario_vhost_read(&world->guests[i], i, in);
        } else {
            scenario_nbd_read(&world->clients[i], i, in);
        }
    }
}

static bool any_left(const World *world)
{
    return world->is_vhost ? qatomic_read(&world->vhost.running) : world->nbd.connections != NULL;
}

/* The export goes, whoever is connected; then nobody is any more. */
static void end_export(World *world)
{
    about_to_remove(world);
    blk_exp_close_all_type(world->is_vhost ? BLOCK_EXPORT_TYPE_VHOST_USER_BLK : BLOCK_EXPORT_TYPE_NBD);
    scenario_nbd_hang_up(&world->nbd);
    for (unsigned i = 0; i < world->peer_count; i++) {
        scenario_nbd_join(&world->clients[i]);
        scenario_vhost_join(&world->guests[i], "disk.raw");
    }
    if (world->is_vhost) {
        scenario_vhost_end(&world->vhost);
    }
}

static void run(FuzzInput *in)
{
    static const char *const nodes[] = { "disk", NULL };
    World world = { 0 };
    uint8_t flags = fuzz_byte(in);
    unsigned operation_count = fuzz_choice(in, OPERATIONS_MAX + 1);
    bool stops = flags & 8;

    world.peer_count = 1 + (flags & 1);
    world.fixed_thread = flags & 2;
    world.is_vhost = SCENARIO_VHOST && (flags & 32);
    read_peers(&world, in);
    scenario_make_raw("disk.raw", world.is_vhost ? SCENARIO_VHOST_DISK_BYTES : SCENARIO_NBD_DISK_BYTES, 0);
    scenario_begin_named(&world.scenario, 1 + (flags >> 4 & 1));
    scenario_nbd_begin(&world.nbd);
    if (world.is_vhost) {
        scenario_vhost_begin(&world.vhost);
    }
    scenario_add_file("disk", "disk.raw", flags & 4);
    fuzz_check(add_export(&world));
    connect_next(&world);
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    while (any_left(&world) && !stops) {
        main_loop_wait(false);
    }
    end_export(&world);
    while (world.resizing) {
        main_loop_wait(false);
    }
    scenario_delete_nodes(nodes);
    scenario_qmp_end();
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "qemu_export", .run = run };
