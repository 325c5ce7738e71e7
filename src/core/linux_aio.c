/*
 * Linux AIO; see linux_aio.h. Home thread of the AioContext, unless said otherwise.
 *
 * Invariants
 * 1. pending has in_queue requests, the oldest first; in_flight counts those that the kernel took and whose event was not processed.
 * 2. blocked: the kernel, or max_events, has not taken all that was pending. Then only a completion submits.
 * 3. While an event that was fetched is not processed, or one lies in the ring during process_completions(), completion_bh is scheduled:
 *    a callback that polls sees the rest of the events by it, though the eventfd is clear (QEMU 2cdff7f620; fault
 *    linux-aio-nested-poll-misses-events).
 * 4. event_idx is the next event of the batch that was fetched, event_max its size; both 0 when none is at work. The batch may be
 *    continued by a nested call; then the outer one finds event_max 0 and stops.
 * 5. A request that completes while its coroutine is entered is not woken: its ret says so when ioq_submit() returns to it.
 */
#include "core/linux_aio.h"

#include <errno.h>
#include <libaio.h>
#include <stdio.h>

#include "core/aio_context_int.h"
#include "core/atomic.h"
#include "core/coroutine_int.h"
#include "core/defer_call.h"
#include "core/fatal.h"
#include "core/linux_aio_ring.h"

struct qemu_laiocb {
    Coroutine *co; /* or NULL: then cb is called, and laiocb freed */
    BlockCompletionFunc *cb;
    void *opaque;
    LinuxAioState *ctx;
    struct iocb iocb;
    ssize_t ret;
    off_t offset;
    size_t nbytes;
    QEMUIOVector *qiov;

    /* The rest of a short transfer. */
    size_t total_done;
    QEMUIOVector resubmit_qiov; /* iov is NULL until there is one */

    int fd;
    int type;
    uint64_t dev_max_batch;
    STAILQ_ENTRY(qemu_laiocb) next;
};

typedef STAILQ_HEAD(, qemu_laiocb) LaioList;

typedef struct LaioQueue {
    unsigned in_queue;
    unsigned in_flight;
    bool blocked;
    unsigned submit_depth;
    bool wakeup_taken; /* by a loop inside of ioq_submit(): see there */
    LaioList pending;
} LaioQueue;

struct LinuxAioState {
    AioContext *aio_context;
    unsigned max_events;
    io_context_t ctx;
    EventNotifier e;
    LaioQueue io_q;
    QEMUBH *completion_bh;
    unsigned event_idx;
    unsigned event_max;
};

static unsigned max_events_to_come = LAIO_MAX_EVENTS;
void (*laio_trace_hook)(LinuxAioEvent event);

static void ioq_submit(LinuxAioState *s);
static int laio_do_submit(struct qemu_laiocb *laiocb);

static void trace(LinuxAioEvent event)
{
    if (laio_trace_hook) {
        laio_trace_hook(event);
    }
}

/* ---- completion ---- */

/* Ask for what a short transfer has left. */
static int laio_resubmit_short_io(struct qemu_laiocb *laiocb, size_t done)
{
    laiocb->total_done += done;
    if (!laiocb->resubmit_qiov.iov) {
        qemu_iovec_init(&laiocb->resubmit_qiov, laiocb->qiov->niov);
    } else {
        qemu_iovec_reset(&laiocb->resubmit_qiov);
    }
    qemu_iovec_concat(&laiocb->resubmit_qiov, laiocb->qiov, laiocb->total_done, laiocb->nbytes - laiocb->total_done);
    trace(LAIO_RESUBMITTED);

    /* The coroutine may not have yielded yet, where all this happens inside of its own ioq_submit(): it must not take the part for the
     * whole (docs/findings.md; fault linux-aio-short-transfer-ends-early). */
    laiocb->ret = -EINPROGRESS;
    return laio_do_submit(laiocb);
}

/* What the coroutine will be told; -EINPROGRESS when the request goes on. */
static ssize_t laio_result(struct qemu_laiocb *laiocb)
{
    ssize_t ret = laiocb->ret;

    if (ret < 0) {
        return ret;
    }
    if ((size_t)ret == laiocb->nbytes - laiocb->total_done) {
        return 0;
    }
    if (ret > 0) {
        ret = laio_resubmit_short_io(laiocb, (size_t)ret);
        return ret ? ret : -EINPROGRESS;
    }
    if (laiocb->type != QEMU_AIO_READ) {
        return -ENOSPC;
    }
    qemu_iovec_memset(laiocb->qiov, laiocb->total_done, 0, laiocb->qiov->size - laiocb->total_done); /* the end of the file */
    return 0;
}

