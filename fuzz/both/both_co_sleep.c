/*
 * Target both_co_sleep: coroutines in two io threads that sleep by qemu_co_sleep_ns_wakeable(), and wakes by the main thread and by another io
 * thread: before a sleep, in it, twice, never, and after the timer.
 *
 * Agrees: util/qemu-coroutine-sleep.c PENDING
 *
 * Invariants: each sleep ends. Noted: when each sleep began and how it ended.
 *
 * The empty scenario is one sleep that is woken.
 */
#include "fuzz/both/both.h"

#define SLEEPERS_MAX   3u
#define OPERATIONS_MAX 12u
#define STEP_NS        (100 * SCALE_MS)

typedef struct World World;

typedef struct Sleeper {
    World *world;
    QemuCoSleep sleep;
    unsigned number, sleeps, length;
    Coroutine *gate; /* it waits here before a sleep until it is let on; NULL: it does not */
    bool gated;
} Sleeper;

struct World {
    Scenario scenario;
    Sleeper sleepers[SLEEPERS_MAX];
    unsigned count, ended;
};

static void coroutine_fn sleeper_entry(void *opaque)
{
    Sleeper *sleeper = opaque;
    Scenario *scenario = &sleeper->world->scenario;

    for (unsigned i = 0; i < sleeper->sleeps; i++) {
        int64_t start_ns, slept_ns;

        if (sleeper->gated) {
            sleeper->gate = qemu_coroutine_self();
            qemu_coroutine_yield();
        }
        fuzz_note("%u sleeps in %u", sleeper->number, both_here(scenario));
        start_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
        qemu_co_sleep_ns_wakeable(&sleeper->sleep, QEMU_CLOCK_REALTIME, sleeper->length * STEP_NS);
        slept_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start_ns;
        fuzz_note("%u is awake in %u, %s", sleeper->number, both_here(scenario),
                  slept_ns < (int64_t)sleeper->length * STEP_NS ? "early" : "in time");
    }
    __atomic_fetch_add(&sleeper->world->ended, 1, __ATOMIC_SEQ_CST);
}

static void wake(void *opaque)
{
    Sleeper *sleeper = opaque;

    qemu_co_sleep_wake(&sleeper->sleep);
}

static void let_on(Sleeper *sleeper)
{
    Coroutine *co = sleeper->gate;

    sleeper->gate = NULL;
    if (co) {
        aio_co_wake(co);
    }
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned operation_count;

    world.count = 1 + fuzz_choice(in, SLEEPERS_MAX);
    operation_count = 1 + fuzz_choice(in, OPERATIONS_MAX);
    scenario_begin(&world.scenario, BOTH_THREADS);
    for (unsigned i = 0; i < world.count; i++) {
        uint8_t flags = fuzz_byte(in);

        world.sleepers[i] = (Sleeper){ .world = &world, .number = i, .sleeps = 1 + (flags & 3), .length = 2 + (flags >> 2 & 3) };
        world.sleepers[i].gated = flags & 16;
        qemu_co_sleep_init(&world.sleepers[i].sleep);
        scenario_start(&world.scenario, 1 + i % BOTH_THREADS, sleeper_entry, &world.sleepers[i]);
    }
    both_settle(&world.scenario);
    for (unsigned i = 0; i < operation_count; i++) {
        uint8_t what = fuzz_byte(in);
        Sleeper *sleeper = &world.sleepers[(what >> 3) % world.count];

        switch (what & 3) {
        case 0:
            both_do_in(&world.scenario, what / 64 % (BOTH_THREADS + 1), wake, sleeper);
            break;
        case 1:
            let_on(sleeper);
            break;
        case 2:
            both_sleep(&world.scenario, STEP_NS);
            break;
        default:
            break;
        }
        if (what & 4) {
            both_settle(&world.scenario);
            fuzz_note("settled, %u ended", world.ended);
        }
    }
    while (world.ended < world.count) {
        for (unsigned i = 0; i < world.count; i++) {
            let_on(&world.sleepers[i]);
        }
        both_sleep(&world.scenario, STEP_NS);
    }
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "both_co_sleep", .run = run };
