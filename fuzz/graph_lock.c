/*
 * Target graph_lock: readers in io threads (and in the main context) against writers in the main thread, plain and drained, while nodes
 * come and go below a backend that serves requests, and threads come and go of whose readers one is still in.
 *
 * Invariants: while the writer writes nobody reads; who is in is counted; each request is completed once, with its data; none is under way in
 * a drained section; all counters are zero at the end.
 *
 * The empty scenario is one reader with one short section against one plain write section: enough for QEMU's e3082ab3b3.
 */
#include <glib.h>
#include <string.h>

#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/graph_lock.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define READERS_MAX    4u
#define OPERATIONS_MAX 3u
#define DISK_BYTES     4096
#define SECTOR         512
#define DWELL_ROUNDS   4u

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk;
    bool dwells; /* in its drained sections */
    bool moving; /* some readers leave elsewhere than they came in: while they do, their number is not exact */
    /* For the invariants: no points, and no part of the program (so not core/atomic.h). */
    int readers;
    int writing;
    int writer_polls;
} World;

typedef struct Reader {
    World *world;
    unsigned rounds;
    bool pauses, moves, requests, helped;
    unsigned home, other;
    uint8_t pattern;
} Reader;

/* ---- readers */

/* What a reader waits for while it is in: a coroutine that takes the lock as well, as block-copy does for a request. */
typedef struct Helper {
    World *world;
    Coroutine *reader; /* that sleeps until done; NULL: it does not sleep yet. Both run in one thread. */
    bool done;
} Helper;

static void coroutine_fn helper_entry(void *opaque)
{
    Helper *helper = opaque;

    bdrv_graph_co_rdlock();
    fuzz_check(!__atomic_load_n(&helper->world->writing, __ATOMIC_SEQ_CST));
    bdrv_graph_co_rdunlock();
    helper->done = true;
    if (helper->reader) {
        aio_co_wake(helper->reader);
    }
}

