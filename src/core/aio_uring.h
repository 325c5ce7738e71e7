/*
 * The loop's own ring: requests that an AioContext hands to the kernel itself, just before it sleeps, as QEMU does where io_uring is what it
 * sleeps in.
 *
 * Who makes a request only puts it into the queue, with aio_add_sqe(). The loop submits all that is there in each round, before it looks for
 * how long it may sleep; completions make a descriptor readable that the loop watches.
 *
 * The home thread of the main context is each thread that has the big lock. A virtual CPU that serves its guest's request with it runs the
 * coroutine of that request itself, while the main thread, without the lock, sleeps:
 *
 *        | a vCPU thread, under the big lock             | the main thread's GSource
 *      1 |                                               | prepare: notify_me |= 1; submits what is in the queue: nothing
 *      2 |                                               | gives up the big lock, sleeps in ppoll
 *      3 | the coroutine puts a request into the queue   |
 *      4 | aio_notify(): notify_me != 0: sets the eventfd |
 *      5 | gives up the big lock                         | wakes; prepare: submits
 *
 * Without 4 the request waits until something else wakes the main thread (QEMU 2ae361ef1d; fault uring-request-added-without-notify).
 *
 * Invariants
 *  1. Each request is in the queue, or with the kernel, or its callback has been called; in this order, and once.
 *  2. While requests are in the queue, the loop is not asleep, or has been notified, or completions are to come.
 *
 * The kernel behind it is Linux AIO, as in luring.h.
 *
 * Threads: the home thread of the context. From QEMU: util/fdmon-io_uring.c and block/io_uring.c as of 10.2.
 */
#ifndef WAKEFUZZ_CORE_AIO_URING_H
#define WAKEFUZZ_CORE_AIO_URING_H

#include <libaio.h>

#include "core/linux_aio.h"
#include "core/queue.h"

typedef struct CqeHandler CqeHandler;

/* One request: its owner keeps it until cb is called. */
struct CqeHandler {
    void (*cb)(CqeHandler *handler); /* from the loop, in the home thread; may poll */
    struct iocb sqe; /* as libaio's io_prep_...() fill it in; data and the notification are set by aio_add_sqe() */
    ssize_t ret; /* what the kernel says; valid in cb */
    STAILQ_ENTRY(CqeHandler) next;
};

/* Give the context a ring, or take it away when no request is under way. Returns 0 or a negative errno. Home thread. */
int aio_uring_setup(AioContext *ctx);
void aio_uring_cleanup(AioContext *ctx);

/* Have the loop submit the request in its next round. Home thread of a context with a ring; never blocks. */
void aio_add_sqe(AioContext *ctx, CqeHandler *handler);

/*
 * Read into or write from qiov, or flush (qiov NULL, offset 0), and wait for it; type is one of linux_aio.h. 0, or a negative errno: -ENOSPC
 * for a write that was short; what is missing of a short read is read, and zeros behind the end of the file. In a coroutine of a context
 * with a ring; yields.
 */
int coroutine_fn aio_uring_co_submit(int fd, uint64_t offset, QEMUIOVector *qiov, int type);

/* How many requests are in the queue. Home thread. */
unsigned aio_uring_queued(const AioContext *ctx);

#endif
