/*
 * CoQueue: coroutines that wait, in order, for somebody to let them go on; a condition variable for coroutines.
 *
 * The queue has no lock of its own. Every call is made under one lock that the users of the queue agree on (a
 * QemuMutex, a CoMutex), or from one thread. Whoever waits passes that lock, and it is dropped only once the caller is
 * in the queue, so that a waker that holds the lock cannot come too early:
 *
 *     waiter (holds the lock)               waker
 *     1  into the queue                     a  lock
 *     2  unlock                             b  out of the queue, unlock
 *     3  yield                              c  aio_co_wake(): scheduled in the waiter's context; its thread
 *     4  lock, return                          can run it only after 3
 *
 * Invariants
 *  1. A coroutine is in at most one queue, once, and is not scheduled while it is in it.
 *  2. Coroutines leave in the order in which they came, but for CO_QUEUE_WAIT_FRONT.
 *  3. A wakeup is not remembered: with nobody in the queue it is lost.
 *
 * From QEMU: include/qemu/coroutine.h, util/qemu-coroutine-lock.c (f0d43b1ece for calls outside coroutines).
 */
#ifndef WAKEFUZZ_CORE_CO_QUEUE_H
#define WAKEFUZZ_CORE_CO_QUEUE_H

#include <stdbool.h>

#include "core/coroutine.h"
#include "core/lockable.h"

typedef struct CoQueueEntry CoQueueEntry;

typedef struct CoQueue {
    CoQueueEntry *first, *last; /* under the users' lock; a zeroed CoQueue is empty */
} CoQueue;

typedef enum CoQueueWaitFlags {
    CO_QUEUE_WAIT_FRONT = 1 << 0, /* be the next that is woken, not the last */
} CoQueueWaitFlags;

/* Make an empty queue. Any thread, before the first use. */
void qemu_co_queue_init(CoQueue *queue);

/*
 * Wait in the queue. Coroutines only; yields until woken. lock (a QemuMutex *, a CoMutex *, a QemuLockable *) is held
 * by the caller; it is released while the coroutine sleeps and held again on return. What the caller waits for may
 * have changed: look again.
 */
#define qemu_co_queue_wait(queue, lock)              qemu_co_queue_wait_impl(queue, QEMU_MAKE_LOCKABLE(lock), 0)
#define qemu_co_queue_wait_flags(queue, lock, flags) qemu_co_queue_wait_impl(queue, QEMU_MAKE_LOCKABLE(lock), flags)
/* The same; lock may be NULL where all users are in one thread. */
void coroutine_fn qemu_co_queue_wait_impl(CoQueue *queue, QemuLockable *lock, CoQueueWaitFlags flags);

/* Wake the first, or everybody, in the queue. Coroutines only; under the users' lock, which is kept. The woken run
 * when the caller yields or ends, or in their own threads. qemu_co_queue_next() returns false where the queue was
 * empty. */
bool coroutine_fn qemu_co_queue_next(CoQueue *queue);
void coroutine_fn qemu_co_queue_restart_all(CoQueue *queue);

/*
 * Wake the first, or everybody, in the queue. Any thread, also outside coroutines: there a coroutine whose home is
 * this thread runs at once, on the caller's stack. lock is held by the caller and is released while they run; the
 * queue may change meanwhile, and qemu_co_enter_all() also wakes those who come meanwhile. qemu_co_enter_next()
 * returns false where the queue was empty.
 */
#define qemu_co_enter_next(queue, lock) qemu_co_enter_next_impl(queue, QEMU_MAKE_LOCKABLE(lock))
#define qemu_co_enter_all(queue, lock)  qemu_co_enter_all_impl(queue, QEMU_MAKE_LOCKABLE(lock))
bool qemu_co_enter_next_impl(CoQueue *queue, QemuLockable *lock);
void qemu_co_enter_all_impl(CoQueue *queue, QemuLockable *lock);

/* Is nobody in the queue? Under the users' lock; any thread. */
bool qemu_co_queue_empty(const CoQueue *queue);

#endif
