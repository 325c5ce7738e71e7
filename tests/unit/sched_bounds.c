/*
 * Every execution ends: step bound, spin loops, recursion, guard pages.
 */
#include <sys/resource.h>
#include <sys/time.h>

#include "sched_kit.h"

static int object;

static void endless(void *unused)
{
    (void)unused;
    for (;;) {
        SCHED_POINT(SCHED_CALL_OTHER, &object);
    }
}

static void *endless_thread(void *unused)
{
    endless(unused);
    return NULL;
}

static void two_endless(void *unused)
{
    (void)unused;
    kit_spawn(endless_thread, NULL);
    endless(NULL);
}

static void test_step_bound(void)
{
    const SchedLimits limits = { .steps = 500 };

    for (SchedBase base = 0; base < SCHED_BASE_COUNT; base++) {
        const SchedPlan plan = { .base = base, .seed = base, .length = 500 };
        const SchedResult *result = sched_run(endless, NULL, &plan, &limits);

        g_assert_cmpint(result->outcome, ==, SCHED_STEP_BOUND);
        g_assert_cmpuint(result->steps, ==, 500);
        result = sched_run(two_endless, NULL, &plan, &limits);
        g_assert_cmpint(result->outcome, ==, SCHED_STEP_BOUND);
        g_assert_cmpuint(result->steps, ==, 500);
    }
}

static void test_default_step_bound(void)
{
    const SchedPlan plan = { 0 };

    g_assert_cmpuint(sched_run(endless, NULL, &plan, NULL)->steps, ==, 200000);
}

/* ---- loops that wait for another thread */

static int flag;

static void *set_flag(void *unused)
{
    (void)unused;
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    qatomic_set(&flag, 1);
    return NULL;
}

static void spin_with_yield(void *unused)
{
    SchedThread *setter;

    (void)unused;
    flag = 0;
    setter = kit_spawn(set_flag, NULL);
    while (!qatomic_read(&flag)) {
        kit_yield();
    }
    kit_join(setter);
}

static void spin_without_yield(void *unused)
{
    SchedThread *setter;

    (void)unused;
    flag = 0;
    setter = kit_spawn(set_flag, NULL);
    while (!qatomic_read(&flag)) {
        continue;
    }
    kit_join(setter);
}

/* With points at atomics or without: a loop that reads an atomic lets the others go first after so many steps in a row. */
static void check_spin(void (*body)(void *), uint64_t most_steps)
{
    for (SchedBase base = 0; base < SCHED_BASE_COUNT; base++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            const SchedPlan plan = { .base = base, .seed = seed, .parameter = (uint8_t)seed, .length = 50, .atomics = seed & 1 };
            const SchedResult *result = kit_run_done(body, NULL, &plan);

            g_assert_cmpuint(result->steps, <=, most_steps);
            if (base == SCHED_BASE_FIFO) {
                g_assert_cmpuint(result->preemptions, ==, 0); /* nobody has chosen to stop it */
            }
        }
    }
}

static void test_spin_with_yield(void)
{
    check_spin(spin_with_yield, 200);
}

/* RUN_MAX is 1,000 steps in a row; the setter needs three points, and may lose the processor before each. */
static void test_spin_without_yield(void)
{
    check_spin(spin_without_yield, 4 * 1000 + 100);
}

static void spin_in_vain(void *unused)
{
    (void)unused;
    flag = 0;
    while (!qatomic_read(&flag)) {
        kit_yield();
    }
}

static void test_spin_in_vain(void)
{
    const SchedLimits limits = { .steps = 3000 };
    const SchedPlan plan = { .atomics = true };

    g_assert_cmpint(sched_run(spin_in_vain, NULL, &plan, &limits)->outcome, ==, SCHED_STEP_BOUND);
}

/* ---- stacks */

static volatile unsigned sink;

__attribute__((noinline)) static void recurse_with_points(unsigned depth)
{
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    if (depth) {
        recurse_with_points(depth - 1);
    }
    sink++; /* not a tail call */
}

static void recursion_body(void *depth)
{
    recurse_with_points((unsigned)(uintptr_t)depth);
}

/* A level is one step; the address after the inner call stands on the stack once less than there are levels, and 256 times are too many:
 * level 257, seen at the next step that is a multiple of 8: level 264. The number of levels and of steps decides and not the bytes, so it
 * is the same in each flavour. */
