/* The loop's own ring, as aio_uring.h tells. Threads: see there. */
#include "core/aio_uring.h"

#include <errno.h>

#include "core/aio_int.h"
#include "core/coroutine_int.h"
#include "core/fatal.h"
#include "core/linux_aio_ring.h"

#define BATCH_MAX 16u  /* in one call of the kernel's */
#define EVENTS    128u /* in flight */

typedef struct AioUring {
    io_context_t ring;
    EventNotifier e; /* readable while there are completions, and no longer */
    STAILQ_HEAD(, CqeHandler) queue;
    unsigned queued, in_flight;
} AioUring;

/* ---- submission */

/* Returns how many the kernel has taken: none where it has no room, until completions make some. */
static unsigned submit_batch(AioUring *uring)
{
    struct iocb *batch[BATCH_MAX];
    CqeHandler *handler;
    unsigned count = 0;
    int taken;

    STAILQ_FOREACH(handler, &uring->queue, next) {
        batch[count++] = &handler->sqe;
        if (count == BATCH_MAX) {
            break;
        }
    }
    taken = count ? io_submit(uring->ring, (long)count, batch) : 0;
    core_assert(taken >= 0 || (taken == -EAGAIN && uring->in_flight));
    for (int i = 0; i < taken; i++) {
        STAILQ_REMOVE_HEAD(&uring->queue, next);
        uring->queued--;
        uring->in_flight++;
    }
    return taken > 0 ? (unsigned)taken : 0;
}

void aio_uring_submit(AioContext *ctx)
{
    while (submit_batch(ctx->uring)) {
        /* until the queue is empty, or the kernel is full */
    }
}

void aio_add_sqe(AioContext *ctx, CqeHandler *handler)
{
    AioUring *uring = ctx->uring;

    core_assert(in_aio_context_home_thread(ctx));
    handler->sqe.data = handler;
    io_set_eventfd(&handler->sqe, event_notifier_get_fd(&uring->e));
    STAILQ_INSERT_TAIL(&uring->queue, handler, next);
    uring->queued++;

    /* The home thread may be two: the one that sleeps has looked into the queue before. */
    aio_notify(ctx);
}

unsigned aio_uring_queued(const AioContext *ctx)
{
    return ctx->uring->queued;
}

/* ---- completions */

/* Take the next one out; NULL where there is none. */
static CqeHandler *next_completion(AioUring *uring)
{
    CqeHandler *handler;
    struct io_event *events;

    while (io_getevents_peek(uring->ring, &events) == 0) {
        if (!event_notifier_test_and_clear(&uring->e)) {
            return NULL;
        }
    }
    handler = events[0].data;
    handler->ret = io_event_ret(&events[0]);
    io_getevents_commit(uring->ring, 1);
    return handler;
}

/* Each is out of the ring before its callback, and the descriptor stays readable: a nested loop goes on with the next one. */
static void process_completions(EventNotifier *e)
{
    AioUring *uring = (AioUring *)((char *)e - offsetof(AioUring, e));
    CqeHandler *handler;

    while ((handler = next_completion(uring))) {
        uring->in_flight--;
        handler->cb(handler);
    }
}

/* ---- life */

int aio_uring_setup(AioContext *ctx)
{
    AioUring *uring = g_new0(AioUring, 1);
    void *io_context = NULL;
    int ret = event_notifier_init(&uring->e, false);

    core_assert(!ctx->uring);
    if (ret == 0) {
        ret = laio_hooks.get(EVENTS, &io_context);
        if (ret < 0) {
            event_notifier_cleanup(&uring->e);
        }
    }
    if (ret < 0) {
        g_free(uring);
        return ret;
    }
    uring->ring = io_context;
    STAILQ_INIT(&uring->queue);
    aio_set_event_notifier(ctx, &uring->e, process_completions, NULL, NULL);
    ctx->uring = uring;
    return 0;
}

void aio_uring_cleanup(AioContext *ctx)
{
    AioUring *uring = ctx->uring;

    core_assert(uring->queued == 0 && uring->in_flight == 0);
    ctx->uring = NULL;
    aio_set_event_notifier(ctx, &uring->e, NULL, NULL, NULL);
    event_notifier_cleanup(&uring->e);
    laio_hooks.put(EVENTS, uring->ring);
    g_free(uring);
}

/* ---- requests of coroutines */

typedef struct UringRequest {
    CqeHandler handler; /* first */
    Coroutine *co;
    AioContext *ctx;
    int fd, type;
    uint64_t offset;
    QEMUIOVector *qiov;
    size_t done;       /* of a read that was short */
    QEMUIOVector rest; /* where to read what is missing; no list while nothing is */
    int ret;
} UringRequest;

static void request_add(UringRequest *request)
{
    QEMUIOVector *qiov = request->rest.iov ? &request->rest : request->qiov;
    long long offset = (long long)request->offset + (long long)request->done;

    switch (request->type) {
    case QEMU_AIO_WRITE:
        io_prep_pwritev(&request->handler.sqe, request->fd, qiov->iov, qiov->niov, offset);
        break;
    case QEMU_AIO_READ:
        io_prep_preadv(&request->handler.sqe, request->fd, qiov->iov, qiov->niov, offset);
        break;
    case QEMU_AIO_FLUSH:
        io_prep_fdsync(&request->handler.sqe, request->fd);
        break;
    default:
        core_fatal("assertion", "%s: request of type %d", __func__, request->type);
    }
    aio_add_sqe(request->ctx, &request->handler);
}

static void request_read_rest(UringRequest *request, size_t count)
{
    request->done += count;
    if (!request->rest.iov) {
        qemu_iovec_init(&request->rest, request->qiov->niov);
    } else {
        qemu_iovec_reset(&request->rest);
    }
    qemu_iovec_concat(&request->rest, request->qiov, request->done, request->qiov->size - request->done);
    request_add(request);
}

/* Returns whether the request is over: else it has been added again. */
static bool request_ends(UringRequest *request, ssize_t ret)
{
    size_t total = request->done + (size_t)MAX(ret, 0);

    if (ret == -EAGAIN || ret == -EINTR) {
        request_add(request);
        return false;
    }
    if (ret > 0 && request->type == QEMU_AIO_READ && total < request->qiov->size) {
        request_read_rest(request, (size_t)ret);
        return false;
    }
    if (ret == 0 && request->type == QEMU_AIO_READ) {
        qemu_iovec_memset(request->qiov, total, 0, request->qiov->size - total); /* the end of the file */
    }
    request->ret = request->type == QEMU_AIO_WRITE && ret >= 0 && total < request->qiov->size ? -ENOSPC : (int)MIN(ret, 0);
    return true;
}

static void request_cb(CqeHandler *handler)
{
    UringRequest *request = (UringRequest *)handler;

    if (request_ends(request, handler->ret)) {
        if (request->rest.iov) {
            qemu_iovec_destroy(&request->rest);
        }
        aio_co_wake(request->co);
    }
}

int coroutine_fn aio_uring_co_submit(int fd, uint64_t offset, QEMUIOVector *qiov, int type)
{
    UringRequest request = {
        .handler.cb = request_cb,
        .co = qemu_coroutine_self(),
        .ctx = qemu_get_current_aio_context(),
        .fd = fd,
        .type = type,
        .offset = offset,
        .qiov = qiov,
    };

    request_add(&request);
    qemu_coroutine_yield();
    return request.ret;
}
