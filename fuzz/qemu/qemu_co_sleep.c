/*
 * Target qemu_co_sleep: a coroutine in an io thread does something at long intervals, and another thread tells it to stop: the shape of the
 * cleaner of qcow2's caches, and of a block job's pause, without what is around them.
 *
 * Invariants: each of them ends.
 *
 * The empty scenario is one such coroutine that is told to stop at once.
 */
#include "fuzz/qemu/scenario.h"

#define SLEEPERS_MAX 3u
#define INTERVAL_NS  (SCENARIO_INTERVAL_S * NANOSECONDS_PER_SECOND)

typedef struct Sleeper {
    QemuCoSleep sleep;
    QemuMutex lock;
    bool stop; /* under lock */
    bool pauses;
} Sleeper;

static bool may_sleep(Sleeper *sleeper)
{
    bool stop;

    qemu_mutex_lock(&sleeper->lock);
    stop = sleeper->stop;
    qemu_mutex_unlock(&sleeper->lock);
    return !stop;
}

static void coroutine_fn sleeper_entry(void *opaque)
{
    Sleeper *sleeper = opaque;

    while (may_sleep(sleeper)) {
        qemu_co_sleep_ns_wakeable(&sleeper->sleep, QEMU_CLOCK_REALTIME, INTERVAL_NS);
        if (sleeper->pauses) {
            scenario_pause();
        }
    }
}

static void stop(Sleeper *sleeper)
{
    qemu_mutex_lock(&sleeper->lock);
    sleeper->stop = true;
    qemu_mutex_unlock(&sleeper->lock);
    qemu_co_sleep_wake(&sleeper->sleep);
}

static void run(FuzzInput *in)
{
    Scenario scenario;
    Sleeper sleepers[SLEEPERS_MAX] = { 0 };
    unsigned threads = 1 + fuzz_choice(in, 2);
    unsigned count = 1 + fuzz_choice(in, SLEEPERS_MAX);
    bool serves = fuzz_flag(in);

    scenario_begin(&scenario, threads);
    for (unsigned i = 0; i < count; i++) {
        sleepers[i].pauses = fuzz_flag(in);
        qemu_mutex_init(&sleepers[i].lock);
        scenario_start(&scenario, 1 + i % threads, sleeper_entry, &sleepers[i]);
    }
    if (serves) {
        main_loop_wait(true);
    }
    for (unsigned i = 0; i < count; i++) {
        stop(&sleepers[i]);
    }
    scenario_wait(&scenario);
    for (unsigned i = 0; i < count; i++) {
        qemu_mutex_destroy(&sleepers[i].lock);
    }
    scenario_end(&scenario);
}

const FuzzTarget fuzz_target = { .name = "qemu_co_sleep", .run = run };
