/* Requests by two rings; see luring.h. Home thread of the AioContext, unless said otherwise. */
#include "core/luring.h"

#include <errno.h>
#include <libaio.h>
#include <string.h>

#include "core/atomic.h"
#include "core/coroutine_int.h"
#include "core/defer_call.h"
#include "core/fatal.h"
#include "core/linux_aio_ring.h"

typedef struct LuringAIOCB {
    Coroutine *co;
    struct iocb sqeq; /* what is copied into the ring; its data is this */
    ssize_t ret;
    QEMUIOVector *qiov;
    bool is_read;
    STAILQ_ENTRY(LuringAIOCB) next;

    size_t total_read; /* of a read that was short */
    QEMUIOVector resubmit_qiov;
    int fd;
    uint64_t offset;
} LuringAIOCB;

typedef struct LuringQueue {
    unsigned in_queue;
    unsigned in_flight;
    bool blocked;
    STAILQ_HEAD(, LuringAIOCB) submit_queue;
} LuringQueue;

struct LuringState {
    AioContext *aio_context;
    unsigned entries;
    io_context_t ring;
    struct iocb *sq[LURING_MAX_ENTRIES]; /* taken from the queue, and not yet by the kernel */
    unsigned sq_count;
    EventNotifier e;
    LuringQueue io_q;
    QEMUBH *completion_bh;
};

void (*luring_trace_hook)(LuringEvent event);

static void ioq_submit(LuringState *s);

static void trace(LuringEvent event)
{
    if (luring_trace_hook) {
        luring_trace_hook(event);
    }
}

/* ------------------------------------------------------------------------------------------- the rings */

/* Into the ring of submissions; false where that is full. */
static bool ring_put(LuringState *s, struct iocb *sqe)
{
    if (s->sq_count >= s->entries) {
        return false;
    }
    s->sq[s->sq_count++] = sqe;
    return true;
}

/* Tell the kernel. How many it has taken, or a negative errno. */
static int ring_submit(LuringState *s)
{
    int ret = s->sq_count ? io_submit(s->ring, (long)s->sq_count, s->sq) : 0;

    if (ret > 0) {
        s->sq_count -= (unsigned)ret;
        memmove(s->sq, s->sq + ret, s->sq_count * sizeof(s->sq[0]));
    }
    return ret;
}

/* Take the next completion out; false where there is none. The descriptor is readable while there are completions, and no longer. */
static bool ring_get(LuringState *s, LuringAIOCB **luringcb, ssize_t *ret)
{
    struct io_event *events;

    while (io_getevents_peek(s->ring, &events) == 0) {
        if (!event_notifier_test_and_clear(&s->e)) {
            return false;
        }
    }
    *luringcb = events[0].data;
    *ret = io_event_ret(&events[0]);
    io_getevents_commit(s->ring, 1);
    return true;
}

/* ------------------------------------------------------------------------------------------- completions */

static void luring_prepare(LuringState *s, LuringAIOCB *luringcb, int type)
{
    QEMUIOVector *qiov = luringcb->resubmit_qiov.iov ? &luringcb->resubmit_qiov : luringcb->qiov;
    long long offset = (long long)luringcb->offset + (long long)luringcb->total_read;

    switch (type) {
    case QEMU_AIO_WRITE:
        io_prep_pwritev(&luringcb->sqeq, luringcb->fd, qiov->iov, qiov->niov, offset);
        break;
    case QEMU_AIO_READ:
        io_prep_preadv(&luringcb->sqeq, luringcb->fd, qiov->iov, qiov->niov, offset);
        break;
    case QEMU_AIO_FLUSH:
        io_prep_fdsync(&luringcb->sqeq, luringcb->fd);
        break;
    default:
        core_fatal("assertion", "%s: request of type %d", __func__, type);
    }
    luringcb->sqeq.data = luringcb;
    io_set_eventfd(&luringcb->sqeq, event_notifier_get_fd(&s->e));
}

