/*
 * The qcow2-like driver: opening, closing, reopening, and the cache cleaner. block_qcow2.h tells the protocol.
 *
 * Threads: the main thread opens, closes, reopens and moves; the cleaner runs in the node's context.
 *
 * Invariants
 *  1. The cleaner is started and cancelled only where the other cannot happen at the same time: by the main thread, or
 *     by the coroutine that opens the image while the main thread waits for it.
 *  2. The caches are destroyed after the cleaner has ended.
 */
#include "core/block_qcow2.h"

#include <errno.h>
#include <string.h>

#include "core/atomic.h"
#include "core/block_drain.h"
#include "core/block_qcow2_int.h"
#include "core/fatal.h"
#include "core/main_loop.h"

#define QCOW2_MAGIC             0x77667132u /* "wfq2" */
#define L2_CACHE_TABLES_DEFAULT 2u

typedef struct Qcow2Header {
    uint32_t magic;
    uint32_t sectors;
} Qcow2Header;

/* ------------------------------------------------------------------------------------------- the cache cleaner */

static int64_t cache_clean_wait_ns(const BDRVQcow2State *s)
{
    return (int64_t)s->cache_clean_interval * NANOSECONDS_PER_SECOND;
}

static void coroutine_fn cache_clean_timer(void *opaque)
{
    BDRVQcow2State *s = opaque;
    int64_t wait_ns = 0;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        wait_ns = cache_clean_wait_ns(s);
    }

    while (wait_ns > 0) {
        qemu_co_sleep_ns_wakeable(&s->cache_clean_timer_wake, QEMU_CLOCK_REALTIME, wait_ns);

        WITH_QEMU_LOCK_GUARD(&s->lock) {
            if (s->cache_clean_interval > 0) {
                qcow2_cache_clean_unused(s->l2_table_cache);
                qcow2_cache_clean_unused(s->refcount_block_cache);
                qatomic_inc(&s->cleanings);
            }
            wait_ns = cache_clean_wait_ns(s);
        }
    }

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->cache_clean_timer_co = NULL;
        qemu_co_queue_restart_all(&s->cache_clean_timer_exit);
    }
}

static void cache_clean_timer_init(BlockDriverState *bs, AioContext *ctx)
{
    BDRVQcow2State *s = bs->opaque;

    if (s->cache_clean_interval > 0) {
        core_assert(!s->cache_clean_timer_co);
        s->cache_clean_timer_co = qemu_coroutine_create(cache_clean_timer, s);
        aio_co_enter(ctx, s->cache_clean_timer_co);
    }
}

/* Cancel the cleaner and wait for its end. Under s->lock, which is dropped meanwhile. */
static void coroutine_fn cache_clean_timer_co_locked_del_and_wait(BlockDriverState *bs)
{
    BDRVQcow2State *s = bs->opaque;

    if (s->cache_clean_timer_co) {
        s->cache_clean_interval = 0;
        qemu_co_sleep_wake(&s->cache_clean_timer_wake);
        qemu_co_queue_wait(&s->cache_clean_timer_exit, &s->lock);
    }
}

static void coroutine_fn cache_clean_timer_co_del_and_wait(BlockDriverState *bs)
{
    BDRVQcow2State *s = bs->opaque;

    QEMU_LOCK_GUARD(&s->lock);
    cache_clean_timer_co_locked_del_and_wait(bs);
}

typedef struct CacheCleanTimerDelAndWait {
    BlockDriverState *bs;
    bool done; /* main thread */
} CacheCleanTimerDelAndWait;

static void coroutine_fn cache_clean_timer_del_and_wait_co_entry(void *opaque)
{
    CacheCleanTimerDelAndWait *data = opaque;

    cache_clean_timer_co_del_and_wait(data->bs);
    data->done = true;
    aio_wait_kick();
}

static void cleaner_has_left(void *opaque)
{
    (void)opaque;
}

/*
 * The cleaner hands s->lock over and looks at it once more (qemu_co_mutex_unlock()). Whoever got it may not free it before the cleaner's
 * thread has gone on to something else (docs/findings.md, 9).
 */
static void cache_clean_timer_wait_until_left(BlockDriverState *bs)
{
    AioContext *ctx = bdrv_get_aio_context(bs);

    if (!in_aio_context_home_thread(ctx)) {
        aio_wait_bh_oneshot(ctx, cleaner_has_left, NULL);
    }
}

