/*
 * Threads of an execution are whole threads: their own thread-local variables, errno and pthread_self(), fresh in each execution; many
 * of them; and executions that were abandoned half-way leave nothing behind.
 */
#include <errno.h>
#include <pthread.h>

#include "sched_kit.h"

/* Under TSan an abandoned thread is replaced by a new one, and the old one stays: fewer, as TSan allows some 8,000 threads. */
#ifdef KIT_TSAN
#define ABANDONED 100u
#else
#define ABANDONED 1000u
#endif

#define WORKERS 4u
#define MANY    400u

static int object;

static void run_threads(void *(*function)(void *), unsigned count)
{
    static SchedThread *threads[SCHED_THREADS_MAX]; /* not from the heap: an abandoned execution frees nothing */

    for (unsigned i = 0; i < count; i++) {
        threads[i] = kit_spawn(function, (void *)(uintptr_t)(i + 1));
    }
    for (unsigned i = 0; i < count; i++) {
        kit_join(threads[i]);
    }
}

/* ---- thread-local variables */

static __thread int zero;
static __thread int forty_two = 42;
static __thread char text[40] = "initial";
static __thread uint64_t large_zero[32];
__thread int visible = -7;

static void *check_fresh(void *index)
{
    int me = (int)(uintptr_t)index;

    g_assert_cmpint(zero, ==, 0);
    g_assert_cmpint(forty_two, ==, 42);
    g_assert_cmpstr(text, ==, "initial");
    g_assert_cmpuint(large_zero[0] | large_zero[31], ==, 0);
    g_assert_cmpint(visible, ==, -7);
    zero = forty_two = visible = me;
    large_zero[0] = large_zero[31] = (uint64_t)me;
    memset(text, me, sizeof(text));
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    g_assert_cmpint(zero, ==, me);
    g_assert_cmpint(forty_two, ==, me);
    g_assert_cmpint(visible, ==, me);
    g_assert_cmpint(text[39], ==, me);
    g_assert_cmpuint(large_zero[31], ==, (uint64_t)me);
    return NULL;
}

static void locals_body(void *unused)
{
    (void)unused;
    check_fresh((void *)(uintptr_t)100); /* thread 0 too */
    run_threads(check_fresh, WORKERS);
}

static void test_thread_locals(void)
{
    zero = 1234; /* the kernel thread's own: no fiber sees it */
    for (uint64_t seed = 0; seed < 50; seed++) {
        const SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed };

        kit_run_done(locals_body, NULL, &plan);
    }
    g_assert_cmpint(zero, ==, 1234);
    g_assert_cmpint(forty_two, ==, 42);
}

static void *check_errno(void *index)
{
    int me = (int)(uintptr_t)index;

    errno = me;
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    g_assert_cmpint(errno, ==, me);
    return NULL;
}

static void errno_body(void *unused)
{
    (void)unused;
    run_threads(check_errno, WORKERS);
}

static void test_errno(void)
{
    errno = 77;
    for (uint64_t seed = 0; seed < 50; seed++) {
        const SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed };

        g_assert_cmpuint(kit_run_done(errno_body, NULL, &plan)->threads, ==, WORKERS + 1);
    }
    g_assert_cmpint(errno, ==, 77);
}

/* ---- identities */

static uintptr_t handles[WORKERS + 1];

static void *check_self(void *index)
{
    SchedThread *self = sched_thread_self();
    uintptr_t handle = (uintptr_t)pthread_self();

    g_assert_cmpuint(sched_thread_id(self), ==, (uintptr_t)index);
    g_assert_cmphex(handle, ==, sched_thread_handle(self));
    g_assert_true(sched_thread_by_handle(handle) == self);
    g_assert_true(sched_thread_by_id((uint32_t)(uintptr_t)index) == self);
    g_assert_true(sched_here());
    sched_passthrough_begin();
    g_assert_false(sched_here());
    sched_passthrough_end();
    handles[(uintptr_t)index] = handle;
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    g_assert_cmphex((uintptr_t)pthread_self(), ==, handle);
    return index;
}

