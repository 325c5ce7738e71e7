/*
 * Target both_locks: coroutines of two io threads that take a CoMutex, give way while they hold it, wait in a CoQueue under it, and wake those who
 * wait there: one, or all.
 *
 * Invariants: one holder at a time. Noted: in which order they come in, wait and go on.
 *
 * The empty scenario is one coroutine that takes the mutex once.
 */
#include "fuzz/both/both.h"

#define WORKERS_MAX 5u
#define STEPS_MAX   4u
#define WAIT_NS     (INT64_C(12) * 1000 * SCALE_MS) /* longer than the longest worker sleeps in all */

/* So that no two sums of up to four of them come near each other: what comes first then is the clock's affair. */
static const unsigned lengths_ms[WORKERS_MAX] = { 10, 43, 177, 711, 2847 };

typedef struct World {
    Scenario scenario;
    CoMutex mutex;
    CoQueue queue; /* under mutex */
    int holders;   /* for the invariant: no point */
    unsigned count, ended, waiting;
} World;

typedef struct Worker {
    World *world;
    unsigned number, step_count;
    uint8_t steps[STEPS_MAX];
} Worker;

static void come_in(World *world)
{
    fuzz_check(__atomic_fetch_add(&world->holders, 1, __ATOMIC_SEQ_CST) == 0);
}

static void go_out(World *world)
{
    __atomic_fetch_sub(&world->holders, 1, __ATOMIC_SEQ_CST);
}

static void coroutine_fn do_step(Worker *worker, uint8_t step)
{
    World *world = worker->world;

    switch (step & 3) {
    case 1: /* wait */
        fuzz_note("%u waits", worker->number);
        world->waiting++;
        go_out(world);
        qemu_co_queue_wait(&world->queue, &world->mutex);
        come_in(world);
        world->waiting--;
        fuzz_note("%u goes on", worker->number);
        break;
    case 2:
        fuzz_note("%u wakes one: %d", worker->number, qemu_co_queue_next(&world->queue));
        break;
    case 3:
        fuzz_note("%u wakes all of %u", worker->number, world->waiting);
        qemu_co_queue_restart_all(&world->queue);
        break;
    default:
        scenario_pause();
        break;
    }
}

static void coroutine_fn worker_entry(void *opaque)
{
    Worker *worker = opaque;
    World *world = worker->world;

    for (unsigned i = 0; i < worker->step_count; i++) {
        uint8_t step = worker->steps[i];

        if (step & 8) {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, lengths_ms[worker->number] * SCALE_MS);
        }
        qemu_co_mutex_lock(&world->mutex);
        come_in(world);
        fuzz_note("%u has it in %u", worker->number, both_here(&world->scenario));
        do_step(worker, step);
        if (step & 4) {
            scenario_pause();
        }
        go_out(world);
        qemu_co_mutex_unlock(&world->mutex);
    }
    fuzz_note("%u ends", worker->number);
    __atomic_fetch_add(&world->ended, 1, __ATOMIC_SEQ_CST);
}

/* Those who are left in the queue. */
static void coroutine_fn waker_entry(void *opaque)
{
    World *world = opaque;

    qemu_co_mutex_lock(&world->mutex);
    qemu_co_queue_restart_all(&world->queue);
    qemu_co_mutex_unlock(&world->mutex);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    Worker workers[WORKERS_MAX];

    world.count = 1 + fuzz_choice(in, WORKERS_MAX);
    scenario_begin(&world.scenario, BOTH_THREADS);
    qemu_co_mutex_init(&world.mutex);
    qemu_co_queue_init(&world.queue);
    for (unsigned i = 0; i < world.count; i++) {
        workers[i] = (Worker){ .world = &world, .number = i, .step_count = 1 + fuzz_choice(in, STEPS_MAX) };
        for (unsigned k = 0; k < workers[i].step_count; k++) {
            workers[i].steps[k] = fuzz_byte(in);
        }
    }
    for (unsigned i = 0; i < world.count; i++) {
        scenario_start(&world.scenario, 1 + i % BOTH_THREADS, worker_entry, &workers[i]);
    }
    both_settle(&world.scenario);
    while (world.ended < world.count) {
        both_sleep(&world.scenario, WAIT_NS);
        fuzz_note("%u ended, %u wait", world.ended, world.waiting);
        scenario_start(&world.scenario, 1, waker_entry, &world);
        both_settle(&world.scenario);
    }
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "both_locks", .run = run };