/* The same for both kinds of callers, without s->lock. Outside coroutines: main thread; polls. */
static void cache_clean_timer_del_and_wait(BlockDriverState *bs)
{
    CacheCleanTimerDelAndWait data = { .bs = bs };

    if (qemu_in_coroutine()) {
        cache_clean_timer_co_del_and_wait(bs);
        return;
    }
    qemu_coroutine_enter(qemu_coroutine_create(cache_clean_timer_del_and_wait_co_entry, &data));
    AIO_WAIT_WHILE_UNLOCKED(bdrv_get_aio_context(bs), !data.done);
    cache_clean_timer_wait_until_left(bs);
}

/* The cleaner does not move: one ends in the old context, another one begins in the new. The interval survives. */
static void qcow2_detach_aio_context(BlockDriverState *bs)
{
    BDRVQcow2State *s = bs->opaque;

    if (s->l2_table_cache) {
        unsigned interval = s->cache_clean_interval;

        cache_clean_timer_del_and_wait(bs);
        s->cache_clean_interval = interval;
    }
}

static void qcow2_attach_aio_context(BlockDriverState *bs, AioContext *ctx)
{
    BDRVQcow2State *s = bs->opaque;

    if (s->l2_table_cache) {
        cache_clean_timer_init(bs, ctx);
    }
}

/* ------------------------------------------------------------------------------------------- options */

static void qcow2_destroy_caches(BDRVQcow2State *s)
{
    if (s->l2_table_cache) {
        qcow2_cache_destroy(s->l2_table_cache);
        qcow2_cache_destroy(s->refcount_block_cache);
    }
}

/* New caches, new interval. Under s->lock if s_locked. What was dirty has been written. */
static void qcow2_update_options_commit(BlockDriverState *bs, const Qcow2Options *options, bool s_locked)
{
    BDRVQcow2State *s = bs->opaque;

    if (s_locked) {
        cache_clean_timer_co_locked_del_and_wait(bs);
    } else {
        cache_clean_timer_del_and_wait(bs);
    }
    qcow2_destroy_caches(s);
    s->l2_table_cache = qcow2_cache_create(options->l2_cache_tables ? options->l2_cache_tables : L2_CACHE_TABLES_DEFAULT,
                                           QCOW2_CLUSTER);
    s->refcount_block_cache = qcow2_cache_create(1, QCOW2_CLUSTER);
    qcow2_cache_set_dependency(s->l2_table_cache, s->refcount_block_cache);
    s->cache_clean_interval = options->cache_clean_interval_s;
    cache_clean_timer_init(bs, bdrv_get_aio_context(bs));
}

/* ------------------------------------------------------------------------------------------- opening */

static int coroutine_fn qcow2_format(BlockDriverState *bs, int64_t bytes)
{
    Qcow2Header header = { .magic = QCOW2_MAGIC, .sectors = (uint32_t)(bytes / BDRV_SECTOR_SIZE) };
    uint8_t cluster[QCOW2_CLUSTER] = { 0 };

    memcpy(cluster, &header, sizeof(header));
    return qcow2_file_pwrite(bs, 0, cluster);
}

static int coroutine_fn qcow2_do_open(BlockDriverState *bs, int64_t bytes, const Qcow2Options *options)
{
    BDRVQcow2State *s = bs->opaque;
    uint8_t cluster[QCOW2_CLUSTER];
    Qcow2Header header;
    int ret = qcow2_file_pread(bs, 0, cluster);

    memcpy(&header, cluster, sizeof(header));
    if (ret == 0 && !header.magic) {
        header.sectors = (uint32_t)(bytes / BDRV_SECTOR_SIZE);
        ret = qcow2_format(bs, bytes);
    } else if (ret == 0 && header.magic != QCOW2_MAGIC) {
        ret = -EINVAL;
    }
    if (ret == 0) {
        s->bytes = (int64_t)header.sectors * BDRV_SECTOR_SIZE;
        ret = qcow2_file_pread(bs, QCOW2_L1_OFFSET, s->l1_table);
    }
    if (ret == 0) {
        qcow2_update_options_commit(bs, options, true);
    }
    return ret;
}

typedef struct Qcow2OpenCo {
    BlockDriverState *bs;
    int64_t bytes;
    const Qcow2Options *options;
    int ret; /* atomic */
} Qcow2OpenCo;

static void coroutine_fn qcow2_open_entry(void *opaque)
{
    Qcow2OpenCo *data = opaque;
    BDRVQcow2State *s = data->bs->opaque;
    int ret;

    GRAPH_RDLOCK_GUARD();
    qemu_co_mutex_lock(&s->lock);
    ret = qcow2_do_open(data->bs, data->bytes, data->options);
    qemu_co_mutex_unlock(&s->lock);

    /* ORDER: all that opening has set before ret, and ret before the kick looks for waiters
     * PAIRS: qcow2_open()
     * ELSE:  the main thread uses an image that is not open yet */
    qatomic_store_release(&data->ret, ret);
    aio_wait_kick();
}

