/* The sentence and the dedup token of each verdict, and how stacks are trimmed, on facts written by hand. */
#include "check_graph_lock_trace.h"
#include "check_taken_trace.h"

#include <stdlib.h>
#include <string.h>

#include "report/summary.h"

enum { MAX = 16 };

static ReportFrame frames[64];
static unsigned frame_count;

static const ReportFrame *frame(const char *function, const char *file)
{
    frames[frame_count] = (ReportFrame){
        .pc = 0x1000 + frame_count, .function = function, .file = file, .line = 7, .module = "libx.so", .module_offset = 0x10
    };
    return &frames[frame_count++];
}

/* The stack of a thread in poll, under these functions of the core, innermost first; the list ends in NULL. */
static ReportStack stack_of(const char *libc, const char *const *functions)
{
    ReportStack stack = { .frames = g_new0(const ReportFrame *, MAX) };

    stack.frames[stack.count++] = frame(libc, "src/os/poll.c");
    for (; *functions; functions++) {
        stack.frames[stack.count++] = frame(*functions, "src/core/file.c");
    }
    return stack;
}

static const char *const wrlock_stack[] = { "aio_poll", "bdrv_graph_wrlock", "blk_remove_bs", "test_body", NULL };
static const char *const iothread_stack[] = { "aio_poll", "iothread_run", NULL };

static void facts_of_two(ReportFacts *facts)
{
    *facts = (ReportFacts){ .stacks = g_new0(ReportStack, 3), .thread_count = 2, .culprit = 0, .asleep = 2 };
    frame_count = 0;
    facts->stacks[0] = stack_of("ppoll", wrlock_stack);
    facts->stacks[1] = stack_of("ppoll", iothread_stack);
}

static void assert_says(const CheckResult *check, ReportFacts *facts, const char *sentence, const char *token)
{
    const ReportFinding finding = { .check = check };
    char text[REPORT_SUMMARY_BYTES], found[REPORT_TOKEN_BYTES];

    report_sentence(&finding, facts, text);
    g_assert_cmpstr(text, ==, sentence);
    report_dedup_token(&finding, facts, found);
    g_assert_cmpstr(found, ==, token);
    report_facts_free(facts);
}

/* /report/sentence/missed-wakeup: the function that waits is not the helper that looked, nor the loop that polled. */
static void test_missed_wakeup(void)
{
    CheckResult check = { .verdict = CHECK_MISSED_WAKEUP };
    ReportFacts facts;

    fake_reset();

    SchedProbe probe = graph_lock_trace();

    check_cause_find(check_trace(), 0, &probe, &check.cause);
    facts_of_two(&facts);
    assert_says(&check, &facts, "missed-wakeup: main waits in bdrv_graph_wrlock, bdrv_graph_co_rdunlock did not wake it",
                "missed-wakeup--bdrv_graph_wrlock--bdrv_graph_co_rdunlock--blk_remove_bs");
}

/* /report/sentence/late-wakeup */
static void test_late_wakeup(void)
{
    CheckResult check = { .verdict = CHECK_LATE_WAKEUP, .late_ns = 600000000000 };
    ReportFacts facts;

    fake_reset();

    SchedProbe probe = graph_lock_trace();

    check_cause_find(check_trace(), 0, &probe, &check.cause);
    facts_of_two(&facts);
    assert_says(&check, &facts,
                "late-wakeup: main waits in bdrv_graph_wrlock, bdrv_graph_co_rdunlock did not wake it; "
                "only a timer would have, 600 s later",
                "late-wakeup--bdrv_graph_wrlock--bdrv_graph_co_rdunlock--blk_remove_bs");
}

/* /report/sentence/helpers: the helpers that a general wait shares its file with are no more telling than that
 * itself; the next general wait outwards belongs to somebody else's wait. */
static void test_helpers(void)
{
    ReportStack stack = { .frames = g_new0(const ReportFrame *, MAX) };

    frame_count = 0;
    stack.frames[stack.count++] = frame("ppoll", "src/os/poll.c");
    stack.frames[stack.count++] = frame("wait_for_fds", "src/core/aio_poll.c");
    stack.frames[stack.count++] = frame("aio_poll", "src/core/aio_poll.c");
    stack.frames[stack.count++] = frame("bdrv_drain", "src/core/drain.c");
    stack.frames[stack.count++] = frame("aio_poll", "src/core/aio_poll.c");
    stack.frames[stack.count++] = frame("bdrv_graph_wrlock", "src/core/graph_lock.c");
    g_assert_cmpstr(report_waiting_function(&stack, NULL), ==, "bdrv_drain");
    g_assert_cmpstr(report_waiting_function(&stack, "bdrv_graph_wrlock"), ==, "bdrv_graph_wrlock");
    g_assert_cmpstr(report_waiting_function(&stack, "reader_count"), ==, "bdrv_drain");
    g_assert_cmpstr(report_waiting_function(&stack, "aio_poll"), ==, "bdrv_drain");
    report_stack_free(&stack);
}

