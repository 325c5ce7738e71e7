/*
 * Virtual time: order of timers, nothing passes a deadline, idle jumps, timed waits.
 */
#include "sched_kit.h"

#define TIMERS  200u
#define LOOK_NS 100u /* no look at the clock moves it further */

typedef struct TestTimer {
    SchedTimer timer; /* first: the callback gets its address */
    uint64_t wanted_ns;
    unsigned armed_as;
} TestTimer;

static TestTimer timers[TIMERS];
static const TestTimer *expired[TIMERS];
static unsigned expired_count;

static void on_expiry(SchedTimer *timer)
{
    TestTimer *test = (TestTimer *)timer;

    g_assert_cmpuint(expired_count, <, TIMERS);
    g_assert_cmpuint(sched_now_ns(), >=, test->wanted_ns);
    g_assert_cmpuint(sched_now_ns(), <, test->wanted_ns + LOOK_NS);
    expired[expired_count++] = test;
}

static void arm_all(uint64_t seed, uint32_t range_ns)
{
    SchedRandom random;

    sched_random_seed(&random, seed);
    expired_count = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        timers[i] = (TestTimer){ { .deadline_ns = SCHED_FOREVER, .expired = on_expiry },
                                 1 + sched_random_below(&random, range_ns),
                                 i };
        sched_timer_arm(&timers[i].timer, timers[i].wanted_ns);
    }
}

static void assert_expired_in_order(unsigned count)
{
    g_assert_cmpuint(expired_count, ==, count);
    for (unsigned i = 1; i < count; i++) {
        const TestTimer *a = expired[i - 1], *b = expired[i];

        g_assert_true(a->wanted_ns < b->wanted_ns || (a->wanted_ns == b->wanted_ns && a->armed_as < b->armed_as));
    }
}

static void idle_body(void *opaque)
{
    uint64_t seed = *(uint64_t *)opaque;

    arm_all(seed, seed % 2 ? 50 : 1000000); /* 200 deadlines below 50: many are equal */
    kit_sleep_until(1000000);
    g_assert_cmpuint(sched_now_ns(), ==, 1000000);
    assert_expired_in_order(TIMERS);
}

static void test_timers_in_order(void)
{
    const SchedPlan plan = { 0 };

    for (uint64_t seed = 0; seed < 100; seed++) {
        kit_run_done(idle_body, &seed, &plan);
    }
}

/* Looks move the clock, and the input moves it early: no timer is skipped either way. */
static void busy_body(void *opaque)
{
    uint64_t last = 0;

    arm_all(*(uint64_t *)opaque, 20000);
    while (expired_count < TIMERS) {
        uint64_t now;

        SCHED_POINT(SCHED_CALL_CLOCK, 0);
        now = sched_look_at_clock_ns();
        g_assert_cmpuint(now, >, last);
        g_assert_cmpuint(now, ==, sched_now_ns());
        last = now;
    }
    assert_expired_in_order(TIMERS);
}

static void test_nothing_passes_a_deadline(void)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        const SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed, .clock_rate = seed % 16 };

        kit_run_done(busy_body, &seed, &plan);
    }
}

static void disarm_body(void *opaque)
{
    uint64_t seed = *(uint64_t *)opaque;

    arm_all(seed, 1000);
    for (unsigned i = 0; i < TIMERS; i += 2) {
        sched_timer_disarm(&timers[(i + seed) % TIMERS].timer);
    }
    sched_timer_disarm(&timers[seed % TIMERS].timer); /* twice is once */
    kit_sleep_until(1000);
    assert_expired_in_order(TIMERS / 2);
    for (unsigned i = 0; i < expired_count; i++) {
        g_assert_cmpuint((expired[i]->armed_as + seed) % 2, ==, 1);
    }
}

static void test_disarm(void)
{
    const SchedPlan plan = { 0 };

    for (uint64_t seed = 0; seed < 100; seed++) {
        kit_run_done(disarm_body, &seed, &plan);
    }
}

static void ten_minutes(void *unused)
{
    (void)unused;
    kit_sleep_until(600000 * KIT_MS);
}