static int qcow2_open(BlockDriverState *bs, int64_t bytes, const Qcow2Options *options)
{
    BDRVQcow2State *s = bs->opaque;
    Qcow2OpenCo data = { .bs = bs, .bytes = bytes, .options = options, .ret = -EINPROGRESS };

    core_assert(!qemu_in_coroutine());
    qemu_co_mutex_init(&s->lock);
    qemu_co_sleep_init(&s->cache_clean_timer_wake);
    qemu_co_queue_init(&s->cache_clean_timer_exit);
    aio_co_enter(bdrv_get_aio_context(bs), qemu_coroutine_create(qcow2_open_entry, &data));
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_load_acquire(&data.ret) == -EINPROGRESS);
    return data.ret;
}

/* ------------------------------------------------------------------------------------------- closing */

typedef struct Qcow2FlushCo {
    BlockDriverState *bs;
    int ret; /* atomic */
} Qcow2FlushCo;

static void coroutine_fn qcow2_flush_entry(void *opaque)
{
    Qcow2FlushCo *data = opaque;
    int ret;

    GRAPH_RDLOCK_GUARD();
    ret = qcow2_co_flush(data->bs);

    /* ORDER: the tables in the file before ret, and ret before the kick looks for waiters
     * PAIRS: qcow2_inactivate()
     * ELSE:  the caches are destroyed while they are written */
    qatomic_store_release(&data->ret, ret);
    aio_wait_kick();
}

/* Write what is dirty. Main; polls. */
static int qcow2_inactivate(BlockDriverState *bs)
{
    Qcow2FlushCo data = { .bs = bs, .ret = -EINPROGRESS };

    aio_co_enter(bdrv_get_aio_context(bs), qemu_coroutine_create(qcow2_flush_entry, &data));
    AIO_WAIT_WHILE_UNLOCKED(bdrv_get_aio_context(bs), qatomic_load_acquire(&data.ret) == -EINPROGRESS);
    return data.ret;
}

static void qcow2_close(BlockDriverState *bs)
{
    BDRVQcow2State *s = bs->opaque;

    if (!s->l2_table_cache) {
        return; /* opening has failed */
    }
    qcow2_inactivate(bs); /* where that fails, what was written is lost, as with a disk that is gone */
    cache_clean_timer_del_and_wait(bs);
    qcow2_destroy_caches(s);
}

int bdrv_qcow2_reopen(BlockDriverState *bs, const Qcow2Options *options)
{
    int ret;

    core_assert(qemu_in_main_thread());
    bdrv_drained_begin(bs);
    ret = qcow2_inactivate(bs);
    if (ret == 0) {
        qcow2_update_options_commit(bs, options, false);
    }
    bdrv_drained_end(bs);
    return ret;
}

/* ------------------------------------------------------------------------------------------- the node */

static const BlockDriver bdrv_qcow2 = {
    .format_name = "qcow2",
    .instance_size = sizeof(BDRVQcow2State),
    .bdrv_close = qcow2_close,
    .bdrv_co_preadv = qcow2_co_preadv,
    .bdrv_co_pwritev = qcow2_co_pwritev,
    .bdrv_co_flush = qcow2_co_flush,
    .bdrv_co_getlength = qcow2_co_getlength,
    .bdrv_detach_aio_context = qcow2_detach_aio_context,
    .bdrv_attach_aio_context = qcow2_attach_aio_context,
};

BlockDriverState *bdrv_new_qcow2(const char *node_name, AioContext *ctx, BlockDriverState *file_bs, int64_t bytes,
                                 const Qcow2Options *options)
{
    BlockDriverState *bs = bdrv_new(&bdrv_qcow2, node_name, ctx);
    int ret;

    core_assert(bytes >= 0 && bytes <= QCOW2_BYTES_MAX && bytes % BDRV_SECTOR_SIZE == 0);
    bdrv_graph_wrlock_drained();
    bdrv_ref(file_bs);
    bdrv_attach_child(bs, file_bs, "file");
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();

    ret = qcow2_open(bs, bytes, options);
    if (ret < 0) {
        bdrv_unref(bs);
        errno = -ret;
        return NULL;
    }
    return bs;
}

unsigned bdrv_qcow2_cleanings(BlockDriverState *bs)
{
    core_assert(bs->drv == &bdrv_qcow2);
    return qatomic_read(&((BDRVQcow2State *)bs->opaque)->cleanings);
}