/* /report/sentence/unknown-waker */
static void test_unknown_waker(void)
{
    CheckResult check = {
        .verdict = CHECK_MISSED_WAKEUP,
        .cause = { .look_step = CHECK_NO_STEP, .take_step = CHECK_NO_STEP },
    };
    ReportFacts facts;

    fake_reset();
    graph_lock_trace();
    facts_of_two(&facts);
    assert_says(&check, &facts, "missed-wakeup: main waits in bdrv_graph_wrlock, nobody woke it",
                "missed-wakeup--bdrv_graph_wrlock--blk_remove_bs--test_body");
}

/* /report/sentence/taken: whoever took the wakeup is to blame, not who sent it. */
static void test_taken(void)
{
    CheckResult check = { .verdict = CHECK_MISSED_WAKEUP };
    ReportFacts facts;

    fake_reset();

    SchedProbe probe = taken_trace();

    check_cause_find(check_trace(), 0, &probe, &check.cause);
    facts_of_two(&facts);
    assert_says(&check, &facts, "missed-wakeup: main waits in bdrv_graph_wrlock, ?? took its wakeup",
                "missed-wakeup--bdrv_graph_wrlock--?\?--blk_remove_bs");
}

/* /report/sentence/early: what was written is not known; who sent the wakeup too early is. */
static void test_early(void)
{
    CheckResult check = { .verdict = CHECK_MISSED_WAKEUP };
    ReportFacts facts;

    fake_reset();
    graph_lock_trace();
    check.cause = (CheckCause){ .kind = CHECK_CAUSE_EARLY,
                                .waker = 1,
                                .wake_step = AT_RDUNLOCK,
                                .write_step = CHECK_NO_STEP,
                                .look_step = CHECK_NO_STEP,
                                .take_step = CHECK_NO_STEP };
    facts_of_two(&facts);
    assert_says(&check, &facts, "missed-wakeup: main waits in bdrv_graph_wrlock, bdrv_graph_co_rdunlock did not wake it",
                "missed-wakeup--bdrv_graph_wrlock--bdrv_graph_co_rdunlock--blk_remove_bs");
}

/* /report/sentence/deadlock: without a cycle, everybody who sleeps; with one, who waits for what. */
static void test_deadlock(void)
{
    const CheckResult check = { .verdict = CHECK_DEADLOCK };
    ReportFacts facts;

    fake_reset();
    graph_lock_trace();
    facts_of_two(&facts);
    assert_says(&check, &facts,
                "deadlock: main waits in bdrv_graph_wrlock, iothread0 waits in iothread_run, "
                "and nobody is left to wake them",
                "deadlock--bdrv_graph_wrlock--iothread_run--blk_remove_bs");
}

static void test_deadlock_cycle(void)
{
    enum { A = 0x5000, B = 0x6000 };
    static const char *const left[] = { "qemu_mutex_lock", "take_left", NULL };
    static const char *const right[] = { "qemu_mutex_lock", "take_right", NULL };
    const SchedBlock wants_a = { .call = SCHED_CALL_MUTEX_LOCK, .object = (void *)A, .deadline_ns = SCHED_FOREVER };
    const SchedBlock wants_b = { .call = SCHED_CALL_MUTEX_LOCK, .object = (void *)B, .deadline_ns = SCHED_FOREVER };
    const CheckResult check = { .verdict = CHECK_DEADLOCK };
    ReportFacts facts;

    fake_reset();
    fake_thread("main", &wants_b);
    fake_thread("worker", &wants_a);
    fake_call(0, SCHED_CALL_MUTEX_LOCK, A, NULL);
    fake_call(1, SCHED_CALL_MUTEX_LOCK, B, NULL);
    fake_sleep(fake_call(0, SCHED_CALL_MUTEX_LOCK, B, NULL));
    fake_sleep(fake_call(1, SCHED_CALL_MUTEX_LOCK, A, NULL));
    facts_of_two(&facts);
    report_stack_free(&facts.stacks[0]);
    report_stack_free(&facts.stacks[1]);
    facts.stacks[0] = stack_of("pthread_mutex_lock", left);
    facts.stacks[1] = stack_of("pthread_mutex_lock", right);
    assert_says(&check, &facts,
                "deadlock: main waits in take_left for a mutex that worker holds, "
                "worker waits in take_right for a mutex that main holds",
                "deadlock--take_left--take_right");
}