static void coroutine_fn be_helped(World *world)
{
    Helper helper = { .world = world };

    qemu_coroutine_enter(qemu_coroutine_create(helper_entry, &helper));
    if (!helper.done) {
        fuzz_reached("helper-queues-while-its-reader-is-in");
        helper.reader = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    fuzz_check(helper.done);
}

static void coroutine_fn read_section(Reader *reader)
{
    World *world = reader->world;

    bdrv_graph_co_rdlock();
    __atomic_fetch_add(&world->readers, 1, __ATOMIC_SEQ_CST);
    fuzz_check(!__atomic_load_n(&world->writing, __ATOMIC_SEQ_CST));
    if (__atomic_load_n(&world->writer_polls, __ATOMIC_SEQ_CST)) {
        fuzz_reached("reader-in-while-writer-waits");
    }
    if (reader->pauses) {
        scenario_pause();
    }
    if (reader->helped) {
        be_helped(world);
    }
    if (reader->moves) {
        aio_co_reschedule_self(scenario_context(&world->scenario, reader->other));
    }
    fuzz_check(!__atomic_load_n(&world->writing, __ATOMIC_SEQ_CST));
    __atomic_fetch_sub(&world->readers, 1, __ATOMIC_SEQ_CST);
    bdrv_graph_co_rdunlock();
    if (reader->moves) {
        aio_co_reschedule_self(scenario_context(&world->scenario, reader->home));
    }
}

static void coroutine_fn request(Reader *reader)
{
    uint8_t out[SECTOR], in[SECTOR];
    int64_t offset = reader->pattern % (DISK_BYTES / SECTOR) * SECTOR;

    memset(out, reader->pattern, sizeof(out));
    if (blk_co_pwrite(reader->world->blk, offset, SECTOR, out, 0) < 0) {
        fuzz_reached("request-without-medium");
        return; /* the writer has taken it out */
    }
    if (blk_co_pread(reader->world->blk, offset, SECTOR, in, 0) == 0) {
        fuzz_check(memcmp(in, out, SECTOR) == 0);
    }
}

static void coroutine_fn reader_entry(void *opaque)
{
    Reader *reader = opaque;

    for (unsigned i = 0; i < reader->rounds; i++) {
        read_section(reader);
        if (reader->requests) {
            request(reader);
        }
    }
}

/* ---- the writer */

static void write_section(World *world)
{
    fuzz_check(__atomic_load_n(&world->readers, __ATOMIC_SEQ_CST) == 0);
    __atomic_store_n(&world->writing, 1, __ATOMIC_SEQ_CST);
    assert_bdrv_graph_writable();
    fuzz_check(__atomic_load_n(&world->readers, __ATOMIC_SEQ_CST) == 0);
    __atomic_store_n(&world->writing, 0, __ATOMIC_SEQ_CST);
}

static void write_plain(World *world)
{
    __atomic_store_n(&world->writer_polls, 1, __ATOMIC_SEQ_CST);
    bdrv_graph_wrlock();
    __atomic_store_n(&world->writer_polls, 0, __ATOMIC_SEQ_CST);
    write_section(world);
    bdrv_graph_wrunlock();
}

static void write_drained(World *world)
{
    bdrv_graph_wrlock_drained();
    write_section(world);
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
}

static void change_medium(World *world)
{
    blk_remove_bs(world->blk);
    blk_insert_bs(world->blk, world->disk);
}

static void put_filter_and_take_it_out(World *world)
{
    BlockDriverState *filter = bdrv_new_filter("filter", blk_get_aio_context(world->blk), NULL);

    bdrv_append(filter, world->disk);
    fuzz_check(blk_bs(world->blk) == filter);
    bdrv_drop_filter(filter);
    fuzz_check(blk_bs(world->blk) == world->disk);
    bdrv_unref(filter);
}

static void come_and_go(World *world)
{
    BlockDriverState *node = bdrv_new_ram("passer-by", scenario_context(&world->scenario, world->scenario.thread_count),
                                          DISK_BYTES);
    BlockDriverState *filter = bdrv_new_filter("above", bdrv_get_aio_context(node), node);

    bdrv_unref(node);
    bdrv_unref(filter);
}

/* Requests come, and wait: in the time of some rounds of the main loop none gets to the disk. */
static void dwell_in_section(World *world)
{
    bdrv_drain_all_begin();
    for (unsigned i = 0; i < DWELL_ROUNDS; i++) {
        fuzz_check(__atomic_load_n(&world->disk->in_flight, __ATOMIC_SEQ_CST) == 0);
        aio_poll(qemu_get_aio_context(), false);
    }
    fuzz_check(__atomic_load_n(&world->disk->in_flight, __ATOMIC_SEQ_CST) == 0);
    bdrv_drain_all_end();
}

static void drain(World *world)
{
    if (world->dwells) {
        dwell_in_section(world);
    } else {
        bdrv_drain_all();
    }
}

static void serve(World *world)
{
    (void)world;
    main_loop_wait(true);
}

static void look(World *world)
{
    (void)world;
    bdrv_graph_rdlock_main_loop();
    assert_bdrv_graph_readable();
    bdrv_graph_rdunlock_main_loop();
}

/* A reader that comes in in a thread that ends before it has left, in another one. */
typedef struct Visitor {
    World *world;
    int has_moved; /* raw */
} Visitor;

static void coroutine_fn visitor_entry(void *opaque)
{
    Visitor *visitor = opaque;
    World *world = visitor->world;

    bdrv_graph_co_rdlock();
    aio_co_reschedule_self(scenario_context(&world->scenario, 1));
    scenario_set(&visitor->has_moved, 1); /* it may be gone from here on */
    aio_wait_kick();
    if (!world->moving) {
        fuzz_check(bdrv_graph_reader_count() > 0);
    }
    bdrv_graph_co_rdunlock();
    scenario_leave(&world->scenario);
}

static void thread_comes_and_goes(World *world)
{
    IOThread *thread = iothread_new("passer-by");
    Visitor visitor = { .world = world };

    fuzz_check(thread != NULL);
    scenario_enter(&world->scenario);
    aio_co_schedule(iothread_get_aio_context(thread), qemu_coroutine_create(visitor_entry, &visitor));
    AIO_WAIT_WHILE_UNLOCKED(NULL, !scenario_get(&visitor.has_moved));
    iothread_destroy(thread);
}

static void (*const operations[])(World *) = {
    write_plain, write_drained, change_medium, put_filter_and_take_it_out, come_and_go, drain, serve, look, thread_comes_and_goes,
};

/* ---- the scenario */

/* Readers that move come back, so that the threads' order of ending is theirs; the main context (0) only where it can be left. */
static void read_reader(FuzzInput *in, World *world, Reader *reader, unsigned number)
{
    unsigned threads = world->scenario.thread_count;
    uint8_t flags = fuzz_byte(in);

    *reader = (Reader){
        .world = world,
        .rounds = 1 + ((flags & 3) == 3),
        .pauses = flags & 4,
        .requests = flags & 8,
        .moves = flags & 16,
        .home = flags & 32 ? (flags >> 6) % (threads + 1) : 1 + number % threads,
        .pattern = (uint8_t)(1 + number),
    };
    reader->other = 1 + reader->home % threads;
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    Reader readers[READERS_MAX];
    unsigned threads = 1 + fuzz_choice(in, 3);
    unsigned reader_count = 1 + fuzz_choice(in, READERS_MAX);
    unsigned operation_count = 1 + fuzz_choice(in, OPERATIONS_MAX);
    unsigned disk = fuzz_byte(in);
    uint8_t chosen[OPERATIONS_MAX], helped;

    scenario_begin(&world.scenario, threads);
    world.blk = blk_new(scenario_context(&world.scenario, 1 + disk % threads));
    world.disk = bdrv_new_ram("disk", scenario_context(&world.scenario, 1 + disk % threads), DISK_BYTES);
    bdrv_ram_set_completion(world.disk, (RamCompletion)(disk / 4 % 3), 1000);
    blk_insert_bs(world.blk, world.disk);
    for (unsigned i = 0; i < reader_count; i++) {
        read_reader(in, &world, &readers[i], i);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        chosen[i] = (uint8_t)fuzz_choice(in, G_N_ELEMENTS(operations));
    }
    helped = fuzz_byte(in); /* one bit for each reader, and one for the sections */
    world.dwells = helped & 128;
    for (unsigned i = 0; i < reader_count; i++) {
        readers[i].helped = helped >> i & 1;
        world.moving |= readers[i].moves;
        scenario_start(&world.scenario, readers[i].home, reader_entry, &readers[i]);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operations[chosen[i]](&world);
    }
    scenario_wait(&world.scenario);
    fuzz_check(bdrv_graph_reader_count() == 0);
    fuzz_check(blk_in_flight(world.blk) == 0);
    blk_remove_bs(world.blk);
    bdrv_unref(world.disk);
    blk_unref(world.blk);
    fuzz_check(bdrv_node_count() == 0);
    scenario_end(&world.scenario);
}

static const char *const windows[] = {
    "reader-in-while-writer-waits",
    "request-without-medium",
    "helper-queues-while-its-reader-is-in",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "graph_lock", .run = run, .windows = windows };
