/*
 * The inside of an AioContext: for the event loop (aio_*.c, bh.c, main_loop.c), and for the modules that have a part of theirs in each
 * context. What the protocol of notify_me and notified is, aio_context.h tells.
 */
#ifndef WAKEFUZZ_CORE_AIO_CONTEXT_INT_H
#define WAKEFUZZ_CORE_AIO_CONTEXT_INT_H

#include "core/aio_context.h"
#include "core/lockcnt.h"
#include "core/queue.h"

typedef struct AioHandler AioHandler;

typedef SLIST_HEAD(BHList, QEMUBH) BHList;
typedef LIST_HEAD(AioHandlerList, AioHandler) AioHandlerList;

/* The BHs that one aio_bh_poll() took over; it lives on that call's stack. */
typedef struct BHListSlice {
    BHList bh_list;
    STAILQ_ENTRY(BHListSlice) next;
} BHListSlice;

struct AioContext {
    GSource source; /* first, so that the GSource is the AioContext */

    struct BdrvGraphRWlock *bdrv_graph; /* this context's part of the graph lock; see graph_lock.h */

    /* Handlers: walked with list_lock's count raised, changed with it locked, freed when locked at count 0. */
    QemuLockCnt list_lock;
    AioHandlerList aio_handlers;
    AioHandlerList deleted_aio_handlers;
    unsigned external_disable_cnt; /* aio_disable_external() less aio_enable_external(): any thread, atomic */

    /*
     * Who may sleep on this context: bit 0, a GLib loop between prepare and check; each blocking aio_poll() adds 2.
     * Written only by threads that run the loop, one at a time; read by aio_notify() in any thread.
     */
    uint32_t notify_me;
    bool notified; /* aio_notify() has been called since the last accept: any thread sets, the sleeper clears */
    EventNotifier notifier;

    BHList bh_list;                                      /* any thread pushes; the loop takes all */
    STAILQ_HEAD(BHSliceList, BHListSlice) bh_slice_list; /* of the loop alone: aio_bh_poll() calls, outermost first */

    SLIST_HEAD(ScheduledCoroutines, Coroutine) scheduled_coroutines; /* any thread pushes; co_schedule_bh takes all */
    QEMUBH *co_schedule_bh;

    QEMUTimerList timer_list;

    /* Made at first use; of the home thread, and of whoever frees the context. aio_max_batch: the largest batch of requests
     * for io_submit, 0 for the default; set before the first request. */
    struct LinuxAioState *linux_aio;
    int64_t aio_max_batch;

    /* Of the home thread: the loop's own ring, where it has one (aio_uring.h). */
    struct AioUring *uring;

    /* What the loop may sleep in, where that was switched on (aio_epoll.h): the home thread writes, with list_lock locked; others read with
     * it locked. */
    struct AioEpoll *epoll;

    /* Made at first use; of the home thread, and of whoever frees the context. The limits: home thread. */
    struct ThreadPoolAio *thread_pool;
    int thread_pool_min, thread_pool_max;

    /* Polling in user space instead of sleeping; of the loop alone, but for poll_disable_cnt and poll_max_rounds. */
    AioHandlerList poll_aio_handlers;
    bool poll_started;
    int poll_disable_cnt; /* handlers without io_poll: any thread writes under list_lock, the loop reads */
    unsigned poll_max_rounds; /* 0: never poll; any thread */
    unsigned poll_rounds; /* the present length, adapted to success and failure */

    /* What ppoll() is given; of the loop alone, and used only between building it and reading the result. */
    GPollFD *poll_fds;
    AioHandler **poll_nodes;
    unsigned poll_capacity;
};

#endif