static void qemu_laio_process_completion(struct qemu_laiocb *laiocb)
{
    ssize_t ret = laio_result(laiocb);

    if (ret == -EINPROGRESS) {
        return; /* laiocb may be complete, and gone, by now */
    }
    laiocb->ret = ret;
    if (laiocb->resubmit_qiov.iov) {
        qemu_iovec_destroy(&laiocb->resubmit_qiov);
    }
    if (!laiocb->co) {
        laiocb->cb(laiocb->opaque, (int)ret);
        g_free(laiocb);
        return;
    }
    core_assert(qatomic_read(&laiocb->co->ctx) == laiocb->ctx->aio_context);
    if (qemu_coroutine_entered(laiocb->co)) {
        trace(LAIO_COMPLETED_INSIDE_SUBMIT);
    } else {
        aio_co_wake(laiocb->co);
    }
}

static void qemu_laio_process_completions(LinuxAioState *s)
{
    struct io_event *events;

    defer_call_begin();

    /* Nested event loops are to see the events that are fetched here. */
    qemu_bh_schedule(s->completion_bh);
    if (s->event_max) {
        trace(LAIO_COMPLETIONS_NESTED);
    }

    while ((s->event_max = io_getevents_advance_and_peek(s->ctx, &events, s->event_idx))) {
        for (s->event_idx = 0; s->event_idx < s->event_max;) {
            struct iocb *iocb = events[s->event_idx].obj;
            struct qemu_laiocb *laiocb = (struct qemu_laiocb *)((char *)iocb - offsetof(struct qemu_laiocb, iocb));

            laiocb->ret = io_event_ret(&events[s->event_idx]);

            /* One by one and before the callback, which may nest. */
            s->io_q.in_flight--;
            s->event_idx++;
            qemu_laio_process_completion(laiocb);
        }
    }

    qemu_bh_cancel(s->completion_bh);

    /* A call outside of this one finds that its batch is done. */
    s->event_max = 0;
    s->event_idx = 0;

    defer_call_end();
}

static void qemu_laio_process_completions_and_submit(LinuxAioState *s)
{
    s->io_q.wakeup_taken |= s->io_q.submit_depth > 0;
    qemu_laio_process_completions(s);

    if (!STAILQ_EMPTY(&s->io_q.pending)) {
        ioq_submit(s);
    }
}

static void qemu_laio_completion_bh(void *opaque)
{
    qemu_laio_process_completions_and_submit((LinuxAioState *)opaque);
}

static LinuxAioState *state_of(EventNotifier *e)
{
    return (LinuxAioState *)((char *)e - offsetof(LinuxAioState, e));
}

static void qemu_laio_completion_cb(EventNotifier *e)
{
    if (event_notifier_test_and_clear(e)) {
        qemu_laio_process_completions_and_submit(state_of(e));
    }
}

static bool qemu_laio_poll_cb(void *opaque)
{
    struct io_event *events;

    return io_getevents_peek(state_of(opaque)->ctx, &events) > 0;
}

static void qemu_laio_poll_ready(EventNotifier *e)
{
    qemu_laio_process_completions_and_submit(state_of(e));
}

/* ---- submission ---- */

/* The pending requests, as many as may be in flight. */
static unsigned ioq_collect(LinuxAioState *s, struct iocb **iocbs)
{
    struct qemu_laiocb *aiocb;
    unsigned len = 0;

    STAILQ_FOREACH(aiocb, &s->io_q.pending, next) {
        iocbs[len++] = &aiocb->iocb;
        if (s->io_q.in_flight + len >= s->max_events) {
            break;
        }
    }
    return len;
}

/* Nothing was taken: the first request is what the kernel does not like. */
static void ioq_fail_first(LinuxAioState *s, int ret)
{
    struct qemu_laiocb *aiocb = STAILQ_FIRST(&s->io_q.pending);

    STAILQ_REMOVE_HEAD(&s->io_q.pending, next);
    s->io_q.in_queue--;
    aiocb->ret = ret;

    /* A callback that polls is to get on with the rest, of which nothing may be in flight: docs/findings.md. */
    qemu_bh_schedule(s->completion_bh);
    qemu_laio_process_completion(aiocb);
}

