/*
 * Executions that a signal ends in the middle of a step: a loop without a point, a stack without room. What the report says of them, whatever
 * other signals come before it, and whatever code was interrupted.
 */
#include <glib.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "check/check.h"
#include "os/os.h"
#include "report/report.h"
#include "report/symbolize.h"
#include "sched/sched.h"

enum { SIGNALS = 100, HEAPS = 16, TICK_US = 10000, PATIENCE_US = 120000000 };

extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));

static const SchedResult *result;
static CheckResult check;
static char *report;

static void run(void (*body)(void *))
{
    const SchedPlan plan = { 0 };

    result = sched_run(body, NULL, &plan, NULL);
    check = check_judge(result);
}

static const char *printed(void)
{
    const ReportFinding finding = { .result = result, .check = &check };
    size_t size;
    FILE *out;

    free(report);
    out = open_memstream(&report, &size);
    report_print(out, &finding);
    fclose(out);
    return report;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_error("'%s' is not in:\n%s", part, text);
    }
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part)) {
        g_error("'%s' is in:\n%s", part, text);
    }
}

/* Each is taken on the signal stack. */
static void take_signals(void)
{
    for (unsigned i = 0; i < SIGNALS; i++) {
        raise(SIGVTALRM);
    }
}

/* As many ticks as a loop without a point is given, in less time. */
static void hurry(void)
{
    const struct itimerval faster = { .it_interval = { .tv_usec = TICK_US }, .it_value = { .tv_usec = TICK_US } };

    setitimer(ITIMER_VIRTUAL, &faster, NULL);
}

/* ---- loops */

static volatile unsigned rounds;

__attribute__((noinline)) static void culprit_goes_round(void)
{
    for (;;) {
        rounds++;
    }
}

static void loop_body(void *unused)
{
    (void)unused;
    culprit_goes_round();
}

/* Twice: the second execution's frames lie on the other signal stack. */
static void test_loop(void)
{
    for (unsigned i = 0; i < 2; i++) {
        hurry();
        run(loop_body);
        sched_stop_clock();
        take_signals();
        g_assert_cmpint(check.verdict, ==, CHECK_LIVELOCK);
        assert_has(printed(), "main runs in culprit_goes_round");
        assert_has(report, "#1 0x"); /* what has called it */
        assert_lacks(report, " in ??");
    }
}

static void *volatile block;

static void heap_body(void *unused)
{
    (void)unused;
    for (;;) {
        block = malloc(1 + rounds++ % 5000);
        free(block);
    }
}

/* Wherever it is interrupted, the heap can be used afterwards. One arena: what another thread left locked would be this one's, too. */
static void interrupt_the_heap(void)
{
    mallopt(M_ARENA_MAX, 1);
    sched_expect_no_step(true);
    hurry();
    run(heap_body);
    sched_stop_clock();
    g_assert_cmpint(result->outcome, ==, SCHED_NO_STEP);
    assert_has(printed(), "heap_body");
}

/* A process of its own; a lock that nobody releases would be for ever. */
static void test_heap(void)
{
    if (__asan_init || __tsan_init || __msan_init) {
        g_test_skip("the heap is a sanitizer's");
        return;
    }
    if (g_test_subprocess()) {
        interrupt_the_heap();
        return;
    }
    for (unsigned i = 0; i < HEAPS; i++) {
        g_test_trap_subprocess(NULL, PATIENCE_US, 0);
        g_test_trap_assert_passed();
    }
}

/* ---- stacks */

static volatile unsigned sink;

__attribute__((noinline)) static unsigned culprit_recurses(unsigned depth)
{
    volatile char frame[400];

    frame[depth % sizeof(frame)] = 1;
    if (depth) {
        sink += culprit_recurses(depth - 1);
    }
    return sink + (unsigned)frame[(depth + 1) % sizeof(frame)];
}

static void deep_body(void *unused)
{
    (void)unused;
    culprit_recurses(100000000);
}

static void test_guard_page(void)
{
    for (unsigned i = 0; i < 2; i++) {
        run(deep_body);
        take_signals();
        g_assert_cmpint(check.verdict, ==, CHECK_STACK_OVERFLOW);
        assert_has(printed(), "culprit_recurses");
        assert_lacks(report, " in ??");
    }
}

/* Up, and not down: out of its stack, but not for want of room. */
__attribute__((no_sanitize("address", "thread"))) static void astray_body(void *unused)
{
    void *low, *high;

    (void)unused;
    sched_thread_stack(sched_thread_by_id(0), &low, &high);
    for (volatile char *at = high;; at += 4096) { /* what the thread has above its stack, then the next one's guard page */
        rounds += (unsigned)*at;
    }
}

/* The process ends, by SIGSEGV or as a sanitizer ends it. */
static void test_other_stack(void)
{
    if (g_test_subprocess()) {
        run(astray_body);
        return;
    }
    g_test_trap_subprocess(NULL, PATIENCE_US, 0);
    g_test_trap_assert_failed();
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
    sched_install_fault_handler();
    g_test_add_func("/check/interrupted/loop", test_loop);
    g_test_add_func("/check/interrupted/guard-page", test_guard_page);
    g_test_add_func("/check/interrupted/other-stack", test_other_stack);
    g_test_add_func("/check/interrupted/heap", test_heap);
    return g_test_run();
}
