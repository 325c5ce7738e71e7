/*
 * The pool of threads of an AioContext; thread_pool.h tells its protocol.
 *
 * Threads: the home thread of the pool's context, and its workers. Freeing: the owner of the context.
 */
#include "core/thread_pool.h"

#include <errno.h>
#include <string.h>

#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/defer_call.h"
#include "core/fatal.h"
#include "core/lockable.h"
#include "core/queue.h"

typedef enum ThreadState { THREAD_QUEUED, THREAD_ACTIVE, THREAD_DONE } ThreadState;

typedef struct ThreadPoolElementAio {
    BlockAIOCB common;
    ThreadPoolAio *pool;
    ThreadPoolFunc *func;
    void *arg;
    int state; /* ThreadState; see invariant 1. Atomic */
    int ret;

    TAILQ_ENTRY(ThreadPoolElementAio) reqs; /* in request_list; under the lock */
    LIST_ENTRY(ThreadPoolElementAio) all;   /* in head; home thread */
} ThreadPoolElementAio;

struct ThreadPoolAio {
    AioContext *ctx;
    QEMUBH *completion_bh;
    QEMUBH *new_thread_bh;
    QemuMutex lock;
    QemuCond worker_stopped; /* under the lock: cur_threads has become smaller */
    QemuCond request_cond;   /* there is a request, or workers should look at the limits */

    LIST_HEAD(, ThreadPoolElementAio) head; /* all requests whose callback has not been called; home thread */

    /* under the lock */
    TAILQ_HEAD(, ThreadPoolElementAio) request_list;
    int cur_threads;
    int idle_threads;
    int new_threads;
    int pending_threads;
    int min_threads;
    int max_threads;
};

/* The pools that there are, for the oracle. No part of the program: raw accesses that order nothing. */
#define WATCHED_MAX 64
static ThreadPoolAio *watched[WATCHED_MAX];

/* ------------------------------------------------------------------------------------------- workers */

static void do_spawn_thread(ThreadPoolAio *pool);

/* Sleep for a request. Returns false where there is none after all that time, and no need for so many workers. Under the
 * lock. */
static bool worker_wait(ThreadPoolAio *pool)
{
    bool signalled;

    pool->idle_threads++;
    signalled = qemu_cond_timedwait(&pool->request_cond, &pool->lock, THREAD_POOL_IDLE_MS);
    pool->idle_threads--;
    return signalled || !TAILQ_EMPTY(&pool->request_list) || pool->cur_threads <= pool->min_threads;
}

/* Serve the first request. Under the lock, which it drops meanwhile. */
static void worker_serve(ThreadPoolAio *pool)
{
    ThreadPoolElementAio *req = TAILQ_FIRST(&pool->request_list);

    TAILQ_REMOVE(&pool->request_list, req, reqs);
    qatomic_set(&req->state, THREAD_ACTIVE);
    qemu_mutex_unlock(&pool->lock);

    req->ret = req->func(req->arg);

    /* ORDER: ret, and what func wrote, before state
     * PAIRS: thread_pool_completion_bh()
     * ELSE:  the callback gets an old result */
    qatomic_store_release(&req->state, THREAD_DONE);

    /* req may be gone: a run that another request led to has seen it. */
    qemu_bh_schedule(pool->completion_bh);
    qemu_mutex_lock(&pool->lock);
}

static void *worker_thread(void *opaque)
{
    ThreadPoolAio *pool = opaque;

    qemu_mutex_lock(&pool->lock);
    pool->pending_threads--;
    do_spawn_thread(pool);

    /* The limit is looked at after each sleep, also where there is something to do. */
    while (pool->cur_threads <= pool->max_threads) {
        if (!TAILQ_EMPTY(&pool->request_list)) {
            worker_serve(pool);
        } else if (!worker_wait(pool)) {
            break;
        }
    }
    pool->cur_threads--;
    qemu_cond_signal(&pool->worker_stopped);

    /* The signal that woke this worker may have been for a request, and it leaves because of the limit. */
    qemu_cond_signal(&pool->request_cond);
    qemu_mutex_unlock(&pool->lock);
    return NULL;
}

