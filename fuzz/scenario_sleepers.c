#include "fuzz/scenario_sleepers.h"

#include "core/atomic.h"
#include "core/ratelimit.h"

#define RELAY_ROUNDS 140u /* two coroutines: 280 wakes, above the recursion that counts as an overflow */
#define LONG_NS      (600 * NANOSECONDS_PER_SECOND)

#define GRAIN_NS 1000 /* of fuzz_time_ns(), where the clock is a real one */
#define SLICE_NS SCALE_MS
#define QUOTA    10u /* units in a slice */

static const int64_t lengths_ns[] = { LONG_NS, 1000, NANOSECONDS_PER_SECOND, 0 };

/* ---- sleeps that nobody ends */

/* LONG_NS is too long where the clock is a real one. */
static void coroutine_fn sleep_alone(ScenarioSleeper *sleeper)
{
    int64_t ns = MIN(sleeper->ns, NANOSECONDS_PER_SECOND);
    uint64_t begin_ns = fuzz_time_ns();

    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, ns);
    fuzz_check(fuzz_time_ns() - begin_ns + GRAIN_NS >= (uint64_t)ns);
}

static void coroutine_fn work_entry(void *opaque)
{
    (void)opaque;
    scenario_pause();
}

/* The work is done long before the time is up, and then nobody waits any more. */
static void coroutine_fn wait_for_work(void)
{
    uint64_t begin_ns = fuzz_time_ns();

    fuzz_reached("work-is-done-in-time");
    fuzz_check(qemu_co_timeout(work_entry, NULL, LONG_NS, NULL) == 0);
    fuzz_check(fuzz_time_ns() - begin_ns < LONG_NS / 2);
}

/* Unit by unit. Less than a unit in a slice is a unit. */
static void coroutine_fn keep_to_a_rate(ScenarioSleeper *sleeper)
{
    bool slow = sleeper->sleeps & 1;
    unsigned quota = slow ? 1 : QUOTA, units = (1 + sleeper->sleeps) * quota;
    uint64_t begin_ns = fuzz_time_ns();
    RateLimit limit;

    fuzz_reached(slow ? "less-than-a-unit-in-a-slice" : "units-in-a-slice");
    ratelimit_init(&limit);
    ratelimit_set_speed(&limit, slow ? 1 : QUOTA * NANOSECONDS_PER_SECOND / SLICE_NS, SLICE_NS);
    for (unsigned i = 0; i < units; i++) {
        int64_t delay_ns = ratelimit_calculate_delay(&limit, 1);

        fuzz_check(i > 0 || slow || delay_ns == 0); /* the slice has room */
        if (delay_ns > 0) {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, delay_ns);
        }
    }
    fuzz_check(fuzz_time_ns() - begin_ns >= (uint64_t)(units / quota - 1) * SLICE_NS);
    ratelimit_destroy(&limit);
}

/* ---- sleepers and wakers */

static void coroutine_fn sleeper_entry(void *opaque)
{
    ScenarioSleeper *sleeper = opaque;

    for (unsigned i = 0; i < sleeper->sleeps && !qatomic_read(&sleeper->stop); i++) {
        int64_t deadline_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + sleeper->ns;

        __atomic_store_n(&sleeper->going, 1, __ATOMIC_SEQ_CST);
        qemu_co_sleep_ns_wakeable(&sleeper->w, QEMU_CLOCK_REALTIME, sleeper->ns);
        __atomic_store_n(&sleeper->going, 0, __ATOMIC_SEQ_CST);
        if (qatomic_read(&sleeper->stop) && qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >= deadline_ns) {
            fuzz_reached("wake-together-with-the-timer");
        }
    }
    __atomic_store_n(&sleeper->ended, 1, __ATOMIC_SEQ_CST);
}