static void ioq_taken(LinuxAioState *s, unsigned count)
{
    s->io_q.in_flight += count;
    s->io_q.in_queue -= count;
    while (count--) {
        STAILQ_REMOVE_HEAD(&s->io_q.pending, next);
    }
}

/* What the kernel takes; stops where it does not take all. */
static void ioq_submit_pending(LinuxAioState *s)
{
    struct iocb *iocbs[LAIO_MAX_EVENTS];
    unsigned len;
    int ret;

    do {
        if (s->io_q.in_flight >= s->max_events) {
            break;
        }
        len = ioq_collect(s, iocbs);
        ret = io_submit(s->ctx, len, iocbs);
        if (ret == -EAGAIN) {
            break;
        }
        if (ret < 0) {
            ioq_fail_first(s, ret);
            ret = (int)len; /* go on with the rest */
            continue;
        }
        ioq_taken(s, (unsigned)ret);
    } while (ret == (int)len && !STAILQ_EMPTY(&s->io_q.pending));
}

/*
 * The eventfd, or the bottom half, gets on with what waits because submission is deep enough. But a callback that polls in here takes
 * that wakeup, and its own ioq_submit() may be too deep as well. So the outermost level looks whether anything is left that nobody
 * would come back to (docs/findings.md, A4).
 */
static void ioq_resume_after_nested_loop(LinuxAioState *s)
{
    if (s->io_q.wakeup_taken && !s->io_q.in_flight && !STAILQ_EMPTY(&s->io_q.pending)) {
        qemu_bh_schedule(s->completion_bh);
    }
    s->io_q.wakeup_taken = false;
}

static void ioq_submit(LinuxAioState *s)
{
    if (s->io_q.submit_depth >= IOQ_SUBMIT_MAX_DEPTH) {
        trace(LAIO_SUBMIT_DEPTH_REACHED);
        return;
    }
    if (s->io_q.submit_depth++) {
        trace(LAIO_SUBMIT_NESTED);
    }
    ioq_submit_pending(s);
    s->io_q.blocked = s->io_q.in_queue > 0;
    if (s->io_q.blocked) {
        trace(LAIO_QUEUE_BLOCKED);
    }

    /* Cached requests are complete already. What is pending still is not submitted from here again, though all may be complete: the
     * eventfd is readable, and its handler does it. */
    if (s->io_q.in_flight) {
        qemu_laio_process_completions(s);
    }
    if (--s->io_q.submit_depth == 0) {
        ioq_resume_after_nested_loop(s);
    }
}

static uint64_t min_non_zero(uint64_t a, uint64_t b)
{
    return !a ? b : !b ? a : MIN(a, b);
}

static uint64_t laio_max_batch(LinuxAioState *s, uint64_t dev_max_batch)
{
    uint64_t max_batch = s->aio_context->aio_max_batch ? (uint64_t)s->aio_context->aio_max_batch : LAIO_DEFAULT_MAX_BATCH;

    max_batch = min_non_zero(dev_max_batch, max_batch);
    return min_non_zero(s->max_events - s->io_q.in_flight, max_batch);
}

static void laio_deferred_fn(void *opaque)
{
    LinuxAioState *s = opaque;

    if (!s->io_q.blocked && !STAILQ_EMPTY(&s->io_q.pending)) {
        trace(LAIO_SUBMIT_DEFERRED);
        ioq_submit(s);
    }
}

static int laio_do_submit(struct qemu_laiocb *laiocb)
{
    LinuxAioState *s = laiocb->ctx;
    QEMUIOVector *qiov = laiocb->resubmit_qiov.iov ? &laiocb->resubmit_qiov : laiocb->qiov;
    off_t offset = laiocb->offset + (off_t)laiocb->total_done;

    core_assert(qiov || laiocb->type == QEMU_AIO_FLUSH);
    switch (laiocb->type) {
    case QEMU_AIO_WRITE:
        io_prep_pwritev(&laiocb->iocb, laiocb->fd, qiov->iov, qiov->niov, offset);
        break;
    case QEMU_AIO_READ:
        io_prep_preadv(&laiocb->iocb, laiocb->fd, qiov->iov, qiov->niov, offset);
        break;
    case QEMU_AIO_FLUSH:
        io_prep_fdsync(&laiocb->iocb, laiocb->fd);
        break;
    default:
        core_fatal("assertion", "%s: AIO request of type %d", __func__, laiocb->type);
    }
    io_set_eventfd(&laiocb->iocb, event_notifier_get_fd(&s->e));

    STAILQ_INSERT_TAIL(&s->io_q.pending, laiocb, next);
    s->io_q.in_queue++;
    if (!s->io_q.blocked) {
        if (s->io_q.in_queue >= laio_max_batch(s, laiocb->dev_max_batch)) {
            ioq_submit(s);
        } else {
            defer_call(laio_deferred_fn, s);
        }
    }
    return 0;
}