static void test_long_sleep_costs_nothing(void)
{
    const SchedPlan plan = { 0 };
    const SchedResult *result = kit_run_done(ten_minutes, NULL, &plan);

    g_assert_cmpuint(result->time_ns, ==, 600000 * KIT_MS);
    g_assert_cmpuint(result->steps, <, 10);
}

static void each_second(void *unused)
{
    (void)unused;
    for (uint64_t second = 1;; second++) {
        kit_sleep_until(second * 1000 * KIT_MS);
    }
}

static void test_time_bound(void)
{
    const SchedLimits limits = { .time_ns = 10500 * KIT_MS };
    const SchedPlan plan = { 0 };
    const SchedResult *result = sched_run(each_second, NULL, &plan, &limits);

    g_assert_cmpint(result->outcome, ==, SCHED_TIME_BOUND);
    g_assert_cmpuint(result->time_ns, ==, 10000 * KIT_MS);
    g_assert_cmpint(sched_run(each_second, NULL, &plan, NULL)->outcome, ==, SCHED_TIME_BOUND);
}

/* ---- timed waits */

static KitMutex mutex;
static KitCond cond;
static bool flag;
static SchedWake wake;
static uint64_t woken_ns;

static void *timed_waiter(void *unused)
{
    (void)unused;
    kit_lock(&mutex);
    wake = flag ? SCHED_WOKEN : kit_cond_wait(&cond, &mutex, 5 * KIT_MS);
    woken_ns = sched_now_ns();
    kit_unlock(&mutex);
    kit_sleep_until(20 * KIT_MS); /* a timer left armed would end this */
    g_assert_cmpuint(sched_now_ns(), >=, 20 * KIT_MS);
    return NULL;
}

static void timed_body(void *opaque)
{
    SchedThread *waiter;

    mutex = (KitMutex){ 0 };
    cond = (KitCond){ 0 };
    flag = false;
    waiter = kit_spawn(timed_waiter, NULL);
    kit_sleep_until(*(uint64_t *)opaque);
    kit_lock(&mutex);
    flag = true;
    kit_cond_signal(&cond);
    kit_unlock(&mutex);
    kit_join(waiter);
}

static void test_timed_wait(void)
{
    const SchedPlan plan = { 0 };
    uint64_t signal_ns = 3 * KIT_MS;

    kit_run_done(timed_body, &signal_ns, &plan);
    g_assert_cmpint(wake, ==, SCHED_WOKEN);
    g_assert_cmpuint(woken_ns, ==, 3 * KIT_MS);
    signal_ns = 7 * KIT_MS;
    kit_run_done(timed_body, &signal_ns, &plan);
    g_assert_cmpint(wake, ==, SCHED_TIMEOUT);
    g_assert_cmpuint(woken_ns, ==, 5 * KIT_MS);
}

/* Where the input moves the clock, the time-out comes first in some executions although the signal is due before. */
static void test_early_clock_is_a_decision(void)
{
    uint64_t signal_ns = 3 * KIT_MS;
    unsigned timeouts = 0, wakes = 0;

    for (uint64_t seed = 0; seed < 500; seed++) {
        const SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed, .clock_rate = 1 };

        kit_run_done(timed_body, &signal_ns, &plan);
        *(wake == SCHED_TIMEOUT ? &timeouts : &wakes) += 1;
    }
    g_assert_cmpuint(timeouts, >, 10);
    g_assert_cmpuint(wakes, >, 10);
}

static void *sleep_for_a_second(void *unused)
{
    (void)unused;
    kit_sleep_until(1000 * KIT_MS);
    return NULL;
}

static void crowded_body(void *opaque)
{
    uint64_t *busy_until_ns = opaque;
    SchedThread *sleeper = kit_spawn(sleep_for_a_second, NULL);

    mutex = (KitMutex){ 0 };
    for (unsigned i = 0; i < 100; i++) {
        kit_lock(&mutex);
        kit_unlock(&mutex);
    }
    *busy_until_ns = MAX(*busy_until_ns, sched_now_ns());
    kit_join(sleeper);
}

