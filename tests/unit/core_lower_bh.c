/* Bottom halves and notification: what is scheduled runs, once, and nobody sleeps on it. See core_lower_test.c. */
#include "core/aio_context_int.h"
#include "core/atomic.h"
#include "core/coroutine.h"
#include "core/iothread.h"
#include "core/thread.h"
#include "core_lower.h"

/* ---- bottom halves ---- */

static void test_bh_runs_once_however_often_scheduled(void)
{
    int calls = 0;
    QEMUBH *bh = aio_bh_new(main_ctx(), count_cb, &calls);

    g_assert_false(aio_poll(main_ctx(), false));
    qemu_bh_schedule(bh);
    qemu_bh_schedule(bh);
    g_assert_cmpint(calls, ==, 0);
    g_assert_true(aio_poll(main_ctx(), true));
    g_assert_cmpint(calls, ==, 1);
    g_assert_false(aio_poll(main_ctx(), false));
    qemu_bh_schedule(bh);
    g_assert_true(aio_poll(main_ctx(), false));
    g_assert_cmpint(calls, ==, 2);
    qemu_bh_delete(bh);
}

static void test_bh_cancel_before_poll(void)
{
    int calls = 0;
    QEMUBH *bh = aio_bh_new(main_ctx(), count_cb, &calls);

    qemu_bh_schedule(bh);
    qemu_bh_cancel(bh);
    g_assert_false(aio_poll(main_ctx(), false));
    g_assert_cmpint(calls, ==, 0);
    qemu_bh_schedule(bh);
    qemu_bh_cancel(bh);
    qemu_bh_schedule(bh);
    g_assert_true(aio_poll(main_ctx(), false));
    g_assert_cmpint(calls, ==, 1);
    qemu_bh_delete(bh);
}

static void test_bh_delete_before_poll(void)
{
    int calls = 0;
    QEMUBH *bh = aio_bh_new(main_ctx(), count_cb, &calls);

    qemu_bh_schedule(bh);
    qemu_bh_delete(bh);
    g_assert_false(aio_poll(main_ctx(), false));
    g_assert_cmpint(calls, ==, 0);
}

typedef struct SelfBH {
    QEMUBH *bh;
    int calls, limit;
    bool schedule_idle;
} SelfBH;

static void delete_self_cb(void *opaque)
{
    SelfBH *self = opaque;

    self->calls++;
    qemu_bh_schedule(self->bh);
    qemu_bh_delete(self->bh);
}

static void test_bh_delete_inside_callback(void)
{
    SelfBH self = { 0 };

    self.bh = aio_bh_new(main_ctx(), delete_self_cb, &self);
    qemu_bh_schedule(self.bh);
    g_assert_true(aio_poll(main_ctx(), false));
    g_assert_false(aio_poll(main_ctx(), false));
    g_assert_cmpint(self.calls, ==, 1);
}

static void schedule_self_cb(void *opaque)
{
    SelfBH *self = opaque;

    if (++self->calls < self->limit) {
        qemu_bh_schedule(self->bh);
    }
}

static void test_bh_scheduled_by_callback_waits_for_next_poll(void)
{
    SelfBH self = { .limit = 3 };

    self.bh = aio_bh_new(main_ctx(), schedule_self_cb, &self);
    qemu_bh_schedule(self.bh);
    for (int i = 1; i <= self.limit; i++) {
        g_assert_true(aio_poll(main_ctx(), true));
        g_assert_cmpint(self.calls, ==, i);
    }
    g_assert_false(aio_poll(main_ctx(), false));
    qemu_bh_delete(self.bh);
}

static void test_bh_oneshot_runs_once(void)
{
    int calls = 0;

    aio_bh_schedule_oneshot(main_ctx(), count_cb, &calls);
    aio_bh_schedule_oneshot(main_ctx(), count_cb, &calls);
    g_assert_true(aio_poll(main_ctx(), false));
    g_assert_cmpint(calls, ==, 2);
    g_assert_false(aio_poll(main_ctx(), false));
}

static void test_bh_idle_is_no_progress(void)
{
    int calls = 0;
    QEMUBH *bh = aio_bh_new(main_ctx(), count_cb, &calls);

    qemu_bh_schedule_idle(bh);
    g_assert_cmpint(aio_compute_timeout(main_ctx()), ==, 10 * SCALE_MS);
    g_assert_false(aio_poll(main_ctx(), false));
    g_assert_cmpint(calls, ==, 1);
    qemu_bh_delete(bh);
}

