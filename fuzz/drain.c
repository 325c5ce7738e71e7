/*
 * Target drain: an export serves a client's requests in an io thread while the main thread drains, drains again, changes the
 * graph and moves the node, and shuts the export down.
 *
 * Invariants: each request is completed exactly once, and without further ado where the client waits for it; no request is under way inside
 * a drained section; at the end nothing is.
 *
 * The empty scenario is an export without a request and one drained section around nothing.
 */
#include <glib.h>
#include <errno.h>
#include <string.h>

#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/export.h"
#include "core/graph_lock.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define REQUESTS_MAX 6u
#define DISK_BYTES   4096
#define SECTOR       512

typedef struct World {
    Scenario scenario;
    BlockDriverState *disk;
    BlockExport *export;
    BlockExportRequest requests[REQUESTS_MAX];
    uint8_t data[REQUESTS_MAX][SECTOR];
    unsigned request_count, submitted;
    unsigned done[REQUESTS_MAX]; /* raw atomics: no points, no part of the program */
    int waiting;                 /* raw: the client waits for its answers */
    int closing;                 /* raw: what is on the wire is refused from now on */
} World;

static void request_done(BlockExportRequest *request, int ret)
{
    World *world = request->opaque;
    unsigned done = __atomic_add_fetch(&world->done[request - world->requests], 1, __ATOMIC_SEQ_CST);

    fuzz_check(done == 1);
    fuzz_check(ret == 0 || (ret == -ESHUTDOWN && __atomic_load_n(&world->closing, __ATOMIC_SEQ_CST)));
    if (__atomic_load_n(&world->waiting, __ATOMIC_SEQ_CST)) {
        aio_wait_kick();
    }
}

static void submit(World *world)
{
    BlockExportRequest *request;

    if (world->submitted == world->request_count) {
        return;
    }
    request = &world->requests[world->submitted];
    *request = (BlockExportRequest){
        .write = world->submitted & 1,
        .offset = (int64_t)(world->submitted % (DISK_BYTES / SECTOR)) * SECTOR,
        .bytes = SECTOR,
        .buf = world->data[world->submitted],
        .done = request_done,
        .opaque = world,
    };
    fuzz_check(blk_exp_submit(world->export, request));
    world->submitted++;
}

static void check_idle(World *world)
{
    fuzz_check(world->disk->in_flight == 0);
    fuzz_check(blk_in_flight(blk_exp_blk(world->export)) == 0);
}

static void submit_inside(World *world)
{
    if (world->submitted < world->request_count) {
        fuzz_reached("request-inside-a-section");
    }
    submit(world);
}

static void note_requests_under_way(World *world, const char *window)
{
    if (__atomic_load_n(&world->disk->in_flight, __ATOMIC_SEQ_CST)) {
        fuzz_reached(window);
    }
}

static void drain_once(World *world)
{
    note_requests_under_way(world, "section-begins-with-requests-under-way");
    bdrv_drained_begin(world->disk);
    check_idle(world);
    submit_inside(world);
    bdrv_drained_end(world->disk);
}

/* Two sections with nothing between them: what the first end has scheduled has not run when the second begins. */
static void drain_twice(World *world)
{
    drain_once(world);
    drain_once(world);
}

static void drain_all(World *world)
{
    bdrv_drain_all_begin();
    check_idle(world);
    submit_inside(world);
    bdrv_drain_all_end();
}

static void drain_nested(World *world)
{
    bdrv_drain_all_begin();
    drain_once(world);
    check_idle(world);
    bdrv_drain_all_end();
}

static void change_graph(World *world)
{
    BlockDriverState *filter = bdrv_new_filter("filter", bdrv_get_aio_context(world->disk), NULL);

    bdrv_append(filter, world->disk);
    fuzz_check(blk_bs(blk_exp_blk(world->export)) == filter);
    submit(world);
    bdrv_drop_filter(filter);
    fuzz_check(blk_bs(blk_exp_blk(world->export)) == world->disk);
    bdrv_unref(filter);
}

static void serve(World *world)
{
    (void)world;
    main_loop_wait(true);
}

static bool all_answered(World *world)
{
    for (unsigned i = 0; i < world->submitted; i++) {
        if (!__atomic_load_n(&world->done[i], __ATOMIC_SEQ_CST)) {
            return false;
        }
    }
    return true;
}

/* Nothing else happens to the export meanwhile: what is on the wire must be served for its own sake. */
static void await_answers(World *world)
{
    __atomic_store_n(&world->waiting, 1, __ATOMIC_SEQ_CST);
    AIO_WAIT_WHILE_UNLOCKED(NULL, !all_answered(world));
    __atomic_store_n(&world->waiting, 0, __ATOMIC_SEQ_CST);
}

static void (*const operations[])(World *) = {
    drain_once, drain_twice, drain_all, drain_nested, change_graph, submit, serve, await_answers,
};

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned operation_count = 1 + fuzz_choice(in, 6);
    unsigned parallel = 1 + fuzz_choice(in, 3);
    unsigned early = fuzz_choice(in, REQUESTS_MAX);
    unsigned disk = fuzz_byte(in);

    world.request_count = fuzz_choice(in, REQUESTS_MAX + 1);
    scenario_begin(&world.scenario, 1);
    world.disk = bdrv_new_ram("disk", qemu_get_aio_context(), DISK_BYTES);
    bdrv_ram_set_completion(world.disk, (disk & 192) == 192 ? RAM_COMPLETE_POOL : (RamCompletion)(disk % 3), 1000);
    world.export = blk_exp_add("export", world.disk, scenario_context(&world.scenario, 1), parallel);
    fuzz_check(world.export != NULL);
    for (unsigned i = 0; i < early; i++) {
        submit(&world);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    while (world.submitted < world.request_count) {
        submit(&world);
    }
    note_requests_under_way(&world, "export-closes-with-requests-under-way");
    __atomic_store_n(&world.closing, 1, __ATOMIC_SEQ_CST);
    blk_exp_close_all();
    for (unsigned i = 0; i < world.request_count; i++) {
        fuzz_check(__atomic_load_n(&world.done[i], __ATOMIC_SEQ_CST) == 1);
    }
    fuzz_check(world.disk->in_flight == 0);
    bdrv_unref(world.disk);
    fuzz_check(bdrv_node_count() == 0);
    scenario_end(&world.scenario);
}

static const char *const windows[] = {
    "request-inside-a-section",
    "section-begins-with-requests-under-way",
    "export-closes-with-requests-under-way",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "drain", .run = run, .windows = windows };
