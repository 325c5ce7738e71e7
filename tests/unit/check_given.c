/*
 * The oracle for wakeups that were given and did not arrive (src/check/given.c): small programs whose "coroutine" is a thread that
 * sleeps in a place of its own, run by the scheduler on the simulated OS, first in first out.
 *
 * The programs tell the oracle what they do as the core's sleeps do. A lost wake is one that is told and not done.
 */
#include <glib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check/check.h"
#include "check/given.h"
#include "core/atomic.h"
#include "os/os.h"
#include "report/report.h"
#include "report/symbolize.h"
#include "sched/sched.h"

#define MINUTES_10_NS 600000000000ull

static pthread_mutex_t lock;
static pthread_cond_t cond;
static bool woken;   /* under lock */
static int to_wake;  /* the place; what the sleeper and the waker touch in it */
static bool ticking; /* another thread sleeps for a second again and again; atomic */

static const SchedResult *result;
static CheckResult check;

static void run(void (*body)(void *), const SchedLimits *limits)
{
    const SchedPlan plan = { .atomics = true };

    result = sched_run(body, NULL, &plan, limits);
    check = check_judge(result);
}

static void assert_report_has(const char *part)
{
    const ReportFinding finding = { .result = result, .check = &check };
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    report_print(out, &finding);
    fclose(out);
    if (!strstr(text, part)) {
        g_error("'%s' is not in the report:\n%s", part, text);
    }
    free(text);
}

/* ---- the sleeper */

static void sleep_until_woken(void)
{
    check_sleep_begins(&to_wake);
    qatomic_xchg(&to_wake, 1);
    pthread_mutex_lock(&lock);
    while (!woken) {
        pthread_cond_wait(&cond, &lock);
    }
    pthread_mutex_unlock(&lock);
    check_sleep_ended(&to_wake);
}

static void sleep_10_minutes(void)
{
    const struct timespec span = { .tv_sec = 600 };

    check_sleep_begins(&to_wake);
    qatomic_xchg(&to_wake, 1);
    nanosleep(&span, NULL);
    check_sleep_ended(&to_wake);
}

static void *sleeper(void *function)
{
    ((void (*)(void))function)();
    return NULL;
}

static void *ticker(void *unused)
{
    const struct timespec second = { .tv_sec = 1 };

    while (qatomic_read(&ticking)) {
        nanosleep(&second, NULL);
    }
    return unused;
}

/* ---- the waker */

static void wake_and_lose(void)
{
    check_wake_given(&to_wake);
    qatomic_xchg(&to_wake, 0);
}

static void wake_and_deliver(void)
{
    check_wake_given(&to_wake);
    qatomic_xchg(&to_wake, 0);
    check_wake_delivered(&to_wake);
    pthread_mutex_lock(&lock);
    woken = true;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&lock);
}

static void wake_what_was_there_before(void)
{
    wake_and_lose();
    check_place_init(&to_wake);
}

static void wake_nobody(void)
{
}

/* ---- programs: the sleeper begins, then the waker comes; or the other way round */

static void play(void (*sleep)(void), void (*wake)(void), bool wake_first)
{
    pthread_t thread;

    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&cond, NULL);
    woken = false;
    to_wake = 0;
    if (wake_first) {
        wake();
    }
    pthread_create(&thread, NULL, sleeper, (void *)sleep);
    sched_yield();
    if (!wake_first) {
        wake();
    }
    pthread_join(thread, NULL);
}

static void lost_for_ever(void *unused)
{
    (void)unused;
    play(sleep_until_woken, wake_and_lose, false);
}

static void rescued_by_timer(void *unused)
{
    (void)unused;
    play(sleep_10_minutes, wake_and_lose, false);
}

static void remembered_and_forgotten(void *unused)
{
    (void)unused;
    play(sleep_10_minutes, wake_and_lose, true);
}

static void delivered(void *unused)
{
    (void)unused;
    play(sleep_until_woken, wake_and_deliver, false);
}

