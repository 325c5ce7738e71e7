/*
 * File descriptors of an event loop: setting and removing handlers, and calling them.
 *
 * Any thread sets and removes; the loop calls.
 *
 * Invariants
 * 1. A handler is in aio_handlers from its setting until it is freed. It is freed only under list_lock when nobody
 *    walks the list: at once if the count is 0, else by the loop that brings the count to 0.
 * 2. No callback of a deleted handler starts.
 * 3. While io_poll_ready() of a handler runs, the handler is not polled: it may call aio_poll() before it has dealt
 *    with the reason for which it was called (QEMU 6d740fb01b).
 */
#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/fatal.h"

#define READ_EVENTS  (G_IO_IN | G_IO_HUP | G_IO_ERR)
#define WRITE_EVENTS (G_IO_OUT | G_IO_ERR)

/* ---- set and remove: any thread ---- */

bool aio_handler_is_deleted(AioHandler *handler)
{
    return qatomic_read(&handler->deleted);
}

bool aio_external_is_disabled(AioContext *ctx)
{
    return qatomic_read(&ctx->external_disable_cnt) > 0;
}

bool aio_handler_is_left_out(AioContext *ctx, AioHandler *handler)
{
    return handler->is_external && aio_external_is_disabled(ctx);
}

static AioHandler *find_aio_handler(AioContext *ctx, int fd)
{
    AioHandler *handler;

    AIO_FOREACH_HANDLER(ctx, handler) {
        if (handler->pfd.fd == fd && !aio_handler_is_deleted(handler)) {
            return handler;
        }
    }
    return NULL;
}

/* list_lock is held. Returns whether the caller must free the handler. */
static bool aio_remove_fd_handler(AioContext *ctx, AioHandler *handler)
{
    /* GLib removes the descriptors of a source that it destroys by itself. */
    if (!g_source_is_destroyed(&ctx->source)) {
        g_source_remove_poll(&ctx->source, &handler->pfd);
    }
    qatomic_set(&handler->deleted, true);

    /* Somebody walks the list, perhaps this very thread from inside a callback: leave it to the loop. */
    if (qemu_lockcnt_count(&ctx->list_lock)) {
        LIST_INSERT_HEAD_ATOMIC(&ctx->deleted_aio_handlers, handler, node_deleted);
        return false;
    }
    LIST_SAFE_REMOVE(handler, node_poll);
    LIST_REMOVE(handler, node);
    return true;
}

/* Replaces the handler of wanted's fd by a copy of wanted, or just removes it if wanted has no callbacks. */
static void aio_set_handler(AioContext *ctx, const AioHandler *wanted)
{
    AioHandler *old, *handler = NULL;
    int disable_change = 0;
    bool free_old = false;

    core_assert(!wanted->io_poll == !wanted->io_poll_ready);
    qemu_lockcnt_lock(&ctx->list_lock);
    old = find_aio_handler(ctx, wanted->pfd.fd);
    if (old) {
        disable_change -= !old->io_poll;
    }
    if (wanted->io_read || wanted->io_write || wanted->io_poll) {
        handler = g_memdup2(wanted, sizeof(*wanted));
        disable_change += !handler->io_poll;
        g_source_add_poll(&ctx->source, &handler->pfd);
        LIST_INSERT_HEAD_ATOMIC(&ctx->aio_handlers, handler, node);
    }

    /* Not ordered against the list: a round of polling too many does no harm before the notification below. */
    qatomic_set(&ctx->poll_disable_cnt, qatomic_read(&ctx->poll_disable_cnt) + disable_change);

    if (ctx->epoll) {
        aio_epoll_update(ctx, old, handler);
    }
    if (old) {
        free_old = aio_remove_fd_handler(ctx, old);
    }
    qemu_lockcnt_unlock(&ctx->list_lock);

    if (old || handler) {
        aio_notify(ctx); /* the loop may be asleep on the old set of descriptors */
    }
    if (free_old) {
        g_free(old);
    }
}

