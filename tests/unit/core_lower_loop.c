/* File descriptors, polling, timers and the main loop on a real kernel. See core_lower_test.c. */
#include <fcntl.h>
#include <unistd.h>

#include "core/coroutine.h"
#include "core/event.h"
#include "core/iothread.h"
#include "core/main_loop.h"
#include "core/thread.h"
#include "core_lower.h"

/* ---- file descriptors ---- */

typedef struct FdTest {
    EventNotifier e;
    EventNotifier *other; /* whose handler is removed by the callback */
    int reads;
    bool nest;
} FdTest;

static void fd_test_read(EventNotifier *e)
{
    FdTest *t = (FdTest *)((char *)e - offsetof(FdTest, e));

    g_assert_true(event_notifier_test_and_clear(e));
    t->reads++;
    if (t->other) {
        aio_set_event_notifier(main_ctx(), t->other, NULL, NULL, NULL);
        aio_set_event_notifier(main_ctx(), e, NULL, NULL, NULL);
    }
    if (t->nest) {
        aio_poll(main_ctx(), false);
    }
}

static void test_fd_handler_runs_while_readable(void)
{
    FdTest t = { 0 };

    g_assert_cmpint(event_notifier_init(&t.e, false), ==, 0);
    aio_set_event_notifier(main_ctx(), &t.e, fd_test_read, NULL, NULL);
    aio_poll(main_ctx(), false);
    g_assert_cmpint(t.reads, ==, 0);
    event_notifier_set(&t.e);
    event_notifier_set(&t.e);
    g_assert_true(aio_poll(main_ctx(), true));
    g_assert_cmpint(t.reads, ==, 1);
    g_assert_false(aio_poll(main_ctx(), false));
    aio_set_event_notifier(main_ctx(), &t.e, NULL, NULL, NULL);
    event_notifier_set(&t.e);
    g_assert_false(aio_poll(main_ctx(), false));
    g_assert_cmpint(t.reads, ==, 1);
    event_notifier_cleanup(&t.e);
}

static void test_fd_handler_removed_by_callback_is_not_called(void)
{
    FdTest a = { 0 }, b = { 0 };

    for (int nest = 0; nest < 2; nest++) {
        a = (FdTest){ .other = &b.e, .nest = nest };
        b = (FdTest){ .other = &a.e, .nest = nest };
        event_notifier_init(&a.e, true);
        event_notifier_init(&b.e, true);
        aio_set_event_notifier(main_ctx(), &a.e, fd_test_read, NULL, NULL);
        aio_set_event_notifier(main_ctx(), &b.e, fd_test_read, NULL, NULL);
        g_assert_true(aio_poll(main_ctx(), true));
        g_assert_false(aio_poll(main_ctx(), false));
        g_assert_cmpint(a.reads + b.reads, ==, 1); /* both were ready: the first removed the other */
        event_notifier_cleanup(&a.e);
        event_notifier_cleanup(&b.e);
    }
}

typedef struct FdElsewhere {
    EventNotifier e;
    QemuEvent called;
} FdElsewhere;

static void fd_elsewhere_read(EventNotifier *e)
{
    FdElsewhere *f = (FdElsewhere *)((char *)e - offsetof(FdElsewhere, e));

    event_notifier_test_and_clear(e);
    qemu_event_set(&f->called);
}

static void test_fd_handler_set_by_other_thread_is_polled(void)
{
    IOThread *iothread = iothread_new("fds");
    AioContext *ctx = iothread_get_aio_context(iothread);

    /*
     * The handler comes while the thread is asleep on the old set, or is about to be: only the set's change wakes it.
     */
    for (int i = 0; i < 500; i++) {
        FdElsewhere f;

        qemu_event_init(&f.called, false);
        event_notifier_init(&f.e, true);
        aio_set_event_notifier(ctx, &f.e, fd_elsewhere_read, NULL, NULL);
        qemu_event_wait(&f.called);
        aio_set_event_notifier(ctx, &f.e, NULL, NULL, NULL);
        wait_for_context(ctx);
        event_notifier_cleanup(&f.e);
        qemu_event_destroy(&f.called);
    }
    iothread_join(iothread);
}

/* ---- polling in user space ---- */