/* Create one of the workers that were asked for, if there are any. Under the lock. */
static void do_spawn_thread(ThreadPoolAio *pool)
{
    QemuThread thread;

    if (!pool->new_threads) {
        return;
    }
    pool->new_threads--;
    pool->pending_threads++;
    qemu_thread_create(&thread, "worker", worker_thread, pool, QEMU_THREAD_DETACHED);
}

static void spawn_thread_bh_fn(void *opaque)
{
    ThreadPoolAio *pool = opaque;

    QEMU_LOCK_GUARD(&pool->lock);
    do_spawn_thread(pool);
}

/* Ask for one more worker. Under the lock. Where one is being created, it creates the next; else the context's own loop
 * does, so that the new thread inherits the loop's properties and not those of whoever submits. */
static void spawn_thread(ThreadPoolAio *pool)
{
    pool->cur_threads++;
    pool->new_threads++;
    if (!pool->pending_threads) {
        qemu_bh_schedule(pool->new_thread_bh);
    }
}

/* ------------------------------------------------------------------------------------------- completion */

/* Call back for the first request that is done, if any. */
static bool complete_one(ThreadPoolAio *pool)
{
    ThreadPoolElementAio *elem;

    LIST_FOREACH(elem, &pool->head, all) {
        /* ORDER: state before ret
         * PAIRS: worker_serve()
         * ELSE:  the callback gets an old result */
        if (qatomic_load_acquire(&elem->state) == THREAD_DONE) {
            break;
        }
    }
    if (!elem) {
        return false;
    }
    LIST_REMOVE(elem, all);
    if (elem->common.cb) {
        /* The callback may poll for a request whose schedule has led to this run. */
        qemu_bh_schedule(pool->completion_bh);
        elem->common.cb(elem->common.opaque, elem->ret);

        /* ORDER: the cancellation before the states are read again
         * PAIRS: worker_serve()
         * ELSE:  the schedule for a request that was not seen is wiped out; QEMU ef6dada8b4 */
        qemu_bh_cancel(pool->completion_bh);
    }
    qemu_aio_unref(elem);
    return true;
}

static void thread_pool_completion_bh(void *opaque)
{
    ThreadPoolAio *pool = opaque;

    defer_call_begin(); /* callbacks may have something in common to do at the end */
    while (complete_one(pool)) {
        /* from the start: the callback may have polled, submitted and cancelled */
    }
    defer_call_end();
}

static void thread_pool_cancel(BlockAIOCB *acb)
{
    ThreadPoolElementAio *elem = (ThreadPoolElementAio *)acb;
    ThreadPoolAio *pool = elem->pool;

    QEMU_LOCK_GUARD(&pool->lock);
    if (qatomic_read(&elem->state) == THREAD_QUEUED) {
        TAILQ_REMOVE(&pool->request_list, elem, reqs);
        qemu_bh_schedule(pool->completion_bh);
        qatomic_set(&elem->state, THREAD_DONE);
        elem->ret = -ECANCELED;
    }
}

/* ------------------------------------------------------------------------------------------- requests */

static const AIOCBInfo thread_pool_aiocb_info = {
    .aiocb_size = sizeof(ThreadPoolElementAio),
    .cancel_async = thread_pool_cancel,
};

BlockAIOCB *thread_pool_submit_aio(ThreadPoolFunc *func, void *arg, BlockCompletionFunc *cb, void *opaque)
{
    AioContext *ctx = qemu_get_current_aio_context();
    ThreadPoolAio *pool = aio_get_thread_pool(ctx);
    ThreadPoolElementAio *req = qemu_aio_get(&thread_pool_aiocb_info, cb, opaque);

    core_assert(pool->ctx == ctx);
    req->func = func;
    req->arg = arg;
    req->state = THREAD_QUEUED;
    req->pool = pool;
    LIST_INSERT_HEAD(&pool->head, req, all);

    qemu_mutex_lock(&pool->lock);
    if (pool->idle_threads == 0 && pool->cur_threads < pool->max_threads) {
        spawn_thread(pool);
    }
    TAILQ_INSERT_TAIL(&pool->request_list, req, reqs);
    qemu_mutex_unlock(&pool->lock);

    /* Without the lock: the pool lives as long as its home thread, which this is, does not free it. */
    qemu_cond_signal(&pool->request_cond);
    return &req->common;
}