typedef struct NestedPoll {
    int *waits_for;
    int polls;
} NestedPoll;

static void poll_until_other_ran_cb(void *opaque)
{
    NestedPoll *n = opaque;

    while (*n->waits_for == 0) {
        n->polls++;
        g_assert_true(aio_poll(main_ctx(), true)); /* no progress means that it would sleep for ever */
    }
}

static void test_bh_nested_poll_continues_outer_slice(void)
{
    int ran = 0;
    NestedPoll n = { .waits_for = &ran };
    QEMUBH *first = aio_bh_new(main_ctx(), poll_until_other_ran_cb, &n);
    QEMUBH *second = aio_bh_new(main_ctx(), count_cb, &ran);

    /* Both in one slice, and the one that polls is taken out first. */
    qemu_bh_schedule(second);
    qemu_bh_schedule(first);
    g_assert_true(aio_poll(main_ctx(), false));
    g_assert_cmpint(ran, ==, 1);
    g_assert_cmpint(n.polls, ==, 1);
    qemu_bh_delete(first);
    qemu_bh_delete(second);
}

static void schedule_and_nest_cb(void *opaque)
{
    aio_bh_schedule_oneshot(main_ctx(), count_cb, opaque);
    g_assert_true(aio_poll(main_ctx(), true));
}

static void test_bh_nested_poll_runs_new_bhs(void)
{
    int calls = 0;

    aio_bh_schedule_oneshot(main_ctx(), schedule_and_nest_cb, &calls);
    g_assert_true(aio_poll(main_ctx(), true));
    g_assert_cmpint(calls, ==, 1);
}

typedef struct BHStress {
    QEMUBH *bh;
    unsigned posted; /* atomic; by the producers */
    unsigned seen;   /* by the callback */
} BHStress;

static void bh_stress_cb(void *opaque)
{
    BHStress *s = opaque;

    s->seen = qatomic_load_acquire(&s->posted);
}

static void *bh_stress_thread(void *opaque)
{
    BHStress *s = opaque;

    for (int i = 0; i < 5000; i++) {
        qatomic_inc(&s->posted);
        qemu_bh_schedule(s->bh);
    }
    return NULL;
}

static void test_bh_schedule_from_threads_is_never_lost(void)
{
    BHStress s = { 0 };
    QemuThread threads[2];

    s.bh = aio_bh_new(main_ctx(), bh_stress_cb, &s);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        qemu_thread_create(&threads[i], "producer", bh_stress_thread, &s, QEMU_THREAD_JOINABLE);
    }
    while (s.seen < 2 * 5000) {
        aio_poll(main_ctx(), true); /* sleeps for ever if the last schedule is lost */
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        qemu_thread_join(&threads[i]);
    }
    qemu_bh_delete(s.bh);
}