typedef struct PollTest {
    EventNotifier e;
    bool ready;
    int ready_calls, begins, ends;
    bool nest, ready_at_end;
} PollTest;

static PollTest *poll_test_of(EventNotifier *e)
{
    return (PollTest *)((char *)e - offsetof(PollTest, e));
}

static void poll_test_read(EventNotifier *e)
{
    event_notifier_test_and_clear(e);
}

static bool poll_test_poll(void *opaque)
{
    return poll_test_of(opaque)->ready;
}

static void poll_test_poll_ready(EventNotifier *e)
{
    PollTest *t = poll_test_of(e);

    t->ready_calls++;
    if (t->nest) {
        aio_poll(main_ctx(), false); /* before the condition is reset */
        aio_bh_schedule_oneshot(main_ctx(), count_cb, &t->begins);
        aio_poll(main_ctx(), true);
    }
    t->ready = false;
}

static void poll_test_begin(EventNotifier *e)
{
    poll_test_of(e)->begins++;
}

static void poll_test_end(EventNotifier *e)
{
    PollTest *t = poll_test_of(e);

    t->ends++;
    if (t->ready_at_end) {
        t->ready_at_end = false;
        t->ready = true;
    }
}

/* A handler that has been ready once, and so is polled from now on. */
static void poll_test_start(PollTest *t)
{
    event_notifier_init(&t->e, true);
    aio_context_set_poll_params(main_ctx(), 8);
    aio_set_event_notifier(main_ctx(), &t->e, poll_test_read, poll_test_poll, poll_test_poll_ready);
    aio_set_event_notifier_poll(main_ctx(), &t->e, poll_test_begin, poll_test_end);
    g_assert_true(aio_poll(main_ctx(), true));
}

static void poll_test_finish(PollTest *t)
{
    aio_set_event_notifier(main_ctx(), &t->e, NULL, NULL, NULL);
    event_notifier_cleanup(&t->e);
}

static void test_polling_calls_poll_ready(void)
{
    PollTest t = { 0 };

    poll_test_start(&t);
    t.ready = true;
    g_assert_true(aio_poll(main_ctx(), true)); /* nothing else would end it */
    g_assert_cmpint(t.ready_calls, ==, 1);
    g_assert_cmpint(t.begins, ==, 1);
    poll_test_finish(&t);
}

static void test_polling_poll_ready_may_poll_again(void)
{
    PollTest t = { .nest = true };

    poll_test_start(&t);
    t.ready = true;
    g_assert_true(aio_poll(main_ctx(), true));
    g_assert_cmpint(t.ready_calls, ==, 1); /* 6d740fb01b: for ever, one inside the other */
    poll_test_finish(&t);
}

static void test_polling_polls_once_more_at_its_end(void)
{
    PollTest t = { 0 };

    poll_test_start(&t);
    t.ready = true;
    g_assert_true(aio_poll(main_ctx(), true));
    t.ready_at_end = true; /* happens between the last round and the other side's learning that it must notify */
    g_assert_true(aio_poll(main_ctx(), true));
    g_assert_cmpint(t.ends, ==, 1);
    g_assert_cmpint(t.ready_calls, ==, 2);
    poll_test_finish(&t);
}

/* ---- timers ---- */

typedef struct TimerTest {
    QEMUTimer timer;
    GString *log;
    char letter;
    int rearm;
} TimerTest;

static void timer_test_cb(void *opaque)
{
    TimerTest *t = opaque;

    g_string_append_c(t->log, t->letter);
    g_assert_false(timer_pending(&t->timer));
    if (t->rearm-- > 0) {
        timer_mod_ns(&t->timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 1000);
    }
}

static void timer_test_init(TimerTest *t, GString *log, char letter)
{
    *t = (TimerTest){ .log = log, .letter = letter };
    aio_timer_init(main_ctx(), &t->timer, QEMU_CLOCK_REALTIME, SCALE_NS, timer_test_cb, t);
}

