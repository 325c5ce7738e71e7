/* Io threads, and the life of the core as a whole. See core_lower_test.c. */
#include "core/coroutine.h"
#include "core/event.h"
#include "core/iothread.h"
#include "core_lower.h"

/* ---- io threads ---- */

/* As many as the bug of 2362a28ea1 needed by far: it lost the flag in about one of 50 on an idle machine. */
#define IOTHREAD_ROUNDS 1000

static void test_iothread_start_stop(void)
{
    for (int i = 0; i < IOTHREAD_ROUNDS; i++) {
        iothread_join(iothread_new("short"));
    }
}

static void test_iothread_stop_twice(void)
{
    IOThread *iothread = iothread_new("twice");

    iothread_stop(iothread);
    iothread_stop(iothread);
    iothread_destroy(iothread);
}

static void test_iothread_stop_with_and_without_glib_loop(void)
{
    for (int i = 0; i < 200; i++) {
        IOThread *iothread = iothread_new_with_g_main_context("glib");

        if (i % 2) {
            iothread_get_g_main_context(iothread); /* the loop may have begun when the stop comes, or not */
        }
        iothread_join(iothread); /* 6c95363d97: joins a thread that runs for ever */
    }
}

static gboolean quit_source_cb(gpointer opaque)
{
    qemu_event_set(opaque);
    return G_SOURCE_REMOVE;
}

static void test_iothread_glib_loop_serves_both(void)
{
    IOThread *iothread = iothread_new_with_g_main_context("glib");
    GSource *source = g_idle_source_new();
    QemuEvent event;

    qemu_event_init(&event, false);
    g_source_set_callback(source, quit_source_cb, &event, NULL);
    g_source_attach(source, iothread_get_g_main_context(iothread));
    g_source_unref(source);
    qemu_event_wait(&event);
    for (int i = 0; i < 500; i++) {
        wait_for_context(iothread_get_aio_context(iothread)); /* now through prepare, check and dispatch */
    }
    qemu_event_destroy(&event);
    iothread_join(iothread);
}

static void test_iothread_context_outlives_thread(void)
{
    IOThread *iothread = iothread_new("gone");
    AioContext *ctx = iothread_get_aio_context(iothread);

    aio_context_ref(ctx);
    iothread_join(iothread);
    g_assert_cmpuint(aio_context_live_count(), ==, 3); /* with the two of the main loop */
    aio_context_unref(ctx);
    g_assert_cmpuint(aio_context_live_count(), ==, 2);
}

/* ---- the core as a whole ---- */

static void test_core_starts_afresh(void)
{
    for (int i = 0; i < 3; i++) {
        int steps = 0;
        Coroutine *co = qemu_coroutine_create(yield_twice, &steps);
        CoroutineInfo info;

        coroutine_describe(co, &info);
        g_assert_cmpuint(info.id, ==, 1);
        for (int j = 0; j < 3; j++) {
            qemu_coroutine_enter(co);
        }
        tear_down();
        set_up();
    }
}

static void test_core_reset_reports_a_coroutine_left_over(void)
{
    if (g_test_subprocess()) {
        int steps = 0;

        qemu_coroutine_create(yield_twice, &steps);
        tear_down();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*panic: leak: 1 coroutines have not ended*");
}

const CoreLowerTest core_lower_iothread_tests[] = {
    { "/iothread/start-stop", test_iothread_start_stop },
    { "/iothread/stop-twice", test_iothread_stop_twice },
    { "/iothread/stop-with-and-without-glib-loop", test_iothread_stop_with_and_without_glib_loop },
    { "/iothread/glib-loop-serves-both", test_iothread_glib_loop_serves_both },
    { "/iothread/context-outlives-thread", test_iothread_context_outlives_thread },
    { "/core/starts-afresh", test_core_starts_afresh },
    { "/core/reset-reports-a-coroutine-left-over", test_core_reset_reports_a_coroutine_left_over },
    { NULL, NULL },
};
