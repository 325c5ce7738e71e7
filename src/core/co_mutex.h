/*
 * CoMutex: a mutex for coroutines, also of different threads. A contended lock yields, so that the thread's loop goes
 * on.
 *
 * Uncontended, lock and unlock are one compare-and-exchange and one decrement. `locked` counts the holder and everyone
 * who wants the mutex. A locker that finds it taken adds itself to the stack `from_push` and yields; the unlocker
 * reverses that stack into the queue `to_pop`, which only the holder touches, and wakes the first in it. Ownership
 * goes from the unlocker straight to the one it wakes.
 *
 * Between raising `locked` and being in `from_push` a locker is announced but not to be found. An unlocker that meets
 * this window does not spin: it leaves its responsibility to wake somebody behind, as a number in `handoff`, and
 * whoever takes that number wakes:
 *
 *     unlocker (holder)                             locker (announced: locked > 1)
 *     1  nobody in to_pop and from_push             a  push itself to from_push
 *     2  handoff = a new sequence number            b  full barrier
 *     3  full barrier                               c  read handoff; 0: yield
 *     4  from_push empty: leave, b-c will see 2     d  compare-and-exchange handoff to 0; lost: yield
 *     5  else take the number back; lost: leave     e  pop the first, wake it, or go on if it is itself
 *
 * Invariants
 *  1. At any time at most one thread is responsible for popping: the holder, or the one that took the number out of
 *     handoff.
 *  2. locked == 0 if and only if nobody holds or wants the mutex, and then from_push, to_pop and handoff are empty.
 *  3. A queued coroutine has its record on its own stack and stays off the run until it is popped.
 *
 * From QEMU: util/qemu-coroutine-lock.c (fed7757281 for the protocol, e3a3b6ec81 for the barrier, 4878c3a43a for
 * has_waiters()).
 */
#ifndef WAKEFUZZ_CORE_CO_MUTEX_H
#define WAKEFUZZ_CORE_CO_MUTEX_H

#include <stdbool.h>

#include "core/aio_context.h"
#include "core/coroutine.h"
#include "core/queue.h"

typedef struct CoWaitRecord CoWaitRecord;
typedef SLIST_HEAD(CoWaitRecordList, CoWaitRecord) CoWaitRecordList;

typedef struct CoMutex {
    /* Holder plus everyone who wants to be. Written by all, atomic. */
    unsigned locked;

    /* Where the holder runs, NULL while nobody holds. Written by the holder, or by the one who wakes the next holder;
     * read by lockers that consider spinning, as a hint. Atomic. */
    AioContext *ctx;

    /* Those who wait, last first. Pushed by lockers, emptied by whoever is responsible (invariant 1). Atomic. */
    CoWaitRecordList from_push;

    /* Those who wait, first first. Only for whoever is responsible. Read by others as "empty or not": atomic. */
    CoWaitRecordList to_pop;

    /* A responsibility that waits to be taken; 0: none. Written by the unlocker, taken by a locker. Atomic. */
    unsigned handoff;

    /* Last number used. Holder only. */
    unsigned sequence;

    /* For assertions. Holder only. */
    Coroutine *holder;
} CoMutex;

/* Make an unlocked mutex. Any thread, before the first use. A zeroed CoMutex is one too. */
void qemu_co_mutex_init(CoMutex *mutex);

/* Abort as "assertion" unless the calling coroutine holds the mutex. */
void qemu_co_mutex_assert_locked(CoMutex *mutex);

/* Take the mutex. Coroutines only; yields while another has it; spins a little first where the holder runs in another
 * thread. Not recursive. */
void coroutine_fn qemu_co_mutex_lock(CoMutex *mutex);

/* Release it and let the next in line go on. The holding coroutine only. The next holder runs when the caller yields
 * or ends, or in its own thread. */
void coroutine_fn qemu_co_mutex_unlock(CoMutex *mutex);

#endif
