/*
 * What the scheduler writes down beside the trace, for reports: who let whom go on, where decisions were taken; and watching steps, which must
 * change nothing.
 *
 * The program: thread 0 sleeps on a queue, a second thread wakes it; both then sleep for a while.
 */
#include "sched_kit.h"

enum { WATCHED = 64 };

static KitMutex mutex;
static KitCond cond;
static bool ready;
static int counter;

static void *waker(void *unused)
{
    kit_lock(&mutex);
    ready = true;
    kit_cond_signal(&cond);
    kit_unlock(&mutex);
    kit_sleep_until(sched_now_ns() + KIT_MS);
    qatomic_fetch_inc(&counter);
    return unused;
}

static void body(void *unused)
{
    SchedThread *thread;

    (void)unused;
    mutex = (KitMutex){ 0 };
    cond = (KitCond){ 0 };
    ready = false;
    counter = 0;
    thread = kit_spawn(waker, NULL);
    kit_lock(&mutex);
    while (!ready) {
        kit_cond_wait(&cond, &mutex, SCHED_FOREVER);
    }
    kit_unlock(&mutex);
    qatomic_fetch_inc(&counter);
    kit_join(thread);
}

static bool is(const SchedStep *step, SchedCall call)
{
    return step->operation == SCHED_CALL && step->call == call;
}

/* Each wakeup names a thread that had blocked before, and a step that lets threads go on. */
static void test_wakeups(void)
{
    static const SchedPlan fifo;
    size_t steps, count, signals = 0, clocks = 0;

    kit_run_done(body, NULL, &fifo);

    const SchedStep *trace = sched_trace(&steps);
    const SchedWakeup *wakeups = sched_wakeups(&count);

    g_assert_cmpuint(count, >=, 3); /* the signal, the sleep's end, the join */
    for (size_t i = 0; i < count; i++) {
        const SchedStep *cause = &trace[wakeups[i].step - 1];
        size_t slept = wakeups[i].step;

        g_assert_cmpuint(wakeups[i].step, >, 0);
        g_assert_cmpuint(wakeups[i].step, <=, steps);
        signals += is(cause, SCHED_CALL_COND_SIGNAL);
        clocks += is(cause, SCHED_CALL_CLOCK_ADVANCE);
        g_assert_cmpuint(cause->thread, !=, wakeups[i].thread);
        while (slept > 0 && !(trace[slept - 1].thread == wakeups[i].thread && trace[slept - 1].flags & SCHED_STEP_BLOCKED)) {
            slept--;
        }
        g_assert_cmpuint(slept, >, 0);
        g_assert_true(i == 0 || wakeups[i].step >= wakeups[i - 1].step);
    }
    g_assert_cmpuint(signals, ==, 1);
    g_assert_cmpuint(clocks, ==, 1);
}

/* The place of a preemption is the step at which the other thread goes on, and the preempted one's next step says so. */
static void test_places(void)
{
    SchedPlan plan = { .atomics = true, .override_count = 1 };
    size_t steps;
    const SchedResult *result;

    plan.overrides[0] = (SchedOverride){ .thread = 0, .decision = 1, .choice = 2 };
    result = kit_run_done(body, NULL, &plan);

    const SchedStep *trace = sched_trace(&steps);

    g_assert_cmpuint(result->deviation_count, ==, 1);
    g_assert_cmpint(result->deviation_places[0].kind, ==, SCHED_PLACE_PREEMPTION);
    g_assert_cmpuint(result->deviation_places[0].step, <, steps);
    g_assert_cmpuint(trace[result->deviation_places[0].step].thread, ==, 1);
    g_assert_cmpuint(trace[result->deviation_places[0].step - 1].thread, ==, 0);
    for (size_t i = result->deviation_places[0].step; i < steps; i++) {
        if (trace[i].thread == 0) {
            g_assert_true(trace[i].flags & SCHED_STEP_PREEMPTED);
            break;
        }
    }
}

static size_t seen[WATCHED], seen_count;
static bool all_outside;

static void on_step(size_t step, SchedThread *thread)
{
    g_assert_cmpuint(seen_count, <, WATCHED);
    g_assert_true(thread == sched_thread_self() || !thread);
    all_outside &= !sched_here();
    seen[seen_count++] = step;
}

/* Watched or not, it is the same execution; each step is met once, in order, by the thread that makes it. */
static void test_watching_changes_nothing(void)
{
    static const size_t steps[] = { 0, 1, 5, 6, 7, 11, 100000 };
    SchedPlan plan = { .base = SCHED_BASE_WALK, .parameter = 0, .atomics = true };

    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t hash, count;

        plan.seed = seed;
        hash = kit_run_done(body, NULL, &plan)->trace_hash;
        count = sched_result_so_far()->steps;
        seen_count = 0;
        all_outside = true;
        sched_watch(steps, G_N_ELEMENTS(steps), on_step);
        g_assert_cmphex(kit_run_done(body, NULL, &plan)->trace_hash, ==, hash);
        sched_watch(NULL, 0, NULL);
        g_assert_cmpuint(count, >, 11);
        g_assert_cmpuint(seen_count, ==, G_N_ELEMENTS(steps) - 1); /* the last one never came */
        g_assert_cmpmem(seen, seen_count * sizeof(seen[0]), steps, seen_count * sizeof(steps[0]));
        g_assert_true(all_outside);
        g_assert_cmphex(kit_run_done(body, NULL, &plan)->trace_hash, ==, hash);
        g_assert_cmpuint(seen_count, ==, G_N_ELEMENTS(steps) - 1); /* nobody watches any more */
    }
}