static gushort events_of(IOHandler *io_read, IOHandler *io_write)
{
    return (io_read ? READ_EVENTS : 0) | (io_write ? WRITE_EVENTS : 0);
}

void aio_set_fd_handler(AioContext *ctx, int fd, IOHandler *io_read, IOHandler *io_write, AioPollFn *io_poll,
                        IOHandler *io_poll_ready, void *opaque)
{
    AioHandler wanted = {
        .pfd = { .fd = fd, .events = events_of(io_read, io_write) },
        .io_read = io_read,
        .io_write = io_write,
        .io_poll = io_poll,
        .io_poll_ready = io_poll_ready,
        .opaque = opaque,
    };

    aio_set_handler(ctx, &wanted);
}

void aio_set_external_fd_handler(AioContext *ctx, int fd, IOHandler *io_read, IOHandler *io_write, void *opaque)
{
    AioHandler wanted = {
        .pfd = { .fd = fd, .events = events_of(io_read, io_write) },
        .io_read = io_read,
        .io_write = io_write,
        .opaque = opaque,
        .is_external = true,
    };

    aio_set_handler(ctx, &wanted);
}

void aio_disable_external(AioContext *ctx)
{
    qatomic_inc(&ctx->external_disable_cnt);
}

void aio_enable_external(AioContext *ctx)
{
    unsigned count = qatomic_fetch_sub(&ctx->external_disable_cnt, 1);

    core_assert(count > 0);
    if (count == 1) {
        aio_notify(ctx); /* the loop may be asleep on the descriptors of the others alone */
    }
}

void aio_set_fd_poll(AioContext *ctx, int fd, IOHandler *io_poll_begin, IOHandler *io_poll_end)
{
    AioHandler *handler;

    qemu_lockcnt_inc(&ctx->list_lock);
    handler = find_aio_handler(ctx, fd);
    if (handler) {
        /* Another thread's loop may poll it already: it then has one phase without a beginning, or without an end. */
        qatomic_set(&handler->io_poll_begin, io_poll_begin);
        qatomic_set(&handler->io_poll_end, io_poll_end);
    }
    qemu_lockcnt_dec(&ctx->list_lock);
}

void aio_set_event_notifier(AioContext *ctx, EventNotifier *notifier, EventNotifierHandler *io_read, AioPollFn *io_poll,
                            EventNotifierHandler *io_poll_ready)
{
    AioHandler wanted = {
        .pfd = { .fd = event_notifier_get_fd(notifier), .events = io_read ? READ_EVENTS : 0 },
        .io_read = (IOHandler *)io_read,
        .io_poll = io_poll,
        .io_poll_ready = (IOHandler *)io_poll_ready,
        .opaque = notifier,
        .is_notifier = true,
    };

    aio_set_handler(ctx, &wanted);
}

void aio_set_event_notifier_poll(AioContext *ctx, EventNotifier *notifier, EventNotifierHandler *io_poll_begin,
                                 EventNotifierHandler *io_poll_end)
{
    aio_set_fd_poll(ctx, event_notifier_get_fd(notifier), (IOHandler *)io_poll_begin, (IOHandler *)io_poll_end);
}

/* ---- call: the loop, with the count of list_lock raised ---- */

void aio_handler_call(AioHandler *handler, IOHandler *callback)
{
    if (handler->is_notifier) {
        ((EventNotifierHandler *)callback)(handler->opaque);
    } else {
        callback(handler->opaque);
    }
}

void aio_add_ready_handler(AioHandlerList *ready, AioHandler *handler, int revents)
{
    LIST_SAFE_REMOVE(handler, node_ready); /* from the list of an aio_poll() around this one */
    handler->pfd.revents = revents;
    LIST_INSERT_HEAD(ready, handler, node_ready);
}

