/*
 * CoMutex, with the hand-off protocol told in co_mutex.h.
 *
 * Threads: any thread that runs coroutines. No function blocks the thread.
 */
#include "core/co_mutex.h"

#include "core/atomic.h"
#include "core/coroutine_int.h"
#include "core/fatal.h"

/* How often a locker looks again before it queues itself, where the holder runs in another thread: sections are short.
 * Nothing but speed depends on it. */
enum { CO_MUTEX_SPINS = 16 };

/* One waiting coroutine; on its stack. */
struct CoWaitRecord {
    Coroutine *co;
    SLIST_ENTRY(CoWaitRecord) next;
};

void qemu_co_mutex_init(CoMutex *mutex)
{
    *mutex = (CoMutex){ 0 };
}

void qemu_co_mutex_assert_locked(CoMutex *mutex)
{
    core_assert(qatomic_read(&mutex->locked) && mutex->holder == qemu_coroutine_self());
}

/* ------------------------------------------------------------------------------------------- the queue */

/* Any thread. Once the record is in the list it is not the caller's: move_waiters() writes its next. */
static void push_waiter(CoMutex *mutex, CoWaitRecord *record)
{
    SLIST_INSERT_HEAD_ATOMIC(&mutex->from_push, record, next);
}

/* Take all that was pushed and put it into to_pop, oldest first. Only for whoever is responsible, and only while
 * to_pop is empty. */
static void move_waiters(CoMutex *mutex)
{
    CoWaitRecordList pushed, oldest_first = SLIST_HEAD_INITIALIZER(oldest_first);
    CoWaitRecord *record;

    SLIST_MOVE_ATOMIC(&pushed, &mutex->from_push);
    while ((record = SLIST_FIRST(&pushed))) {
        SLIST_REMOVE_HEAD(&pushed, next);
        SLIST_INSERT_HEAD(&oldest_first, record, next);
    }
    qatomic_set(&mutex->to_pop.slh_first, SLIST_FIRST(&oldest_first));
}

/* The one who waits longest, or NULL where nobody is to be found. Only for whoever is responsible. */
static CoWaitRecord *pop_waiter(CoMutex *mutex)
{
    CoWaitRecord *record;

    if (!qatomic_read(&mutex->to_pop.slh_first)) {
        move_waiters(mutex);
    }
    record = qatomic_read(&mutex->to_pop.slh_first);
    if (record) {
        qatomic_set(&mutex->to_pop.slh_first, SLIST_NEXT(record, next));
    }
    return record;
}

static bool has_waiters(CoMutex *mutex)
{
    return qatomic_read(&mutex->to_pop.slh_first) || qatomic_read(&mutex->from_push.slh_first);
}

/* Give the mutex to a coroutine that was popped. Its record is gone as soon as it runs. */
static void co_mutex_wake(CoMutex *mutex, Coroutine *co)
{
    qatomic_set(&mutex->ctx, qemu_coroutine_get_aio_context(co));
    aio_co_wake(co);
}

/* ------------------------------------------------------------------------------------------- lock */

/* Try to be the first; spin while there is one holder only and it runs elsewhere. Returns how many came before the
 * caller: 0 means that the mutex is taken by the caller, any other that the caller is announced. */
static unsigned co_mutex_announce(CoMutex *mutex, AioContext *ctx)
{
    unsigned before = qatomic_cmpxchg(&mutex->locked, 0, 1);

    for (unsigned i = 0; before == 1 && i < CO_MUTEX_SPINS; i++) {
        if (qatomic_read(&mutex->ctx) == ctx) {
            break; /* the holder is a coroutine of this very thread and cannot go on while this one spins */
        }
        before = qatomic_read(&mutex->locked);
        if (before == 0) {
            before = qatomic_cmpxchg(&mutex->locked, 0, 1);
            if (before == 0) {
                return 0;
            }
        }
    }
    return before == 0 ? 0 : qatomic_fetch_inc(&mutex->locked);
}

/* Announced already. Returns when the caller owns the mutex. */
static void coroutine_fn co_mutex_lock_slowpath(CoMutex *mutex, AioContext *ctx, Coroutine *self)
{
    CoWaitRecord record = { .co = self };
    unsigned handoff;

    push_waiter(mutex, &record);

    /* ORDER: from_push before reading handoff
     * PAIRS: qemu_co_mutex_unlock()
     * ELSE:  the unlocker sees no waiter and the waiter no handoff: the mutex is free and a coroutine sleeps; QEMU
     *        e3a3b6ec81; fault co-mutex-handoff-no-barrier */
    smp_mb__after_rmw();

    handoff = qatomic_read(&mutex->handoff);
    if (handoff && has_waiters(mutex) && qatomic_cmpxchg(&mutex->handoff, handoff, 0) == handoff) {
        /* Responsible now, and the only one: nobody writes a handoff while nobody holds the mutex. */
        Coroutine *next = pop_waiter(mutex)->co;

        if (next == self) {
            qatomic_set(&mutex->ctx, ctx);
            return;
        }
        co_mutex_wake(mutex, next);
    }
    qemu_coroutine_yield();
}

void coroutine_fn qemu_co_mutex_lock(CoMutex *mutex)
{
    AioContext *ctx = qemu_get_current_aio_context();
    Coroutine *self = qemu_coroutine_self();

    core_assert(qemu_in_coroutine());
    if (co_mutex_announce(mutex, ctx) == 0) {
        qatomic_set(&mutex->ctx, ctx);
    } else {
        co_mutex_lock_slowpath(mutex, ctx, self);
    }
    mutex->holder = self;
    self->locks_held++;
}

/* ------------------------------------------------------------------------------------------- unlock */

void coroutine_fn qemu_co_mutex_unlock(CoMutex *mutex)
{
    Coroutine *self = qemu_coroutine_self();

    core_assert(qemu_in_coroutine());
    core_assert(mutex->holder == self);

    qatomic_set(&mutex->ctx, NULL);
    mutex->holder = NULL;
    self->locks_held--;
    if (qatomic_fetch_dec(&mutex->locked) == 1) {
        return;
    }

    for (;;) {
        CoWaitRecord *record = pop_waiter(mutex);
        unsigned handoff;

        if (record) {
            co_mutex_wake(mutex, record->co);
            return;
        }

        /* Somebody is announced and not yet in from_push. 0 is no number. */
        handoff = ++mutex->sequence;
        if (handoff == 0) {
            handoff = ++mutex->sequence;
        }

        /* ORDER: handoff before looking for waiters
         * PAIRS: co_mutex_lock_slowpath()
         * ELSE:  see there */
        qatomic_set_mb(&mutex->handoff, handoff);
        if (!has_waiters(mutex)) {
            return; /* whoever comes now reads the number */
        }
        if (qatomic_cmpxchg(&mutex->handoff, handoff, 0) != handoff) {
            return; /* somebody else took it and is responsible */
        }
    }
}
