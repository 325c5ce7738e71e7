/*
 * Copying from node to node, as block_copy.h tells.
 *
 * Threads: calls and tasks are coroutines in the context of the nodes, under the graph read lock; what other threads
 * touch is atomic or is the sleep.
 */
#include "core/block_copy.h"

#include <errno.h>
#include <string.h>

#include "core/aio_task.h"
#include "core/atomic.h"
#include "core/co_queue.h"
#include "core/co_sleep.h"
#include "core/fatal.h"
#include "core/ratelimit.h"

#define BLOCK_COPY_SLICE_TIME 100000000ull /* ns */

struct BlockCopyCallState {
    /* Never change. */
    BlockCopyState *s;
    int64_t offset, bytes;
    unsigned max_workers;
    bool ignore_ratelimit;
    BlockCopyAsyncCallbackFunc cb;
    void *cb_opaque;

    unsigned refcount; /* atomic; any thread */
    QemuCoSleep sleep; /* woken by any thread */
    bool finished;     /* atomic */
    bool cancelled;    /* atomic */
    int ret;           /* under the state's lock; fixed when finished */

    LIST_ENTRY(BlockCopyCallState) list;
};

typedef struct BlockCopyTask {
    AioTask task; /* first */
    BlockCopyState *s;
    BlockCopyCallState *call;
    int64_t offset, bytes; /* the cluster */
    CoQueue wait_queue;    /* calls that wait for its end */
    LIST_ENTRY(BlockCopyTask) list;
} BlockCopyTask;

struct BlockCopyState {
    /* Never change. */
    BdrvChild *source, *target;
    int64_t bytes, cluster_size;

    RateLimit rate_limit; /* has a lock of its own */

    CoMutex lock;   /* protects the rest */
    uint8_t *dirty; /* one byte a cluster */
    int64_t in_flight_bytes;
    LIST_HEAD(, BlockCopyTask) tasks;
    LIST_HEAD(, BlockCopyCallState) calls;
};

/* ---- state ---- */

BlockCopyState *block_copy_state_new(BdrvChild *source, BdrvChild *target, int64_t bytes, int64_t cluster_size)
{
    BlockCopyState *s = g_new0(BlockCopyState, 1);

    core_assert(cluster_size > 0 && cluster_size % BDRV_SECTOR_SIZE == 0 && bytes % cluster_size == 0);
    s->source = source;
    s->target = target;
    s->bytes = bytes;
    s->cluster_size = cluster_size;
    s->dirty = g_malloc0((gsize)(bytes / cluster_size));
    ratelimit_init(&s->rate_limit);
    qemu_co_mutex_init(&s->lock);
    LIST_INIT(&s->tasks);
    LIST_INIT(&s->calls);
    return s;
}

void block_copy_state_free(BlockCopyState *s)
{
    core_assert(LIST_EMPTY(&s->tasks) && LIST_EMPTY(&s->calls) && s->in_flight_bytes == 0);
    ratelimit_destroy(&s->rate_limit);
    g_free(s->dirty);
    g_free(s);
}

void block_copy_set_speed(BlockCopyState *s, uint64_t speed)
{
    ratelimit_set_speed(&s->rate_limit, speed, BLOCK_COPY_SLICE_TIME);
}

static void block_copy_mark(BlockCopyState *s, int64_t offset, int64_t bytes, bool dirty)
{
    core_assert(offset % s->cluster_size == 0 && bytes % s->cluster_size == 0 && offset + bytes <= s->bytes);
    memset(s->dirty + offset / s->cluster_size, dirty, (size_t)(bytes / s->cluster_size));
}

void coroutine_fn block_copy_set_dirty(BlockCopyState *s, int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(&s->lock);
    block_copy_mark(s, offset, bytes, true);
}

/* The first dirty cluster of the range, or -1. Under the lock. */
static int64_t next_dirty(const BlockCopyState *s, int64_t offset, int64_t bytes)
{
    for (int64_t at = offset; at < offset + bytes; at += s->cluster_size) {
        if (s->dirty[at / s->cluster_size]) {
            return at;
        }
    }
    return -1;
}

int64_t coroutine_fn block_copy_dirty_clusters_count(BlockCopyState *s)
{
    int64_t count = 0;

    QEMU_LOCK_GUARD(&s->lock);
    for (int64_t i = 0; i < s->bytes / s->cluster_size; i++) {
        count += s->dirty[i];
    }
    return count;
}

/* ---- tasks ---- */

static int coroutine_fn block_copy_task_entry(AioTask *task);