typedef struct ThreadPoolCo {
    Coroutine *co;
    int ret;
} ThreadPoolCo;

static void thread_pool_co_cb(void *opaque, int ret)
{
    ThreadPoolCo *co = opaque;

    co->ret = ret;
    aio_co_wake(co->co);
}

int coroutine_fn thread_pool_submit_co(ThreadPoolFunc *func, void *arg)
{
    ThreadPoolCo co = { .co = qemu_coroutine_self(), .ret = -EINPROGRESS };

    core_assert(qemu_in_coroutine());
    thread_pool_submit_aio(func, arg, thread_pool_co_cb, &co);
    qemu_coroutine_yield();
    return co.ret;
}

unsigned thread_pool_worker_count(ThreadPoolAio *pool)
{
    QEMU_LOCK_GUARD(&pool->lock);
    return (unsigned)pool->cur_threads;
}

/* ------------------------------------------------------------------------------------------- the oracle */

static void change_watched(ThreadPoolAio *from, ThreadPoolAio *to)
{
    for (unsigned i = 0; i < WATCHED_MAX; i++) {
        ThreadPoolAio *expected = from;

        if (__atomic_compare_exchange_n(&watched[i], &expected, to, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            return;
        }
    }
}

unsigned thread_pool_lost_count(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < WATCHED_MAX; i++) {
        ThreadPoolAio *pool = __atomic_load_n(&watched[i], __ATOMIC_RELAXED);
        ThreadPoolElementAio *elem;

        if (!pool || aio_bh_is_scheduled(pool->completion_bh)) {
            continue;
        }
        LIST_FOREACH(elem, &pool->head, all) {
            count += __atomic_load_n(&elem->state, __ATOMIC_RELAXED) == THREAD_DONE;
        }
    }
    return count;
}

void thread_pool_reset(void)
{
    memset(watched, 0, sizeof(watched));
}

/* ------------------------------------------------------------------------------------------- life */

void thread_pool_update_params(ThreadPoolAio *pool, AioContext *ctx)
{
    QEMU_LOCK_GUARD(&pool->lock);

    pool->min_threads = ctx->thread_pool_min;
    pool->max_threads = ctx->thread_pool_max;
    for (int i = pool->cur_threads; i < pool->min_threads; i++) {
        spawn_thread(pool);
    }
    for (int i = pool->cur_threads; i > pool->max_threads; i--) {
        qemu_cond_signal(&pool->request_cond);
    }
}

ThreadPoolAio *thread_pool_new_aio(AioContext *ctx)
{
    ThreadPoolAio *pool = g_new0(ThreadPoolAio, 1);

    pool->ctx = ctx;
    pool->completion_bh = aio_bh_new(ctx, thread_pool_completion_bh, pool);
    qemu_mutex_init(&pool->lock);
    qemu_cond_init(&pool->worker_stopped);
    qemu_cond_init(&pool->request_cond);
    pool->new_thread_bh = aio_bh_new(ctx, spawn_thread_bh_fn, pool);
    LIST_INIT(&pool->head);
    TAILQ_INIT(&pool->request_list);
    thread_pool_update_params(pool, ctx);
    change_watched(NULL, pool);
    return pool;
}

void thread_pool_free_aio(ThreadPoolAio *pool)
{
    if (!pool) {
        return;
    }
    core_assert(LIST_EMPTY(&pool->head));
    change_watched(pool, NULL);

    qemu_mutex_lock(&pool->lock);

    /* Workers that were asked for and not created: nobody creates them any more. */
    qemu_bh_delete(pool->new_thread_bh);
    pool->cur_threads -= pool->new_threads;
    pool->new_threads = 0;

    pool->max_threads = 0;
    qemu_cond_broadcast(&pool->request_cond);
    while (pool->cur_threads > 0) {
        qemu_cond_wait(&pool->worker_stopped, &pool->lock);
    }
    qemu_mutex_unlock(&pool->lock);

    qemu_bh_delete(pool->completion_bh);
    qemu_cond_destroy(&pool->request_cond);
    qemu_cond_destroy(&pool->worker_stopped);
    qemu_mutex_destroy(&pool->lock);
    g_free(pool);
}