static void never_woken(void *unused)
{
    (void)unused;
    play(sleep_10_minutes, wake_nobody, false);
}

static void another_place(void *unused)
{
    (void)unused;
    play(sleep_10_minutes, wake_what_was_there_before, true);
}

static void lost_while_others_go_on(void *unused)
{
    pthread_t thread;

    (void)unused;
    ticking = true;
    pthread_create(&thread, NULL, ticker, NULL);
    play(sleep_until_woken, wake_and_lose, false);
    ticking = false;
    pthread_join(thread, NULL);
}

/* ---- tests */

static void test_lost_for_ever(void)
{
    run(lost_for_ever, NULL);
    g_assert_cmpstr(check_verdict_name(check.verdict), ==, "missed-wakeup");
    g_assert_cmpint(check.cause.kind, ==, CHECK_CAUSE_GIVEN);
    g_assert_cmpuint(check.cause.waiter, ==, 1);
    g_assert_cmpuint(check.cause.waker, ==, 0);

    /* The stack to begin with is that of the one who waits for what should have come of the wake. */
    g_assert_true(check.culprit == sched_thread_by_id(0));
    assert_report_has("panic: missed-wakeup: thread1 waits in sleep_until_woken, wake_and_lose did not wake it\n");
    assert_report_has(": to_wake 1 -> 0 was to wake a sleeper of thread1, and did not (check_given.c:");
}

static void assert_late_by_10_minutes(void)
{
    g_assert_cmpstr(check_verdict_name(check.verdict), ==, "late-wakeup");
    g_assert_cmpint(check.cause.kind, ==, CHECK_CAUSE_GIVEN);
    g_assert_cmpuint(check.late_ns, >=, MINUTES_10_NS - 1000000);
    g_assert_cmpuint(check.late_ns, <=, MINUTES_10_NS + 1000000);
}

static void test_rescued_by_timer(void)
{
    run(rescued_by_timer, NULL);
    assert_late_by_10_minutes();
    assert_report_has(
        "panic: late-wakeup: thread1 waits in sleep_10_minutes, wake_and_lose did not wake it; only a timer would have");
}

static void test_remembered_and_forgotten(void)
{
    run(remembered_and_forgotten, NULL);
    assert_late_by_10_minutes();
}

static void test_nothing_owed(gconstpointer data)
{
    run((void (*)(void *))data, NULL);
    g_assert_cmpstr(check_verdict_name(check.verdict), ==, "none");
}

/* The clock never stops: the bound of virtual time ends it, and it is no livelock. */
static void test_lost_while_others_go_on(void)
{
    const SchedLimits limits = { .time_ns = 20000000000 };

    run(lost_while_others_go_on, &limits);
    g_assert_cmpint(result->outcome, ==, SCHED_TIME_BOUND);
    g_assert_cmpstr(check_verdict_name(check.verdict), ==, "missed-wakeup");
}

/* What one execution has found is not found again in the next. */
static void test_forgets(void)
{
    run(lost_for_ever, NULL);
    run(never_woken, NULL);
    g_assert_cmpstr(check_verdict_name(check.verdict), ==, "none");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (sched_init()) {
        g_error("the scheduler cannot be prepared");
    }
    os_init();
    check_init();
    sched_set_namer(report_site_namer);
    g_test_add_func("/given/lost-for-ever", test_lost_for_ever);
    g_test_add_func("/given/rescued-by-timer", test_rescued_by_timer);
    g_test_add_func("/given/remembered-and-forgotten", test_remembered_and_forgotten);
    g_test_add_func("/given/lost-while-others-go-on", test_lost_while_others_go_on);
    g_test_add_data_func("/given/nothing-owed/delivered", (gconstpointer)delivered, test_nothing_owed);
    g_test_add_data_func("/given/nothing-owed/never-woken", (gconstpointer)never_woken, test_nothing_owed);
    g_test_add_data_func("/given/nothing-owed/another-place", (gconstpointer)another_place, test_nothing_owed);
    g_test_add_func("/given/forgets", test_forgets);
    return g_test_run();
}
