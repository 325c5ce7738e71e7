/*
 * A pool of tasks: so many coroutines at a time on behalf of one coroutine, which waits for room, or for all of them.
 *
 * Threads: everything in one context; the pool has no lock. Invariants
 *  1. Only the coroutine that made the pool starts tasks and waits.
 *  2. A task that ends while it waits wakes it, once: waiting is taken back by whoever wakes.
 *
 * From QEMU: block/aio_task.c.
 */
#ifndef WAKEFUZZ_CORE_AIO_TASK_H
#define WAKEFUZZ_CORE_AIO_TASK_H

#include "core/coroutine.h"

typedef struct AioTaskPool AioTaskPool;
typedef struct AioTask AioTask;

/* Embedded in what the task needs, as the first field, and freed with it by g_free() when func has returned. */
struct AioTask {
    AioTaskPool *pool;
    int coroutine_fn (*func)(AioTask *task); /* 0 or a negative errno */
};

/* For the running coroutine; at most max_busy_tasks (above 0) tasks at a time. Freed when no task is under way. */
AioTaskPool *coroutine_fn aio_task_pool_new(unsigned max_busy_tasks);
void aio_task_pool_free(AioTaskPool *pool);

/* Yields until there is room for a task; one may have failed meanwhile. */
void coroutine_fn aio_task_pool_wait_slot(AioTaskPool *pool);

/* Start a task; yields until there is room. It runs at once, up to its first yield. */
void coroutine_fn aio_task_pool_start_task(AioTaskPool *pool, AioTask *task);

/* Yields until no task is under way. */
void coroutine_fn aio_task_pool_wait_all(AioTaskPool *pool);

/* The result of the first task that has failed; 0: none, or no pool (NULL). */
int aio_task_pool_status(AioTaskPool *pool);

#endif