/* A thread that could run is not kept waiting for longer than a late wakeup takes. At rate 1 a quarter of 200 points moves the clock. */
static void test_no_long_jump_past_a_busy_thread(void)
{
    uint64_t busy_until_ns = 0;

    for (uint64_t seed = 0; seed < 20; seed++) {
        const SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed, .clock_rate = 1 };

        kit_run_done(crowded_body, &busy_until_ns, &plan);
    }
    g_assert_cmpuint(busy_until_ns, <, 1000 * KIT_MS);
}

/* ---- the end of an execution */

static void *sleep_for_ever(void *unused)
{
    (void)unused;
    kit_sleep_until(SCHED_FOREVER);
    return NULL;
}

static void leave_a_sleeper(void *join)
{
    SchedThread *sleeper = kit_spawn(sleep_for_ever, NULL);

    if (join) {
        kit_join(sleeper);
    }
}

static void test_quiescence(void)
{
    const SchedPlan plan = { 0 };
    const SchedResult *result = sched_run(leave_a_sleeper, &wake, &plan, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_QUIESCENT);
    g_assert_cmpuint(result->threads_left, ==, 2);
    g_assert_nonnull(sched_thread_block(sched_thread_by_id(0)));
    g_assert_cmpint(sched_thread_block(sched_thread_by_id(0))->call, ==, SCHED_CALL_JOIN);
    g_assert_true(sched_thread_block(sched_thread_by_id(1))->sleeping);
    result = kit_run_done(leave_a_sleeper, NULL, &plan);
    g_assert_cmpuint(result->threads_left, ==, 1);
}

/* ---- a timer that is set anew each time, and a thread that needs a while */

enum { WORK = 4000, CLOCK_MOVES = 256 };

static int worked;

static void *work_for_a_while(void *unused)
{
    for (int i = 0; i < WORK; i++) {
        qatomic_set(&worked, i + 1);
    }
    return unused;
}

static void sleep_until_it_is_done(void *unused)
{
    SchedThread *thread;

    (void)unused;
    worked = 0;
    thread = kit_spawn(work_for_a_while, NULL);
    while (qatomic_read(&worked) < WORK) {
        kit_sleep_until(sched_now_ns() + KIT_MS);
    }
    kit_join(thread);
}

/* While somebody could run the plan moves the clock so often and not more: or the sleeper would have the processor, and minutes would pass. */
static void test_clock_does_not_run_away(void)
{
    SchedPlan plan = { .base = SCHED_BASE_WALK, .atomics = true, .clock_rate = 1 };

    for (plan.seed = 1; plan.seed <= 20; plan.seed++) {
        const SchedResult *result = kit_run_done(sleep_until_it_is_done, NULL, &plan);
        unsigned moves = 0;

        for (uint32_t i = 0; i < result->deviation_count; i++) {
            moves += result->deviation_places[i].kind == SCHED_PLACE_CLOCK;
        }
        g_assert_true(result->deviations_complete);
        g_assert_cmpuint(moves, ==, CLOCK_MOVES);
    }
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    g_test_add_func("/sched/clock/timers-in-order", test_timers_in_order);
    g_test_add_func("/sched/clock/nothing-passes-a-deadline", test_nothing_passes_a_deadline);
    g_test_add_func("/sched/clock/disarm", test_disarm);
    g_test_add_func("/sched/clock/long-sleep-costs-nothing", test_long_sleep_costs_nothing);
    g_test_add_func("/sched/clock/time-bound", test_time_bound);
    g_test_add_func("/sched/clock/timed-wait", test_timed_wait);
    g_test_add_func("/sched/clock/early-clock-is-a-decision", test_early_clock_is_a_decision);
    g_test_add_func("/sched/clock/no-long-jump-past-a-busy-thread", test_no_long_jump_past_a_busy_thread);
    g_test_add_func("/sched/clock/does-not-run-away", test_clock_does_not_run_away);
    g_test_add_func("/sched/clock/quiescence", test_quiescence);
    return g_test_run();
}
