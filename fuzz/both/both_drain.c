/*
 * Target both_drain: requests to a disk that takes its time, by coroutines of two io threads, and a main thread that begins and ends drained
 * sections, of the disk and of all disks, one in another, and lets time pass.
 *
 * Invariants: each request is completed once. Noted: when each request begins and ends, with which result.
 *
 * The empty scenario is one request and one drained section.
 */
#include "fuzz/both/both.h"

#define CLIENTS_MAX    3u
#define OPERATIONS_MAX 10u
#define SECTOR         512
#define STEP_NS        (10 * SCALE_MS)

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk;
    unsigned sections, sections_all;
    unsigned completed; /* for the invariant: no point */
} World;

typedef struct Client {
    World *world;
    unsigned number, requests;
    bool writes;
} Client;

static void coroutine_fn client_entry(void *opaque)
{
    Client *client = opaque;
    World *world = client->world;
    uint8_t buffer[SECTOR] = { 0 };

    for (unsigned i = 0; i < client->requests; i++) {
        int result;

        fuzz_note("%u asks", client->number);
        result = client->writes ? blk_co_pwrite(world->blk, client->number * SECTOR, SECTOR, buffer, 0)
                                : blk_co_pread(world->blk, client->number * SECTOR, SECTOR, buffer, 0);
        fuzz_note("%u has %d", client->number, result);
        __atomic_fetch_add(&world->completed, 1, __ATOMIC_SEQ_CST);
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, (1 + client->number) * STEP_NS);
    }
}

static void let_time_pass(World *world)
{
    both_sleep(&world->scenario, STEP_NS);
    fuzz_note("time passes");
}

static void begin(World *world)
{
    bdrv_drained_begin(world->disk);
    world->sections++;
    fuzz_note("drained, %u completed", world->completed);
}

static void end(World *world)
{
    if (world->sections) {
        world->sections--;
        fuzz_note("section ends");
        bdrv_drained_end(world->disk);
    }
}

static void begin_all(World *world)
{
    bdrv_drain_all_begin();
    world->sections_all++;
    fuzz_note("all drained, %u completed", world->completed);
}

static void end_all(World *world)
{
    if (world->sections_all) {
        world->sections_all--;
        fuzz_note("section of all ends");
        bdrv_drain_all_end();
    }
}

static void drain_backend(World *world)
{
    if (world->sections + world->sections_all == 0) {
        blk_drain(world->blk);
        fuzz_note("backend drained, %u completed", world->completed);
    }
}

static void settle(World *world)
{
    both_settle(&world->scenario);
}

static void (*const operations[])(World *) = { begin, let_time_pass, end, begin_all, end_all, drain_backend, settle };

static void run(FuzzInput *in)
{
    World world = { 0 };
    Client clients[CLIENTS_MAX];
    unsigned client_count = 1 + fuzz_choice(in, CLIENTS_MAX);
    unsigned operation_count = 1 + fuzz_choice(in, OPERATIONS_MAX);
    unsigned wanted = 0;

    scenario_begin(&world.scenario, BOTH_THREADS);
    world.blk = both_open_disk(&world.scenario, 1, 5 * STEP_NS / 2, &world.disk);
    for (unsigned i = 0; i < client_count; i++) {
        uint8_t flags = fuzz_byte(in);

        clients[i] = (Client){ &world, i, 1 + (flags & 3), flags & 4 };
        wanted += clients[i].requests;
        scenario_start(&world.scenario, 1 + i % BOTH_THREADS, client_entry, &clients[i]);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    while (world.sections || world.sections_all) {
        end(&world);
        end_all(&world);
    }
    scenario_wait(&world.scenario);
    fuzz_check(world.completed == wanted);
    blk_remove_bs(world.blk);
    bdrv_unref(world.disk);
    blk_unref(world.blk);
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "both_drain", .run = run };
