/*
 * Handlers in epoll, and handlers of external clients, on real threads and the real kernel. What another thread does in the middle of the
 * upgrade is for target aio_context.
 */
#include "core_upper_harness.h"

#include <stdlib.h>

#include "core/aio_epoll.h"
#include "core/event_notifier.h"

#define TIMER_NS 20000000
#define ROUNDS_MAX \
    10u /* until it fires: a few, as ppoll() may be early and notifications come between; who spins makes thousands */

#define THREADS 4u
#define ROUNDS  500u /* of each thread: some of them come while the loop upgrades, or sleeps in epoll */

typedef struct Source {
    EventNotifier notifier;
    AioContext *ctx;
    unsigned calls, other_calls; /* atomic */
    bool used_epoll; /* after a nested poll */
} Source;

static void ready(void *opaque)
{
    Source *source = opaque;

    g_assert_true(event_notifier_test_and_clear(&source->notifier));
    qatomic_inc(&source->calls);
}

static void other_ready(void *opaque)
{
    Source *source = opaque;

    g_assert_true(event_notifier_test_and_clear(&source->notifier));
    qatomic_inc(&source->other_calls);
}

static int fd_of(Source *source)
{
    return event_notifier_get_fd(&source->notifier);
}

static void source_set(Source *source, IOHandler *handler)
{
    aio_set_fd_handler(source->ctx, fd_of(source), handler, NULL, NULL, NULL, source);
}

static void source_up(Source *source, AioContext *ctx, IOHandler *handler)
{
    *source = (Source){ .ctx = ctx };
    g_assert_cmpint(event_notifier_init(&source->notifier, false), ==, 0);
    source_set(source, handler);
}

static void source_down(Source *source)
{
    source_set(source, NULL);
    event_notifier_cleanup(&source->notifier);
}

/* Nobody has called its handler, then one event is one call, then there is no other. */
static void expect_a_call(Source *source)
{
    unsigned calls = source->calls;

    aio_poll(source->ctx, false);
    g_assert_cmpuint(source->calls, ==, calls);
    event_notifier_set(&source->notifier);
    while (!aio_poll(source->ctx, true)) {
        /* it may have been notified alone */
    }
    g_assert_cmpuint(source->calls, ==, calls + 1);
    aio_poll(source->ctx, false);
    g_assert_cmpuint(source->calls, ==, calls + 1);
}

/* ---- epoll. The notifier of the context is one of its descriptors. */

static AioContext *epoll_up(unsigned min_fds)
{
    AioContext *ctx;

    core_up(1);
    ctx = qemu_get_aio_context();
    g_assert_cmpint(aio_context_set_epoll(ctx, min_fds), ==, 0);
    return ctx;
}

static void test_from_so_many_on(void)
{
    AioContext *ctx = epoll_up(3);
    Source a, b;

    source_up(&a, ctx, ready);
    expect_a_call(&a);
    g_assert_false(aio_context_uses_epoll(ctx));
    source_up(&b, ctx, ready);
    expect_a_call(&b);
    g_assert_true(aio_context_uses_epoll(ctx));
    expect_a_call(&a);
    source_down(&b);
    expect_a_call(&a); /* and there is no way back */
    g_assert_true(aio_context_uses_epoll(ctx));
    source_down(&a);
    core_down();
}

static void test_set_replaced_removed(void)
{
    AioContext *ctx = epoll_up(1);
    Source source;

    aio_poll(ctx, false);
    g_assert_true(aio_context_uses_epoll(ctx));
    source_up(&source, ctx, ready);
    expect_a_call(&source);
    source_set(&source, other_ready);
    event_notifier_set(&source.notifier);
    while (!aio_poll(ctx, true)) {
    }
    g_assert_cmpuint(source.other_calls, ==, 1);
    g_assert_cmpuint(source.calls, ==, 1);
    source_set(&source, NULL);
    event_notifier_set(&source.notifier);
    g_assert_false(aio_poll(ctx, false));
    g_assert_cmpuint(source.calls + source.other_calls, ==, 2);
    source_set(&source, ready);
    while (!aio_poll(ctx, true)) {
    }
    g_assert_cmpuint(source.calls, ==, 2);
    g_assert_true(aio_context_uses_epoll(ctx)); /* the kernel has taken each change */
    source_down(&source);
    core_down();
}

