/*
 * What the files of the event loop share: handlers, and the steps of a round. For aio_*.c, bh.c and main_loop.c only.
 */
#ifndef WAKEFUZZ_CORE_AIO_INT_H
#define WAKEFUZZ_CORE_AIO_INT_H

#include "core/aio_context_int.h"

/*
 * One file descriptor of a context.
 *
 * Filled in before it appears in aio_handlers and not changed after, but for: the io_poll_begin and io_poll_end
 * callbacks, which any thread may set (atomic), and everything below them, which belongs to the loop; deleted, which is set once under list_lock; the
 * lists' links.
 */
struct AioHandler {
    GPollFD pfd; /* its revents belong to the loop, or to GLib's */
    IOHandler *io_read;
    IOHandler *io_write;
    AioPollFn *io_poll;
    IOHandler *io_poll_ready;
    void *opaque;
    bool is_external;                    /* of an external client: see aio_disable_external() */
    bool is_notifier;                    /* the callbacks are really EventNotifierHandlers */
    bool deleted;                        /* to be freed when nobody walks: no callback starts any more */
    LIST_ENTRY(AioHandler) node;         /* aio_handlers: under list_lock, walked at count > 0 */
    LIST_ENTRY(AioHandler) node_deleted; /* deleted_aio_handlers: under list_lock */

    IOHandler *io_poll_begin;
    IOHandler *io_poll_end;
    bool poll_ready;                     /* io_poll said so, and io_poll_ready was not called yet */
    unsigned idle_rounds;                /* of io_poll without success */
    LIST_ENTRY(AioHandler) node_ready;   /* the ready list of one aio_poll() call */
    LIST_ENTRY(AioHandler) node_poll;    /* poll_aio_handlers */
};

/* All handlers of a context; the caller holds list_lock or has raised its count. */
#define AIO_FOREACH_HANDLER(ctx, handler) \
    for ((handler) = LIST_FIRST_ATOMIC(&(ctx)->aio_handlers); (handler); (handler) = LIST_NEXT(handler, node))

/*
 * ppoll() with a time-out in nanoseconds, -1 for none. Returns how many descriptors are ready; 0 also after a signal.
 */
int qemu_poll_ns(GPollFD *fds, unsigned count, int64_t timeout_ns);

/* aio_handler.c: the loop's side of handlers. The count of list_lock is raised. */
bool aio_handler_is_deleted(AioHandler *handler);
/* Whether no handler of an external client may be called now, and whether this one may not. */
bool aio_external_is_disabled(AioContext *ctx);
bool aio_handler_is_left_out(AioContext *ctx, AioHandler *handler);
void aio_handler_call(AioHandler *handler, IOHandler *callback);
void aio_add_ready_handler(AioHandlerList *ready, AioHandler *handler, int revents);
bool aio_dispatch_ready_handlers(AioContext *ctx, AioHandlerList *ready);
bool aio_dispatch_all_handlers(AioContext *ctx);
void aio_free_deleted_handlers(AioContext *ctx);

/* aio_polling.c: looking at io_poll handlers instead of sleeping. The count of list_lock is raised. */
typedef enum AioPolled {
    AIO_POLLED_NOT,     /* polling is off or not possible */
    AIO_POLLED_NOTHING, /* nobody was ready */
    AIO_POLLED_NOTIFY,  /* aio_notify() has been called; that is no progress */
    AIO_POLLED_READY,   /* a handler is in the ready list */
} AioPolled;
AioPolled aio_try_polling(AioContext *ctx, AioHandlerList *ready, int64_t *timeout_ns);
AioPolled aio_stop_polling(AioContext *ctx, AioHandlerList *ready);
void aio_adapt_polling(AioContext *ctx, AioHandlerList *ready);

/* aio_uring.c: hands what is queued to the kernel, in each round before the loop sleeps; where the context has a ring. */
void aio_uring_submit(AioContext *ctx);

/*
 * aio_epoll.c, where the context has it. A handler is set in place of old, either may be NULL: list_lock is locked. In the loop: whether it
 * sleeps in epoll this time, and the sleep. At the end of the context: also where it has none.
 */
void aio_epoll_update(AioContext *ctx, AioHandler *old, AioHandler *handler);
bool aio_epoll_is_in_use(AioContext *ctx);
void aio_epoll_wait(AioContext *ctx, AioHandlerList *ready, int64_t timeout_ns);
void aio_epoll_free(AioContext *ctx);

/* aio_source.c */
extern GSourceFuncs aio_source_funcs;

/* aio_context.c: what the GSource calls when its last reference is gone. */
void aio_context_finalize(GSource *source);
/* bh.c: frees the deleted BHs that are left; the others are leaks. */
void aio_bh_finalize(AioContext *ctx);
/* bh.c: whether a loop will call it. For oracles: no point, and no part of the program. */
bool aio_bh_is_scheduled(const QEMUBH *bh);
/* aio_co.c */
void aio_co_schedule_bh(void *opaque);

#endif
