/*
 * A positive control for each oracle: small pthread programs with one bug each, run by the scheduler on the simulated
 * OS, and the whole way from the execution to the printed report.
 *
 * 1. A program sets its state up at the beginning of its body: executions follow each other in one process.
 * 2. Where a bug needs a certain order, seeds are tried in turn; SEEDS_MAX is 20 times what the rarest one needs here
 *    (it shows in one of two random walks or more often, so 200 seeds miss it with probability 2^-200).
 */
#include <glib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check/check.h"
#include "core/atomic.h"
#include "os/os.h"
#include "report/report.h"
#include "report/symbolize.h"
#include "sched/sched.h"

enum { SEEDS_MAX = 200 };

static const SchedResult *result;
static CheckResult check;
static char *report;

static void run_plan(void (*body)(void *), const SchedPlan *plan, const SchedLimits *limits)
{
    result = sched_run(body, NULL, plan, limits);
    check = check_judge(result);
}

/* First-in-first-out. */
static void run(void (*body)(void *))
{
    const SchedPlan plan = { .atomics = true };

    run_plan(body, &plan, NULL);
}

static void run_until(void (*body)(void *), CheckVerdict verdict)
{
    SchedPlan plan = { .base = SCHED_BASE_WALK, .atomics = true, .parameter = 0 };

    for (plan.seed = 0; plan.seed < SEEDS_MAX; plan.seed++) {
        run_plan(body, &plan, NULL);
        if (check.verdict != CHECK_NONE) {
            break;
        }
    }
    g_assert_cmpstr(check_verdict_name(check.verdict), ==, check_verdict_name(verdict));
}

/* The report of the last execution. */
static const char *printed(void)
{
    const ReportFinding finding = {
        .result = result, .check = &check, .replay = "target crash-1", .input_bytes = 6, .execution = 3
    };
    size_t size;
    FILE *out;

    free(report);
    out = open_memstream(&report, &size);
    report_print(out, &finding);
    fclose(out);
    if (g_test_verbose()) {
        g_print("%s\n", report);
    }
    return report;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_error("'%s' is not in the report:\n%s", part, text);
    }
}

/* parts, in this order. */
static void assert_order(const char *text, const char *const *parts)
{
    for (; *parts; parts++) {
        const char *at = strstr(text, *parts);

        if (!at) {
            g_error("'%s' is not where it should be in the report:\n%s", *parts, report);
        }
        text = at + strlen(*parts);
    }
}

/* ------------------------------------------------------------------------------------------- programs */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, other_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int ready, waiting;
static bool plain_ready;
static struct timespec deadline;

static void set_up(void)
{
    mutex = other_mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    cond = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    ready = waiting = 0;
    plain_ready = false;
}