static void self_body(void *unused)
{
    (void)unused;
    check_self(NULL);
    run_threads(check_self, WORKERS);
    for (unsigned i = 0; i <= WORKERS; i++) {
        for (unsigned j = 0; j < i; j++) {
            g_assert_cmphex(handles[i], !=, handles[j]);
        }
    }
}

static void test_pthread_self(void)
{
    uintptr_t kernel_thread = (uintptr_t)pthread_self();

    g_assert_false(sched_here());
    g_assert_null(sched_thread_self());
    for (uint64_t seed = 0; seed < 20; seed++) {
        const SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed };

        kit_run_done(self_body, NULL, &plan);
        g_assert_null(sched_thread_by_handle(kernel_thread));
        g_assert_cmphex((uintptr_t)pthread_self(), ==, kernel_thread);
    }
}

/* ---- ends */

static unsigned ends;

static void on_end(SchedThread *thread)
{
    g_assert_true(thread == sched_thread_self());
    SCHED_POINT(SCHED_CALL_OTHER, &object); /* destructors are part of the schedule */
    ends++;
}

__attribute__((noinline)) static void exit_from_below(void *value)
{
    volatile char frame[300] = { 1 };

    frame[1] = frame[0];
    sched_thread_exit(value);
}

static void *exit_thread(void *value)
{
    exit_from_below(value);
    return NULL;
}

static void exit_body(void *unused)
{
    SchedThread *threads[WORKERS];

    (void)unused;
    ends = 0;
    for (uintptr_t i = 0; i < WORKERS; i++) {
        threads[i] = kit_spawn(exit_thread, (void *)(i + 1000));
    }
    for (uintptr_t i = 0; i < WORKERS; i++) {
        g_assert_cmpuint((uintptr_t)kit_join(threads[i]), ==, i + 1000);
        g_assert_true(sched_thread_ended(threads[i]));
    }
    g_assert_cmpuint(ends, ==, WORKERS);
}

static void test_exit(void)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        const SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed };
        const SchedResult *result;

        sched_on_thread_end(on_end);
        result = kit_run_done(exit_body, NULL, &plan);
        g_assert_cmpuint(ends, ==, WORKERS + 1);
        g_assert_cmpuint(result->threads_left, ==, 0);
    }
    sched_on_thread_end(NULL);
}

static void leave_unjoined(void *unused)
{
    (void)unused;
    kit_spawn(check_errno, (void *)(uintptr_t)1);
}

static void test_unjoined_thread_is_left(void)
{
    const SchedPlan plan = { 0 };

    g_assert_cmpuint(kit_run_done(leave_unjoined, NULL, &plan)->threads_left, ==, 1);
}

/* ---- many */

static unsigned counter;

static void *count_one(void *unused)
{
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    counter++;
    return unused;
}

static void many_body(void *count)
{
    counter = 0;
    run_threads(count_one, (unsigned)(uintptr_t)count);
}

static void test_many_threads(void)
{
    for (SchedBase base = 0; base < SCHED_BASE_COUNT; base++) {
        const SchedPlan plan = { .base = base, .seed = base, .length = 5 * MANY };

        g_assert_cmpuint(kit_run_done(many_body, (void *)(uintptr_t)MANY, &plan)->threads, ==, MANY + 1);
        g_assert_cmpuint(counter, ==, MANY);
    }
}

/* Said by name and with an end of the execution, not of the process. */
static void test_too_many_threads(void)
{
    const SchedPlan plan = { 0 };
    const SchedResult *result = sched_run(many_body, (void *)(uintptr_t)SCHED_THREADS_MAX, &plan, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_FAILED);
    g_assert_cmpstr(result->reason, ==, "unmodelled");
    g_assert_nonnull(strstr(result->message, "too many"));
    kit_run_done(many_body, (void *)(uintptr_t)2, &plan);
}

