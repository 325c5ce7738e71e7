/*
 * CoRwlock: a lock for coroutines, also of different threads, that many hold as readers or one as the writer. Who cannot
 * have it yields, so that the thread's loop goes on.
 *
 * Those who wait stand in one line, each with a ticket, and are served in the order of the line: a reader that comes
 * after a writer waits behind it, though only readers hold the lock. Whoever gives the lock back, or a part of it, looks
 * at the first ticket only, and makes its coroutine an owner before it wakes it. A reader that was woken looks at the
 * next ticket in turn:
 *
 *     writer that unlocks or downgrades           first in line (reader)         next in line (reader)
 *     1  mutex; owners = 0 or 1
 *     2  first ticket is a reader's: owners + 1,
 *        ticket out of the line
 *     3  unlock the mutex; aio_co_wake()
 *                                                 a  goes on: an owner already
 *                                                 b  mutex; as 2 and 3
 *                                                                                c  goes on, looks at the next
 *
 * With one queue for all, from which an unlock wakes one who then has to see for itself, the wrong one may be woken, and
 * goes to the end of the queue: nobody is left who would wake the right one (QEMU 050de36b13; fault co-rwlock-one-queue).
 *
 * Invariants
 *  1. owners is the number of readers, -1 for a writer, 0 for nobody. It changes under the mutex only, and counts a
 *     coroutine before that is woken: nobody can come in between.
 *  2. A ticket is in the line exactly while its coroutine waits; it is on that coroutine's stack.
 *  3. While nobody has the mutex, the first ticket is one that cannot be served, or a reader that has been woken is
 *     about to take the mutex and look (step b).
 *
 * From QEMU: include/qemu/coroutine.h, util/qemu-coroutine-lock.c.
 */
#ifndef WAKEFUZZ_CORE_CO_RWLOCK_H
#define WAKEFUZZ_CORE_CO_RWLOCK_H

#include "core/co_mutex.h"
#include "core/queue.h"

typedef struct CoRwTicket CoRwTicket;

typedef struct CoRwlock {
    CoMutex mutex;                         /* for the rest; never held while the holder waits */
    int owners;                            /* see invariant 1 */
    STAILQ_HEAD(, CoRwTicket) tickets;     /* those who wait, longest first */
} CoRwlock;

/* Make a lock that nobody holds. Any thread, before the first use. */
void qemu_co_rwlock_init(CoRwlock *lock);

/* Become one of the readers. Coroutines only; yields while there is a writer, or somebody in the line. Not recursive: a
 * reader that comes again may find itself behind a writer that waits for it. */
void coroutine_fn qemu_co_rwlock_rdlock(CoRwlock *lock);

/* Become the writer. Coroutines only; yields while anybody else holds the lock. Not recursive. */
void coroutine_fn qemu_co_rwlock_wrlock(CoRwlock *lock);

/*
 * A reader becomes the writer. Coroutines only; yields while there are other readers or somebody is in the line, and
 * gives up its part of the lock meanwhile: other writers may have been there before it returns, and what the caller has
 * read must be read again.
 */
void coroutine_fn qemu_co_rwlock_upgrade(CoRwlock *lock);

/* The writer becomes one of the readers, and nobody writes in between. Coroutines only; yields at most for the mutex. The
 * readers at the head of the line come in. */
void coroutine_fn qemu_co_rwlock_downgrade(CoRwlock *lock);

/* Give the lock back, as a reader or as the writer. The coroutine that holds it. */
void coroutine_fn qemu_co_rwlock_unlock(CoRwlock *lock);

#endif
