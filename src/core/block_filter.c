/*
 * A node that passes everything to the node below it: what a throttle or a copy-on-read filter is to the graph.
 *
 * Threads: requests run as coroutines in any thread, under the graph read lock, which keeps the child where it is
 * meanwhile.
 */
#include <errno.h>

#include "core/block_drain.h"
#include "core/block_drivers.h"

static int coroutine_fn filter_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                         BdrvRequestFlags flags)
{
    return bs->file ? bdrv_co_preadv(bs->file, offset, bytes, qiov, flags) : -ENOMEDIUM;
}

static int coroutine_fn filter_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                          BdrvRequestFlags flags)
{
    return bs->file ? bdrv_co_pwritev(bs->file, offset, bytes, qiov, flags) : -ENOMEDIUM;
}

static int64_t coroutine_fn filter_co_getlength(BlockDriverState *bs)
{
    return bs->file ? bdrv_co_getlength(bs->file->bs) : -ENOMEDIUM;
}

static const BlockDriver bdrv_filter = {
    .format_name = "filter",
    .is_filter = true,
    .bdrv_co_preadv = filter_co_preadv,
    .bdrv_co_pwritev = filter_co_pwritev,
    .bdrv_co_getlength = filter_co_getlength,
};

BlockDriverState *bdrv_new_filter(const char *node_name, AioContext *ctx, BlockDriverState *child_bs)
{
    BlockDriverState *bs = bdrv_new(&bdrv_filter, node_name, ctx);

    if (child_bs) {
        bdrv_graph_wrlock_drained();
        bdrv_ref(child_bs);
        bdrv_attach_child(bs, child_bs, "file");
        bdrv_graph_wrunlock();
        bdrv_drain_all_end();
    }
    return bs;
}