/* /report/sentence/livelock */
static void test_livelock(void)
{
    CheckResult check = { .verdict = CHECK_LIVELOCK,
                          .loop = { .first = 2, .length = 14, .repeats = 9 },
                          .loop_threads = 2,
                          .message = "200000 steps" };
    ReportFacts facts;

    fake_reset();
    graph_lock_trace();
    facts_of_two(&facts);
    assert_says(&check, &facts, "livelock: 2 threads repeat 14 steps in bdrv_graph_wrlock; 200000 steps",
                "livelock--bdrv_graph_wrlock--blk_remove_bs--test_body");
    check.loop_threads = 1;
    facts_of_two(&facts);
    assert_says(&check, &facts, "livelock: iothread0 repeats 14 steps in bdrv_graph_wrlock; 200000 steps",
                "livelock--bdrv_graph_wrlock--blk_remove_bs--test_body");
}

/* /report/sentence/stack-overflow: the token does not depend on where in its circle the recursion was stopped. */
static void test_stack_overflow(void)
{
    static const char *const turns[] = { "c", "b", "a", "c", "b", "a", "c", "b", "a", "start", NULL };
    const CheckResult check = { .verdict = CHECK_STACK_OVERFLOW };
    ReportFacts facts;

    fake_reset();
    graph_lock_trace();
    facts_of_two(&facts);
    report_stack_free(&facts.stacks[0]);
    facts.stacks[0] = stack_of("io_submit", turns);
    facts.recursion = (CheckCycle){ .first = 1, .length = 3, .repeats = 3, .regular = true };
    strcpy(facts.recursion_text, "a > b > c > a");
    assert_says(&check, &facts, "stack-overflow: main recurses: a > b > c > a (3 frames, 3 times)", "stack-overflow--a--b--c");
}

static void assert_message(CheckVerdict verdict, const char *message, const char *sentence)
{
    CheckResult check = { .verdict = verdict };
    ReportFacts facts;
    g_autofree char *token = g_strdup_printf("%s--bdrv_graph_wrlock--blk_remove_bs--test_body", check_verdict_name(verdict));

    g_strlcpy(check.message, message, sizeof(check.message));
    facts_of_two(&facts);
    assert_says(&check, &facts, sentence, token);
}

/* /report/sentence/messages: the other verdicts bring their own words, which stay in one line. */
static void test_messages(void)
{
    fake_reset();
    graph_lock_trace();
    assert_message(CHECK_LEAK, "1 thread (worker), 2 fds", "leak: 1 thread (worker), 2 fds left at the end");
    assert_message(CHECK_LOST_COMPLETION, "1 request finished", "lost-completion: 1 request finished (main)");
    assert_message(CHECK_DOUBLE_ENTRY, "coroutine x", "double-entry: coroutine x (main)");
    assert_message(CHECK_ASSERTION, "a:\n'b' failed", "assertion: a: 'b' failed (main)");
    assert_message(CHECK_UNMODELLED, "fork", "unmodelled: fork (main)");
    assert_message(CHECK_NONDETERMINISM, "step 3 differs", "nondeterminism: step 3 differs");
}

static void assert_trimmed(const ReportFrame **raw, unsigned count, const char *first, const char *final)
{
    unsigned left = report_stack_trim(raw, count);

    g_assert_cmpuint(left, >, 0);
    g_assert_cmpstr(raw[0]->function, ==, first);
    g_assert_cmpstr(raw[left - 1]->function, ==, final);
}

