/* From outcomes to verdicts, and the oracles that need no execution: leak, lost completion, double entry, recursion,
 * nondeterminism. */
#include "check_graph_lock_trace.h"

#include <string.h>

#include "check/stack_overflow.h"

static uint64_t coroutines_left, completions_lost;

static uint64_t count_coroutines(void)
{
    return coroutines_left;
}

static void describe_coroutines(char *text, size_t size)
{
    g_strlcpy(text, "bdrv_co_preadv", size);
}

static uint64_t count_completions(void)
{
    return completions_lost;
}

static CheckResult judge(SchedOutcome outcome, const char *reason, const char *message)
{
    SchedResult result = { .outcome = outcome, .reason = reason, .message = message, .steps = fake_count() };

    return check_judge(&result);
}

/* /check/verdict/names: a bijection; a name in a corpus file finds its way back. */
static void test_names(void)
{
    for (unsigned i = 0; i < CHECK_VERDICT_COUNT; i++) {
        CheckVerdict verdict = CHECK_VERDICT_COUNT;

        g_assert_true(check_verdict_parse(check_verdict_name((CheckVerdict)i), &verdict));
        g_assert_cmpint(verdict, ==, (int)i);
    }

    CheckVerdict untouched = CHECK_LEAK;

    g_assert_false(check_verdict_parse("timeout", &untouched));
    g_assert_cmpint(untouched, ==, CHECK_LEAK);
}

/* /check/verdict/good */
static void test_good(void)
{
    fake_reset();
    g_assert_cmpint(judge(SCHED_DONE, NULL, NULL).verdict, ==, CHECK_NONE);
}

/* /check/verdict/leak: of threads, and of what was registered. */
static void test_leak(void)
{
    fake_reset();
    fake_thread("main", NULL);
    fake_set_ended(sched_thread_by_id(0));
    fake_thread("worker", NULL);

    SchedResult result = { .outcome = SCHED_DONE, .threads_left = 1 };
    CheckResult check = check_judge(&result);

    g_assert_cmpint(check.verdict, ==, CHECK_LEAK);
    g_assert_cmpstr(check.message, ==, "1 thread (worker)");
    g_assert_true(check.culprit == sched_thread_by_id(1));

    coroutines_left = 2;
    check = judge(SCHED_DONE, NULL, NULL);
    coroutines_left = 0;
    g_assert_cmpint(check.verdict, ==, CHECK_LEAK);
    g_assert_cmpstr(check.message, ==, "2 coroutines (bdrv_co_preadv)");
}

/* /check/verdict/leak-not-joined: the thread has ended, its descriptor has not. */
static void test_leak_not_joined(void)
{
    fake_reset();
    fake_thread("main", NULL);
    fake_set_ended(sched_thread_by_id(0));

    SchedResult result = { .outcome = SCHED_DONE, .threads_left = 2 };

    CheckResult check = check_judge(&result);

    g_assert_cmpstr(check.message, ==, "2 threads (ended, but neither joined nor detached)");
}

/* /check/verdict/lost-completion: goes before leak and deadlock, but not before a missed wakeup. */
static void test_lost_completion(void)
{
    fake_reset();

    SchedProbe probe = graph_lock_trace();
    SchedResult result = { .outcome = SCHED_QUIESCENT, .culprit = sched_thread_by_id(0) };

    (void)probe;
    completions_lost = 1;
    g_assert_cmpint(judge(SCHED_QUIESCENT, NULL, NULL).verdict, ==, CHECK_LOST_COMPLETION);
    g_assert_cmpint(check_judge(&result).verdict, ==, CHECK_MISSED_WAKEUP);
    coroutines_left = 1;
    g_assert_cmpint(judge(SCHED_DONE, NULL, NULL).verdict, ==, CHECK_LOST_COMPLETION);
    completions_lost = coroutines_left = 0;
    g_assert_cmpint(judge(SCHED_QUIESCENT, NULL, NULL).verdict, ==, CHECK_DEADLOCK);
}

/* /check/verdict/bounds */
static void test_bounds(void)
{
    fake_reset();
    fake_thread("main", NULL);
    fake_thread("spinner", NULL);

    SchedSite *a = fake_site(SCHED_LOAD, "spin", "&a", 1), *b = fake_site(SCHED_LOAD, "spin", "&b", 2);

    fake_call(0, SCHED_CALL_CREATE, 0, NULL);
    for (unsigned i = 0; i < 20; i++) {
        fake_load(0, a, 1, 0);
        fake_load(1, b, 2, 0);
        fake_load(1, a, 1, 0);
    }

    CheckResult check = judge(SCHED_STEP_BOUND, NULL, NULL);

    g_assert_cmpint(check.verdict, ==, CHECK_LIVELOCK);
    g_assert_cmpuint(check.loop.length, ==, 3);
    g_assert_cmpuint(check.loop.first, ==, 1);
    g_assert_cmpuint(check.loop_threads, ==, 2);
    g_assert_cmpstr(check.message, ==, "61 steps");
    g_assert_true(check.culprit == sched_thread_by_id(1));
    g_assert_cmpint(judge(SCHED_TIME_BOUND, NULL, NULL).verdict, ==, CHECK_LIVELOCK);
    g_assert_cmpint(judge(SCHED_STACK_OVERFLOW, NULL, NULL).verdict, ==, CHECK_STACK_OVERFLOW);
}

