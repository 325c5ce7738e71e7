/*
 * Target qemu_drain: requests to a backend in an io thread against drained sections, of the node and of all nodes, with and without a
 * change of the graph in them, and against a medium that is taken out and put back, as a device and the monitor do it.
 *
 * Invariants: each request is completed once.
 *
 * The empty scenario is one request against one change of medium.
 */
#include "fuzz/qemu/scenario.h"

#define CLIENTS_MAX 3u
#define DISK_BYTES  4096
#define SECTOR      512

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk;
    unsigned completed; /* for the invariant: no point */
} World;

typedef struct Client {
    World *world;
    unsigned requests;
    bool writes, pauses;
} Client;

/* ---- requests */

static void coroutine_fn client_entry(void *opaque)
{
    Client *client = opaque;
    World *world = client->world;
    uint8_t buffer[SECTOR] = { 0 };

    for (unsigned i = 0; i < client->requests; i++) {
        int result = client->writes ? blk_co_pwrite(world->blk, 0, SECTOR, buffer, 0)
                                    : blk_co_pread(world->blk, 0, SECTOR, buffer, 0);

        if (result < 0) {
            fuzz_check(result == -ENOMEDIUM);
            fuzz_reached("request-without-medium");
        }
        __atomic_fetch_add(&world->completed, 1, __ATOMIC_SEQ_CST);
        if (client->pauses) {
            scenario_pause();
        }
    }
}

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

static void flush_backend(World *world)
{
    blk_drain(world->blk);
}

static void come_and_go(World *world)
{
    bdrv_unref(scenario_open_null("passer-by", DISK_BYTES, 0));
}

static void serve(World *world)
{
    main_loop_wait(true);
}

static void (*const operations[])(World *) = { change_medium, drain_node, drain_all, flush_backend, come_and_go, serve };

/* ---- the scenario */

static void run(FuzzInput *in)
{
    World world = { 0 };
    Client clients[CLIENTS_MAX];
    unsigned threads = 1 + fuzz_choice(in, 2);
    unsigned client_count = 1 + fuzz_choice(in, CLIENTS_MAX);
    unsigned operation_count = 1 + fuzz_choice(in, 3);
    unsigned wanted = 0;

    scenario_begin(&world.scenario, threads);
    world.disk = scenario_open_null("disk", DISK_BYTES, fuzz_flag(in) ? 1000 : 0);
    world.blk = scenario_new_backend(&world.scenario, 1, world.disk);
    for (unsigned i = 0; i < client_count; i++) {
        uint8_t flags = fuzz_byte(in);

        clients[i] = (Client){ &world, 1 + (flags & 3), flags & 4, flags & 8 };
        wanted += clients[i].requests;
    }
    for (unsigned i = 0; i < client_count; i++) {
        scenario_start(&world.scenario, 1 + i % threads, client_entry, &clients[i]);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    scenario_wait(&world.scenario);
    fuzz_check(world.completed == wanted);
    blk_remove_bs(world.blk);
    bdrv_unref(world.disk);
    blk_unref(world.blk);
    scenario_end(&world.scenario);
}

static const char *const windows[] = { "request-without-medium", NULL };

const FuzzTarget fuzz_target = { .name = "qemu_drain", .run = run, .windows = windows };
