/*
 * An image in several files; see block_extents.h. Main thread, but for requests: any thread, in the node's context.
 *
 * Invariants
 * 1. loaded: the table in memory is at least as new as the one in the extent.
 * 2. Under lock: loaded, written, and the order of data and table on the disk: a grain is written before the table says so.
 */
#include "core/block_extents.h"

#include <errno.h>

#include "core/block_drain.h"
#include "core/co_mutex.h"
#include "core/fatal.h"

typedef struct Extent {
    BdrvChild *child;
    bool loaded;
    uint8_t written[BLOCK_EXTENTS_GRAINS];
} Extent;

typedef struct BDRVExtentsState {
    CoMutex lock;
    int64_t bytes;
    unsigned count;
    Extent extents[BLOCK_EXTENTS_MAX];
} BDRVExtentsState;

int64_t bdrv_extent_bytes(int64_t bytes, unsigned count)
{
    int64_t grains = (bytes + BLOCK_EXTENTS_GRAIN - 1) / BLOCK_EXTENTS_GRAIN;

    return BLOCK_EXTENTS_GRAINS + (grains + count - 1) / count * BLOCK_EXTENTS_GRAIN;
}

/* ------------------------------------------------------------------------------------------- requests */

static int coroutine_fn extents_load(Extent *extent)
{
    QEMUIOVector table;
    int ret = 0;

    if (!extent->loaded) {
        qemu_iovec_init_buf(&table, extent->written, sizeof(extent->written));
        ret = bdrv_co_preadv(extent->child, 0, sizeof(extent->written), &table, 0);
        extent->loaded = ret == 0;
    }
    return ret;
}

static int coroutine_fn extents_store(Extent *extent)
{
    QEMUIOVector table;

    qemu_iovec_init_buf(&table, extent->written, sizeof(extent->written));
    return bdrv_co_pwritev(extent->child, 0, sizeof(extent->written), &table, 0);
}

static int64_t extents_offset(const BDRVExtentsState *s, int64_t grain)
{
    return BLOCK_EXTENTS_GRAINS + grain / s->count * BLOCK_EXTENTS_GRAIN;
}

static int coroutine_fn extents_read_grain(BDRVExtentsState *s, int64_t grain, QEMUIOVector *part)
{
    Extent *extent = &s->extents[grain % s->count];
    bool written;
    int ret;

    qemu_co_mutex_lock(&s->lock);
    ret = extents_load(extent);
    written = extent->written[grain / s->count];
    qemu_co_mutex_unlock(&s->lock);
    if (ret < 0) {
        return ret;
    }
    if (!written) {
        qemu_iovec_memset(part, 0, 0, part->size);
        return 0;
    }
    return bdrv_co_preadv(extent->child, extents_offset(s, grain), BLOCK_EXTENTS_GRAIN, part, 0);
}

/* vmdk holds its lock over the whole of a write. */
static int coroutine_fn extents_write_grain(BDRVExtentsState *s, int64_t grain, QEMUIOVector *part)
{
    Extent *extent = &s->extents[grain % s->count];
    uint8_t *written = &extent->written[grain / s->count];
    int ret = extents_load(extent);

    if (ret == 0) {
        ret = bdrv_co_pwritev(extent->child, extents_offset(s, grain), BLOCK_EXTENTS_GRAIN, part, 0);
    }
    if (ret == 0 && !*written) {
        *written = 1;
        ret = extents_store(extent);
        *written = ret == 0;
    }
    return ret;
}

static int coroutine_fn extents_each(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                     int coroutine_fn (*grain_fn)(BDRVExtentsState *, int64_t, QEMUIOVector *))
{
    BDRVExtentsState *s = bs->opaque;
    QEMUIOVector part;
    int ret = 0;

    if (bytes > s->bytes || offset > s->bytes - bytes) {
        return -EIO;
    }
    qemu_iovec_init(&part, qiov->niov);
    for (int64_t done = 0; done < bytes && ret == 0; done += BLOCK_EXTENTS_GRAIN) {
        qemu_iovec_reset(&part);
        qemu_iovec_concat(&part, qiov, (size_t)done, BLOCK_EXTENTS_GRAIN);
        ret = grain_fn(s, (offset + done) / BLOCK_EXTENTS_GRAIN, &part);
    }
    qemu_iovec_destroy(&part);
    return ret;
}

static int coroutine_fn extents_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                          BdrvRequestFlags flags)
{
    (void)flags;
    return extents_each(bs, offset, bytes, qiov, extents_read_grain);
}

static int coroutine_fn extents_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                           BdrvRequestFlags flags)
{
    BDRVExtentsState *s = bs->opaque;
    int ret;

    (void)flags;
    qemu_co_mutex_lock(&s->lock);
    ret = extents_each(bs, offset, bytes, qiov, extents_write_grain);
    qemu_co_mutex_unlock(&s->lock);
    return ret;
}

static int coroutine_fn extents_co_flush(BlockDriverState *bs)
{
    BDRVExtentsState *s = bs->opaque;
    int ret = 0;

    for (unsigned i = 0; i < s->count && ret == 0; i++) {
        ret = bdrv_co_flush(s->extents[i].child->bs);
    }
    return ret;
}

static int64_t coroutine_fn extents_co_getlength(BlockDriverState *bs)
{
    BDRVExtentsState *s = bs->opaque;

    return s->bytes;
}

/* ------------------------------------------------------------------------------------------- life */

static const BlockDriver bdrv_extents = {
    .format_name = "extents",
    .instance_size = sizeof(BDRVExtentsState),
    .bdrv_co_preadv = extents_co_preadv,
    .bdrv_co_pwritev = extents_co_pwritev,
    .bdrv_co_flush = extents_co_flush,
    .bdrv_co_getlength = extents_co_getlength,
};

BlockDriverState *bdrv_new_extents(const char *node_name, AioContext *ctx, int64_t bytes, BlockDriverState **extents,
                                   unsigned count)
{
    static const char *const names[BLOCK_EXTENTS_MAX] = { "extent.0", "extent.1", "extent.2", "extent.3" };
    BlockDriverState *bs = bdrv_new(&bdrv_extents, node_name, ctx);
    BDRVExtentsState *s = bs->opaque;

    core_assert(count >= 1 && count <= BLOCK_EXTENTS_MAX);
    core_assert(bytes <= (int64_t)(BLOCK_EXTENTS_GRAINS * BLOCK_EXTENTS_GRAIN * count));
    qemu_co_mutex_init(&s->lock);
    s->bytes = bytes;
    s->count = count;
    bdrv_graph_wrlock_drained();
    for (unsigned i = 0; i < count; i++) {
        bdrv_ref(extents[i]);
        s->extents[i].child = bdrv_attach_child(bs, extents[i], names[i]);
    }
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
    return bs;
}
