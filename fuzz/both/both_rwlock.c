/*
 * Target both_rwlock: coroutines of two io threads that take a CoRwlock as readers or as the writer, stay in for a while, and become the one when
 * they were the other.
 *
 * Invariants: a writer is alone. Noted: who is in, in which order they came in over all threads, and who was in with them.
 *
 * The empty scenario is one reader.
 */
#include "fuzz/both/both.h"

#define WORKERS_MAX 5u
#define ROUNDS_MAX  3u

/* So that no two sums of up to six of each come near each other: what comes first then is the clock's affair. */
static const unsigned lengths_ms[WORKERS_MAX] = { 10, 73, 521, 3659, 25621 };

typedef struct World {
    Scenario scenario;
    CoRwlock lock;
    unsigned entries; /* no points, as the rest: for the invariant and for notes */
    int readers, writers;
} World;

typedef struct Worker {
    World *world;
    unsigned number, round_count;
    uint8_t rounds[ROUNDS_MAX];
} Worker;

static void add(int *number, int change)
{
    __atomic_fetch_add(number, change, __ATOMIC_SEQ_CST);
}

static void is_in(Worker *worker, bool writes, const char *how)
{
    World *world = worker->world;

    add(writes ? &world->writers : &world->readers, 1);
    fuzz_check(world->writers == 0 || (world->writers == 1 && world->readers == 0));
    fuzz_note("%u %s in %u, as number %u, with %d others", worker->number, how, both_here(&world->scenario),
              __atomic_fetch_add(&world->entries, 1, __ATOMIC_SEQ_CST), world->readers + world->writers - 1);
}

static void is_out(World *world, bool writes)
{
    add(writes ? &world->writers : &world->readers, -1);
}

static void coroutine_fn stay(Worker *worker, unsigned how)
{
    if (how == 1) {
        scenario_pause();
    } else if (how) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, lengths_ms[worker->number] * SCALE_MS);
    }
}

static void coroutine_fn upgrade(Worker *worker)
{
    is_out(worker->world, false);
    qemu_co_rwlock_upgrade(&worker->world->lock);
    is_in(worker, true, "writes after reading");
}

static void coroutine_fn downgrade(Worker *worker)
{
    is_out(worker->world, true);
    /* Before others can come in: they are woken inside. */
    is_in(worker, false, "will read after writing");
    qemu_co_rwlock_downgrade(&worker->world->lock);
    fuzz_note("%u reads after writing", worker->number);
}

static void coroutine_fn do_round(Worker *worker, uint8_t what)
{
    World *world = worker->world;
    bool writes = what & 1;

    stay(worker, what >> 1 & 3);
    if (writes) {
        qemu_co_rwlock_wrlock(&world->lock);
    } else {
        qemu_co_rwlock_rdlock(&world->lock);
    }
    is_in(worker, writes, writes ? "writes" : "reads");
    if (what & 32) {
        stay(worker, 1);
        (writes ? downgrade : upgrade)(worker);
        writes = !writes;
    }
    stay(worker, what >> 3 & 3);
    if (what & 64) {
        (writes ? downgrade : upgrade)(worker);
        writes = !writes;
    }
    is_out(world, writes);
    qemu_co_rwlock_unlock(&world->lock);
    fuzz_note("%u is out", worker->number);
}

static void coroutine_fn worker_entry(void *opaque)
{
    Worker *worker = opaque;

    for (unsigned i = 0; i < worker->round_count; i++) {
        do_round(worker, worker->rounds[i]);
    }
    fuzz_note("%u ends", worker->number);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    Worker workers[WORKERS_MAX];
    unsigned count = 1 + fuzz_choice(in, WORKERS_MAX);

    scenario_begin(&world.scenario, BOTH_THREADS);
    qemu_co_rwlock_init(&world.lock);
    for (unsigned i = 0; i < count; i++) {
        workers[i] = (Worker){ .world = &world, .number = i, .round_count = 1 + fuzz_choice(in, ROUNDS_MAX) };
        for (unsigned k = 0; k < workers[i].round_count; k++) {
            workers[i].rounds[k] = fuzz_byte(in);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        scenario_start(&world.scenario, 1 + i % BOTH_THREADS, worker_entry, &workers[i]);
    }
    scenario_wait(&world.scenario);
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "both_rwlock", .run = run };