/* The caller sees to it that ioq_submit() is called afterwards. */
static void luring_resubmit(LuringState *s, LuringAIOCB *luringcb)
{
    STAILQ_INSERT_TAIL(&s->io_q.submit_queue, luringcb, next);
    s->io_q.in_queue++;
}

static void luring_resubmit_short_read(LuringState *s, LuringAIOCB *luringcb, size_t nread)
{
    luringcb->total_read += nread;
    if (!luringcb->resubmit_qiov.iov) {
        qemu_iovec_init(&luringcb->resubmit_qiov, luringcb->qiov->niov);
    } else {
        qemu_iovec_reset(&luringcb->resubmit_qiov);
    }
    qemu_iovec_concat(&luringcb->resubmit_qiov, luringcb->qiov, luringcb->total_read,
                      luringcb->qiov->size - luringcb->total_read);
    luring_prepare(s, luringcb, QEMU_AIO_READ);
    luring_resubmit(s, luringcb);
    trace(LURING_RESUBMITTED);
}

/* Returns whether the request is in the queue again; else its ret is what the coroutine will be told. */
static bool luring_process_cqe(LuringState *s, LuringAIOCB *luringcb, ssize_t ret)
{
    size_t total = (size_t)ret + luringcb->total_read;

    if (ret == -EAGAIN || ret == -EINTR) {
        luring_resubmit(s, luringcb);
        return true;
    }
    if (ret >= 0 && luringcb->qiov && total < luringcb->qiov->size) {
        if (!luringcb->is_read) {
            ret = -ENOSPC;
        } else if (ret > 0) {
            luring_resubmit_short_read(s, luringcb, (size_t)ret);
            return true;
        } else {
            qemu_iovec_memset(luringcb->qiov, total, 0, luringcb->qiov->size - total); /* the end of the file */
        }
    }
    luringcb->ret = MIN(ret, 0);
    return false;
}

/* Returns whether the caller must call ioq_submit(). */
static bool luring_process_completions(LuringState *s)
{
    LuringAIOCB *luringcb;
    bool resubmit = false;
    ssize_t ret;

    defer_call_begin();

    /* Nested event loops are to see what is left in the ring. */
    qemu_bh_schedule(s->completion_bh);
    while (ring_get(s, &luringcb, &ret)) {
        s->io_q.in_flight--; /* one by one, as a loop may be nested */
        if (luring_process_cqe(s, luringcb, ret)) {
            resubmit = true;
            continue;
        }
        if (luringcb->resubmit_qiov.iov) {
            qemu_iovec_destroy(&luringcb->resubmit_qiov);
        }
        core_assert(qatomic_read(&luringcb->co->ctx) == s->aio_context);
        if (qemu_coroutine_entered(luringcb->co)) {
            trace(LURING_COMPLETED_INSIDE_SUBMIT);
        } else {
            aio_co_wake(luringcb->co);
        }
    }
    qemu_bh_cancel(s->completion_bh);
    defer_call_end();
    return resubmit;
}

static void luring_process_completions_and_submit(LuringState *s)
{
    luring_process_completions(s);
    if (s->io_q.in_queue > 0) {
        ioq_submit(s);
    }
}

static LuringState *state_of(EventNotifier *e)
{
    return (LuringState *)((char *)e - offsetof(LuringState, e));
}

static void luring_completion_bh(void *opaque)
{
    luring_process_completions_and_submit(opaque);
}

static void luring_completion_cb(EventNotifier *e)
{
    luring_process_completions_and_submit(state_of(e));
}

static bool luring_poll_cb(void *opaque)
{
    struct io_event *events;

    return io_getevents_peek(state_of(opaque)->ring, &events) > 0;
}

static void luring_poll_ready(EventNotifier *e)
{
    luring_process_completions_and_submit(state_of(e));
}

/* ------------------------------------------------------------------------------------------- submission */

static void ioq_fill_ring(LuringState *s)
{
    LuringAIOCB *luringcb;

    while ((luringcb = STAILQ_FIRST(&s->io_q.submit_queue)) && ring_put(s, &luringcb->sqeq)) {
        STAILQ_REMOVE_HEAD(&s->io_q.submit_queue, next);
    }
}