static void set_b_and_poll(void *opaque)
{
    Source *b = opaque;

    source_set(b, ready);
    event_notifier_set(&b->notifier);
    while (!b->calls) {
        aio_poll(b->ctx, false);
    }
    b->used_epoll = aio_context_uses_epoll(b->ctx);
}

/* The bottom half runs inside of an aio_poll(), and makes enough descriptors of too few. */
static void test_upgrade_waits_for_the_outermost(void)
{
    AioContext *ctx = epoll_up(2);
    Source b;

    source_up(&b, ctx, ready);
    source_set(&b, NULL);
    aio_bh_schedule_oneshot(ctx, set_b_and_poll, &b);
    aio_poll(ctx, true);
    g_assert_cmpuint(b.calls, ==, 1);
    g_assert_false(b.used_epoll);
    aio_poll(ctx, false);
    g_assert_true(aio_context_uses_epoll(ctx));
    expect_a_call(&b);
    source_down(&b);
    core_down();
}

static void timer_cb(void *opaque)
{
    *(bool *)opaque = true;
}

/* How often the loop goes round until a timer that is armed now fires. */
static unsigned rounds_until_timer(AioContext *ctx)
{
    bool fired = false;
    unsigned rounds = 0;
    QEMUTimer *timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, 1, timer_cb, &fired);

    timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + TIMER_NS);
    while (!fired) {
        aio_poll(ctx, true);
        rounds++;
    }
    timer_free(timer);
    return rounds;
}

static void test_event_or_timer(void)
{
    AioContext *ctx = epoll_up(1);
    bool fired = false;
    QEMUTimer *timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, 1, timer_cb, &fired);
    Source source;

    g_assert_cmpuint(rounds_until_timer(ctx), <=, ROUNDS_MAX);
    source_up(&source, ctx, ready);
    timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 2 * TEST_SECONDS * NANOSECONDS_PER_SECOND);
    expect_a_call(&source);
    g_assert_false(fired);
    g_assert_true(aio_context_uses_epoll(ctx));
    source_down(&source);
    timer_del(timer);
    timer_free(timer);
    core_down();
}

static void file_ready(void *opaque)
{
    Source *source = opaque;

    qatomic_inc(&source->other_calls);
}

/* Epoll does not take a file; ppoll() says that it is always readable. */
static void test_file_is_left_to_ppoll(gconstpointer before)
{
    AioContext *ctx = epoll_up(before ? 3 : 1);
    char path[] = "/tmp/wakefuzz-handler-XXXXXX";
    int fd = mkstemp(path);
    Source source;

    g_assert_cmpint(fd, >=, 0);
    unlink(path);
    aio_poll(ctx, false);
    g_assert_true(aio_context_uses_epoll(ctx) == !before);
    source_up(&source, ctx, ready);
    aio_set_fd_handler(ctx, fd, file_ready, NULL, NULL, NULL, &source);
    g_assert_true(aio_poll(ctx, true));
    g_assert_false(aio_context_uses_epoll(ctx));
    g_assert_cmpuint(source.other_calls, ==, 1);
    aio_set_fd_handler(ctx, fd, NULL, NULL, NULL, NULL, NULL);
    expect_a_call(&source);
    g_assert_false(aio_context_uses_epoll(ctx)); /* for good */
    close(fd);
    source_down(&source);
    core_down();
}

static void count_bh(void *opaque)
{
    Source *source = opaque;

    qatomic_inc(&source->other_calls);
}

static void switch_on(void *opaque)
{
    g_assert_cmpint(aio_context_set_epoll(opaque, 3), ==, 0);
}

