/*
 * Target qemu_shutdown: the storage daemon's end. An NBD export with clients, perhaps a vhost-user-blk export with a guest, a block job and a QMP
 * client are at work when the main thread leaves its loop and cleans up in the daemon's order: exports, a drained section that does not end, jobs,
 * nodes, monitor, io threads.
 *
 * Needs: include/block/nbd.h handshake_max_secs
 * Needs: monitor/qmp.c qmp_dispatcher_co
 *
 * Invariants: the cleanup ends; no job is left, and the invariants of clients and guest hold until their connection is cut.
 *
 * The empty scenario has one client of the export, a mirror job and one command, against a cleanup at once.
 */
#include "fuzz/qemu/scenario_image.h"
#include "fuzz/qemu/scenario_nbd.h"
#include "fuzz/qemu/scenario_qmp.h"
#include "fuzz/qemu/scenario_vhost.h"
#include "fuzz/qemu/scenario_wire.h"

#include "block/export.h"
#include "qemu/job.h"
#include "qom/object_interfaces.h"

#define ROUNDS_MAX 6u

#define BACKUP 2u /* in jobs[]: on an export that lets itself be moved, bdrv_insert_node() asserts (docs/qemu-lane.md) */

typedef struct World {
    Scenario scenario;
    NbdServer server;
    NbdPeer peers[SCENARIO_NBD_PEERS_MAX];
    unsigned peer_count, thread_count;
    VhostServer vhost;
    VhostGuest guest;
    WireClient client;
    unsigned job;
    bool native, has_client, has_guest, throttled;
} World;

static const char *const texts[] = {
    "{\"execute\":\"query-jobs\"}",
    "{\"execute\":\"query-block-exports\"}",
    "{\"execute\":\"query-named-block-nodes\"}",
    "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"export\",\"mode\":\"hard\"}}",
    "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"second\",\"node-name\":\"target\",\"name\":\"second\"}}",
    "{\"execute\":\"job-cancel\",\"arguments\":{\"id\":\"job\"}}",
    "{\"execute\":\"job-pause\",\"arguments\":{\"id\":\"job\"}}",
    "{\"execute\":\"job-resume\",\"arguments\":{\"id\":\"job\"}}",
    "{\"execute\":\"job-complete\",\"arguments\":{\"id\":\"job\"}}",
    "{\"execute\":\"block-job-set-speed\",\"arguments\":{\"device\":\"job\",\"speed\":0}}",
    "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"null-co\",\"node-name\":\"passer-by\"}}",
    "{\"execute\":\"blockdev-del\",\"arguments\":{\"node-name\":\"passer-by\"}}",
    "{\"execute\":\"x-blockdev-set-iothread\",\"arguments\":{\"node-name\":\"disk\",\"iothread\":null,\"force\":true}}",
    "{\"execute\":\"x-blockdev-set-iothread\",\"arguments\":{\"node-name\":\"disk\",\"iothread\":\"iothread0\",\"force\":true}}",
};

/* buf-size: a mirror writes into each chunk of its buffer, and each page written to is put back after the execution. */
static const char *const jobs[] = {
    "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'job', 'device': 'disk', 'target': 'target', 'sync': 'full',"
    "'copy-mode': 'background', 'granularity': 512, 'buf-size': 65536, 'speed': %d}}",
    "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'job', 'device': 'disk', 'target': 'target', 'sync': 'full',"
    "'copy-mode': 'write-blocking', 'granularity': 512, 'buf-size': 65536, 'speed': %d}}",
    "{'execute': 'blockdev-backup', 'arguments': {'job-id': 'job', 'device': 'disk', 'target': 'target', 'sync': 'full', 'speed': %d}}",
};

/* On a node of its own: both write where they like. */
static void start_guest(World *world)
{
    scenario_make_raw("guest.raw", SCENARIO_VHOST_DISK_BYTES, 0);
    scenario_vhost_begin(&world->vhost);
    world->vhost.removed = true; /* at any moment */
    scenario_add_file("guest", "guest.raw", world->native);
    scenario_qmp_good(
        "{'execute': 'block-export-add', 'arguments': {'type': 'vhost-user-blk', 'id': 'guest', 'node-name': 'guest',"
        "'addr': {'type': 'unix', 'path': %s}, 'writable': true, 'iothread': 'iothread0'}}",
        SCENARIO_VHOST_SOCKET);
    scenario_vhost_start(&world->vhost, &world->guest);
}

static void set_up(World *world)
{
    scenario_make_raw("disk.raw", SCENARIO_NBD_DISK_BYTES, 0);
    scenario_make_raw("target.raw", SCENARIO_NBD_DISK_BYTES, 0);
    scenario_begin_named(&world->scenario, world->thread_count);
    scenario_nbd_begin(&world->server);
    world->server.removed = true; /* at any moment */
    scenario_add_file("disk", "disk.raw", world->native);
    scenario_add_file("target", "target.raw", world->native);
    scenario_qmp_good(
        "{'execute': 'block-export-add', 'arguments': {'type': 'nbd', 'id': 'export', 'node-name': 'disk', 'name': 'disk',"
        "'writable': true, 'iothread': 'iothread0', 'fixed-iothread': %i}}",
        world->job == BACKUP);
    for (unsigned i = 0; i < world->peer_count; i++) {
        scenario_nbd_connect(&world->server, &world->peers[i]);
    }
    if (world->has_guest) {
        start_guest(world);
    }
    if (world->job < G_N_ELEMENTS(jobs)) {
        scenario_qmp_good(jobs[world->job], world->throttled ? 512 : 0);
    }
    if (world->has_client) {
        scenario_wire_begin(&world->client);
    }
}

/* The order of the daemon's main(). Connections that have not asked for the export end with its process there, and are hung up here. */
static void clean_up(World *world)
{
    blk_exp_close_all();
    bdrv_drain_all_begin();
    job_cancel_sync_all();
    fuzz_check(!job_next(NULL));
    bdrv_close_all();
    scenario_qmp_end();
    if (world->has_client) {
        scenario_wire_end(&world->client);
    }
    scenario_nbd_hang_up(&world->server);
    for (unsigned i = 0; i < world->peer_count; i++) {
        scenario_nbd_join(&world->peers[i]);
    }
    if (world->has_guest) {
        scenario_vhost_join(&world->guest, "guest.raw");
        scenario_vhost_end(&world->vhost);
    }
    user_creatable_cleanup(); /* ends the io threads */
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned rounds = fuzz_choice(in, ROUNDS_MAX + 1);
    uint8_t flags = fuzz_byte(in);

    world.thread_count = 1 + (flags & 1);
    world.peer_count = (flags & 2) ? 2 : (flags & 4) ? 0 : 1;
    world.job = flags >> 3 & 3;
    world.throttled = flags & 32;
    world.native = flags & 64;
    world.has_client = !(flags & 128);
    for (unsigned i = 0; i < world.peer_count; i++) {
        scenario_nbd_read(&world.peers[i], i, in);
    }
    scenario_wire_read(&world.client, texts, G_N_ELEMENTS(texts), in);
    world.has_guest = SCENARIO_VHOST && fuzz_flag(in);
    scenario_vhost_read(&world.guest, 0, in);
    set_up(&world);
    for (unsigned i = 0; i < rounds; i++) {
        main_loop_wait(true);
    }
    clean_up(&world);
}

const FuzzTarget fuzz_target = { .name = "qemu_shutdown", .run = run };