/* A task for the first dirty cluster of the range, which is clean from now on; NULL: there is none. */
static BlockCopyTask *coroutine_fn block_copy_task_create(BlockCopyCallState *call, int64_t offset, int64_t bytes)
{
    BlockCopyState *s = call->s;
    BlockCopyTask *task;
    int64_t at;

    QEMU_LOCK_GUARD(&s->lock);
    at = next_dirty(s, offset, bytes);
    if (at < 0) {
        return NULL;
    }
    block_copy_mark(s, at, s->cluster_size, false);
    s->in_flight_bytes += s->cluster_size;

    task = g_new0(BlockCopyTask, 1);
    task->task.func = block_copy_task_entry;
    task->s = s;
    task->call = call;
    task->offset = at;
    task->bytes = s->cluster_size;
    qemu_co_queue_init(&task->wait_queue);
    LIST_INSERT_HEAD(&s->tasks, task, list);
    return task;
}

static void coroutine_fn block_copy_task_end(BlockCopyTask *task, int ret)
{
    BlockCopyState *s = task->s;

    QEMU_LOCK_GUARD(&s->lock);
    s->in_flight_bytes -= task->bytes;
    if (ret < 0) {
        block_copy_mark(s, task->offset, task->bytes, true);
    }
    LIST_REMOVE(task, list);
    qemu_co_queue_restart_all(&task->wait_queue);
}

static int coroutine_fn block_copy_do_copy(BlockCopyState *s, int64_t offset, int64_t bytes)
{
    void *bounce = g_malloc((gsize)bytes);
    QEMUIOVector qiov;
    int ret;

    qemu_iovec_init_buf(&qiov, bounce, (size_t)bytes);
    ret = bdrv_co_preadv(s->source, offset, bytes, &qiov, 0);
    if (ret == 0) {
        ret = bdrv_co_pwritev(s->target, offset, bytes, &qiov, 0);
    }
    g_free(bounce);
    return ret;
}

static int coroutine_fn block_copy_task_entry(AioTask *aio_task)
{
    BlockCopyTask *task = (BlockCopyTask *)aio_task;
    int ret;

    bdrv_graph_co_rdlock();
    ret = block_copy_do_copy(task->s, task->offset, task->bytes);
    bdrv_graph_co_rdunlock();

    WITH_QEMU_LOCK_GUARD(&task->s->lock) {
        if (ret < 0 && !task->call->ret) {
            task->call->ret = ret;
        }
    }
    block_copy_task_end(task, ret);
    return ret;
}

/* ---- calls ---- */

/* For how long not to start another cluster. */
static int64_t block_copy_delay_ns(BlockCopyCallState *call)
{
    return call->ignore_ratelimit ? 0 : ratelimit_calculate_delay(&call->s->rate_limit, 0);
}

/* The task waits for the speed: its cluster is dirty again meanwhile, so that others may take it. */
static void coroutine_fn block_copy_put_off(BlockCopyCallState *call, BlockCopyTask *task, int64_t ns)
{
    block_copy_task_end(task, -EAGAIN);
    g_free(task);
    qemu_co_sleep_ns_wakeable(&call->sleep, QEMU_CLOCK_REALTIME, ns);
}

/*
 * Start the task, or give it up where another one has failed while it waited for room (-ECANCELED). Without a pool run it here, to its
 * end.
 */
static int coroutine_fn block_copy_task_run(AioTaskPool *pool, BlockCopyTask *task)
{
    int ret;

    if (!pool) {
        ret = task->task.func(&task->task);
        g_free(task);
        return ret;
    }
    aio_task_pool_wait_slot(pool);
    if (aio_task_pool_status(pool) < 0) {
        block_copy_task_end(task, -ECANCELED);
        g_free(task);
        return -ECANCELED;
    }
    aio_task_pool_start_task(pool, &task->task);
    return 0;
}

/*
 * One pass over the range. 1 where something was dirty and all of that was copied, 0 where nothing was, or the error of
 * the first cluster that failed.
 */
static int coroutine_fn block_copy_dirty_clusters(BlockCopyCallState *call)
{
    BlockCopyState *s = call->s;
    int64_t offset = call->offset, bytes = call->bytes, end = call->offset + call->bytes;
    AioTaskPool *pool = NULL;
    bool found_dirty = false;
    int ret = 0;

    core_assert(bdrv_get_aio_context(s->source->bs) == bdrv_get_aio_context(s->target->bs));
    while (bytes && ret == 0 && aio_task_pool_status(pool) == 0 && !qatomic_read(&call->cancelled)) {
        BlockCopyTask *task = block_copy_task_create(call, offset, bytes);
        int64_t delay_ns;

        if (!task) {
            break;
        }
        found_dirty = true;
        delay_ns = block_copy_delay_ns(call);
        if (delay_ns > 0) {
            block_copy_put_off(call, task, delay_ns);
            continue;
        }
        ratelimit_calculate_delay(&s->rate_limit, (uint64_t)task->bytes);
        offset = task->offset + task->bytes;
        bytes = end - offset;
        if (!pool && bytes) {
            pool = aio_task_pool_new(call->max_workers); /* what is alone needs no coroutine of its own */
        }
        ret = block_copy_task_run(pool, task);
    }
    if (pool) {
        aio_task_pool_wait_all(pool);
        ret = aio_task_pool_status(pool); /* of the first that has failed */
        aio_task_pool_free(pool);
    }
    return ret < 0 ? ret : found_dirty;
}

