/*
 * AioContext: an event loop over file descriptors, bottom halves (BHs), timers and scheduled coroutines.
 *
 * A context has a home thread, which runs it by aio_poll() or, as a GSource, by a GLib main loop; both may serve the
 * same context in turn, also nested. Other threads give it work by scheduling BHs and coroutines, arming timers,
 * changing handlers; each of these calls aio_notify(). Names and semantics: QEMU's include/block/aio.h, util/async.c,
 * util/aio-posix.c.
 *
 * Who notifies whom (details at aio_notify() in aio_context.c):
 *
 *        | a thread with work                      | the loop
 *      1 |                                         | notify_me += 2, barrier
 *      2 |                                         | looks at BHs, timers, handlers; sleeps in ppoll
 *      3 | publishes work; notified = true; barrier |
 *      4 | notify_me != 0: sets the eventfd        |
 *      5 |                                         | wakes; notify_me -= 2
 *      6 |                                         | notified = false; barrier; clears the eventfd
 *      7 |                                         | looks at BHs, handlers, timers
 *
 * If 3 comes before 1, the loop sees the work at 2. If it comes after, the thread sees notify_me at 4.
 */
#ifndef WAKEFUZZ_CORE_AIO_CONTEXT_H
#define WAKEFUZZ_CORE_AIO_CONTEXT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/coroutine.h"
#include "core/event_notifier.h"
#include "core/timer.h"

typedef struct QEMUBH QEMUBH;
typedef void QEMUBHFunc(void *opaque);
typedef void IOHandler(void *opaque);
typedef bool AioPollFn(void *opaque);

/* ---- life ---- */

/*
 * Any thread; the caller gets the first reference. Returns NULL with errno set when the kernel has no descriptor left.
 */
AioContext *aio_context_new(void);
/*
 * Any thread. The last reference frees the context: by then each of its BHs must be deleted and no coroutine
 * scheduled.
 */
void aio_context_ref(AioContext *ctx);
void aio_context_unref(AioContext *ctx);
/* The context as a source for a GLib main loop; the caller gets a reference. */
GSource *aio_get_g_source(AioContext *ctx);
/* How many contexts exist. Any thread. For the leak check. */
unsigned aio_context_live_count(void);

/*
 * The context whose code this thread runs: the one it was given by qemu_set_current_aio_context(), else the main
 * context if it holds the big lock, else NULL.
 */
AioContext *qemu_get_current_aio_context(void);
/* Once per thread, or NULL to take it back. */
void qemu_set_current_aio_context(AioContext *ctx);
bool in_aio_context_home_thread(AioContext *ctx);

/* ---- running ---- */

/*
 * One round of the loop: waits for something to do if blocking, then runs BHs, handlers, timers. Returns whether a
 * callback made progress; a blocking call may return false, and must then be repeated if there is still something to
 * wait for. May be called inside callbacks of the same context. Only in the home thread; the main thread may also run
 * the iohandler context.
 */
bool aio_poll(AioContext *ctx, bool blocking);
/* What a GLib loop runs after its poll: BHs, handlers, timers. */
void aio_dispatch(AioContext *ctx);
/* Whether a handler has an event that was polled and not dispatched. Home thread. */
bool aio_pending(AioContext *ctx);
/* How long the loop may sleep, in ns: 0 when there is work now, -1 for ever. Home thread. */
int64_t aio_compute_timeout(AioContext *ctx);

/*
 * Makes the loop look at BHs, timers and handlers again before it sleeps, and only at those: a loop that waits for a
 * flag of its own is not woken by it for certain; use a BH for that (2362a28ea1). Any thread; never blocks.
 */
void aio_notify(AioContext *ctx);
/* The sleeper's answer; see the table above. Only the loop that slept. */
void aio_notify_accept(AioContext *ctx);

/*
 * At most max_rounds rounds over the io_poll handlers before the loop sleeps; 0 turns polling off, which is the
 * default. A count and not a time, so that an execution does not depend on the machine's speed. Any thread.
 */
void aio_context_set_poll_params(AioContext *ctx, unsigned max_rounds);

/* The largest batch of Linux AIO requests that ctx gives io_submit() at once, 0 for the default. Before the first request. */
void aio_context_set_aio_params(AioContext *ctx, int64_t max_batch);

/*
 * The pool of worker threads of ctx, and how many workers it may have: 0 <= min <= max, max at least 1; without a call 0 and
 * THREAD_POOL_MAX_THREADS_DEFAULT. min workers stay also when they are idle. Home thread.
 */
struct ThreadPoolAio *aio_get_thread_pool(AioContext *ctx);
void aio_context_set_thread_pool_params(AioContext *ctx, int min, int max);

/* ---- file descriptors ---- */

/*
 * Call io_read(opaque) and io_write(opaque) when fd is ready for it; replaces what was set before; all NULL removes.
 * io_poll says without a system call whether there is something to do, and does nothing of it; io_poll_ready does it. After a removal by
 * the home thread none of them is called any more; when another thread removes, a call may be under way. Any thread.
 */