static void test_recursion_bound(void)
{
    const SchedPlan plan = { 0 };
    const SchedResult *result = sched_run(recursion_body, (void *)(uintptr_t)100000, &plan, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_STACK_OVERFLOW);
    g_assert_true(result->culprit == sched_thread_by_id(0));
    g_assert_cmpuint(result->steps, ==, 263);
    kit_run_done(recursion_body, (void *)(uintptr_t)255, &plan);
    g_assert_cmpint(sched_run(recursion_body, (void *)(uintptr_t)263, &plan, NULL)->outcome, ==, SCHED_STACK_OVERFLOW);
}

static void test_recursion_limit(void)
{
    const SchedLimits limits = { .recursion = 1000 };
    const SchedPlan plan = { 0 };
    const SchedResult *result = sched_run(recursion_body, (void *)(uintptr_t)100000, &plan, &limits);

    g_assert_cmpint(result->outcome, ==, SCHED_STACK_OVERFLOW);
    g_assert_cmpuint(result->steps, ==, 1007);
}

__attribute__((noinline)) static unsigned recurse_without_points(unsigned depth)
{
    volatile char frame[4000];

    frame[depth % sizeof(frame)] = 1;
    if (depth) {
        sink += recurse_without_points(depth - 1);
    }
    return sink + (unsigned)frame[(depth + 1) % sizeof(frame)];
}

static void *deep_thread(void *unused)
{
    (void)unused;
    recurse_without_points(1000000);
    return NULL;
}

static void deep_body(void *unused)
{
    kit_join(kit_spawn(deep_thread, unused));
}

/* The guard page is hit in a thread that has no points; the process lives, and so do the executions after it. */
static void test_guard_page(void)
{
    const SchedPlan plan = { 0 };

    for (unsigned i = 0; i < 20; i++) {
        const SchedResult *result = sched_run(deep_body, NULL, &plan, NULL);

        g_assert_cmpint(result->outcome, ==, SCHED_STACK_OVERFLOW);
        g_assert_true(result->culprit == sched_thread_by_id(1));
        kit_run_done(spin_with_yield, NULL, &plan);
    }
}

/* ---- a loop without a point */

static volatile unsigned rounds;

static void *spin_without_points(void *unused)
{
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    for (;;) {
        rounds++;
    }
    return unused;
}

static void spin_body(void *unused)
{
    kit_join(kit_spawn(spin_without_points, unused));
}

static double user_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6;
}

/* Also where the process has had many executions: the clock is of the last step. And each time with the same trace. */
static void test_no_step(void)
{
    const struct itimerval faster = { .it_interval = { .tv_usec = 50000 }, .it_value = { .tv_usec = 50000 } };
    const SchedPlan plan = { 0 };
    uint64_t hash = 0;
    double took[3];

    setitimer(ITIMER_VIRTUAL, &faster, NULL); /* the same number of ticks, a twentieth of the time */
    for (unsigned i = 0; i < 3; i++) {
        double started = user_seconds();
        const SchedResult *result;

        sched_expect_no_step(i == 2);
        result = sched_run(spin_body, NULL, &plan, NULL);
        took[i] = user_seconds() - started;
        g_assert_cmpint(result->outcome, ==, SCHED_NO_STEP);
        g_assert_true(result->culprit == sched_thread_by_id(1));
        g_assert_true(i == 0 || hash == result->trace_hash);
        hash = result->trace_hash;
        kit_run_done(spin_with_yield, NULL, &plan);
    }
    g_assert_cmpfloat(took[2], <, took[0] / 2); /* expected, it is known by a fifth */
    sched_expect_no_step(false);
    sched_start_clock();
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    g_test_add_func("/sched/bounds/steps", test_step_bound);
    g_test_add_func("/sched/bounds/steps-default", test_default_step_bound);
    g_test_add_func("/sched/bounds/spin-with-yield", test_spin_with_yield);
    g_test_add_func("/sched/bounds/spin-without-yield", test_spin_without_yield);
    g_test_add_func("/sched/bounds/spin-in-vain", test_spin_in_vain);
    g_test_add_func("/sched/bounds/recursion", test_recursion_bound);
    g_test_add_func("/sched/bounds/recursion-limit", test_recursion_limit);
    g_test_add_func("/sched/bounds/guard-page", test_guard_page);
    g_test_add_func("/sched/bounds/no-step", test_no_step);
    return g_test_run();
}
