/*
 * A disk in memory that completes its requests at once, from a bottom half, from a timer, or by a worker thread; optionally
 * an overlay.
 *
 * Threads: requests run as coroutines in any thread. They wait for a callback in the node's context, which may be
 * another thread's, and go on in their own.
 *
 * Invariants
 *  1. The lock is never held across a yield.
 *  2. Data moves after the wait: a request that outlives a drained section is seen as a change inside it.
 */
#include <errno.h>

#include "core/atomic.h"
#include "core/block_drivers.h"
#include "core/fatal.h"
#include "core/thread.h"
#include "core/thread_pool.h"
#include "core/timer.h"

typedef struct BDRVRamState {
    int64_t bytes; /* never changes */

    QemuMutex lock;     /* protects what data and allocated point to */
    uint8_t *data;      /* bytes */
    uint8_t *allocated; /* one for each sector: it was written here */

    /* For requests to come. Written by any thread, read by any. Atomic. */
    int completion; /* RamCompletion */
    int64_t latency_ns;
    int fail_errno; /* taken by the request that completes next; 0: none */
} BDRVRamState;

/* ------------------------------------------------------------------------------------------- waiting */

/* May come before the coroutine has yielded, if this is another thread than the coroutine's: then it is scheduled in
 * its own, where it runs after it has yielded. */
static void ram_complete(void *opaque)
{
    aio_co_wake(opaque);
}

static void coroutine_fn ram_wait_timer(BlockDriverState *bs, int64_t latency_ns)
{
    QEMUTimer timer;

    aio_timer_init(bdrv_get_aio_context(bs), &timer, QEMU_CLOCK_REALTIME, SCALE_NS, ram_complete, qemu_coroutine_self());
    timer_mod(&timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + latency_ns);
    qemu_coroutine_yield();
}

/* In a worker: what a file's driver would wait for in the kernel. */
static int ram_wait_worker(void *opaque)
{
    (void)opaque;
    return 0;
}

/* Wait as the disk's completion says. For RAM_COMPLETE_POOL, which is returned, the caller is to let a worker do its part. */
static RamCompletion coroutine_fn ram_wait(BlockDriverState *bs)
{
    BDRVRamState *s = bs->opaque;
    RamCompletion completion = (RamCompletion)qatomic_read(&s->completion);

    switch (completion) {
    case RAM_COMPLETE_SYNC:
    case RAM_COMPLETE_POOL:
        break;
    case RAM_COMPLETE_BH:
        aio_bh_schedule_oneshot(bdrv_get_aio_context(bs), ram_complete, qemu_coroutine_self());
        qemu_coroutine_yield();
        break;
    case RAM_COMPLETE_TIMER:
        ram_wait_timer(bs, qatomic_read(&s->latency_ns));
        break;
    }
    return completion;
}

static void coroutine_fn ram_wait_or_work(BlockDriverState *bs)
{
    if (ram_wait(bs) == RAM_COMPLETE_POOL) {
        thread_pool_submit_co(ram_wait_worker, NULL);
    }
}

/* ------------------------------------------------------------------------------------------- requests */

static bool ram_in_range(BDRVRamState *s, int64_t offset, int64_t bytes)
{
    return offset <= s->bytes && bytes <= s->bytes - offset;
}

/* How many of the bytes at offset are alike, all written here or none of them. Under the lock. */
static int64_t ram_run(BDRVRamState *s, int64_t offset, int64_t bytes)
{
    int64_t first = offset / BDRV_SECTOR_SIZE;
    int64_t n = 1;

    while (n * BDRV_SECTOR_SIZE < bytes && s->allocated[first + n] == s->allocated[first]) {
        n++;
    }
    return n * BDRV_SECTOR_SIZE;
}

/* Sectors that were never written here: from the backing node as far as it goes, else zeros. */
static int coroutine_fn ram_read_backing(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov, size_t at)
{
    uint8_t *bounce = g_malloc0(bytes);
    int64_t length = bs->backing ? bdrv_co_getlength(bs->backing->bs) : 0;
    int64_t there = MIN(bytes, length - offset);
    int ret = length < 0 ? (int)length : 0;

    if (ret == 0 && there > 0) {
        QEMUIOVector part;

        qemu_iovec_init_buf(&part, bounce, there);
        ret = bdrv_co_preadv(bs->backing, offset, there, &part, 0);
    }
    if (ret == 0) {
        qemu_iovec_from_buf(qiov, at, bounce, bytes);
    }
    g_free(bounce);
    return ret;
}