static void coroutine_fn alone_entry(void *opaque)
{
    ScenarioSleeper *sleeper = opaque;

    switch (sleeper->kind) {
    case SLEEPER_ALONE:
        sleep_alone(sleeper);
        break;
    case SLEEPER_FOR_WORK:
        wait_for_work();
        break;
    default:
        keep_to_a_rate(sleeper);
        break;
    }
    __atomic_store_n(&sleeper->ended, 1, __ATOMIC_SEQ_CST);
}

static void wake(ScenarioSleeper *sleeper)
{
    uintptr_t to_wake = (uintptr_t)__atomic_load_n(&sleeper->w.to_wake, __ATOMIC_SEQ_CST);

    if (to_wake > 1) {
        fuzz_reached("wake-of-a-sleeper");
    } else if (__atomic_load_n(&sleeper->going, __ATOMIC_SEQ_CST)) {
        fuzz_reached(to_wake ? "wake-on-the-way-out" : "wake-on-the-way-in");
    } else if (!__atomic_load_n(&sleeper->ended, __ATOMIC_SEQ_CST)) {
        fuzz_reached("wake-before-sleep");
    }
    qemu_co_sleep_wake(&sleeper->w);
}

static void coroutine_fn waker_entry(void *opaque)
{
    ScenarioSleeper *sleeper = opaque;

    for (unsigned i = 0; i < sleeper->wakes; i++) {
        wake(sleeper);
        scenario_pause();
    }
}

void scenario_sleepers_start(ScenarioSleepers *sleepers, Scenario *scenario, FuzzInput *in)
{
    unsigned threads = scenario->thread_count;

    sleepers->count = 1 + fuzz_choice(in, SLEEPERS_MAX);
    for (unsigned i = 0; i < sleepers->count; i++) {
        uint8_t flags = fuzz_byte(in);

        sleepers->all[i].ns = lengths_ns[flags & 3];
        sleepers->all[i].sleeps = 1 + (flags >> 2 & 3);
        sleepers->all[i].wakes = (1 + (flags >> 4)) % 4;
        sleepers->all[i].kind = (ScenarioSleeperKind)(flags >> 6);
        qemu_co_sleep_init(&sleepers->all[i].w);
    }
    for (unsigned i = 0; i < sleepers->count; i++) {
        bool alone = sleepers->all[i].kind != SLEEPER;

        scenario_start(scenario, 1 + i % threads, alone ? alone_entry : sleeper_entry, &sleepers->all[i]);
        if (sleepers->all[i].wakes && !alone) {
            scenario_start(scenario, 1 + (i + 1) % threads, waker_entry, &sleepers->all[i]);
        }
    }
}

void scenario_sleepers_wake_one(ScenarioSleepers *sleepers)
{
    if (sleepers->all[0].kind == SLEEPER) {
        wake(&sleepers->all[0]);
    }
}

void scenario_sleepers_stop(ScenarioSleepers *sleepers)
{
    for (unsigned i = 0; i < sleepers->count; i++) {
        qatomic_set(&sleepers->all[i].stop, true);
        if (sleepers->all[i].kind == SLEEPER) {
            wake(&sleepers->all[i]);
        }
    }
}

/* ---- two that wake each other */

static void coroutine_fn relay_entry(void *opaque)
{
    struct ScenarioRunner *runner = opaque;

    for (unsigned i = 0; i < RELAY_ROUNDS; i++) {
        if (!runner->first || i > 0) {
            qemu_co_sleep_ns_wakeable(runner->mine, QEMU_CLOCK_REALTIME, LONG_NS);
        }
        qemu_co_sleep_wake(runner->others);
    }
}

void scenario_relay_start(ScenarioRelay *relay, Scenario *scenario)
{
    for (unsigned i = 0; i < 2; i++) {
        qemu_co_sleep_init(&relay->sleeps[i]);
        relay->runners[i] = (struct ScenarioRunner){ &relay->sleeps[i], &relay->sleeps[!i], i == 0 };
    }
    scenario_start(scenario, 1, relay_entry, &relay->runners[0]);
    scenario_start(scenario, 1, relay_entry, &relay->runners[1]);
}
