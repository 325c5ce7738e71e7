/*
 * Requests to nodes: the in_flight count, the checks, the call of the driver.
 *
 * Threads: coroutines of any thread, under the graph read lock; the in_flight functions also outside coroutines. That
 * the lock is held is not asserted here: to ask for it takes a lock of all threads, which would order requests that
 * are not ordered.
 */
#include <errno.h>

#include "core/aio_wait.h"
#include "core/atomic.h"
#include "core/block_graph.h"
#include "core/fatal.h"

void bdrv_inc_in_flight(BlockDriverState *bs)
{
    qatomic_inc(&bs->in_flight);
}

void bdrv_wakeup(BlockDriverState *bs)
{
    (void)bs; /* there is one wait object for all nodes */
    aio_wait_kick();
}

void bdrv_dec_in_flight(BlockDriverState *bs)
{
    /* ORDER: the request's effects before in_flight, and in_flight before the kick reads num_waiters
     * PAIRS: bdrv_drain_poll()
     * ELSE:  the drain ends too early, or never */
    qatomic_dec(&bs->in_flight);
    bdrv_wakeup(bs);
}

static int bdrv_check_request(int64_t offset, int64_t bytes, QEMUIOVector *qiov)
{
    if (offset < 0 || bytes < 0 || bytes > INT64_MAX - offset) {
        return -EIO;
    }
    if (offset % BDRV_SECTOR_SIZE || bytes % BDRV_SECTOR_SIZE || (uint64_t)bytes > qiov->size) {
        return -EINVAL;
    }
    return 0;
}

int coroutine_fn bdrv_co_preadv(BdrvChild *child, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    BlockDriverState *bs = child->bs;
    int ret = bdrv_check_request(offset, bytes, qiov);

    core_assert(qemu_in_coroutine());
    if (ret == 0) {
        bdrv_inc_in_flight(bs);
        ret = bs->drv->bdrv_co_preadv(bs, offset, bytes, qiov, flags);
        bdrv_dec_in_flight(bs);
    }
    return ret;
}

int coroutine_fn bdrv_co_pwritev(BdrvChild *child, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    BlockDriverState *bs = child->bs;
    int ret = bdrv_check_request(offset, bytes, qiov);

    core_assert(qemu_in_coroutine());
    if (ret == 0) {
        bdrv_inc_in_flight(bs);
        ret = bs->drv->bdrv_co_pwritev(bs, offset, bytes, qiov, flags);
        bdrv_dec_in_flight(bs);
    }
    return ret;
}

/* A driver without a flush of its own has nothing to keep back; what is below it may have. */
int coroutine_fn bdrv_co_flush(BlockDriverState *bs)
{
    int ret = 0;

    core_assert(qemu_in_coroutine());
    bdrv_inc_in_flight(bs);
    if (bs->drv->bdrv_co_flush) {
        ret = bs->drv->bdrv_co_flush(bs);
    }
    if (ret == 0 && bs->file) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    bdrv_dec_in_flight(bs);
    return ret;
}

int64_t coroutine_fn bdrv_co_getlength(BlockDriverState *bs)
{
    core_assert(qemu_in_coroutine());
    return bs->drv->bdrv_co_getlength ? bs->drv->bdrv_co_getlength(bs) : -ENOTSUP;
}
