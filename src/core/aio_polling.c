/*
 * Looking at io_poll handlers for a while instead of going to sleep at once. Only in the loop, with the count of
 * list_lock raised.
 *
 * Invariants
 * 1. Only handlers with io_poll that became ready lately are polled, and only while every handler of the context has
 *    io_poll.
 * 2. poll_started is true between the calls of io_poll_begin and of io_poll_end; the loop never sleeps while it is.
 * 3. After io_poll_end each handler is polled once more: what happened before the other side learned that it must
 *    notify again would otherwise be slept over (QEMU 5bdbaebcce has a bug of this kind).
 * 4. The number of rounds is bounded by poll_max_rounds.
 * 5. Nothing of what is found is done here: the callbacks ask, and say whether events are wanted; handlers are called when all have been asked.
 */
#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/rcu.h"

/* A handler that had nothing in so many rounds is left to ppoll. Few, so that scenarios come to it: QEMU's 7 s are for ever here. */
#define IDLE_ROUNDS_MAX 8

AioHooks aio_hooks;

static AioPolled poll_handler(AioContext *ctx, AioHandlerList *ready, AioHandler *handler)
{
    if (aio_handler_is_deleted(handler) || !handler->io_poll(handler->opaque)) {
        return AIO_POLLED_NOTHING;
    }
    handler->poll_ready = true;
    aio_add_ready_handler(ready, handler, 0);
    return handler->opaque == &ctx->notifier ? AIO_POLLED_NOTIFY : AIO_POLLED_READY;
}

/* Announces the beginning or the end of polling to the handlers. */
static AioPolled poll_set_started(AioContext *ctx, AioHandlerList *ready, bool started)
{
    AioPolled result = AIO_POLLED_NOTHING;
    AioHandler *handler, *next;

    if (started == ctx->poll_started) {
        return result;
    }
    ctx->poll_started = started;
    LIST_FOREACH_SAFE(handler, &ctx->poll_aio_handlers, node_poll, next) {
        IOHandler *announce = started ? qatomic_read(&handler->io_poll_begin) : qatomic_read(&handler->io_poll_end);

        if (announce && !aio_handler_is_deleted(handler)) {
            aio_handler_call(handler, announce);
        }
        if (!started) {
            AioPolled found = poll_handler(ctx, ready, handler); /* invariant 3 */

            result = MAX(result, found);
        }
    }
    return result;
}

static AioPolled poll_once(AioContext *ctx, AioHandlerList *ready)
{
    AioPolled result = AIO_POLLED_NOTHING;
    AioHandler *handler, *next;

    LIST_FOREACH_SAFE(handler, &ctx->poll_aio_handlers, node_poll, next) {
        AioPolled found = poll_handler(ctx, ready, handler);

        handler->idle_rounds = found == AIO_POLLED_NOTHING ? handler->idle_rounds + 1 : 0;
        result = MAX(result, found);
    }
    return result;
}

static AioPolled drop_idle_handlers(AioContext *ctx, AioHandlerList *ready)
{
    AioPolled result = AIO_POLLED_NOTHING;
    AioHandler *handler, *next;

    LIST_FOREACH_SAFE(handler, &ctx->poll_aio_handlers, node_poll, next) {
        if (handler->idle_rounds <= IDLE_ROUNDS_MAX) {
            continue;
        }
        IOHandler *end = qatomic_read(&handler->io_poll_end);

        LIST_SAFE_REMOVE(handler, node_poll);
        if (end && !aio_handler_is_deleted(handler)) {
            AioPolled found;

            aio_handler_call(handler, end);
            found = poll_handler(ctx, ready, handler); /* invariant 3 */
            result = MAX(result, found);
        }
    }
    return result;
}

static AioPolled try_polling(AioContext *ctx, AioHandlerList *ready, int64_t *timeout_ns)
{
    AioPolled result = AIO_POLLED_NOTHING, dropped;
    unsigned max_rounds = qatomic_read(&ctx->poll_max_rounds);

    if (LIST_EMPTY(&ctx->poll_aio_handlers) || !max_rounds || *timeout_ns == 0 || qatomic_read(&ctx->poll_disable_cnt)) {
        return AIO_POLLED_NOT;
    }
    ctx->poll_rounds = MIN(MAX(ctx->poll_rounds, 1), max_rounds);

    poll_set_started(ctx, ready, true);

    /* One section for all rounds: callbacks with short sections of their own nest in it and pay no barrier. */
    rcu_read_lock();
    for (unsigned round = 0; round < ctx->poll_rounds && result == AIO_POLLED_NOTHING; round++) {
        result = poll_once(ctx, ready);
    }
    dropped = drop_idle_handlers(ctx, ready);
    rcu_read_unlock();
    result = MAX(result, dropped);
    if (result != AIO_POLLED_NOTHING) {
        *timeout_ns = 0;
    }
    return result;
}

static void tell_polling(bool begins)
{
    if (aio_hooks.polling) {
        aio_hooks.polling(begins);
    }
}

AioPolled aio_try_polling(AioContext *ctx, AioHandlerList *ready, int64_t *timeout_ns)
{
    AioPolled result;

    tell_polling(true);
    result = try_polling(ctx, ready, timeout_ns);
    tell_polling(false);
    return result;
}

AioPolled aio_stop_polling(AioContext *ctx, AioHandlerList *ready)
{
    AioPolled result;

    tell_polling(true);
    result = poll_set_started(ctx, ready, false);
    tell_polling(false);
    return result;
}

/*
 * After a sleep that polling did not avoid: longer next time if a handler ended it that could have been polled, else
 * shorter.
 */
void aio_adapt_polling(AioContext *ctx, AioHandlerList *ready)
{
    unsigned max_rounds = qatomic_read(&ctx->poll_max_rounds);
    AioHandler *handler;

    LIST_FOREACH(handler, ready, node_ready) {
        if (handler->io_poll) {
            ctx->poll_rounds = MIN(ctx->poll_rounds * 2, max_rounds);
            return;
        }
    }
    ctx->poll_rounds /= 2;
}