/* As many as the kernel takes. */
static void ioq_submit_queue(LuringState *s)
{
    while (s->io_q.in_queue > 0) {
        int ret;

        ioq_fill_ring(s);
        ret = ring_submit(s);
        if (ret <= 0) {
            break; /* for ever, if it was refused */
        }
        s->io_q.in_flight += (unsigned)ret;
        s->io_q.in_queue -= (unsigned)ret;
    }
    s->io_q.blocked = s->io_q.in_queue > 0;
}

static void ioq_submit(LuringState *s)
{
    ioq_submit_queue(s);
    while (s->io_q.in_flight && luring_process_completions(s)) {
        /* What is in the queue again is nobody else's: nothing may be in flight any more. */
        trace(LURING_RESUBMITTED_WHILE_SUBMITTING);
        ioq_submit_queue(s);
    }
}

static void luring_deferred_fn(void *opaque)
{
    LuringState *s = opaque;

    if (!s->io_q.blocked && s->io_q.in_queue > 0) {
        ioq_submit(s);
    }
}

static void luring_do_submit(LuringState *s, LuringAIOCB *luringcb, int type)
{
    luring_prepare(s, luringcb, type);
    STAILQ_INSERT_TAIL(&s->io_q.submit_queue, luringcb, next);
    s->io_q.in_queue++;
    if (!s->io_q.blocked) {
        if (s->io_q.in_flight + s->io_q.in_queue >= s->entries) {
            ioq_submit(s);
        } else {
            defer_call(luring_deferred_fn, s);
        }
    }
}

int coroutine_fn luring_co_submit(LuringState *s, int fd, uint64_t offset, QEMUIOVector *qiov, int type)
{
    LuringAIOCB luringcb = {
        .co = qemu_coroutine_self(),
        .ret = -EINPROGRESS,
        .qiov = qiov,
        .is_read = type == QEMU_AIO_READ,
        .fd = fd,
        .offset = offset,
    };

    luring_do_submit(s, &luringcb, type);
    if (luringcb.ret == -EINPROGRESS) {
        qemu_coroutine_yield();
    }
    return (int)luringcb.ret;
}

unsigned luring_in_queue(const LuringState *s)
{
    return s->io_q.in_queue;
}

/* ------------------------------------------------------------------------------------------- life: any thread */

void luring_attach_aio_context(LuringState *s, AioContext *new_context)
{
    s->aio_context = new_context;
    s->completion_bh = aio_bh_new(new_context, luring_completion_bh, s);
    aio_set_event_notifier(new_context, &s->e, luring_completion_cb, luring_poll_cb, luring_poll_ready);
}

void luring_detach_aio_context(LuringState *s, AioContext *old_context)
{
    aio_set_event_notifier(old_context, &s->e, NULL, NULL, NULL);
    qemu_bh_delete(s->completion_bh);
    s->aio_context = NULL;
}

LuringState *luring_init(unsigned entries)
{
    LuringState *s = g_new0(LuringState, 1);
    void *io_context = NULL;
    int ret = event_notifier_init(&s->e, false);

    core_assert(entries >= 1 && entries <= LURING_MAX_ENTRIES);
    ret = ret < 0 ? ret : laio_hooks.get(LURING_MAX_ENTRIES, &io_context);
    if (ret < 0) {
        event_notifier_cleanup(&s->e);
        g_free(s);
        errno = -ret;
        return NULL;
    }
    s->entries = entries;
    s->ring = io_context;
    STAILQ_INIT(&s->io_q.submit_queue);
    return s;
}

void luring_cleanup(LuringState *s)
{
    core_assert(s->io_q.in_queue == 0 && s->io_q.in_flight == 0);
    event_notifier_cleanup(&s->e);
    laio_hooks.put(LURING_MAX_ENTRIES, s->ring);
    g_free(s);
}
