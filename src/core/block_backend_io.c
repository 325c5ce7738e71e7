/*
 * Requests through a BlockBackend: as a coroutine, and with a callback.
 *
 * Threads: any.
 */
#include <errno.h>

#include "core/atomic.h"
#include "core/block_backend_int.h"
#include "core/fatal.h"
#include "core/sanitizer.h"

/* ------------------------------------------------------------------------------------------- coroutines */

/*
 * The caller is counted. Where the backend is drained, sleep in its queue until the section has ended; on return the
 * caller is counted again, by whoever woke it.
 */
static void coroutine_fn blk_wait_while_drained(BlockBackend *blk)
{
    core_assert(qatomic_read(&blk->in_flight) > 0);

    /* ORDER: in_flight before reading quiesce_counter
     * PAIRS: bdrv_drain_poll()
     * ELSE:  on a machine weaker than x86 the request does not see the section and the section does not see the
     *        request */
    smp_mb__after_rmw();
    if (!qatomic_read(&blk->quiesce_counter) || qatomic_read(&blk->disable_request_queuing)) {
        return;
    }

    /* The lock comes before the count: the main thread may leave the section as soon as it reads 0, and then has to
     * wait for this lock, and so finds the request in the queue.
     *
     * But a section that does not poll (bdrv_drain_all_begin_nopoll(), of the graph lock's writer) ends without waiting
     * for the count: it may be over by now, and its end has found the queue empty. So look again; the end lowers
     * quiesce_counter before it takes the lock. docs/findings.md, 1; fault blk-queue-after-drained-end. */
    qemu_mutex_lock(&blk->queued_requests_lock);
    if (qatomic_read(&blk->quiesce_counter)) {
        blk_dec_in_flight(blk);
        qemu_co_queue_wait(&blk->queued_requests, &blk->queued_requests_lock);
    }
    qemu_mutex_unlock(&blk->queued_requests_lock);
}

typedef int coroutine_fn BlkRequestFn(BdrvChild *child, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                      BdrvRequestFlags flags);

/* The caller has counted the request. */
static int coroutine_fn blk_co_do_request(BlockBackend *blk, BlkRequestFn *request, int64_t offset, int64_t bytes,
                                          QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    BlockDriverState *bs;
    int ret;

    blk_wait_while_drained(blk);
    GRAPH_RDLOCK_GUARD();

    /* A section that was over when quiesce_counter was read is before this request: blk_root_drained_end() has lowered it, and the
     * graph lock's barrier stands between that read and here. TSan knows no barriers; docs/findings.md, F1. */
    SANITIZER_ACQUIRE(&blk->quiesce_counter);

    /* Only now: the node may be another one than before the wait, or none. */
    bs = blk_bs(blk);
    if (!bs) {
        return -ENOMEDIUM;
    }
    bdrv_inc_in_flight(bs);
    ret = request(blk->root, offset, bytes, qiov, flags);
    bdrv_dec_in_flight(bs);
    return ret;
}

int coroutine_fn blk_co_preadv(BlockBackend *blk, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    int ret;

    blk_inc_in_flight(blk);
    ret = blk_co_do_request(blk, bdrv_co_preadv, offset, bytes, qiov, flags);
    blk_dec_in_flight(blk);
    return ret;
}

int coroutine_fn blk_co_pwritev(BlockBackend *blk, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    int ret;

    blk_inc_in_flight(blk);
    ret = blk_co_do_request(blk, bdrv_co_pwritev, offset, bytes, qiov, flags);
    blk_dec_in_flight(blk);
    return ret;
}

int coroutine_fn blk_co_pread(BlockBackend *blk, int64_t offset, int64_t bytes, void *buf, BdrvRequestFlags flags)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, bytes);
    return blk_co_preadv(blk, offset, bytes, &qiov, flags);
}