/* One run of sectors that are alike; returns its length or a negative errno. */
static int64_t coroutine_fn ram_read_run(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov, size_t at)
{
    BDRVRamState *s = bs->opaque;
    bool here;
    int64_t run;
    int ret = 0;

    qemu_mutex_lock(&s->lock);
    run = ram_run(s, offset, bytes);
    here = s->allocated[offset / BDRV_SECTOR_SIZE];
    if (here) {
        qemu_iovec_from_buf(qiov, at, s->data + offset, run);
    }
    qemu_mutex_unlock(&s->lock);

    if (!here) {
        ret = ram_read_backing(bs, offset, run, qiov, at);
    }
    return ret < 0 ? ret : run;
}

static int coroutine_fn ram_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                      BdrvRequestFlags flags)
{
    BDRVRamState *s = bs->opaque;
    int error;

    (void)flags;
    if (!ram_in_range(s, offset, bytes)) {
        return -EIO;
    }
    ram_wait_or_work(bs);
    error = qatomic_xchg(&s->fail_errno, 0);
    for (int64_t done = 0; !error && done < bytes;) {
        int64_t ret = ram_read_run(bs, offset + done, bytes - done, qiov, done);

        if (ret < 0) {
            error = (int)-ret;
        } else {
            done += ret;
        }
    }
    return -error;
}

typedef struct RamWrite {
    BDRVRamState *s;
    int64_t offset, bytes;
    QEMUIOVector *qiov;
} RamWrite;

/* Any thread: a worker too. */
static int ram_write_now(void *opaque)
{
    RamWrite *write = opaque;
    BDRVRamState *s = write->s;
    int error = qatomic_xchg(&s->fail_errno, 0);

    if (!error) {
        qemu_mutex_lock(&s->lock);
        qemu_iovec_to_buf(write->qiov, 0, s->data + write->offset, write->bytes);
        memset(s->allocated + write->offset / BDRV_SECTOR_SIZE, 1, write->bytes / BDRV_SECTOR_SIZE);
        qemu_mutex_unlock(&s->lock);
    }
    return -error;
}

static int coroutine_fn ram_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags)
{
    BDRVRamState *s = bs->opaque;
    RamWrite write = { s, offset, bytes, qiov };

    (void)flags;
    if (!ram_in_range(s, offset, bytes)) {
        return -EIO;
    }
    return ram_wait(bs) == RAM_COMPLETE_POOL ? thread_pool_submit_co(ram_write_now, &write) : ram_write_now(&write);
}

static int coroutine_fn ram_co_flush(BlockDriverState *bs)
{
    BDRVRamState *s = bs->opaque;

    ram_wait_or_work(bs);
    return -qatomic_xchg(&s->fail_errno, 0);
}

static int64_t coroutine_fn ram_co_getlength(BlockDriverState *bs)
{
    BDRVRamState *s = bs->opaque;

    ram_wait_or_work(bs);
    return s->bytes;
}

/* ------------------------------------------------------------------------------------------- life */

static void ram_close(BlockDriverState *bs)
{
    BDRVRamState *s = bs->opaque;

    qemu_mutex_destroy(&s->lock);
    g_free(s->data);
    g_free(s->allocated);
}

static const BlockDriver bdrv_ram = {
    .format_name = "ram",
    .instance_size = sizeof(BDRVRamState),
    .bdrv_close = ram_close,
    .bdrv_co_preadv = ram_co_preadv,
    .bdrv_co_pwritev = ram_co_pwritev,
    .bdrv_co_flush = ram_co_flush,
    .bdrv_co_getlength = ram_co_getlength,
};

BlockDriverState *bdrv_new_ram(const char *node_name, AioContext *ctx, int64_t bytes)
{
    BlockDriverState *bs = bdrv_new(&bdrv_ram, node_name, ctx);
    BDRVRamState *s = bs->opaque;

    core_assert(bytes >= 0 && bytes % BDRV_SECTOR_SIZE == 0);
    s->bytes = bytes;
    s->data = g_malloc0(bytes);
    s->allocated = g_malloc0(bytes / BDRV_SECTOR_SIZE);
    qemu_mutex_init(&s->lock);
    return bs;
}

static BDRVRamState *ram_state(BlockDriverState *bs)
{
    core_assert(bs->drv == &bdrv_ram);
    return bs->opaque;
}

void bdrv_ram_set_completion(BlockDriverState *bs, RamCompletion completion, int64_t latency_ns)
{
    BDRVRamState *s = ram_state(bs);

    core_assert(latency_ns >= 0);
    qatomic_set(&s->latency_ns, latency_ns);
    qatomic_set(&s->completion, completion);
}

void bdrv_ram_fail_next(BlockDriverState *bs, int error)
{
    core_assert(error > 0);
    qatomic_set(&ram_state(bs)->fail_errno, error);
}