/* Nothing was dirty. Wait for a task of another call in the range, if there is one: it may fail. Returns whether to
 * look again. */
static bool coroutine_fn block_copy_wait_for_others(BlockCopyCallState *call)
{
    BlockCopyState *s = call->s;
    BlockCopyTask *task;

    QEMU_LOCK_GUARD(&s->lock);
    LIST_FOREACH(task, &s->tasks, list) {
        if (task->offset < call->offset + call->bytes && call->offset < task->offset + task->bytes) {
            qemu_co_queue_wait(&task->wait_queue, &s->lock);
            return true;
        }
    }

    /* In the same critical section: nobody is under way, so what is clean now is copied. */
    return next_dirty(s, call->offset, call->bytes) >= 0;
}

static void coroutine_fn block_copy_common(BlockCopyCallState *call)
{
    BlockCopyState *s = call->s;
    int ret;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        LIST_INSERT_HEAD(&s->calls, call, list);
    }
    do {
        ret = block_copy_dirty_clusters(call);
        if (ret == 0 && !qatomic_read(&call->cancelled)) {
            ret = block_copy_wait_for_others(call);
        }
    } while (ret > 0 && !qatomic_read(&call->cancelled));

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        LIST_REMOVE(call, list);
    }

    /* ORDER: the result and all that was copied before finished
     * PAIRS: block_copy_call_finished()
     * ELSE:  who waits for it takes a result that is not there yet, and frees what is still used */
    qatomic_store_release(&call->finished, true);
    if (call->cb) {
        call->cb(call->cb_opaque); /* call may be gone afterwards */
    }
}

static void coroutine_fn block_copy_async_co_entry(void *opaque)
{
    GRAPH_RDLOCK_GUARD();
    block_copy_common(opaque);
}

static BlockCopyCallState *block_copy_call_new(BlockCopyState *s, int64_t offset, int64_t bytes)
{
    BlockCopyCallState *call = g_new0(BlockCopyCallState, 1);

    core_assert(offset >= 0 && bytes >= 0 && offset + bytes <= s->bytes);
    core_assert(offset % s->cluster_size == 0 && bytes % s->cluster_size == 0);
    call->s = s;
    call->offset = offset;
    call->bytes = bytes;
    call->refcount = 1;
    qemu_co_sleep_init(&call->sleep);
    return call;
}

int coroutine_fn block_copy(BlockCopyState *s, int64_t offset, int64_t bytes, bool ignore_ratelimit, uint64_t timeout_ns)
{
    BlockCopyCallState *call = block_copy_call_new(s, offset, bytes);
    int ret;

    call->max_workers = BLOCK_COPY_MAX_WORKERS;
    call->ignore_ratelimit = ignore_ratelimit;
    ret = qemu_co_timeout(block_copy_async_co_entry, call, timeout_ns, g_free);
    if (ret < 0) {
        block_copy_call_cancel(call); /* freed when it has ended */
        return ret;
    }
    ret = call->ret;
    g_free(call);
    return ret;
}

BlockCopyCallState *block_copy_async(BlockCopyState *s, int64_t offset, int64_t bytes, unsigned max_workers,
                                     BlockCopyAsyncCallbackFunc cb, void *cb_opaque)
{
    BlockCopyCallState *call = block_copy_call_new(s, offset, bytes);

    call->max_workers = max_workers;
    call->cb = cb;
    call->cb_opaque = cb_opaque;
    qemu_coroutine_enter(qemu_coroutine_create(block_copy_async_co_entry, call));
    return call;
}

void block_copy_call_ref(BlockCopyCallState *call)
{
    core_assert(qatomic_fetch_inc(&call->refcount) > 0);
}

void block_copy_call_unref(BlockCopyCallState *call)
{
    if (call && qatomic_fetch_dec(&call->refcount) == 1) {
        core_assert(qatomic_read(&call->finished));
        g_free(call);
    }
}

void block_copy_kick(BlockCopyCallState *call)
{
    core_assert(qatomic_read(&call->refcount) > 0);
    qemu_co_sleep_wake(&call->sleep);
}

void block_copy_call_cancel(BlockCopyCallState *call)
{
    qatomic_set(&call->cancelled, true);
    block_copy_kick(call);
}

bool block_copy_call_finished(BlockCopyCallState *call)
{
    return qatomic_load_acquire(&call->finished);
}

bool block_copy_call_cancelled(BlockCopyCallState *call)
{
    return qatomic_read(&call->cancelled);
}

bool block_copy_call_succeeded(BlockCopyCallState *call)
{
    return block_copy_call_finished(call) && !block_copy_call_cancelled(call) && call->ret == 0;
}

int block_copy_call_status(BlockCopyCallState *call)
{
    core_assert(block_copy_call_finished(call));
    return call->ret;
}