int coroutine_fn blk_co_pwrite(BlockBackend *blk, int64_t offset, int64_t bytes, const void *buf, BdrvRequestFlags flags)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, (void *)buf, bytes);
    return blk_co_pwritev(blk, offset, bytes, &qiov, flags);
}

static int coroutine_fn blk_do_flush(BdrvChild *child, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    (void)offset, (void)bytes, (void)qiov, (void)flags;
    return bdrv_co_flush(child->bs);
}

int coroutine_fn blk_co_flush(BlockBackend *blk)
{
    int ret;

    blk_inc_in_flight(blk);
    ret = blk_co_do_request(blk, blk_do_flush, 0, 0, NULL, 0);
    blk_dec_in_flight(blk);
    return ret;
}

int64_t coroutine_fn blk_co_getlength(BlockBackend *blk)
{
    GRAPH_RDLOCK_GUARD();

    return blk_bs(blk) ? bdrv_co_getlength(blk_bs(blk)) : -ENOMEDIUM;
}

/* ------------------------------------------------------------------------------------------- callbacks */

/* A request with a callback. Belongs to the thread that made it. */
typedef struct BlkAioRequest {
    BlockBackend *blk;
    BlkRequestFn *request;
    int64_t offset;
    QEMUIOVector *qiov;
    BdrvRequestFlags flags;
    BlockCompletionFunc *cb;
    void *opaque;
    bool has_returned; /* blk_aio_prwv() has: callbacks are allowed */
    bool ended;
    int ret;
} BlkAioRequest;

static void blk_aio_complete(BlkAioRequest *acb)
{
    if (!acb->has_returned) {
        return; /* blk_aio_prwv() sees to it */
    }
    acb->cb(acb->opaque, acb->ret);

    /* After the callback: a drained section waits for it too (QEMU 46aaf2a566). */
    blk_dec_in_flight(acb->blk);
    g_free(acb);
}

static void blk_aio_complete_bh(void *opaque)
{
    BlkAioRequest *acb = opaque;

    core_assert(acb->has_returned);
    blk_aio_complete(acb);
}

static void coroutine_fn blk_aio_entry(void *opaque)
{
    BlkAioRequest *acb = opaque;

    acb->ret = blk_co_do_request(acb->blk, acb->request, acb->offset, acb->qiov ? (int64_t)acb->qiov->size : 0, acb->qiov,
                                 acb->flags);
    acb->ended = true;
    blk_aio_complete(acb);
}

static void blk_aio_prwv(BlockBackend *blk, BlkRequestFn *request, int64_t offset, QEMUIOVector *qiov, BdrvRequestFlags flags,
                         BlockCompletionFunc *cb, void *opaque)
{
    AioContext *ctx = qemu_get_current_aio_context();
    BlkAioRequest *acb = g_new0(BlkAioRequest, 1);

    *acb = (BlkAioRequest){
        .blk = blk,
        .request = request,
        .offset = offset,
        .qiov = qiov,
        .flags = flags,
        .cb = cb,
        .opaque = opaque,
    };
    blk_inc_in_flight(blk);
    aio_co_enter(ctx, qemu_coroutine_create(blk_aio_entry, acb));

    acb->has_returned = true;
    if (acb->ended) {
        aio_bh_schedule_oneshot(ctx, blk_aio_complete_bh, acb);
    }
}

void blk_aio_preadv(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, BdrvRequestFlags flags, BlockCompletionFunc *cb,
                    void *opaque)
{
    blk_aio_prwv(blk, bdrv_co_preadv, offset, qiov, flags, cb, opaque);
}

void blk_aio_pwritev(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, BdrvRequestFlags flags, BlockCompletionFunc *cb,
                     void *opaque)
{
    blk_aio_prwv(blk, bdrv_co_pwritev, offset, qiov, flags, cb, opaque);
}

void blk_aio_flush(BlockBackend *blk, BlockCompletionFunc *cb, void *opaque)
{
    blk_aio_prwv(blk, blk_do_flush, 0, NULL, 0, cb, opaque);
}