/* ---- abandoned executions */

static KitMutex first, second;

static void *lock_backwards(void *unused)
{
    kit_lock(&second);
    kit_lock(&first);
    return unused;
}

/* Main sleeps on `second`, thread 1 on `first`: both have used their thread-local variables and some stack. */
static void deadlock_body(void *unused)
{
    volatile char frames[2000];

    (void)unused;
    first = second = (KitMutex){ 0 };
    g_assert_cmpint(forty_two, ==, 42);
    forty_two = 1;
    memset((char *)frames, 1, sizeof(frames));
    kit_lock(&first);
    kit_spawn(lock_backwards, NULL);
    while (!second.locked) {
        kit_yield();
    }
    kit_lock(&second);
}

static void test_abandoned_executions(void)
{
    const SchedPlan plan = { 0 };
    uint64_t hash = 0, good_hash = kit_run_done(locals_body, NULL, &plan)->trace_hash;

    for (unsigned i = 0; i < ABANDONED; i++) {
        const SchedResult *result = sched_run(deadlock_body, NULL, &plan, NULL);

        g_assert_cmpint(result->outcome, ==, SCHED_QUIESCENT);
        g_assert_cmpuint(result->threads_left, ==, 2);
        g_assert_true(i == 0 || result->trace_hash == hash);
        hash = result->trace_hash;
        if (i % 10 == 0) {
            g_assert_cmphex(kit_run_done(locals_body, NULL, &plan)->trace_hash, ==, good_hash);
        }
    }
}

static void fail_body(void *unused)
{
    (void)unused;
    kit_spawn(lock_backwards, NULL);
    sched_fail("assertion", "number %d", 5);
}

static void test_fail(void)
{
    const SchedPlan plan = { 0 };

    first = second = (KitMutex){ 0 };
    for (unsigned i = 0; i < ABANDONED; i++) {
        const SchedResult *result = sched_run(fail_body, NULL, &plan, NULL);

        g_assert_cmpint(result->outcome, ==, SCHED_FAILED);
        g_assert_cmpstr(result->reason, ==, "assertion");
        g_assert_cmpstr(result->message, ==, "number 5");
        g_assert_true(result->culprit == sched_thread_by_id(0));
    }
}

/* ---- threads that are there before they are needed. The first test: what others need stays. */

#define PREPARED 20u

static unsigned kernel_threads(void)
{
    GDir *folder = g_dir_open("/proc/self/task", 0, NULL);
    unsigned count = 0;

    g_assert_nonnull(folder);
    while (g_dir_read_name(folder)) {
        count++;
    }
    g_dir_close(folder);
    return count;
}

static void test_prepared_threads(void)
{
    const SchedPlan plan = { 0 };
    unsigned before;

    g_assert_cmpint(sched_prepare_threads(PREPARED), ==, 0);
    before = kernel_threads();
    g_assert_cmpuint(before, >=, PREPARED);
    kit_run_done(many_body, (void *)(uintptr_t)(PREPARED - 1), &plan);
    g_assert_cmpuint(kernel_threads(), ==, before);
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    g_test_add_func("/sched/threads/prepared", test_prepared_threads);
    g_test_add_func("/sched/threads/thread-locals-are-fresh", test_thread_locals);
    g_test_add_func("/sched/threads/errno", test_errno);
    g_test_add_func("/sched/threads/pthread-self", test_pthread_self);
    g_test_add_func("/sched/threads/exit", test_exit);
    g_test_add_func("/sched/threads/unjoined-is-left", test_unjoined_thread_is_left);
    g_test_add_func("/sched/threads/many", test_many_threads);
    g_test_add_func("/sched/threads/too-many", test_too_many_threads);
    g_test_add_func("/sched/threads/abandoned-executions", test_abandoned_executions);
    g_test_add_func("/sched/threads/fail", test_fail);
    return g_test_run();
}