__attribute__((noinline)) static void wait_until_ready(void)
{
    pthread_mutex_lock(&mutex);
    qatomic_set(&waiting, 1);
    while (!qatomic_read(&ready)) {
        pthread_cond_wait(&cond, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

/* The bug: it signals only where it sees a waiter, and looks too early. */
__attribute__((noinline)) static void make_ready_without_signal(void)
{
    pthread_mutex_lock(&mutex);
    qatomic_set(&ready, 1);
    if (qatomic_read(&waiting) > 1) {
        pthread_cond_signal(&cond);
    }
    pthread_mutex_unlock(&mutex);
}

static void *forgetful_worker(void *unused)
{
    (void)unused;
    make_ready_without_signal();
    return NULL;
}

static void missed_wakeup_body(void *unused)
{
    pthread_t thread;

    (void)unused;
    set_up();
    pthread_create(&thread, NULL, forgetful_worker, NULL);
    pthread_setname_np(thread, "worker");
    wait_until_ready();
    pthread_join(thread, NULL);
}

__attribute__((noinline)) static void wait_for_plain_flag(void)
{
    pthread_mutex_lock(&mutex);
    while (!plain_ready) {
        pthread_cond_wait(&cond, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

/* What it is for is known to its callers. */
__attribute__((noinline)) static void plain_unlock(void)
{
    pthread_mutex_unlock(&mutex);
    __asm__ volatile(""); /* no tail call */
}

static void *plain_worker(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&mutex);
    plain_ready = true;
    plain_unlock();
    return NULL;
}

static void plain_missed_wakeup_body(void *unused)
{
    pthread_t thread;

    (void)unused;
    set_up();
    pthread_create(&thread, NULL, plain_worker, NULL);
    wait_for_plain_flag();
    pthread_join(thread, NULL);
}

/* The mutex is held by one that sleeps for ever: the waiter is owed nothing. */
static void *holds_mutex_for_ever(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&other_mutex);
    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&other_mutex);
    return NULL;
}

static void stuck_behind_mutex_body(void *unused)
{
    pthread_t thread;

    (void)unused;
    set_up();
    pthread_create(&thread, NULL, holds_mutex_for_ever, NULL);
    wait_until_ready();
}

__attribute__((noinline)) static void take_both(pthread_mutex_t *first, pthread_mutex_t *second)
{
    pthread_mutex_lock(first);
    pthread_mutex_lock(second);
    pthread_mutex_unlock(second);
    pthread_mutex_unlock(first);
}

static void *reversed(void *unused)
{
    (void)unused;
    take_both(&other_mutex, &mutex);
    return NULL;
}

static void deadlock_body(void *unused)
{
    pthread_t thread;

    (void)unused;
    set_up();
    pthread_create(&thread, NULL, reversed, NULL);
    take_both(&mutex, &other_mutex);
    pthread_join(thread, NULL);
}

static void idle_deadlock_body(void *unused)
{
    (void)unused;
    set_up();
    wait_until_ready();
}

static bool says_that_it_looks;

/* A poller that gives up: of each wait it looks only before the first two sleeps. */
static void polling_deadlock_body(void *unused)
{
    (void)unused;
    set_up();
    pthread_mutex_lock(&mutex);
    for (unsigned round = 0; !qatomic_read(&ready); round++) {
        if (says_that_it_looks) {
            sched_look_begin();
        }
        if (round < 2) {
            qatomic_read(&waiting);
        }
        if (says_that_it_looks) {
            sched_look_end();
        }
        pthread_cond_wait(&cond, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

static void unpaired_look_body(void *unused)
{
    (void)unused;
    sched_look_begin();
    sched_look_begin();
    sched_look_end();
    sched_look_end();
    sched_look_end();
}

static void switching_look_body(void *unused)
{
    (void)unused;
    sched_look_begin();
    sched_stack_switched(NULL, NULL, 0);
    sched_look_end();
}

__attribute__((noinline)) static void spin_until_ready(void)
{
    while (!qatomic_read(&ready)) {
        qatomic_set(&waiting, 1);
    }
}

static void livelock_body(void *unused)
{
    (void)unused;
    set_up();
    spin_until_ready();
}

static void *ends_at_once(void *unused)
{
    return unused;
}

static void leak_body(void *unused)
{
    pthread_t thread;

    (void)unused;
    set_up();
    pthread_create(&thread, NULL, ends_at_once, NULL);
}

static void *waits_for_ever(void *unused)
{
    (void)unused;
    wait_until_ready();
    return NULL;
}

static void leak_of_sleeper_body(void *unused)
{
    pthread_t thread;

    (void)unused;
    set_up();
    pthread_create(&thread, NULL, waits_for_ever, NULL);
    pthread_setname_np(thread, "idler");
    pthread_detach(thread);
}

__attribute__((noinline)) static void wait_with_timer(void)
{
    pthread_mutex_lock(&mutex);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 600;
    while (!qatomic_read(&ready)) {
        if (pthread_cond_timedwait(&cond, &mutex, &deadline)) {
            break;
        }
    }
    pthread_mutex_unlock(&mutex);
}

static void late_body(void *unused)
{
    pthread_t thread;

    (void)unused;
    set_up();
    pthread_create(&thread, NULL, forgetful_worker, NULL);
    wait_with_timer();
    pthread_join(thread, NULL);
}

/* Nobody makes it ready: the same wait, and nothing is late. */
static void patient_body(void *unused)
{
    (void)unused;
    set_up();
    wait_with_timer();
}

static void descend(unsigned depth);

__attribute__((noinline)) static void complete_one(unsigned depth)
{
    descend(depth + 1);
    qatomic_set(&waiting, (int)depth);
}

__attribute__((noinline)) static void descend(unsigned depth)
{
    qatomic_set(&ready, (int)depth);
    if (depth < 100000) {
        complete_one(depth);
    }
    qatomic_set(&ready, 0);
}

static void recursion_body(void *unused)
{
    (void)unused;
    set_up();
    descend(0);
}

__attribute__((noinline)) static void fail_here(void)
{
    sched_fail("double-entry", "coroutine 'reader' is entered already");
}

static void failing_body(void *unused)
{
    (void)unused;
    fail_here();
}

static GMutex glib_mutex;
static GCond glib_cond;

__attribute__((noinline)) static void wait_in_glib(void)
{
    g_mutex_lock(&glib_mutex);
    while (!plain_ready) {
        g_cond_wait(&glib_cond, &glib_mutex);
    }
    g_mutex_unlock(&glib_mutex);
}

/* GLib is not instrumented: TSan does not see the order that its lock makes, and would call the write a race. */
__attribute__((no_sanitize("thread"))) static void *glib_worker(void *unused)
{
    (void)unused;
    g_mutex_lock(&glib_mutex);
    plain_ready = true;
    g_mutex_unlock(&glib_mutex);
    return NULL;
}

static void glib_body(void *unused)
{
    pthread_t thread;

    (void)unused;
    set_up();
    memset(&glib_mutex, 0, sizeof(glib_mutex));
    memset(&glib_cond, 0, sizeof(glib_cond));
    pthread_create(&thread, NULL, glib_worker, NULL);
    wait_in_glib();
    pthread_join(thread, NULL);
}

/* ------------------------------------------------------------------------------------------- tests */

/* /check/missed-wakeup: verdict, culprit, cause and report. */
static void test_missed_wakeup(void)
{
    static const char *const parts[] = {
        "panic: missed-wakeup: main waits in wait_until_ready, make_ready_without_signal did not wake it\n    #0 0x",
        "in pthread_cond_wait src/os/cond.c:",
        "\n    #1 0x",
        "in wait_until_ready tests/unit/check_oracles.c:",
        "\n    #2 0x",
        "in missed_wakeup_body tests/unit/check_oracles.c:",
        "  cause  step ",
        "worker: ready 0 -> 1 made main's condition true (check_oracles.c:",
        "worker: read waiting == 1, written by main at step ",
        ", and did not wake main.",
        "Woken by hand, main runs to its end: a missed wakeup, not a deadlock.",
        "  step | main",
        "| worker",
        "make_ready_without_signal: ready 0 -> 1",
        "waiting == 1: no wakeup",
        "(by hand) ready == 1",
        "  quiescent: 1 thread asleep, no timer, no I/O\n",
        " 6 bytes; execution 3; trace hash ",
        "  replay: target crash-1\n",
        "DEDUP_TOKEN: missed-wakeup--wait_until_ready--make_ready_without_signal--missed_wakeup_body\n",
        NULL
    };

    run(missed_wakeup_body);
    g_assert_cmpint(check.verdict, ==, CHECK_MISSED_WAKEUP);
    g_assert_true(check.culprit == sched_thread_by_id(0));
    g_assert_cmpint(check.cause.kind, ==, CHECK_CAUSE_WRITE);
    g_assert_cmpuint(check.cause.waker, ==, 1);
    assert_order(printed(), parts);
}

/* /check/missed-wakeup/plain: the condition is no atomic variable. The mutex has a name, and who let it go is not the wrapper that did. */
static void test_missed_wakeup_plain(void)
{
    run(plain_missed_wakeup_body);
    g_assert_cmpint(check.verdict, ==, CHECK_MISSED_WAKEUP);
    g_assert_cmpint(check.cause.kind, ==, CHECK_CAUSE_GUARD);
    g_assert_cmpuint(check.cause.waker, ==, 1);
    assert_has(printed(), "panic: missed-wakeup: main waits in wait_for_plain_flag, plain_worker did not wake it\n");
    assert_has(report, "plain_worker let go of mutex, which guards main's condition (check_oracles.c:");
}

/* /report/stack/library: a library without frame pointers lies on the way, and the stack goes through it, also that
 * of the thread which the experiment has moved on. */
static void test_stack_through_library(void)
{
    static const char *const parts[] = { "panic: missed-wakeup: main waits in wait_in_glib, ",
                                         "    #0 0x",
                                         " in syscall src/os/",
                                         "    #1 0x",
                                         " in g_cond_wait (libglib-2.0.so",
                                         " in wait_in_glib tests/unit/check_oracles.c:",
                                         " in glib_body tests/unit/check_oracles.c:",
                                         NULL };

    run(glib_body);
    g_assert_cmpint(check.verdict, ==, CHECK_MISSED_WAKEUP);
    assert_order(printed(), parts);
}

/* /check/deadlock: two locks in two orders. */
static void test_deadlock(void)
{
    run_until(deadlock_body, CHECK_DEADLOCK);
    assert_has(printed(), "panic: deadlock: main waits in take_both for a mutex that thread1 holds, "
                          "thread1 waits in take_both for a mutex that main holds\n");
    assert_has(report, "in pthread_mutex_lock src/os/mutex.c:");
    assert_has(report, "  thread1, asleep in mutex lock:\n");
}

/* /check/deadlock/idle: woken by hand it sleeps again: nothing was lost. */
static void test_deadlock_idle(void)
{
    run(idle_deadlock_body);
    g_assert_cmpint(check.verdict, ==, CHECK_DEADLOCK);
    g_assert_cmpuint(check_experiment()->examined, ==, 1);
    assert_has(printed(), "panic: deadlock: main waits in wait_until_ready, and nobody is left to wake it\n");
}

/* /check/deadlock/looked: that it looked once more when it was woken by hand is no work, where it says so. */
static void test_deadlock_looked(void)
{
    says_that_it_looks = false;
    run(polling_deadlock_body);
    g_assert_cmpint(check.verdict, ==, CHECK_MISSED_WAKEUP);
    says_that_it_looks = true;
    run(polling_deadlock_body);
    g_assert_cmpint(check.verdict, ==, CHECK_DEADLOCK);
}

/* /check/look: in pairs, which nest, and on one stack. */
static void test_look(void)
{
    run(unpaired_look_body);
    g_assert_cmpint(check.verdict, ==, CHECK_ASSERTION);
    assert_has(printed(), "sched_look_end() without sched_look_begin()");
    run(switching_look_body);
    g_assert_cmpint(check.verdict, ==, CHECK_ASSERTION);
    assert_has(printed(), "a coroutine is switched between");
}

/* /check/deadlock/behind-mutex: a condition wait that cannot get its mutex back is no progress. */
static void test_deadlock_behind_mutex(void)
{
    run(stuck_behind_mutex_body);
    g_assert_cmpint(check.verdict, ==, CHECK_DEADLOCK);
}

/* /check/livelock: the loop is found and named. */
static void test_livelock(void)
{
    const SchedLimits limits = { .steps = 2000 };
    const SchedPlan plan = { .atomics = true };

    run_plan(livelock_body, &plan, &limits);
    g_assert_cmpint(check.verdict, ==, CHECK_LIVELOCK);
    g_assert_cmpuint(check.loop.length, ==, 2);
    assert_has(printed(), "panic: livelock: main repeats 2 steps in spin_until_ready; 2000 steps\n");
}

/* /check/leak, /check/leak/sleeper */
static void test_leak(void)
{
    run(leak_body);
    g_assert_cmpint(check.verdict, ==, CHECK_LEAK);
    assert_has(printed(), "panic: leak: 1 thread (ended, but neither joined nor detached) left at the end\n");
}

static void test_leak_sleeper(void)
{
    run(leak_of_sleeper_body);
    g_assert_cmpint(check.verdict, ==, CHECK_LEAK);
    assert_has(printed(), "panic: leak: 1 thread (idler) left at the end\n");
    assert_has(report, "in wait_until_ready tests/unit/check_oracles.c:");
}

/* /check/late-wakeup: a timer would have rescued it ten minutes later; without anything to miss the same wait is
 * good. */
static void test_late_wakeup(void)
{
    run(late_body);
    g_assert_cmpint(check.verdict, ==, CHECK_LATE_WAKEUP);
    g_assert_cmpuint(check.late_ns / 1000000000, ==, 600);
    assert_has(printed(), "panic: late-wakeup: main waits in wait_with_timer, make_ready_without_signal did not wake "
                          "it; only a timer would have, 600 s later\n");
    run(patient_body);
    g_assert_cmpint(check.verdict, ==, CHECK_NONE);
}

/* /check/stack-overflow: the circle, its length, and how often: 256 are too many, and each eighth step looks. */
static void test_stack_overflow(void)
{
    run(recursion_body);
    g_assert_cmpint(check.verdict, ==, CHECK_STACK_OVERFLOW);
    assert_has(printed(), "panic: stack-overflow: main recurses: complete_one > descend > complete_one "
                          "(2 frames, 263 times)\n");
    assert_has(report, " frames not shown\n");
    assert_has(report, "DEDUP_TOKEN: stack-overflow--complete_one--descend\n");
}

/* /check/failure: the culprit's stack begins at whoever failed. */
static void test_failure(void)
{
    run(failing_body);
    g_assert_cmpint(check.verdict, ==, CHECK_DOUBLE_ENTRY);
    assert_has(printed(), "panic: double-entry: coroutine 'reader' is entered already (main)\n    #0 0x");
    assert_has(report, "#0 ");
    assert_has(report, "in fail_here tests/unit/check_oracles.c:");
    assert_has(report, "DEDUP_TOKEN: double-entry--fail_here--failing_body\n");
}

/* /check/good: nothing is said about a good execution, and one is possible. */
static void test_good(void)
{
    const SchedPlan plan = { .atomics = true };

    run_plan(deadlock_body, &plan, NULL);
    g_assert_cmpint(check.verdict, ==, CHECK_NONE);
}

/* /check/replay: the same plan gives the same execution; another one does not, and the first step that differs is
 * named. */
static void test_replay(void)
{
    const SchedPlan fifo = { .atomics = true };
    SchedPlan walk = { .base = SCHED_BASE_WALK, .atomics = true };
    CheckRecording *recording;

    run_plan(missed_wakeup_body, &fifo, NULL);
    recording = check_record(result);
    run_plan(missed_wakeup_body, &fifo, NULL);
    g_assert_cmpint(check_compare(recording, result).verdict, ==, CHECK_NONE);
    do {
        walk.seed++;
        run_plan(missed_wakeup_body, &walk, NULL);
    } while (result->deviation_count == 0);
    check = check_compare(recording, result);
    g_assert_cmpint(check.verdict, ==, CHECK_NONDETERMINISM);
    g_assert_cmpuint(check.step, !=, CHECK_NO_STEP);
    assert_has(printed(), "panic: nondeterminism: step ");
    check_recording_free(recording);
}

/* /report/abort: what the process says last, for ClusterFuzz: the hash within 80 characters, frames below
 * abort_on_finding, SIGABRT. */
static void test_abort(void)
{
    if (g_test_subprocess()) {
        run(missed_wakeup_body);
        printed();
        abort_on_finding(stderr);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*panic: missed-wakeup: FuzzerHash=????????: main waits in wait_until_ready, *\n"
                              "    #0 0x* in abort_on_finding src/report/report.c:*\n"
                              "    #1 0x* in pthread_cond_wait src/os/cond.c:*\n"
                              "    #2 0x* in wait_until_ready tests/unit/check_oracles.c:*");
}

static void one_coroutine(ReportVisitCoroutine *visit, void *opaque)
{
    static uintptr_t stack[8];
    const ReportCoroutine coroutine = { .name = "reader_entry",
                                        .strand = 2,
                                        .low = stack,
                                        .high = stack + 8,
                                        .frame = &stack[2],
                                        .pc = (void *)((uintptr_t)wait_until_ready + 1),
                                        .where = "iothread0" };

    /* two frames, and a frame pointer that leads out of the stack */
    stack[2] = (uintptr_t)&stack[5];
    stack[3] = (uintptr_t)make_ready_without_signal + 1;
    stack[5] = (uintptr_t)stack + 4096;
    stack[6] = (uintptr_t)fail_here + 1;
    visit(&coroutine, opaque);
}

/* /report/coroutines: walked by their frame pointers, within their bounds. */
static void test_coroutines(void)
{
    static const char *const parts[] = { "  coroutine 2, reader_entry (iothread0), suspended:\n    #0 ",
                                         "in wait_until_ready ",
                                         "    #1 ",
                                         "in make_ready_without_signal ",
                                         "    #2 ",
                                         "in fail_here ",
                                         NULL };

    report_set_coroutines(one_coroutine);
    run(idle_deadlock_body);
    assert_order(printed(), parts);
    report_set_coroutines(NULL);
    run(idle_deadlock_body);
    g_assert_null(strstr(printed(), "coroutine"));
}

/* ---- more functions than a key has room for */

#define LEVEL(name, next)                                      \
    __attribute__((noinline)) static void name(unsigned depth) \
    {                                                          \
        next(depth);                                           \
        levels++; /* not a tail call */                        \
    }

static volatile unsigned levels;

static void level_dd(unsigned depth);

__attribute__((noinline)) static void level_dc(unsigned depth)
{
    SCHED_POINT(SCHED_CALL_OTHER, &levels);
    level_dd(depth + 1);
    levels++;
}

LEVEL(level_ab, level_dc)
LEVEL(level_ed, level_ab)
LEVEL(level_ca, level_ed)
LEVEL(level_af, level_ca)
LEVEL(level_cd, level_af)
LEVEL(level_cf, level_cd)
LEVEL(level_fd, level_cf)
LEVEL(level_ce, level_fd)
LEVEL(level_ff, level_ce)
LEVEL(level_aa, level_ff)
LEVEL(level_ac, level_aa)
LEVEL(level_da, level_ac)
LEVEL(level_ee, level_da)
LEVEL(level_ef, level_ee)
LEVEL(level_be, level_ef)
LEVEL(level_ad, level_be)
LEVEL(level_bc, level_ad)
LEVEL(level_ae, level_bc)
LEVEL(level_df, level_ae)
LEVEL(level_fb, level_df)
LEVEL(level_fc, level_fb)
LEVEL(level_eb, level_fc)
LEVEL(level_bb, level_eb)
LEVEL(level_bf, level_bb)
LEVEL(level_cc, level_bf)
LEVEL(level_bd, level_cc)
LEVEL(level_fe, level_bd)
LEVEL(level_db, level_fe)
LEVEL(level_de, level_db)
LEVEL(level_ba, level_de)
LEVEL(level_ec, level_ba)
LEVEL(level_cb, level_ec)
LEVEL(level_fa, level_cb)
LEVEL(level_ea, level_fa)
LEVEL(level_dd, level_ea)

static void levels_body(void *unused)
{
    (void)unused;
    level_dd(0);
}

/* /report/key/many: of 36 functions in a circle the first 32 in the alphabet, wherever in the circle it was noticed. */
static void test_key_of_many(void)
{
    ReportFinding finding = { .check = &check };
    char key[REPORT_KEY_BYTES];

    run(levels_body);
    finding.result = result;
    g_assert_cmpint(check.verdict, ==, CHECK_STACK_OVERFLOW);
    report_finding_key(&finding, key);
    assert_has(key, "stack-overflow recursion=level_aa,level_ab,");
    assert_has(key, ",level_fb");
    g_assert_null(strstr(key, "level_fc"));
}

/* /report/key/leak: what is left, each kind once, and not how many and which. */
static void test_leak_keys(void)
{
    static const char *const cases[][2] = {
        { "1 file descriptor (eventfd 512, counter 0)", "leak left=file descriptor" },
        { "2 file descriptors (eventfd 512; pipe 513), 12 AIO contexts", "leak left=AIO context,file descriptor" },
        { "1 AIO context, 1 file descriptor (pipe 513)", "leak left=AIO context,file descriptor" },
        { "2 guest memory mappings", "leak left=guest memory mapping" },
        { "1 coroutine", "leak left=coroutine" },
        { "fd 518 still has a handler (in a context)", "leak message=fd  still has a handler " },
    };

    run(deadlock_body);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        CheckResult leak = { .verdict = CHECK_LEAK };
        const ReportFinding finding = { .result = result, .check = &leak };
        char key[REPORT_KEY_BYTES];

        g_strlcpy(leak.message, cases[i][0], sizeof(leak.message));
        report_finding_key(&finding, key);
        g_assert_cmpstr(key, ==, cases[i][1]);
    }
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
    g_test_add_func("/check/missed-wakeup", test_missed_wakeup);
    g_test_add_func("/check/missed-wakeup/plain", test_missed_wakeup_plain);
    g_test_add_func("/check/deadlock", test_deadlock);
    g_test_add_func("/check/deadlock/idle", test_deadlock_idle);
    g_test_add_func("/check/deadlock/looked", test_deadlock_looked);
    g_test_add_func("/check/look", test_look);
    g_test_add_func("/check/deadlock/behind-mutex", test_deadlock_behind_mutex);
    g_test_add_func("/check/livelock", test_livelock);
    g_test_add_func("/check/leak", test_leak);
    g_test_add_func("/check/leak/sleeper", test_leak_sleeper);
    g_test_add_func("/check/late-wakeup", test_late_wakeup);
    g_test_add_func("/check/stack-overflow", test_stack_overflow);
    g_test_add_func("/check/failure", test_failure);
    g_test_add_func("/check/good", test_good);
    g_test_add_func("/check/replay", test_replay);
    g_test_add_func("/report/stack/library", test_stack_through_library);
    g_test_add_func("/report/abort", test_abort);
    g_test_add_func("/report/coroutines", test_coroutines);
    g_test_add_func("/report/key/leak", test_leak_keys);
    g_test_add_func("/report/key/many", test_key_of_many);
    return g_test_run();
}