/* Set, answered, removed by the thread that has set it: a file for each, so that the number changes. */
static void *asker(void *opaque)
{
    AioContext *ctx = opaque;

    for (unsigned i = 0; i < ROUNDS; i++) {
        Source source;

        source_up(&source, ctx, ready);
        event_notifier_set(&source.notifier);
        while (!qatomic_load_acquire(&source.calls)) {
            g_thread_yield();
        }
        source_set(&source, NULL);
        aio_bh_schedule_oneshot(ctx, count_bh, &source);
        while (!qatomic_load_acquire(&source.other_calls)) {
            g_thread_yield(); /* the call of its handler may not have returned */
        }
        event_notifier_cleanup(&source.notifier);
    }
    return NULL;
}

static void test_threads(void)
{
    QemuThread threads[THREADS];

    core_up(1);
    aio_wait_bh_oneshot(thread_ctx(0), switch_on, thread_ctx(0));
    for (unsigned i = 0; i < THREADS; i++) {
        qemu_thread_create(&threads[i], "asker", asker, thread_ctx(0), QEMU_THREAD_JOINABLE);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    core_down();
}

/* ---- external clients */

static void test_external_left_out(gconstpointer with_epoll)
{
    AioContext *ctx;
    Source external, own;

    core_up(1);
    ctx = qemu_get_aio_context();
    if (with_epoll) {
        g_assert_cmpint(aio_context_set_epoll(ctx, 1), ==, 0);
    }
    source_up(&external, ctx, NULL);
    source_up(&own, ctx, ready);
    aio_set_external_fd_handler(ctx, fd_of(&external), ready, NULL, &external);
    expect_a_call(&external);
    aio_disable_external(ctx);
    aio_disable_external(ctx);
    event_notifier_set(&external.notifier);
    g_assert_false(aio_poll(ctx, false));
    expect_a_call(&own);
    g_assert_cmpuint(rounds_until_timer(ctx), <=, ROUNDS_MAX); /* nor does the loop spin on it */
    aio_enable_external(ctx);
    g_assert_false(aio_poll(ctx, false)); /* one section is left */
    g_assert_cmpuint(external.calls, ==, 1);
    aio_enable_external(ctx);
    while (!aio_poll(ctx, true)) {
    }
    g_assert_cmpuint(external.calls, ==, 2);
    source_down(&own);
    source_down(&external);
    core_down();
}

/* The bottom half has run: what the loop does next is to sleep, without the client. */
static void test_external_wakes_the_loop(void)
{
    AioContext *ctx;
    Source external;

    core_up(1);
    ctx = thread_ctx(0);
    source_up(&external, ctx, NULL);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        aio_disable_external(ctx);
        aio_set_external_fd_handler(ctx, fd_of(&external), ready, NULL, &external);
        event_notifier_set(&external.notifier);
        aio_wait_bh_oneshot(ctx, nothing_bh, NULL);
        g_assert_cmpuint(qatomic_read(&external.calls), ==, i - 1);
        aio_enable_external(ctx);
        while (qatomic_read(&external.calls) < i) {
            g_thread_yield();
        }
    }
    source_set(&external, NULL);
    aio_wait_bh_oneshot(ctx, nothing_bh, NULL);
    event_notifier_cleanup(&external.notifier);
    core_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/handler/epoll/from-so-many-on", test_from_so_many_on);
    g_test_add_func("/handler/epoll/set-replaced-removed", test_set_replaced_removed);
    g_test_add_func("/handler/epoll/upgrade-waits-for-the-outermost", test_upgrade_waits_for_the_outermost);
    g_test_add_func("/handler/epoll/event-or-timer", test_event_or_timer);
    g_test_add_data_func("/handler/epoll/file-is-left-to-ppoll/later", NULL, test_file_is_left_to_ppoll);
    g_test_add_data_func("/handler/epoll/file-is-left-to-ppoll/before", GUINT_TO_POINTER(1), test_file_is_left_to_ppoll);
    g_test_add_func("/handler/epoll/threads", test_threads);
    g_test_add_data_func("/handler/external/left-out", NULL, test_external_left_out);
    g_test_add_data_func("/handler/external/left-out-of-epoll", GUINT_TO_POINTER(1), test_external_left_out);
    g_test_add_func("/handler/external/wakes-the-loop", test_external_wakes_the_loop);
    return g_test_run();
}
