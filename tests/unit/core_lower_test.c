/*
 * The lower half of the core on real threads and a real kernel: threads, events, coroutines, event loops, timers, io
 * threads.
 *
 * Each test is named for the property it holds the code to. Nothing sleeps for a time: threads wait for each other by
 * events and semaphores, and a watchdog (alarm) ends a run that hangs. Each test runs between core_init() and
 * core_reset(), and so also shows that nothing is left behind.
 */
#include "core_lower.h"

#include <unistd.h>

#include "core/core.h"
#include "core/event.h"
#include "core/main_loop.h"

/* Hangs are what this program looks for: far above any test's time, far below a person's patience. */
#define WATCHDOG_SECONDS 120

/* ---- what the parts share ---- */

void set_up(void)
{
    core_init();
    g_assert_cmpint(qemu_init_main_loop(), ==, 0);
}

void tear_down(void)
{
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* whatever is still due */
    }
    qemu_cleanup_main_loop();
    core_reset();
}

sigjmp_buf fatal_jump;
char fatal_verdict[32];

void catch_fatal(const char *verdict, const char *message)
{
    (void)message;
    g_strlcpy(fatal_verdict, verdict, sizeof(fatal_verdict));
    siglongjmp(fatal_jump, 1);
}

void count_cb(void *opaque)
{
    ++*(int *)opaque;
}

AioContext *main_ctx(void)
{
    return qemu_get_aio_context();
}

void set_event_bh(void *opaque)
{
    qemu_event_set(opaque);
}

void wait_for_context(AioContext *ctx)
{
    QemuEvent done;

    qemu_event_init(&done, false);
    aio_bh_schedule_oneshot(ctx, set_event_bh, &done);
    qemu_event_wait(&done);
    qemu_event_destroy(&done);
}

void coroutine_fn yield_twice(void *opaque)
{
    int *steps = opaque;

    g_assert_true(qemu_in_coroutine());
    ++*steps;
    qemu_coroutine_yield();
    ++*steps;
    qemu_coroutine_yield();
    ++*steps;
}

/* ---- the tests ---- */

static void run_test(gconstpointer opaque)
{
    const CoreLowerTest *test = opaque;

    set_up();
    test->function();
    tear_down();
}

int main(int argc, char **argv)
{
    static const CoreLowerTest *const parts[] = {
        core_lower_threads_tests,   core_lower_bh_tests,       core_lower_loop_tests,
        core_lower_coroutine_tests, core_lower_iothread_tests,
    };

    alarm(WATCHDOG_SECONDS);
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        for (const CoreLowerTest *test = parts[i]; test->path; test++) {
            g_test_add_data_func(test->path, test, run_test);
        }
    }
    return g_test_run();
}