int coroutine_fn laio_co_submit(int fd, uint64_t offset, QEMUIOVector *qiov, int type, uint64_t dev_max_batch)
{
    struct qemu_laiocb laiocb = {
        .co = qemu_coroutine_self(),
        .offset = (off_t)offset,
        .nbytes = qiov ? qiov->size : 0,
        .ctx = aio_get_linux_aio(qemu_get_current_aio_context()),
        .ret = -EINPROGRESS,
        .qiov = qiov,
        .fd = fd,
        .type = type,
        .dev_max_batch = dev_max_batch,
    };
    int ret = laio_do_submit(&laiocb);

    if (ret < 0) {
        return ret;
    }
    if (laiocb.ret == -EINPROGRESS) {
        qemu_coroutine_yield();
    }
    return (int)laiocb.ret;
}

void laio_submit(LinuxAioState *s, int fd, uint64_t offset, QEMUIOVector *qiov, int type, BlockCompletionFunc *cb, void *opaque)
{
    struct qemu_laiocb *laiocb = g_new0(struct qemu_laiocb, 1);

    *laiocb = (struct qemu_laiocb){
        .cb = cb,
        .opaque = opaque,
        .offset = (off_t)offset,
        .nbytes = qiov ? qiov->size : 0,
        .ctx = s,
        .qiov = qiov,
        .fd = fd,
        .type = type,
    };
    laio_do_submit(laiocb);
}

/* ---- life: any thread ---- */

void laio_detach_aio_context(LinuxAioState *s, AioContext *old_context)
{
    aio_set_event_notifier(old_context, &s->e, NULL, NULL, NULL);
    qemu_bh_delete(s->completion_bh);
    s->aio_context = NULL;
}

void laio_attach_aio_context(LinuxAioState *s, AioContext *new_context)
{
    s->aio_context = new_context;
    s->completion_bh = aio_bh_new(new_context, qemu_laio_completion_bh, s);
    aio_set_event_notifier(new_context, &s->e, qemu_laio_completion_cb, qemu_laio_poll_cb, qemu_laio_poll_ready);
}

static int get_by_system_call(unsigned max_events, void **io_context)
{
    io_context_t ctx = NULL;
    int ret = io_setup((int)max_events, &ctx);

    *io_context = ctx;
    return ret;
}

static void put_by_system_call(unsigned max_events, void *io_context)
{
    (void)max_events;
    if (io_destroy(io_context) != 0) {
        core_fatal("assertion", "%s: the kernel does not know the AIO context", __func__);
    }
}

LinuxAioHooks laio_hooks = { .get = get_by_system_call, .put = put_by_system_call };

LinuxAioState *laio_init(void)
{
    unsigned max_events = max_events_to_come;
    LinuxAioState *s = g_new0(LinuxAioState, 1);
    void *io_context = NULL;
    int ret = event_notifier_init(&s->e, false);

    ret = ret < 0 ? ret : laio_hooks.get(max_events, &io_context);
    if (ret < 0) {
        event_notifier_cleanup(&s->e);
        g_free(s);
        errno = -ret;
        return NULL;
    }
    s->max_events = max_events;
    s->ctx = io_context;
    STAILQ_INIT(&s->io_q.pending);
    return s;
}

void laio_cleanup(LinuxAioState *s)
{
    core_assert(s->io_q.in_queue == 0 && s->io_q.in_flight == 0);
    event_notifier_cleanup(&s->e);
    laio_hooks.put(s->max_events, s->ctx);
    g_free(s);
}

void laio_set_max_events(unsigned max_events)
{
    core_assert(max_events >= 1 && max_events <= LAIO_MAX_EVENTS);
    max_events_to_come = max_events;
}

LinuxAioInfo laio_info(const LinuxAioState *s)
{
    return (LinuxAioInfo){
        .in_queue = s->io_q.in_queue,
        .in_flight = s->io_q.in_flight,
        .submit_depth = s->io_q.submit_depth,
        .blocked = s->io_q.blocked,
    };
}