static void test_timer_order(void)
{
    GString *log = g_string_new(NULL);
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    TimerTest t[4];

    for (int i = 0; i < 4; i++) {
        timer_test_init(&t[i], log, "abcd"[i]);
    }
    timer_mod_ns(&t[0].timer, now + 3000);
    timer_mod_ns(&t[1].timer, now + 1000);
    timer_mod_ns(&t[2].timer, now + 3000); /* equal times: in the order of arming */
    timer_mod_ns(&t[3].timer, now + 2000);
    timer_del(&t[3].timer);
    g_assert_false(timer_pending(&t[3].timer));
    g_assert_true(timer_pending(&t[0].timer));
    g_assert_cmpint(timer_expire_time_ns(&t[1].timer), ==, now + 1000);
    while (log->len < 3) {
        aio_poll(main_ctx(), true);
    }
    g_assert_cmpstr(log->str, ==, "bac");
    g_assert_cmpint(aio_compute_timeout(main_ctx()), ==, -1);
    g_string_free(log, TRUE);
}

static void test_timer_rearmed_in_callback(void)
{
    GString *log = g_string_new(NULL);
    TimerTest t;

    timer_test_init(&t, log, 'x');
    t.rearm = 3;
    timer_mod_ns(&t.timer, 0);
    while (log->len < 4) {
        aio_poll(main_ctx(), true);
    }
    g_assert_false(timer_pending(&t.timer));
    g_string_free(log, TRUE);
}

static void test_timer_anticipate_only_moves_forward(void)
{
    GString *log = g_string_new(NULL);
    TimerTest t;
    int64_t later = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 1000 * NANOSECONDS_PER_SECOND;

    timer_test_init(&t, log, 'x');
    timer_mod_ns(&t.timer, later);
    timer_mod_anticipate_ns(&t.timer, later + 1);
    g_assert_cmpint(timer_expire_time_ns(&t.timer), ==, later);
    timer_mod_anticipate_ns(&t.timer, later - 1);
    g_assert_cmpint(timer_expire_time_ns(&t.timer), ==, later - 1);
    timer_del(&t.timer);
    g_string_free(log, TRUE);
}

static void test_timer_armed_by_other_thread_wakes_loop(void)
{
    IOThread *iothread = iothread_new("timers");
    QemuEvent fired;

    qemu_event_init(&fired, false);
    for (int i = 0; i < 200; i++) {
        QEMUTimer *timer = aio_timer_new(iothread_get_aio_context(iothread), QEMU_CLOCK_REALTIME, SCALE_MS, set_event_bh, &fired);

        qemu_event_reset(&fired);
        timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + 600000);
        timer_mod(timer, 0); /* the thread sleeps for ten minutes now, or is about to */
        qemu_event_wait(&fired);
        timer_free(timer);
    }
    qemu_event_destroy(&fired);
    iothread_join(iothread);
}

static void test_timeouts_are_rounded_up(void)
{
    g_assert_cmpint(qemu_timeout_ns_to_ms(-1), ==, -1);
    g_assert_cmpint(qemu_timeout_ns_to_ms(0), ==, 0);
    g_assert_cmpint(qemu_timeout_ns_to_ms(1), ==, 1);
    g_assert_cmpint(qemu_timeout_ns_to_ms(SCALE_MS), ==, 1);
    g_assert_cmpint(qemu_timeout_ns_to_ms(SCALE_MS + 1), ==, 2);
    g_assert_cmpint(qemu_timeout_ns_to_ms(INT64_MAX), ==, INT32_MAX);
    g_assert_cmpint(qemu_soonest_timeout(-1, 5), ==, 5);
    g_assert_cmpint(qemu_soonest_timeout(-1, -1), ==, -1);
    g_assert_cmpint(qemu_soonest_timeout(0, -1), ==, 0);
}

/* ---- main loop ---- */

static void test_main_loop_iohandler_is_served_by_outer_loop_only(void)
{
    int main_calls = 0, io_calls = 0;

    aio_bh_schedule_oneshot(iohandler_get_aio_context(), count_cb, &io_calls);
    aio_bh_schedule_oneshot(main_ctx(), count_cb, &main_calls);
    g_assert_true(aio_poll(main_ctx(), true));
    g_assert_false(aio_poll(main_ctx(), false));
    g_assert_cmpint(main_calls, ==, 1);
    g_assert_cmpint(io_calls, ==, 0);
    main_loop_wait(false);
    g_assert_cmpint(io_calls, ==, 1);
    aio_bh_schedule_oneshot(main_ctx(), count_cb, &main_calls);
    main_loop_wait(false);
    g_assert_cmpint(main_calls, ==, 2);
    main_loop_wait(true);
    g_assert_cmpint(main_calls + io_calls, ==, 3);
}

