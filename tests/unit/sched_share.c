/*
 * Executions in children of the process leave their trace, the names of calls and what is learned with the parent; a thread without an end
 * is no leak.
 */
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sched/learn.h"
#include "sched_kit.h"

static int shared_flag;
static SchedQueue asleep;
static unsigned named;

static uint32_t name_call(void *const *pcs, unsigned n)
{
    (void)pcs;
    named++;
    return n;
}

static void *store(void *unused)
{
    (void)unused;
    qatomic_set(&shared_flag, 1);
    return NULL;
}

static void two_threads(void *unused)
{
    SchedThread *thread = kit_spawn(store, NULL);

    (void)unused;
    qatomic_read(&shared_flag);
    kit_join(thread);
}

static void in_child(void (*body)(void *), const SchedPlan *plan)
{
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    int status;

    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        sched_run(body, NULL, plan, NULL);
        sched_share_publish();
        _exit(0);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
    sched_share_collect();
}

/* The same plan has the same steps in a child, and the parent sees them. */
static void test_trace(void)
{
    const SchedPlan plan = { .atomics = true };
    size_t here, there;
    const SchedStep *trace;

    kit_run_done(two_threads, NULL, &plan);
    sched_trace(&here);
    in_child(two_threads, &plan);
    trace = sched_trace(&there);
    g_assert_cmpuint(here, ==, there);
    g_assert_cmpint(trace[0].operation, ==, SCHED_CALL);
    g_assert_cmpint(trace[0].call, ==, SCHED_CALL_CREATE);
}

/* Nothing was learned here; after a child's execution the mutator has its threads, their decisions, and sites to draw from. */
static void test_learning(void)
{
    const SchedPlan plan = { .atomics = true };

    sched_learn_forget();
    g_assert_cmpuint(sched_learn_site_count(), ==, 0);
    sched_set_learning(true);
    in_child(two_threads, &plan);
    sched_set_learning(false);
    g_assert_cmpuint(sched_learn_site_count(), >=, 2);
    g_assert_cmpuint(sched_learn_threads(), ==, 2);
    g_assert_cmpuint(sched_learn_decisions(0), >, 0);
}

/* What a child has asked the namer for, nobody asks again: the third execution is the parent's own. */
static void test_names(void)
{
    const SchedPlan plan = { .atomics = true };

    named = 0;
    sched_set_learning(true);
    in_child(two_threads, &plan);
    in_child(two_threads, &plan);
    kit_run_done(two_threads, NULL, &plan);
    sched_set_learning(false);
    sched_set_namer(NULL);
    g_assert_cmpuint(named, ==, 0);
}

static void *sleep_on(void *lives_on)
{
    if (lives_on) {
        sched_thread_lives_on(sched_thread_self());
    }
    kit_wait(&asleep, SCHED_CALL_FUTEX_WAIT, &asleep, SCHED_FOREVER);
    return NULL;
}

static void leave_one_behind(void *lives_on)
{
    sched_thread_reap(kit_spawn(sleep_on, lives_on));
    kit_yield();
}

static void test_lives_on(void)
{
    const SchedPlan plan = { 0 };

    asleep = (SchedQueue){ 0 };
    g_assert_cmpuint(kit_run_done(leave_one_behind, &asleep, &plan)->threads_left, ==, 0);
    asleep = (SchedQueue){ 0 };
    g_assert_cmpuint(kit_run_done(leave_one_behind, NULL, &plan)->threads_left, ==, 1);
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    sched_set_namer(name_call);
    g_assert_cmpint(sched_share_with_children(), ==, 0);
    g_test_add_func("/sched/share/trace", test_trace);
    g_test_add_func("/sched/share/learning", test_learning);
    g_test_add_func("/sched/share/names", test_names);
    g_test_add_func("/sched/share/thread-that-lives-on", test_lives_on);
    return g_test_run();
}
