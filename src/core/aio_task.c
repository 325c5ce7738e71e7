/*
 * Pools of tasks, as aio_task.h tells.
 *
 * Threads: one context.
 */
#include "core/aio_task.h"

#include <glib.h>

#include "core/aio_context.h"
#include "core/fatal.h"

struct AioTaskPool {
    Coroutine *main_co;
    int status;
    unsigned max_busy_tasks, busy_tasks;
    bool waiting; /* main_co sleeps until a task ends */
};

AioTaskPool *coroutine_fn aio_task_pool_new(unsigned max_busy_tasks)
{
    AioTaskPool *pool = g_new0(AioTaskPool, 1);

    core_assert(max_busy_tasks > 0);
    pool->main_co = qemu_coroutine_self();
    pool->max_busy_tasks = max_busy_tasks;
    return pool;
}

void aio_task_pool_free(AioTaskPool *pool)
{
    core_assert(pool->busy_tasks == 0);
    g_free(pool);
}

static void coroutine_fn aio_task_co(void *opaque)
{
    AioTask *task = opaque;
    AioTaskPool *pool = task->pool;
    int ret;

    core_assert(pool->busy_tasks < pool->max_busy_tasks);
    pool->busy_tasks++;
    ret = task->func(task);
    pool->busy_tasks--;
    if (ret < 0 && pool->status == 0) {
        pool->status = ret;
    }
    g_free(task);

    if (pool->waiting) {
        pool->waiting = false;
        aio_co_wake(pool->main_co);
    }
}

static void coroutine_fn aio_task_pool_wait_one(AioTaskPool *pool)
{
    core_assert(pool->busy_tasks > 0);
    core_assert(qemu_coroutine_self() == pool->main_co);
    pool->waiting = true;
    qemu_coroutine_yield();
    core_assert(!pool->waiting);
}

void coroutine_fn aio_task_pool_wait_all(AioTaskPool *pool)
{
    while (pool->busy_tasks > 0) {
        aio_task_pool_wait_one(pool);
    }
}

void coroutine_fn aio_task_pool_wait_slot(AioTaskPool *pool)
{
    if (pool->busy_tasks == pool->max_busy_tasks) {
        aio_task_pool_wait_one(pool);
    }
}

void coroutine_fn aio_task_pool_start_task(AioTaskPool *pool, AioTask *task)
{
    aio_task_pool_wait_slot(pool);
    task->pool = pool;
    qemu_coroutine_enter(qemu_coroutine_create(aio_task_co, task));
}

int aio_task_pool_status(AioTaskPool *pool)
{
    return pool ? pool->status : 0;
}