static void test_bh_leak_is_fatal(void)
{
    if (g_test_subprocess()) {
        AioContext *ctx = aio_context_new();
        int calls = 0;

        aio_bh_schedule_oneshot(ctx, count_cb, &calls);
        aio_context_unref(ctx);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*panic: leak: BH 'count_cb' was not deleted*");
}

/* ---- notification ---- */

static void *notify_thread(void *opaque)
{
    aio_notify(opaque);
    return NULL;
}

static void test_notify_ends_a_blocking_poll(void)
{
    AioContext *ctx = main_ctx();

    for (int i = 0; i < 200; i++) {
        QemuThread thread;

        /* The first half of a blocking poll, so that the notification cannot come before it. */
        qatomic_set(&ctx->notify_me, qatomic_read(&ctx->notify_me) + 2);
        qemu_thread_create(&thread, "notify", notify_thread, ctx, QEMU_THREAD_JOINABLE);
        g_assert_false(aio_poll(ctx, true)); /* nothing else would end it; and being notified is no progress */
        qemu_thread_join(&thread);
        qatomic_set(&ctx->notify_me, qatomic_read(&ctx->notify_me) - 2);
    }
}

static void test_notify_without_sleeper_makes_no_event(void)
{
    aio_notify(main_ctx());
    g_assert_false(event_notifier_test_and_clear(&main_ctx()->notifier));
}

/* As if a GLib loop were between prepare and check. */
static void pretend_glib_sleeps(bool sleeps)
{
    uint32_t others = qatomic_read(&main_ctx()->notify_me) & ~1u;

    qatomic_set(&main_ctx()->notify_me, others | sleeps);
}

static void test_notify_nonblocking_poll_leaves_event_to_sleeper(void)
{
    pretend_glib_sleeps(true);
    aio_notify(main_ctx());
    aio_poll(main_ctx(), false);
    g_assert_true(event_notifier_test_and_clear(&main_ctx()->notifier));
    pretend_glib_sleeps(false);
}

static void test_notify_during_bh_reaches_sleeper(void)
{
    int calls = 0;

    /* A blocking poll in a thread with the big lock, while GLib sleeps: what its BHs notify must stay. */
    pretend_glib_sleeps(true);
    aio_bh_schedule_oneshot(main_ctx(), schedule_and_nest_cb, &calls);
    aio_poll(main_ctx(), true);
    g_assert_cmpint(calls, ==, 1);
    aio_bh_schedule_oneshot(main_ctx(), count_cb, &calls);
    g_assert_true(event_notifier_test_and_clear(&main_ctx()->notifier));
    pretend_glib_sleeps(false);
    g_assert_true(aio_poll(main_ctx(), false));
}

static void notify_cb(void *opaque)
{
    aio_notify(opaque);
}

static void test_notify_cleared_before_bhs(void)
{
    pretend_glib_sleeps(true);
    aio_bh_schedule_oneshot(main_ctx(), notify_cb, main_ctx());
    g_assert_true(aio_poll(main_ctx(), true));
    g_assert_true(event_notifier_test_and_clear(&main_ctx()->notifier)); /* 21a03d17f2 */
    pretend_glib_sleeps(false);
}

typedef struct LoopPingPong {
    AioContext *there;
    int left, arrived;
} LoopPingPong;

static void bounce_back_bh(void *opaque)
{
    LoopPingPong *p = opaque;

    p->arrived++;
}

static void bounce_there_bh(void *opaque)
{
    aio_bh_schedule_oneshot(main_ctx(), bounce_back_bh, opaque);
}

static void test_notify_two_loops_never_sleep_on_work(void)
{
    IOThread *iothread = iothread_new("bounce");
    LoopPingPong p = { .there = iothread_get_aio_context(iothread) };

    for (int i = 0; i < 5000; i++) {
        aio_bh_schedule_oneshot(p.there, bounce_there_bh, &p);
        while (p.arrived == i) {
            aio_poll(main_ctx(), true);
        }
    }
    iothread_join(iothread);
}

const CoreLowerTest core_lower_bh_tests[] = {
    { "/aio/bh/runs-once-however-often-scheduled", test_bh_runs_once_however_often_scheduled },
    { "/aio/bh/cancel-before-poll", test_bh_cancel_before_poll },
    { "/aio/bh/delete-before-poll", test_bh_delete_before_poll },
    { "/aio/bh/delete-inside-callback", test_bh_delete_inside_callback },
    { "/aio/bh/scheduled-by-callback-waits-for-next-poll", test_bh_scheduled_by_callback_waits_for_next_poll },
    { "/aio/bh/oneshot-runs-once", test_bh_oneshot_runs_once },
    { "/aio/bh/idle-is-no-progress", test_bh_idle_is_no_progress },
    { "/aio/bh/nested-poll-continues-outer-slice", test_bh_nested_poll_continues_outer_slice },
    { "/aio/bh/nested-poll-runs-new-bhs", test_bh_nested_poll_runs_new_bhs },
    { "/aio/bh/schedule-from-threads-is-never-lost", test_bh_schedule_from_threads_is_never_lost },
    { "/aio/bh/leak-is-fatal", test_bh_leak_is_fatal },
    { "/aio/notify/ends-a-blocking-poll", test_notify_ends_a_blocking_poll },
    { "/aio/notify/without-sleeper-makes-no-event", test_notify_without_sleeper_makes_no_event },
    { "/aio/notify/nonblocking-poll-leaves-event-to-sleeper", test_notify_nonblocking_poll_leaves_event_to_sleeper },
    { "/aio/notify/during-bh-reaches-sleeper", test_notify_during_bh_reaches_sleeper },
    { "/aio/notify/cleared-before-bhs", test_notify_cleared_before_bhs },
    { "/aio/notify/two-loops-never-sleep-on-work", test_notify_two_loops_never_sleep_on_work },
    { NULL, NULL },
};
