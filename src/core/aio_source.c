/*
 * The second loop over an AioContext: as a source of a GLib main loop. In the thread that runs that loop, which is the
 * context's home.
 *
 * GLib calls prepare, polls, then calls check and perhaps dispatch. Between prepare and check the main thread drops
 * the big lock, and another thread that takes it may run aio_poll() on the same context meanwhile.
 *
 * Invariants
 * 1. Bit 0 of notify_me is set from prepare to check, whatever else goes on: that somebody is running callbacks does
 *    not mean that nobody sleeps (QEMU eabc977973).
 * 2. Polling in user space is off while GLib sleeps.
 */
#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/glib_source.h"

static bool aio_prepare(AioContext *ctx)
{
    AioHandlerList ready = LIST_HEAD_INITIALIZER(ready);
    AioHandler *handler;
    AioPolled late;

    qemu_lockcnt_inc(&ctx->list_lock);
    late = aio_stop_polling(ctx, &ready);
    while ((handler = LIST_FIRST(&ready))) {
        LIST_SAFE_REMOVE(handler, node_ready); /* poll_ready stays set: aio_dispatch() goes through all handlers */
    }
    qemu_lockcnt_dec(&ctx->list_lock);
    return late == AIO_POLLED_READY || late == AIO_POLLED_NOTIFY;
}

static gboolean aio_ctx_prepare(GSource *source, gint *timeout_ms)
{
    AioContext *ctx = (AioContext *)source;

    glib_source_enter(source);
    qatomic_set(&ctx->notify_me, qatomic_read(&ctx->notify_me) | 1);

    /* ORDER: notify_me before looking at BHs and timers
     * PAIRS: aio_notify()
     * ELSE:  the work is not seen here and notify_me is not seen there: asleep with work to do; QEMU 5710a3e09f */
    smp_mb();

    *timeout_ms = qemu_timeout_ns_to_ms(aio_compute_timeout(ctx));
    if (aio_prepare(ctx)) {
        *timeout_ms = 0;
    }
    if (ctx->uring) {
        aio_uring_submit(ctx);
    }
    if (*timeout_ms != 0) {
        return FALSE;
    }

    /* Ready already: GLib calls no check, so that nobody else takes the bit back, and the loop does not sleep. */
    qatomic_store_release(&ctx->notify_me, qatomic_read(&ctx->notify_me) & ~1u);
    return TRUE;
}

static gboolean aio_ctx_check(GSource *source)
{
    AioContext *ctx = (AioContext *)source;

    glib_source_enter(source);

    /* ORDER: the sleep before notify_me
     * PAIRS: aio_notify()
     * ELSE:  nobody's sleep suffers, but the eventfd is set in vain */
    qatomic_store_release(&ctx->notify_me, qatomic_read(&ctx->notify_me) & ~1u);
    aio_notify_accept(ctx);

    return aio_bh_pending(ctx) || aio_pending(ctx) || timerlist_deadline_ns(&ctx->timer_list) == 0;
}

void aio_dispatch(AioContext *ctx)
{
    qemu_lockcnt_inc(&ctx->list_lock);
    aio_bh_poll(ctx);
    aio_dispatch_all_handlers(ctx);
    aio_free_deleted_handlers(ctx);
    qemu_lockcnt_dec(&ctx->list_lock);
    timerlist_run_timers(&ctx->timer_list);
}

static gboolean aio_ctx_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    (void)callback;
    (void)opaque;
    glib_source_enter(source);
    aio_dispatch((AioContext *)source);
    return G_SOURCE_CONTINUE;
}

GSourceFuncs aio_source_funcs = {
    .prepare = aio_ctx_prepare,
    .check = aio_ctx_check,
    .dispatch = aio_ctx_dispatch,
    .finalize = aio_context_finalize,
};
