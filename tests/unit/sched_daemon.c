/* Daemons: threads of a simulated kernel are actors like any other, and no threads of the program. */
#include "sched_kit.h"

#define JOBS 3u

static SchedQueue idle, done;
static unsigned jobs, finished, after_the_end;
static bool alive;

static void put_back(void)
{
    idle = done = (SchedQueue){ 0 };
    jobs = finished = after_the_end = 0;
    alive = false;
}

static void *serve(void *unused)
{
    alive = true;
    while (!sched_daemon_must_end()) {
        if (!jobs) {
            kit_wait(&idle, SCHED_CALL_IO_COMPLETE, NULL, SCHED_FOREVER);
            continue;
        }
        SCHED_POINT(SCHED_CALL_IO_COMPLETE, &jobs);
        if (sched_daemon_must_end()) {
            after_the_end = jobs;
            break;
        }
        jobs--;
        finished++;
        sched_queue_wake_all(&done);
    }
    alive = false;
    return unused;
}

static void ask(unsigned count)
{
    SCHED_POINT(SCHED_CALL_IO_SUBMIT, &jobs);
    jobs += count;
    sched_queue_wake_all(&idle);
}

static void ask_and_wait(void *unused)
{
    (void)unused;
    put_back();
    sched_daemon_create(serve, NULL, "kernel");
    ask(JOBS);
    while (finished < JOBS) {
        kit_wait(&done, SCHED_CALL_IO_GETEVENTS, NULL, SCHED_FOREVER);
    }
}

/* It serves, is told to end with the program, is not counted as left, and is there anew in the next execution. */
static void test_serves(void)
{
    uint64_t hash = 0;

    for (unsigned i = 0; i < 100; i++) {
        SchedPlan plan = { .base = i % 2 ? SCHED_BASE_FIFO : SCHED_BASE_WALK, .seed = i / 2 };
        const SchedResult *result = kit_run_done(ask_and_wait, NULL, &plan);

        g_assert_cmpuint(result->threads_left, ==, 0);
        g_assert_cmpuint(finished, ==, JOBS);
        g_assert_false(alive);
        g_assert_true(sched_thread_is_daemon(sched_thread_by_id(1)));
        g_assert_false(sched_thread_is_daemon(sched_thread_by_id(0)));
        if (i % 2) {
            g_assert_true(hash == 0 || hash == result->trace_hash);
            hash = result->trace_hash;
        }
    }
}

static void ask_only(void *unused)
{
    (void)unused;
    put_back();
    sched_daemon_create(serve, NULL, "kernel");
    ask(JOBS);
}

/* A program that has ended is not kept alive by what its kernel has still to do. */
static void test_keeps_nothing_alive(void)
{
    SchedPlan plan = { .base = SCHED_BASE_FIFO };

    g_assert_cmpuint(kit_run_done(ask_only, NULL, &plan)->threads_left, ==, 0);
    g_assert_cmpuint(finished, ==, 0);
    g_assert_cmpuint(after_the_end + jobs, >=, JOBS);
    g_assert_false(alive);
}

static void sleep_for_ever(void *unused)
{
    (void)unused;
    put_back();
    sched_daemon_create(serve, NULL, "kernel");
    ask(JOBS);
    kit_wait(&(SchedQueue){ 0 }, SCHED_CALL_POLL, NULL, SCHED_FOREVER);
}

/* Quiescent means that the kernel has nothing to do either; and the kernel itself is no sleeper to be examined. */
static void test_quiescent_when_idle(void)
{
    SchedPlan plan = { .base = SCHED_BASE_FIFO };

    g_assert_cmpint(sched_run(sleep_for_ever, NULL, &plan, NULL)->outcome, ==, SCHED_QUIESCENT);
    g_assert_cmpuint(finished, ==, JOBS);
    g_assert_nonnull(sched_thread_block(sched_thread_by_id(0)));
    g_assert_null(sched_thread_block(sched_thread_by_id(1)));
    g_assert_cmpstr(sched_thread_name(sched_thread_by_id(1)), ==, "kernel");
}

/* Any policy may let the kernel go first: in some walks it has finished all before the program asks whether it has. */
static void look_once(void *opaque)
{
    ask_only(NULL);
    SCHED_POINT(SCHED_CALL_OTHER, &finished);
    SCHED_POINT(SCHED_CALL_OTHER, &finished);
    SCHED_POINT(SCHED_CALL_OTHER, &finished);
    *(unsigned *)opaque |= 1u << finished;
}

static void test_every_order(void)
{
    unsigned seen = 0;

    for (unsigned seed = 0; seed < 300; seed++) {
        SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed };

        kit_run_done(look_once, &seen, &plan);
    }
    g_assert_cmpuint(seen & 7, ==, 7); /* none, one and two of three */
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    g_test_add_func("/sched/daemon/serves", test_serves);
    g_test_add_func("/sched/daemon/keeps-nothing-alive", test_keeps_nothing_alive);
    g_test_add_func("/sched/daemon/quiescent-when-idle", test_quiescent_when_idle);
    g_test_add_func("/sched/daemon/every-order", test_every_order);
    return g_test_run();
}
