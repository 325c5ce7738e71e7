/*
 * A pool of threads for calls that block: each AioContext has one, made at first use and freed with the context.
 *
 * A request is handed in by the context's home thread, run by a worker, and its callback called in the home thread, from
 * the pool's completion bottom half. Workers come as they are needed, up to a maximum, and leave when they have had nothing
 * to do for ten seconds.
 *
 *     home thread                                     worker
 *     1  submit: lock; no idle worker: one more
 *        (by a BH); queue the request; unlock; signal
 *                                                     a  lock; take the first request: ACTIVE; unlock
 *                                                     b  call it; ret; then state DONE
 *                                                     c  schedule completion_bh
 *     2  completion_bh: for each request that is
 *        DONE: take it out; schedule completion_bh
 *        again; callback; cancel completion_bh;
 *        begin anew
 *
 * Step 2 schedules before the callback because the callback may poll until another request has ended, whose own schedule
 * led to this very run (QEMU 3c80ca158c; fault thread-pool-nested-completion). It may cancel afterwards, whoever else
 * scheduled meanwhile, because it looks at all requests again.
 *
 * Invariants
 *  1. A request is in request_list exactly while it is QUEUED, and leaves that state under the lock, by a worker or by a
 *     canceller. After that only the worker writes state and ret, and ret before state.
 *  2. cur_threads counts workers from the moment that they are asked for. Of these, new_threads have not been created,
 *     and pending_threads are created and do not run yet; each that begins to run creates the next.
 *  3. A worker that leaves signals under the lock: when the owner of the pool has the lock, the pool may be freed (QEMU
 *     f4f71363fc; fault thread-pool-signal-after-unlock).
 *
 * From QEMU: util/thread-pool.c, include/block/thread-pool.h.
 */
#ifndef WAKEFUZZ_CORE_THREAD_POOL_H
#define WAKEFUZZ_CORE_THREAD_POOL_H

#include "core/aio_context.h"
#include "core/aiocb.h"

#define THREAD_POOL_MAX_THREADS_DEFAULT 64
#define THREAD_POOL_IDLE_MS             10000 /* so long a worker waits for something to do before it leaves */

typedef int ThreadPoolFunc(void *opaque);
typedef struct ThreadPoolAio ThreadPoolAio;

/*
 * Let a worker of the calling thread's context call func(arg), and then call cb(opaque, ret) in this thread with what it
 * returned, or with -ECANCELED where bdrv_aio_cancel_async() came before a worker. cb may be NULL. The caller does not own
 * a reference to what is returned, and may name it only until cb is called. Any thread that has an AioContext; does not
 * block.
 */
BlockAIOCB *thread_pool_submit_aio(ThreadPoolFunc *func, void *arg, BlockCompletionFunc *cb, void *opaque);

/* The same for coroutines: yields, and returns what func returned. */
int coroutine_fn thread_pool_submit_co(ThreadPoolFunc *func, void *arg);

/*
 * Make and free the pool of ctx: for aio_get_thread_pool() and for the end of the context. Freeing waits for the workers
 * to leave; all callbacks must have been called. NULL is ignored.
 */
ThreadPoolAio *thread_pool_new_aio(AioContext *ctx);
void thread_pool_free_aio(ThreadPoolAio *pool);

/* Adopt ctx's limits: creates workers up to the minimum at once, and lets those above the maximum leave. Home thread. */
void thread_pool_update_params(ThreadPoolAio *pool, AioContext *ctx);

/* How many workers there are, or have been asked for. Any thread; for tests. */
unsigned thread_pool_worker_count(ThreadPoolAio *pool);

/* Requests that a worker has finished and that no bottom half will look at. For the oracle of lost completions, when all
 * threads sleep: takes no lock. */
unsigned thread_pool_lost_count(void);

/* Part of core_init(). */
void thread_pool_reset(void);

#endif