/* One that has become ready is likely to be ready again: poll it from now on. */
static void begin_polling(AioContext *ctx, AioHandler *handler)
{
    if (!handler->io_poll || aio_handler_is_deleted(handler) || LIST_IS_INSERTED(handler, node_poll)) {
        return;
    }
    handler->idle_rounds = 0;
    if (ctx->poll_started) {
        IOHandler *begin = qatomic_read(&handler->io_poll_begin);

        if (begin) {
            aio_handler_call(handler, begin);
        }
    }
    LIST_INSERT_HEAD(&ctx->poll_aio_handlers, handler, node_poll);
}

static void call_poll_ready(AioContext *ctx, AioHandler *handler)
{
    LIST_SAFE_REMOVE(handler, node_poll); /* invariant 3 */
    aio_handler_call(handler, handler->io_poll_ready);
    if (!aio_handler_is_deleted(handler) && !LIST_IS_INSERTED(handler, node_poll)) {
        LIST_INSERT_HEAD(&ctx->poll_aio_handlers, handler, node_poll);
    }
}

static bool aio_dispatch_handler(AioContext *ctx, AioHandler *handler)
{
    int revents = handler->pfd.revents & handler->pfd.events;
    bool poll_ready = handler->poll_ready;
    bool counts = handler->opaque != &ctx->notifier; /* being notified is no progress */
    bool progress = false;

    handler->pfd.revents = 0;
    handler->poll_ready = false;
    begin_polling(ctx, handler);
    if (aio_handler_is_left_out(ctx, handler)) {
        return false; /* since the loop has waited for it: it will again */
    }

    if (poll_ready && revents == 0 && !aio_handler_is_deleted(handler)) {
        call_poll_ready(ctx, handler);
        return counts;
    }
    if ((revents & READ_EVENTS) && handler->io_read && !aio_handler_is_deleted(handler)) {
        aio_handler_call(handler, handler->io_read);
        progress = counts;
    }
    if ((revents & WRITE_EVENTS) && handler->io_write && !aio_handler_is_deleted(handler)) {
        aio_handler_call(handler, handler->io_write);
        progress = true;
    }
    return progress;
}

bool aio_dispatch_ready_handlers(AioContext *ctx, AioHandlerList *ready)
{
    bool progress = false;
    AioHandler *handler;

    while ((handler = LIST_FIRST(ready))) {
        LIST_SAFE_REMOVE(handler, node_ready);
        progress |= aio_dispatch_handler(ctx, handler);
    }
    return progress;
}

bool aio_dispatch_all_handlers(AioContext *ctx)
{
    bool progress = false;
    AioHandler *handler;

    AIO_FOREACH_HANDLER(ctx, handler) {
        progress |= aio_dispatch_handler(ctx, handler);
    }
    return progress;
}

bool aio_pending(AioContext *ctx)
{
    bool result = false;
    AioHandler *handler;

    qemu_lockcnt_inc(&ctx->list_lock);
    AIO_FOREACH_HANDLER(ctx, handler) {
        int revents = handler->pfd.revents & handler->pfd.events;

        if (aio_handler_is_deleted(handler) || aio_handler_is_left_out(ctx, handler)) {
            continue;
        }
        if (handler->poll_ready || ((revents & READ_EVENTS) && handler->io_read) ||
            ((revents & WRITE_EVENTS) && handler->io_write)) {
            result = true;
            break;
        }
    }
    qemu_lockcnt_dec(&ctx->list_lock);
    return result;
}

void aio_free_deleted_handlers(AioContext *ctx)
{
    AioHandler *handler;

    if (!LIST_FIRST_ATOMIC(&ctx->deleted_aio_handlers)) {
        return;
    }
    if (!qemu_lockcnt_dec_if_lock(&ctx->list_lock)) {
        return; /* a call around this one still walks: it will do it */
    }
    while ((handler = LIST_FIRST(&ctx->deleted_aio_handlers))) {
        LIST_REMOVE(handler, node);
        LIST_REMOVE(handler, node_deleted);
        LIST_SAFE_REMOVE(handler, node_poll);
        g_free(handler);
    }
    qemu_lockcnt_inc_and_unlock(&ctx->list_lock);
}