void aio_set_fd_handler(AioContext *ctx, int fd, IOHandler *io_read, IOHandler *io_write, AioPollFn *io_poll,
                        IOHandler *io_poll_ready, void *opaque);
/*
 * Called in the home thread when a phase of polling begins and ends: they only say whether events are wanted, and neither poll nor yield. The
 * handler must have been set. Any thread; a phase that is under way when they are set has one of the two calls only.
 */
void aio_set_fd_poll(AioContext *ctx, int fd, IOHandler *io_poll_begin, IOHandler *io_poll_end);

/*
 * The same for an external client, such as an export's connection, that must give no work while its device is in a drained section: between
 * aio_disable_external() and aio_enable_external(), which count, its callbacks are not called, and the loop does not wait for fd. For contexts
 * that aio_poll() runs: GLib would go on to wait for it. Any thread; a call may be under way when another thread disables. From QEMU's
 * block/aio.h up to 8.0.
 */
void aio_set_external_fd_handler(AioContext *ctx, int fd, IOHandler *io_read, IOHandler *io_write, void *opaque);
void aio_disable_external(AioContext *ctx);
void aio_enable_external(AioContext *ctx);

/* The same for notifiers; io_poll gets the EventNotifier. */
void aio_set_event_notifier(AioContext *ctx, EventNotifier *notifier, EventNotifierHandler *io_read, AioPollFn *io_poll,
                            EventNotifierHandler *io_poll_ready);
void aio_set_event_notifier_poll(AioContext *ctx, EventNotifier *notifier, EventNotifierHandler *io_poll_begin,
                                 EventNotifierHandler *io_poll_end);

/* ---- bottom halves ---- */

/* A callback that can be scheduled any number of times. Any thread. Its name in messages is the text of cb. */
#define aio_bh_new(ctx, cb, opaque) aio_bh_new_full(ctx, cb, opaque, #cb)
QEMUBH *aio_bh_new_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name);
/* One call of cb in ctx's home thread; nothing to delete. Any thread. */
#define aio_bh_schedule_oneshot(ctx, cb, opaque) aio_bh_schedule_oneshot_full(ctx, cb, opaque, #cb)
void aio_bh_schedule_oneshot_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name);

/* The callback will run once after this call, however often it is repeated until then. Any thread; never blocks. */
void qemu_bh_schedule(QEMUBH *bh);
/* The same, but the loop may sleep up to 10 ms before, and it is no progress. */
void qemu_bh_schedule_idle(QEMUBH *bh);
/*
 * It will not run, unless it has begun to; it may be scheduled again. Any thread; does not wait for a running
 * callback.
 */
void qemu_bh_cancel(QEMUBH *bh);
/* The same for good; freed by the loop later. Any thread. */
void qemu_bh_delete(QEMUBH *bh);
/* Calls the callback now, in this thread. */
void aio_bh_call(QEMUBH *bh);
/*
 * Runs what has been scheduled when it begins, and what enclosing calls have left. Home thread. Returns whether a BH
 * made progress.
 */
int aio_bh_poll(AioContext *ctx);
/* Whether a BH, idle ones included, waits to be run. Home thread. */
bool aio_bh_pending(AioContext *ctx);

/* ---- timers ---- */

void aio_timer_init(AioContext *ctx, QEMUTimer *timer, QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque);
QEMUTimer *aio_timer_new(AioContext *ctx, QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque);

/* ---- coroutines ---- */

/*
 * Enters co later, from a BH of ctx. Aborts with "double-entry" if co is scheduled already. co must have yielded, or
 * be going to yield in ctx's home thread. Any thread.
 */
void aio_co_schedule(AioContext *ctx, Coroutine *co);
/*
 * Lets co, which has yielded or is about to, go on in its own context: at once when this is its home thread and no
 * coroutine runs; when the running coroutine yields, if one does; else by aio_co_schedule(). Any thread; never blocks.
 */
void aio_co_wake(Coroutine *co);
/* The same in the given context. */
void aio_co_enter(AioContext *ctx, Coroutine *co);
/* Moves the running coroutine to another context; yields. */
void coroutine_fn aio_co_reschedule_self(AioContext *new_ctx);

/* ---- for a fuzz driver ---- */

/*
 * For a fuzz driver; polling is NULL by default. Set it before the first context is made.
 *
 * polling(true) and polling(false) come in pairs around each stretch in which the loop asks handlers whether they are ready (io_poll) or tells them
 * that a phase of polling begins or ends (io_poll_begin, io_poll_end), also where there is nothing to ask; it does nothing there of what it
 * finds. They are called in the context's home thread. The function must not block, nor call the core.
 */
typedef struct AioHooks {
    void (*polling)(bool begins);
} AioHooks;

extern AioHooks aio_hooks;

/* ---- parts of the core ---- */

void aio_context_thread_reset(void);

#endif