/* /report/token/kinds: where no thread is to blame the token says what is left, and not how many and which. */
static void test_kinds(void)
{
    static const struct {
        CheckVerdict verdict;
        const char *message, *token;
    } cases[] = {
        { CHECK_LEAK, "1 file descriptor (eventfd 512, counter 0)", "leak--file-descriptor" },
        { CHECK_LEAK, "2 file descriptors (eventfd 512; pipe 513), 1 coroutine", "leak--file-descriptor--coroutine" },
        { CHECK_LEAK, "12 coroutines", "leak--coroutine" },
        { CHECK_LOST_COMPLETION, "3 AIO requests (1 in the ring of context 0) finished, and nobody was told",
          "lost-completion--AIO-request" },
        { CHECK_LOST_COMPLETION, "1 request to a thread pool finished, and nobody was told",
          "lost-completion--request-to-a-thread-pool" },
        { CHECK_LEAK, "", "leak" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        CheckResult check = { .verdict = cases[i].verdict };
        const ReportFinding finding = { .check = &check };
        ReportFacts facts = { .culprit = CHECK_NO_THREAD };
        char token[REPORT_TOKEN_BYTES];

        g_strlcpy(check.message, cases[i].message, sizeof(check.message));
        report_dedup_token(&finding, &facts, token);
        g_assert_cmpstr(token, ==, cases[i].token);
    }
}

/* /report/stack/trim: the libc symbol first, the program's own last; a failure begins at who failed. */
static void test_trim(void)
{
    frame_count = 0;

    const ReportFrame *asleep[] = {
        frame("unwind_here", "src/report/unwinder.c"),
        frame("sched_switch", "src/sched/engine.c"),
        frame("sched_block", "src/sched/engine.c"),
        frame("wait_for_fds", "src/os/poll.c"),
        frame("ppoll", "src/os/poll.c"),
        frame("aio_poll", "src/core/aio.c"),
        frame("body", "fuzz/target.c"),
        frame("thread_main", "src/os/thread.c"),
        frame("fiber_entry", "src/sched/fiber.c"),
        frame("start_thread", NULL),
        frame("clone3", NULL),
    };
    const ReportFrame *preempted[] = {
        frame("sched_switch", "src/sched/engine.c"),
        frame("sched_atomic", "src/sched/point.c"),
        frame("bdrv_graph_wrlock", "src/core/graph_lock.c"),
    };
    const ReportFrame *failed[] = {
        frame("sched_fail", "src/sched/engine.c"), frame("on_fatal", "fuzz/driver.c"), frame("core_fatal", "src/core/fatal.c"),
        frame("bdrv_unref", "src/core/block.c"),   frame("body", "fuzz/target.c"),
    };

    assert_trimmed(asleep, G_N_ELEMENTS(asleep), "ppoll", "body");
    assert_trimmed(preempted, G_N_ELEMENTS(preempted), "bdrv_graph_wrlock", "bdrv_graph_wrlock");
    assert_trimmed(failed, G_N_ELEMENTS(failed), "bdrv_unref", "body");
}

/* /report/stack/print: as sanitizers do; the middle of a long one is left out. */
static void test_print(void)
{
    static const char *const turns[] = { "c", "b", "a", "c", "b", "a", "c", NULL };
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    frame_count = 0;

    ReportStack stack = stack_of("ppoll", turns);

    stack.frames[7] = frame("g_main_loop_run", NULL);
    report_stack_print(out, &stack, 1, 4);
    fclose(out);
    g_assert_cmpstr(text, ==,
                    "    #1 0x000000001000 in ppoll src/os/poll.c:7\n"
                    "    #2 0x000000001001 in c src/core/file.c:7\n"
                    "    #3 0x000000001002 in b src/core/file.c:7\n"
                    "    ... 4 frames not shown\n"
                    "    #8 0x000000001008 in g_main_loop_run (libx.so+0x10)\n");
    free(text);
    out = open_memstream(&text, &size);
    report_stack_print(out, &stack, 0, 2); /* so few that the end has no part in them */
    fclose(out);
    g_assert_cmpstr(text, ==,
                    "    #0 0x000000001000 in ppoll src/os/poll.c:7\n"
                    "    #1 0x000000001001 in c src/core/file.c:7\n"
                    "    ... 6 frames not shown\n");
    free(text);
    report_stack_free(&stack);
}

/* /report/hash/letters: letters only, and another token gives another hash. */
static void test_letters(void)
{
    char a[REPORT_HASH_BYTES], b[REPORT_HASH_BYTES];

    report_letters_hash("missed-wakeup--a--b--c", a);
    report_letters_hash("missed-wakeup--a--b--d", b);
    g_assert_cmpuint(strspn(a, "abcdefghijklmnopqrstuvwxyz"), ==, REPORT_HASH_BYTES - 1);
    g_assert_cmpstr(a, !=, b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/report/sentence/missed-wakeup", test_missed_wakeup);
    g_test_add_func("/report/sentence/late-wakeup", test_late_wakeup);
    g_test_add_func("/report/sentence/helpers", test_helpers);
    g_test_add_func("/report/sentence/unknown-waker", test_unknown_waker);
    g_test_add_func("/report/sentence/taken", test_taken);
    g_test_add_func("/report/sentence/early", test_early);
    g_test_add_func("/report/sentence/deadlock", test_deadlock);
    g_test_add_func("/report/sentence/deadlock-cycle", test_deadlock_cycle);
    g_test_add_func("/report/sentence/livelock", test_livelock);
    g_test_add_func("/report/sentence/stack-overflow", test_stack_overflow);
    g_test_add_func("/report/sentence/messages", test_messages);
    g_test_add_func("/report/token/kinds", test_kinds);
    g_test_add_func("/report/stack/trim", test_trim);
    g_test_add_func("/report/stack/print", test_print);
    g_test_add_func("/report/hash/letters", test_letters);
    return g_test_run();
}