/* The step bound holds, whether its step is watched or not. */
static void test_watching_keeps_the_step_bound(void)
{
    static const size_t steps[] = { 3, 6 };
    static const SchedPlan fifo;
    SchedLimits limits = { .steps = 6 };

    seen_count = 0;
    sched_watch(steps, G_N_ELEMENTS(steps), on_step);
    g_assert_cmpint(sched_run(body, NULL, &fifo, &limits)->outcome, ==, SCHED_STEP_BOUND);
    sched_watch(NULL, 0, NULL);
    g_assert_cmpuint(seen_count, ==, 2);
    g_assert_cmpuint(sched_result_so_far()->steps, ==, 6);
}

/* ---- stores whose value nobody announces, at sites that nobody compiled */

static SchedSite late[] = {
    { .file = "a.c", .function = "f", .expression = "line 1", .line = 1, .operation = SCHED_STORE, .size_bytes = 4 },
    { .file = "a.c", .function = "f", .expression = "line 2", .line = 2, .operation = SCHED_STORE, .size_bytes = 4 },
    { .file = "a.c", .function = "f", .expression = "line 2", .line = 3, .operation = SCHED_STORE, .size_bytes = 4 },
    { .file = "a.c", .function = "f", .expression = "line 1", .line = 1, .operation = SCHED_LOAD, .size_bytes = 4 },
};
static int freed, last;

static void *write_too(void *unused)
{
    qatomic_set(&counter, 5);
    return unused;
}

static void store(void *unused)
{
    SchedThread *thread;

    (void)unused;
    counter = freed = last = 0;
    thread = kit_spawn(write_too, NULL);
    sched_store(&late[0], &counter);
    counter += 2;
    sched_store(&late[1], &freed);
    freed = 7;
    sched_forget(&freed, sizeof(freed)); /* as if it were memory that is given back */
    kit_join(thread);
    sched_store(&late[2], &last);
    last = 9;
}

static const SchedStep *step_at(const SchedSite *site)
{
    size_t steps;
    const SchedStep *trace = sched_trace(&steps);

    for (size_t i = 0; i < steps; i++) {
        if (trace[i].operation != SCHED_CALL && trace[i].site == site) {
            return &trace[i];
        }
    }
    g_assert_not_reached();
}

static void test_stores(void)
{
    SchedPlan plan = { .atomics = true };

    kit_run_done(store, NULL, &plan);
    g_assert_cmpuint(step_at(&late[0])->old_value, ==, 0);
    g_assert_cmpuint(step_at(&late[0])->new_value, ==, 2);
    g_assert_cmpuint(step_at(&late[1])->new_value, ==, 0); /* not read any more */
    g_assert_cmpuint(step_at(&late[2])->new_value, ==, 9); /* by the step of thread 0's end */
    plan.override_count = 1;
    plan.overrides[0] = (SchedOverride){ .thread = 0,
                                         .decision = 0,
                                         .choice = 2 }; /* the other thread goes before the first store */
    kit_run_done(store, NULL, &plan);
    g_assert_cmpuint(step_at(&late[0])->old_value, ==, 5);
    g_assert_cmpuint(step_at(&late[0])->new_value, ==, 7);
}

static void store_and_fail(void *unused)
{
    (void)unused;
    last = 0;
    sched_store(&late[2], &last);
    last = 3;
    sched_fail("assertion", "after a store");
}

static void test_store_before_a_failure(void)
{
    static const SchedPlan fifo;

    g_assert_cmpint(sched_run(store_and_fail, NULL, &fifo, NULL)->outcome, ==, SCHED_FAILED);
    g_assert_cmpuint(step_at(&late[2])->new_value, ==, 3);
}

static void test_names(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(late); i++) {
        g_assert_cmpuint(late[i].id & 0xffff, !=, 0);
        for (size_t k = 0; k < i; k++) {
            g_assert_cmpuint(late[i].id & 0xffff, !=, late[k].id & 0xffff); /* two of one name have another ordinal each */
        }
    }
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    sched_name_sites(late, G_N_ELEMENTS(late));
    g_test_add_func("/sched/notes/wakeups", test_wakeups);
    g_test_add_func("/sched/notes/places", test_places);
    g_test_add_func("/sched/notes/watching-changes-nothing", test_watching_changes_nothing);
    g_test_add_func("/sched/notes/watching-keeps-the-step-bound", test_watching_keeps_the_step_bound);
    g_test_add_func("/sched/notes/stores", test_stores);
    g_test_add_func("/sched/notes/store-before-a-failure", test_store_before_a_failure);
    g_test_add_func("/sched/notes/names", test_names);
    return g_test_run();
}
