/*
 * Sleeping coroutines and their wakers, on real threads.
 *
 * Sleeps that must not last are of ten minutes: one that does is ended by alarm(). Numbers of rounds: 2,000 sleeps take a few tenths
 * of a second and meet wakes in every phase many times; windows of a few instructions are for the fuzz target.
 */
#include <errno.h>

#include "core_upper_harness.h"

#include "core/co_sleep.h"

#define FOREVER_NS (600 * NANOSECONDS_PER_SECOND)
#define ROUNDS     2000

typedef struct Sleeper {
    QemuCoSleep w;
    int64_t ns;
    unsigned sleeps;      /* to do */
    unsigned begun, ended; /* atomic */
} Sleeper;

static void coroutine_fn sleeper_entry(void *opaque)
{
    Sleeper *sleeper = opaque;

    for (unsigned i = 0; i < sleeper->sleeps; i++) {
        qatomic_inc(&sleeper->begun);
        qemu_co_sleep_ns_wakeable(&sleeper->w, QEMU_CLOCK_REALTIME, sleeper->ns);
        qatomic_inc(&sleeper->ended);
    }
}

/* Fails where a wake with nobody asleep is forgotten. */
static void test_wake_before_sleep(void)
{
    Sleeper sleeper = { .ns = FOREVER_NS, .sleeps = 1 };

    core_up(1);
    qemu_co_sleep_wake(&sleeper.w);
    test_co_start(thread_ctx(0), sleeper_entry, &sleeper);
    test_co_wait_all();
    g_assert_cmpuint(sleeper.ended, ==, 1);
    core_down();
}

/* Fails where two wakes shorten two sleeps: the second one lasts as long as it should. */
static void test_wakes_coalesce(void)
{
    Sleeper sleeper = { .ns = 20 * SCALE_MS, .sleeps = 2 };
    int64_t start_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    core_up(1);
    qemu_co_sleep_wake(&sleeper.w);
    qemu_co_sleep_wake(&sleeper.w);
    test_co_start(thread_ctx(0), sleeper_entry, &sleeper);
    test_co_wait_all();
    g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start_ns, >=, 20 * SCALE_MS);
    core_down();
}

/* Fails where a sleep leaves its wake behind: it would shorten the next one. */
static void test_timer_ends_sleep(void)
{
    Sleeper sleeper = { .ns = 10 * SCALE_MS, .sleeps = 2 };
    int64_t start_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    core_up(1);
    test_co_start(thread_ctx(0), sleeper_entry, &sleeper);
    test_co_wait_all();
    g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start_ns, >=, 20 * SCALE_MS);
    g_assert_cmpuint(sleeper.ended, ==, 2);
    core_down();
}

static void coroutine_fn plain_sleep_entry(void *opaque)
{
    int64_t start_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 5 * SCALE_MS);
    *(int64_t *)opaque = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start_ns;
}

static void test_sleep_that_nobody_wakes(void)
{
    int64_t slept_ns = 0;

    core_up(0);
    test_co_start(qemu_get_aio_context(), plain_sleep_entry, &slept_ns);
    test_co_wait_all();
    g_assert_cmpint(slept_ns, >=, 5 * SCALE_MS);
    core_down();
}

/* A wake after each beginning of a sleep, wherever the sleeper has got to: none may be lost. */
static void test_wakes_from_another_thread(void)
{
    Sleeper sleeper = { .ns = FOREVER_NS, .sleeps = ROUNDS };

    core_up(1);
    test_co_start(thread_ctx(0), sleeper_entry, &sleeper);
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (qatomic_read(&sleeper.begun) <= i) {
            g_thread_yield();
        }
        qemu_co_sleep_wake(&sleeper.w);
        while (qatomic_read(&sleeper.ended) <= i) {
            g_thread_yield();
        }
    }
    test_co_wait_all();
    core_down();
}

static void coroutine_fn waker_entry(void *opaque)
{
    Sleeper *sleeper = opaque;

    while (qatomic_read(&sleeper->ended) < sleeper->sleeps) {
        qemu_co_sleep_wake(&sleeper->w);
        test_co_pause();
    }
}

/* Fails, by a double entry, where two wakers or a waker and the timer find the same sleeper. */
static void test_wakers_and_timer_meet(void)
{
    Sleeper sleeper = { .ns = 1000, .sleeps = ROUNDS };

    core_up(3);
    test_co_start(thread_ctx(0), sleeper_entry, &sleeper);
    test_co_start(thread_ctx(1), waker_entry, &sleeper);
    test_co_start(thread_ctx(2), waker_entry, &sleeper);
    test_co_wait_all();
    g_assert_cmpuint(sleeper.ended, ==, ROUNDS);
    core_down();
}

/* ---- qemu_co_timeout() ---- */

typedef struct Work {
    int64_t ns;
    bool ended, cleaned;
    int ret;
    uint64_t timeout_ns;
} Work;

static void coroutine_fn work_entry(void *opaque)
{
    Work *work = opaque;

    if (work->ns) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, work->ns);
    }
    work->ended = true;
}

static void work_clean(void *opaque)
{
    Work *work = opaque;

    g_assert_true(work->ended);
    work->cleaned = true;
}

static void coroutine_fn timeout_entry(void *opaque)
{
    Work *work = opaque;

    work->ret = qemu_co_timeout(work_entry, work, work->timeout_ns, work_clean);
}

static void run_timeout(Work *work)
{
    core_up(1);
    test_co_start(thread_ctx(0), timeout_entry, work);
    test_co_wait_all();
    while (coroutine_live_count()) {
        g_thread_yield(); /* the work that was given up goes on alone */
    }
    core_down();
}

static void test_timeout_in_time(void)
{
    Work at_once = { .timeout_ns = FOREVER_NS };
    Work later = { .ns = SCALE_MS, .timeout_ns = FOREVER_NS };
    Work no_limit = { .ns = SCALE_MS };

    run_timeout(&at_once);
    g_assert_true(at_once.ended && !at_once.cleaned && at_once.ret == 0);
    run_timeout(&later);
    g_assert_true(later.ended && !later.cleaned && later.ret == 0);
    run_timeout(&no_limit);
    g_assert_true(no_limit.ended && !no_limit.cleaned && no_limit.ret == 0);
}

static void test_timeout_too_late(void)
{
    Work work = { .ns = 20 * SCALE_MS, .timeout_ns = SCALE_MS };

    run_timeout(&work);
    g_assert_cmpint(work.ret, ==, -ETIMEDOUT);
    g_assert_true(work.ended && work.cleaned);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/co-sleep/wake-before-sleep-shortens-it", test_wake_before_sleep);
    g_test_add_func("/co-sleep/wakes-coalesce", test_wakes_coalesce);
    g_test_add_func("/co-sleep/timer-ends-sleep-and-leaves-no-wake", test_timer_ends_sleep);
    g_test_add_func("/co-sleep/sleep-that-nobody-wakes", test_sleep_that_nobody_wakes);
    g_test_add_func("/co-sleep/wakes-from-another-thread", test_wakes_from_another_thread);
    g_test_add_func("/co-sleep/wakers-and-timer-meet", test_wakers_and_timer_meet);
    g_test_add_func("/co-timeout/in-time", test_timeout_in_time);
    g_test_add_func("/co-timeout/too-late", test_timeout_too_late);
    return g_test_run();
}