static void test_main_loop_runs_its_own_timers(void)
{
    int calls = 0;
    QEMUTimer *timer = timer_new_ms(QEMU_CLOCK_VIRTUAL, count_cb, &calls);

    timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) + 2);
    while (!calls) {
        main_loop_wait(false);
    }
    timer_free(timer);
}

typedef struct VcpuTest {
    int count; /* plain: protected by the big lock */
    bool done;
} VcpuTest;

static void vcpu_done_bh(void *opaque)
{
    ((VcpuTest *)opaque)->done = true;
}

static void *vcpu_thread(void *opaque)
{
    VcpuTest *t = opaque;

    g_assert_null(qemu_get_current_aio_context());
    g_assert_false(qemu_in_main_thread());
    for (int i = 0; i < 100; i++) {
        int calls = 0;

        bql_lock(); /* main must be asleep in its ppoll for this, or on its way */
        g_assert_true(qemu_get_current_aio_context() == main_ctx());
        t->count++;
        aio_bh_schedule_oneshot(main_ctx(), count_cb, &calls);
        while (!calls) {
            aio_poll(main_ctx(), true);
        }
        bql_unlock();
    }
    bql_lock();
    aio_bh_schedule_oneshot(main_ctx(), vcpu_done_bh, t);
    bql_unlock();
    return NULL;
}

static void test_main_loop_sleeps_without_the_big_lock(void)
{
    VcpuTest t = { 0 };
    QemuThread thread;

    qemu_thread_create(&thread, "vcpu", vcpu_thread, &t, QEMU_THREAD_JOINABLE);
    while (!t.done) {
        main_loop_wait(false);
    }
    qemu_thread_join(&thread);
    g_assert_cmpint(t.count, ==, 100);
}

static void test_main_loop_fd_handler(void)
{
    int calls = 0;
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_NONBLOCK | O_CLOEXEC), ==, 0);
    qemu_set_fd_handler(fds[0], count_cb, NULL, &calls);
    main_loop_wait(true);
    g_assert_cmpint(calls, ==, 0);
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    main_loop_wait(false);
    g_assert_cmpint(calls, ==, 1);
    qemu_set_fd_handler(fds[0], NULL, NULL, NULL);
    main_loop_wait(true);
    g_assert_cmpint(calls, ==, 1);
    close(fds[0]);
    close(fds[1]);
}

const CoreLowerTest core_lower_loop_tests[] = {
    { "/aio/fd/handler-runs-while-readable", test_fd_handler_runs_while_readable },
    { "/aio/fd/handler-removed-by-callback-is-not-called", test_fd_handler_removed_by_callback_is_not_called },
    { "/aio/fd/handler-set-by-other-thread-is-polled", test_fd_handler_set_by_other_thread_is_polled },
    { "/aio/polling/calls-poll-ready", test_polling_calls_poll_ready },
    { "/aio/polling/poll-ready-may-poll-again", test_polling_poll_ready_may_poll_again },
    { "/aio/polling/polls-once-more-at-its-end", test_polling_polls_once_more_at_its_end },
    { "/timer/order", test_timer_order },
    { "/timer/rearmed-in-callback", test_timer_rearmed_in_callback },
    { "/timer/anticipate-only-moves-forward", test_timer_anticipate_only_moves_forward },
    { "/timer/armed-by-other-thread-wakes-loop", test_timer_armed_by_other_thread_wakes_loop },
    { "/timer/timeouts-are-rounded-up", test_timeouts_are_rounded_up },
    { "/main-loop/iohandler-is-served-by-outer-loop-only", test_main_loop_iohandler_is_served_by_outer_loop_only },
    { "/main-loop/runs-its-own-timers", test_main_loop_runs_its_own_timers },
    { "/main-loop/sleeps-without-the-big-lock", test_main_loop_sleeps_without_the_big_lock },
    { "/main-loop/fd-handler", test_main_loop_fd_handler },
    { NULL, NULL },
};
