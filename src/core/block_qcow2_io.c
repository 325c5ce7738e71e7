/*
 * The qcow2-like driver: where a guest sector lies in the file, and requests.
 *
 * Threads: coroutines of any thread, under the graph read lock.
 *
 * Invariants
 *  1. A cluster of the file is given out once, and is never given back: one that is mapped and not yet written reads as
 *     zeros, as it did before.
 *  2. Data moves without s->lock; where it moves to is settled before.
 */
#include <errno.h>
#include <string.h>

#include "core/block_qcow2_int.h"

int coroutine_fn qcow2_file_pread(BlockDriverState *bs, int64_t offset, void *buf)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, QCOW2_CLUSTER);
    return bdrv_co_preadv(bs->file, offset, QCOW2_CLUSTER, &qiov, 0);
}

int coroutine_fn qcow2_file_pwrite(BlockDriverState *bs, int64_t offset, const void *buf)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, (void *)buf, QCOW2_CLUSTER);
    return bdrv_co_pwritev(bs->file, offset, QCOW2_CLUSTER, &qiov, 0);
}

/* ------------------------------------------------------------------------------------------- allocation */

/* A cluster that nobody has: its offset, or a negative errno. Under s->lock. */
static int64_t coroutine_fn qcow2_alloc_cluster(BlockDriverState *bs)
{
    BDRVQcow2State *s = bs->opaque;
    uint16_t *refcounts;
    int64_t found = -ENOSPC;
    void *table;
    int ret = qcow2_cache_get(bs, s->refcount_block_cache, QCOW2_REFCOUNTS, &table);

    if (ret < 0) {
        return ret;
    }
    refcounts = table;
    for (unsigned i = QCOW2_FIRST_FREE; i < QCOW2_REFCOUNTS_MAX; i++) {
        if (refcounts[i] == 0) {
            refcounts[i] = 1;
            qcow2_cache_entry_mark_dirty(s->refcount_block_cache, table);
            found = (int64_t)i * QCOW2_CLUSTER;
            break;
        }
    }
    qcow2_cache_put(s->refcount_block_cache, &table);
    return found;
}

/* The mapping table of an offset: a new one where there is none, if allocate. 0 for none. Under s->lock. */
static int64_t coroutine_fn qcow2_l2_offset(BlockDriverState *bs, int64_t offset, bool allocate)
{
    BDRVQcow2State *s = bs->opaque;
    uint64_t *l1_entry = &s->l1_table[offset / QCOW2_L2_BYTES];
    int64_t l2_offset;
    int ret;

    if (*l1_entry || !allocate) {
        return (int64_t)*l1_entry;
    }
    l2_offset = qcow2_alloc_cluster(bs);
    if (l2_offset < 0) {
        return l2_offset;
    }

    /* The reference count first (invariant 3 of block_qcow2.h). The table itself is all zeros in the file. */
    ret = qcow2_cache_write(bs, s->refcount_block_cache);
    if (ret == 0) {
        *l1_entry = (uint64_t)l2_offset;
        ret = qcow2_file_pwrite(bs, QCOW2_L1_OFFSET, s->l1_table);
    }
    if (ret < 0) {
        *l1_entry = 0; /* the cluster is lost, nothing else */
    }
    return ret < 0 ? ret : l2_offset;
}

/* Where in the file the guest's sector lies, 0: nowhere; a new place, if allocate. Under s->lock. */
static int64_t coroutine_fn qcow2_map(BlockDriverState *bs, int64_t offset, bool allocate)
{
    BDRVQcow2State *s = bs->opaque;
    int64_t l2_offset = qcow2_l2_offset(bs, offset, allocate);
    uint64_t *entry;
    int64_t host;
    void *table;
    int ret;

    if (l2_offset <= 0) {
        return l2_offset;
    }
    ret = qcow2_cache_get(bs, s->l2_table_cache, l2_offset, &table);
    if (ret < 0) {
        return ret;
    }
    entry = &((uint64_t *)table)[offset % QCOW2_L2_BYTES / QCOW2_CLUSTER];
    host = (int64_t)*entry;
    if (!host && allocate) {
        host = qcow2_alloc_cluster(bs);
        if (host > 0) {
            *entry = (uint64_t)host;
            qcow2_cache_entry_mark_dirty(s->l2_table_cache, table);
        }
    }
    qcow2_cache_put(s->l2_table_cache, &table);
    return host;
}

/* ------------------------------------------------------------------------------------------- requests */

static int64_t coroutine_fn qcow2_get_host_offset(BlockDriverState *bs, int64_t offset, bool allocate)
{
    BDRVQcow2State *s = bs->opaque;
    int64_t host;

    qemu_co_mutex_lock(&s->lock);
    host = qcow2_map(bs, offset, allocate);
    qemu_co_mutex_unlock(&s->lock);
    return host;
}

static bool qcow2_in_range(const BDRVQcow2State *s, int64_t offset, int64_t bytes)
{
    return offset <= s->bytes && bytes <= s->bytes - offset;
}

int coroutine_fn qcow2_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    uint8_t cluster[QCOW2_CLUSTER];

    (void)flags;
    if (!qcow2_in_range(bs->opaque, offset, bytes)) {
        return -EIO;
    }
    for (int64_t done = 0; done < bytes; done += QCOW2_CLUSTER) {
        int64_t host = qcow2_get_host_offset(bs, offset + done, false);
        int ret = host > 0 ? qcow2_file_pread(bs, host, cluster) : (int)host;

        if (ret < 0) {
            return ret;
        }
        if (host == 0) {
            memset(cluster, 0, sizeof(cluster));
        }
        qemu_iovec_from_buf(qiov, (size_t)done, cluster, sizeof(cluster));
    }
    return 0;
}

int coroutine_fn qcow2_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    uint8_t cluster[QCOW2_CLUSTER];

    (void)flags;
    if (!qcow2_in_range(bs->opaque, offset, bytes)) {
        return -EIO;
    }
    for (int64_t done = 0; done < bytes; done += QCOW2_CLUSTER) {
        int64_t host = qcow2_get_host_offset(bs, offset + done, true);
        int ret;

        if (host < 0) {
            return (int)host;
        }
        qemu_iovec_to_buf(qiov, (size_t)done, cluster, sizeof(cluster));
        ret = qcow2_file_pwrite(bs, host, cluster);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

int coroutine_fn qcow2_write_caches(BlockDriverState *bs)
{
    BDRVQcow2State *s = bs->opaque;
    int ret = qcow2_cache_write(bs, s->l2_table_cache);

    return ret < 0 ? ret : qcow2_cache_write(bs, s->refcount_block_cache);
}

int coroutine_fn qcow2_co_flush(BlockDriverState *bs)
{
    BDRVQcow2State *s = bs->opaque;
    int ret;

    qemu_co_mutex_lock(&s->lock);
    ret = qcow2_write_caches(bs);
    qemu_co_mutex_unlock(&s->lock);
    return ret;
}

int64_t coroutine_fn qcow2_co_getlength(BlockDriverState *bs)
{
    return ((BDRVQcow2State *)bs->opaque)->bytes;
}