/* /check/verdict/failed: the program's own word counts; of a foreign assertion its words do. */
static void test_failed(void)
{
    CheckResult check;

    fake_reset();
    g_assert_cmpint(judge(SCHED_FAILED, "unmodelled", "open_by_handle_at").verdict, ==, CHECK_UNMODELLED);
    g_assert_cmpint(judge(SCHED_FAILED, "double-entry", "x").verdict, ==, CHECK_DOUBLE_ENTRY);
    g_assert_cmpint(judge(SCHED_FAILED, "assertion", "x > 0").verdict, ==, CHECK_ASSERTION);
    g_assert_cmpint(judge(SCHED_FAILED, "assertion", "Co-routine re-entered recursively").verdict, ==, CHECK_DOUBLE_ENTRY);
    g_assert_cmpint(judge(SCHED_FAILED, "assertion", "Co-routine was already scheduled in 'f'").verdict, ==, CHECK_DOUBLE_ENTRY);
    check = judge(SCHED_FAILED, "unmodelled", "fork");
    g_assert_cmpstr(check.message, ==, "fork");
}

/* /check/verdict/misspelt: a verdict that is none is the caller's mistake, and not swallowed. */
static void test_misspelt(void)
{
    if (g_test_subprocess()) {
        fake_reset();
        judge(SCHED_FAILED, "dead-lock", "x");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*'dead-lock', which is no verdict*");
}

static void lock_abba(void)
{
    enum { A = 0x5000, B = 0x6000 };
    const SchedBlock wants_b = { .call = SCHED_CALL_MUTEX_LOCK, .object = (void *)B, .deadline_ns = SCHED_FOREVER };
    const SchedBlock wants_a = { .call = SCHED_CALL_MUTEX_LOCK, .object = (void *)A, .deadline_ns = SCHED_FOREVER };
    const SchedBlock joins = { .call = SCHED_CALL_JOIN, .object = (void *)0x1001, .deadline_ns = SCHED_FOREVER };

    fake_reset();
    fake_thread("main", &joins); /* of thread 1: its handle is 0x1001 */
    fake_thread("left", &wants_b);
    fake_thread("right", &wants_a);
    fake_call(1, SCHED_CALL_MUTEX_LOCK, A, NULL);
    fake_call(2, SCHED_CALL_MUTEX_LOCK, A, NULL);
    fake_call(2, SCHED_CALL_MUTEX_UNLOCK, A, NULL);
    fake_call(2, SCHED_CALL_MUTEX_LOCK, B, NULL);
    fake_sleep(fake_call(1, SCHED_CALL_MUTEX_LOCK, B, NULL));
    fake_sleep(fake_call(2, SCHED_CALL_MUTEX_LOCK, A, NULL));
    fake_sleep(fake_call(0, SCHED_CALL_JOIN, 0, NULL));
}

/* /check/waits/cycle: who holds what, and who is in the circle. */
static void test_waits(void)
{
    CheckWait waits[8];

    lock_abba();
    g_assert_cmpuint(check_waits(check_trace(), waits, 8), ==, 3);
    g_assert_cmpuint(waits[0].holder, ==, 1);
    g_assert_false(waits[0].in_cycle);
    g_assert_cmpuint(waits[1].holder, ==, 2);
    g_assert_true(waits[1].in_cycle);
    g_assert_cmpuint(waits[1].taken_step, ==, 3);
    g_assert_cmpuint(waits[2].holder, ==, 1);
    g_assert_true(waits[2].in_cycle);
    g_assert_cmpuint(waits[2].taken_step, ==, 0);
    g_assert_true(judge(SCHED_QUIESCENT, NULL, NULL).culprit == sched_thread_by_id(1));
}

/* /check/waits/condition: a lock that its owner gave to a condition wait is nobody's; one that the owner took before
 * that still is. */
static void test_waits_condition(void)
{
    enum { OUTER = 0x5000, INNER = 0x6000, COND = 0x7000 };
    const SchedBlock cond = { .call = SCHED_CALL_COND_WAIT, .spurious_ok = true, .deadline_ns = SCHED_FOREVER };
    const SchedBlock inner = { .call = SCHED_CALL_MUTEX_LOCK, .object = (void *)INNER, .deadline_ns = SCHED_FOREVER };
    const SchedBlock outer = { .call = SCHED_CALL_MUTEX_LOCK, .object = (void *)OUTER, .deadline_ns = SCHED_FOREVER };
    CheckWait waits[8];

    fake_reset();
    fake_thread("main", &cond);
    fake_thread("left", &inner);
    fake_thread("right", &outer);
    fake_call(0, SCHED_CALL_MUTEX_LOCK, OUTER, NULL);
    fake_call(0, SCHED_CALL_MUTEX_LOCK, INNER, NULL);
    fake_sleep(fake_call(0, SCHED_CALL_COND_WAIT, COND, NULL));
    fake_sleep(fake_call(1, SCHED_CALL_MUTEX_LOCK, INNER, NULL));
    fake_sleep(fake_call(2, SCHED_CALL_MUTEX_LOCK, OUTER, NULL));
    g_assert_cmpuint(check_waits(check_trace(), waits, 8), ==, 3);
    g_assert_cmpuint(waits[1].holder, ==, CHECK_NO_THREAD);
    g_assert_cmpuint(waits[2].holder, ==, 0);
}

static void assert_recursion(const char *const *stack, const char *text, size_t length, size_t repeats)
{
    CheckCycle cycle;
    char found[256];

    g_assert_true(check_recursion(stack, g_strv_length((gchar **)stack), &cycle, found, sizeof(found)));
    g_assert_cmpstr(found, ==, text);
    g_assert_cmpuint(cycle.length, ==, length);
    g_assert_cmpuint(cycle.repeats, ==, repeats);
}

/* /check/recursion/regular: the shortest period, told from the same function wherever the stack was cut off. */
static void test_recursion(void)
{
    static const char *const a[] = { "leaf", "c", "b", "a", "c", "b", "a", "c", "b", "a", "main", NULL };
    static const char *const b[] = { "a", "c", "b", "a", "c", "b", "a", "c", "b", "a", "c", "main", NULL };
    static const char *const one[] = { "f", "f", "f", "f", "f", "f", "main", NULL };

    assert_recursion(a, "a > b > c > a", 3, 3);
    assert_recursion(b, "a > b > c > a", 3, 3);
    assert_recursion(one, "f > f", 1, 6);
}

/* /check/recursion/irregular: turns that differ: the shortest one, and how often its function occurs. */
static void test_recursion_irregular(void)
{
    static const char *const mixed[] = { "s", "x", "s", "x", "y", "s", "y", "z", "s", "x", "z", "y", "s", "main", NULL };
    static const char *const flat[] = { "a", "b", "c", "d", "b", NULL };
    CheckCycle cycle;
    char text[64];

    assert_recursion(mixed, "s > x > s", 2, 5);
    g_assert_false(check_recursion(flat, 5, &cycle, text, sizeof(text)));
    g_assert_cmpstr(text, ==, "");
}

/* /check/compare/same, /check/compare/differs: addresses may differ between two executions, places and objects may
 * not. */
static void test_compare(void)
{
    SchedResult first = { .trace_hash = 1 }, second = { .trace_hash = 2 };

    fake_reset();
    graph_lock_trace();

    CheckRecording *recording = check_record(&first);

    g_assert_cmpint(check_compare(recording, &first).verdict, ==, CHECK_NONE);

    fake_step(AT_LOOK)->object = 0xdeadbeef; /* the heap lies elsewhere */
    fake_step(AT_CHECK)->object_id = NUM_WAITERS;

    CheckResult check = check_compare(recording, &second);

    g_assert_cmpint(check.verdict, ==, CHECK_NONDETERMINISM);
    g_assert_cmpuint(check.step, ==, AT_CHECK);
    g_assert_cmpstr(check.message, ==,
                    "step 8 differs in its object; "
                    "first iothread0: load &has_writer in bdrv_graph_co_rdunlock (object 2), "
                    "then iothread0: load &has_writer in bdrv_graph_co_rdunlock (object 3)");
    fake_step(AT_CHECK)->object_id = HAS_WRITER;
    fake_call(1, SCHED_CALL_EXIT, 0, NULL);
    check = check_compare(recording, &second);
    g_assert_cmpuint(check.step, ==, AT_END);
    g_assert_nonnull(strstr(check.message, "had 13 steps, this one has 14"));
    check_recording_free(recording);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    check_leak_register("coroutine", count_coroutines, describe_coroutines);
    check_completion_register("request", count_completions, NULL);
    g_test_add_func("/check/verdict/names", test_names);
    g_test_add_func("/check/verdict/good", test_good);
    g_test_add_func("/check/verdict/leak", test_leak);
    g_test_add_func("/check/verdict/leak-not-joined", test_leak_not_joined);
    g_test_add_func("/check/verdict/lost-completion", test_lost_completion);
    g_test_add_func("/check/verdict/bounds", test_bounds);
    g_test_add_func("/check/verdict/failed", test_failed);
    g_test_add_func("/check/verdict/misspelt", test_misspelt);
    g_test_add_func("/check/waits/cycle", test_waits);
    g_test_add_func("/check/waits/condition", test_waits_condition);
    g_test_add_func("/check/recursion/regular", test_recursion);
    g_test_add_func("/check/recursion/irregular", test_recursion_irregular);
    g_test_add_func("/check/compare", test_compare);
    return g_test_run();
}
