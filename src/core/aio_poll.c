/*
 * aio_poll(): one round of the event loop. Home thread; may be nested.
 *
 * Invariants
 * 1. From "notify_me += 2" on, whatever gives the context work makes the eventfd readable; all looking for work comes
 *    after it, so that nothing falls in between.
 * 2. Only a blocking call accepts notifications: a call that did not sleep must not eat the event of a loop that does,
 *    such as the main loop's ppoll while another thread polls under the big lock (QEMU b37548fcd1).
 * 3. The eventfd is cleared before BHs are looked at, never after (QEMU 21a03d17f2).
 * 4. poll_fds and poll_nodes are used between build_poll_set() and collect_ready() only; no callback runs there.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/fatal.h"
#include "core/main_loop.h"

int qemu_poll_ns(GPollFD *fds, unsigned count, int64_t timeout_ns)
{
    struct timespec timeout;
    int ready;

    G_STATIC_ASSERT(sizeof(GPollFD) == sizeof(struct pollfd));
    if (timeout_ns >= 0) {
        timeout.tv_sec = timeout_ns / NANOSECONDS_PER_SECOND;
        timeout.tv_nsec = timeout_ns % NANOSECONDS_PER_SECOND;
    }
    ready = ppoll((struct pollfd *)fds, count, timeout_ns >= 0 ? &timeout : NULL, NULL);
    if (ready < 0 && errno != EINTR) {
        core_fatal("assertion", "ppoll: %s", strerror(errno));
    }
    return MAX(ready, 0); /* after a signal the caller's loop comes round again */
}

static unsigned build_poll_set(AioContext *ctx)
{
    unsigned count = 0;
    AioHandler *handler;

    AIO_FOREACH_HANDLER(ctx, handler) {
        if (aio_handler_is_deleted(handler) || !handler->pfd.events || aio_handler_is_left_out(ctx, handler)) {
            continue;
        }
        if (count == ctx->poll_capacity) {
            ctx->poll_capacity = MAX(8, ctx->poll_capacity * 2);
            ctx->poll_fds = g_renew(GPollFD, ctx->poll_fds, ctx->poll_capacity);
            ctx->poll_nodes = g_renew(AioHandler *, ctx->poll_nodes, ctx->poll_capacity);
        }
        ctx->poll_fds[count] = (GPollFD){ .fd = handler->pfd.fd, .events = handler->pfd.events };
        ctx->poll_nodes[count] = handler;
        count++;
    }
    return count;
}

static void collect_ready(AioContext *ctx, unsigned count, AioHandlerList *ready)
{
    for (unsigned i = 0; i < count; i++) {
        if (ctx->poll_fds[i].revents) {
            aio_add_ready_handler(ready, ctx->poll_nodes[i], ctx->poll_fds[i].revents);
        }
    }
}

static void wait_for_fds(AioContext *ctx, AioHandlerList *ready, int64_t timeout_ns)
{
    unsigned count;

    if (ctx->epoll && aio_epoll_is_in_use(ctx)) {
        aio_epoll_wait(ctx, ready, timeout_ns);
        return;
    }
    count = build_poll_set(ctx);
    if (qemu_poll_ns(ctx->poll_fds, count, timeout_ns) > 0) {
        collect_ready(ctx, count, ready);
    }
}

/*
 * Fills the ready list: by polling in user space, by sleeping, or by a look without sleep. Returns whether there was
 * progress.
 */
static bool find_ready(AioContext *ctx, AioHandlerList *ready, int64_t timeout_ns)
{
    AioPolled polled = aio_try_polling(ctx, ready, &timeout_ns);

    if (polled == AIO_POLLED_READY || polled == AIO_POLLED_NOTIFY) {
        return polled == AIO_POLLED_READY; /* all descriptors have been polled: no system call is needed */
    }

    AioPolled late = aio_stop_polling(ctx, ready);
    if (late == AIO_POLLED_READY || late == AIO_POLLED_NOTIFY) {
        timeout_ns = 0;
    }
    wait_for_fds(ctx, ready, timeout_ns);
    if (timeout_ns != 0) {
        aio_adapt_polling(ctx, ready);
    }
    return late == AIO_POLLED_READY;
}

bool aio_poll(AioContext *ctx, bool blocking)
{
    AioHandlerList ready = LIST_HEAD_INITIALIZER(ready);
    bool progress;

    /* The main thread runs the iohandler context too, but its own is qemu_aio_context. */
    core_assert(in_aio_context_home_thread(ctx == iohandler_get_aio_context() ? qemu_get_aio_context() : ctx));

    if (blocking) {
        qatomic_set(&ctx->notify_me, qatomic_read(&ctx->notify_me) + 2);

        /* ORDER: notify_me before looking at BHs, timers and handlers
         * PAIRS: aio_notify()
         * ELSE:  the work is not seen here and notify_me is not seen there: asleep with work to do; QEMU 5710a3e09f */
        smp_mb();
    }

    qemu_lockcnt_inc(&ctx->list_lock);
    if (ctx->uring) {
        aio_uring_submit(ctx);
    }
    progress = find_ready(ctx, &ready, blocking ? aio_compute_timeout(ctx) : 0);

    if (blocking) {
        /* ORDER: the sleep before notify_me
         * PAIRS: aio_notify()
         * ELSE:  nobody's sleep suffers, but the eventfd is set in vain */
        qatomic_store_release(&ctx->notify_me, qatomic_read(&ctx->notify_me) - 2);
        aio_notify_accept(ctx);
    }

    progress |= aio_bh_poll(ctx) > 0;
    progress |= aio_dispatch_ready_handlers(ctx, &ready);
    aio_free_deleted_handlers(ctx);
    qemu_lockcnt_dec(&ctx->list_lock);
    progress |= timerlist_run_timers(&ctx->timer_list);

    /* Two loops may sleep on one context: the main thread's GSource, and a thread that polls under the big lock. The
     * event was for both, and this one has cleared it: work that is left (a timer that this loop does not wait for any
     * more, a new descriptor) would find the other asleep. docs/findings.md, 3; fault aio-poll-keeps-the-event. */
    if (blocking && qatomic_read(&ctx->notify_me)) {
        aio_notify(ctx);
    }
    return progress;
}
