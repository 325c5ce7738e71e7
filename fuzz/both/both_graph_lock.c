/*
 * Target both_graph_lock: readers of the graph in two io threads, which stay in for a while, come again, and wait for one another; and the
 * main thread, which writes, reads, and lets time pass.
 *
 * Agrees: block/graph-lock.c Always kick
 *
 * Invariants: while the writer writes nobody reads. Noted: who is in, and when.
 *
 * The empty scenario is one reader against one write section.
 */
#include "fuzz/both/both.h"

#define READERS_MAX    4u
#define OPERATIONS_MAX 8u
#define STEP_NS        (10 * SCALE_MS)

/* What the sleeps of each are longer than a multiple of 50 ms, so that no two end at the same time: what comes first then is the clock's affair. */
static const unsigned longer_us[READERS_MAX] = { 0, 1300, 2700, 4300 };

typedef struct World {
    Scenario scenario;
    int readers, writing; /* for the invariants: no points */
} World;

typedef struct Reader {
    World *world;
    unsigned number, rounds, before, inside;
} Reader;

static void coroutine_fn rest(Reader *reader, unsigned length)
{
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, length * 5 * STEP_NS + longer_us[reader->number] * SCALE_US);
}

static void coroutine_fn reader_entry(void *opaque)
{
    Reader *reader = opaque;
    World *world = reader->world;

    for (unsigned i = 0; i < reader->rounds; i++) {
        if (reader->before) {
            rest(reader, reader->before);
        }
        bdrv_graph_co_rdlock();
        __atomic_fetch_add(&world->readers, 1, __ATOMIC_SEQ_CST);
        fuzz_note("%u in", reader->number);
        fuzz_check(!world->writing);
        if (reader->inside) {
            rest(reader, reader->inside);
        } else {
            scenario_pause();
        }
        fuzz_check(!world->writing);
        fuzz_note("%u out", reader->number);
        __atomic_fetch_sub(&world->readers, 1, __ATOMIC_SEQ_CST);
        bdrv_graph_co_rdunlock();
    }
}

static void write_section(World *world)
{
    fuzz_note("writer comes");
    bdrv_graph_wrlock();
    fuzz_check(world->readers == 0);
    world->writing = 1;
    fuzz_note("writer in");
    world->writing = 0;
    bdrv_graph_wrunlock();
}

static void read_section(World *world)
{
    bdrv_graph_rdlock_main_loop();
    fuzz_note("main reads, %d in", world->readers);
    bdrv_graph_rdunlock_main_loop();
}

static void settle(World *world)
{
    both_settle(&world->scenario);
}

static void let_time_pass(World *world)
{
    both_sleep(&world->scenario, STEP_NS);
    fuzz_note("time passes");
}

static void (*const operations[])(World *) = { write_section, read_section, settle, let_time_pass };

static void run(FuzzInput *in)
{
    World world = { 0 };
    Reader readers[READERS_MAX];
    unsigned reader_count = 1 + fuzz_choice(in, READERS_MAX);
    unsigned operation_count = 1 + fuzz_choice(in, OPERATIONS_MAX);

    scenario_begin(&world.scenario, BOTH_THREADS);
    for (unsigned i = 0; i < reader_count; i++) {
        uint8_t flags = fuzz_byte(in);

        readers[i] = (Reader){ &world, i, 1 + (flags & 3), flags >> 2 & 3, flags >> 4 & 3 };
        scenario_start(&world.scenario, 1 + i % BOTH_THREADS, reader_entry, &readers[i]);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    scenario_wait(&world.scenario);
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "both_graph_lock", .run = run };
