/*
 * CoQueue, as co_queue.h tells.
 *
 * Threads: any, under the lock of the queue's users. No function blocks the thread but by taking that lock again.
 */
#include "core/co_queue.h"

#include "core/aio_context.h"
#include "core/fatal.h"

/* One waiting coroutine; on its stack, and gone as soon as it runs. */
struct CoQueueEntry {
    Coroutine *co;
    CoQueueEntry *next;
};

void qemu_co_queue_init(CoQueue *queue)
{
    *queue = (CoQueue){ 0 };
}

static void co_queue_insert(CoQueue *queue, CoQueueEntry *entry, bool front)
{
    if (!queue->first) {
        queue->first = queue->last = entry;
    } else if (front) {
        entry->next = queue->first;
        queue->first = entry;
    } else {
        queue->last->next = entry;
        queue->last = entry;
    }
}

static Coroutine *co_queue_pop(CoQueue *queue)
{
    CoQueueEntry *entry = queue->first;

    if (!entry) {
        return NULL;
    }
    queue->first = entry->next;
    if (!queue->first) {
        queue->last = NULL;
    }
    return entry->co;
}

void coroutine_fn qemu_co_queue_wait_impl(CoQueue *queue, QemuLockable *lock, CoQueueWaitFlags flags)
{
    CoQueueEntry entry = { .co = qemu_coroutine_self() };

    core_assert(qemu_in_coroutine());
    co_queue_insert(queue, &entry, flags & CO_QUEUE_WAIT_FRONT);

    /* Only now: a waker needs the lock, and so finds either the state that made the caller wait, or the caller in the
     * queue. */
    if (lock) {
        qemu_lockable_unlock(lock);
    }
    qemu_coroutine_yield();

    /* No waiter may hold the lock across its sleep, or the waker could not take it. */
    if (lock) {
        qemu_lockable_lock(lock);
    }
}

bool qemu_co_enter_next_impl(CoQueue *queue, QemuLockable *lock)
{
    Coroutine *co = co_queue_pop(queue);

    if (!co) {
        return false;
    }

    /* The coroutine may run at once, and it takes the lock on its way out of the wait. */
    if (lock) {
        qemu_lockable_unlock(lock);
    }
    aio_co_wake(co);
    if (lock) {
        qemu_lockable_lock(lock);
    }
    return true;
}

void qemu_co_enter_all_impl(CoQueue *queue, QemuLockable *lock)
{
    while (qemu_co_enter_next_impl(queue, lock)) {
        /* until the queue is empty */
    }
}

bool coroutine_fn qemu_co_queue_next(CoQueue *queue)
{
    core_assert(qemu_in_coroutine());
    return qemu_co_enter_next_impl(queue, NULL);
}

void coroutine_fn qemu_co_queue_restart_all(CoQueue *queue)
{
    core_assert(qemu_in_coroutine());
    qemu_co_enter_all_impl(queue, NULL);
}

bool qemu_co_queue_empty(const CoQueue *queue)
{
    return !queue->first;
}
