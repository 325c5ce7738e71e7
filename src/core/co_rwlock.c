/*
 * CoRwlock, as co_rwlock.h tells.
 *
 * Threads: any thread that runs coroutines. No function blocks the thread.
 */
#include "core/co_rwlock.h"

#include "core/coroutine_int.h"
#include "core/fatal.h"

/* One who waits; on its coroutine's stack, and gone as soon as that runs. */
struct CoRwTicket {
    bool read;
    Coroutine *co;
    STAILQ_ENTRY(CoRwTicket) next;
};

void qemu_co_rwlock_init(CoRwlock *lock)
{
    qemu_co_mutex_init(&lock->mutex);
    lock->owners = 0;
    STAILQ_INIT(&lock->tickets);
}

/* Take the first ticket out of the line where it can be served, and make its coroutine an owner. NULL: there is none, or
 * it has to wait. Under the mutex. */
static Coroutine *co_rwlock_serve_first(CoRwlock *lock)
{
    CoRwTicket *ticket = STAILQ_FIRST(&lock->tickets);

    if (!ticket || (ticket->read ? lock->owners < 0 : lock->owners != 0)) {
        return NULL;
    }
    lock->owners = ticket->read ? lock->owners + 1 : -1;
    STAILQ_REMOVE_HEAD(&lock->tickets, next);
    return ticket->co;
}

/* Let the first in the line go on, if it can. Releases the mutex. */
static void coroutine_fn co_rwlock_wake_first(CoRwlock *lock)
{
    Coroutine *co = co_rwlock_serve_first(lock);

    /* Before the wake: whoever goes on may be the last user, and free the lock. */
    qemu_co_mutex_unlock(&lock->mutex);
    if (co) {
        aio_co_wake(co);
    }
}

/* Stand in the line, release the mutex, and return when the caller has become an owner. gave_back: the caller has given back
 * its share, so that somebody before it may be able to go on; the caller itself never is, or it would not wait. */
static void coroutine_fn co_rwlock_wait(CoRwlock *lock, bool read, bool gave_back)
{
    CoRwTicket ticket = { .read = read, .co = qemu_coroutine_self() };

    STAILQ_INSERT_TAIL(&lock->tickets, &ticket, next);
    if (gave_back) {
        co_rwlock_wake_first(lock);
    } else {
        qemu_co_mutex_unlock(&lock->mutex);
    }
    qemu_coroutine_yield();
}

void coroutine_fn qemu_co_rwlock_rdlock(CoRwlock *lock)
{
    qemu_co_mutex_lock(&lock->mutex);
    if (lock->owners >= 0 && STAILQ_EMPTY(&lock->tickets)) {
        lock->owners++;
        qemu_co_mutex_unlock(&lock->mutex);
    } else {
        co_rwlock_wait(lock, true, false);

        /* The one that woke this reader has not looked any further. */
        qemu_co_mutex_lock(&lock->mutex);
        core_assert(lock->owners >= 1);
        co_rwlock_wake_first(lock);
    }
    qemu_coroutine_self()->locks_held++;
}

void coroutine_fn qemu_co_rwlock_wrlock(CoRwlock *lock)
{
    qemu_co_mutex_lock(&lock->mutex);
    if (lock->owners == 0) {
        lock->owners = -1;
        qemu_co_mutex_unlock(&lock->mutex);
    } else {
        co_rwlock_wait(lock, false, false);
        core_assert(lock->owners == -1);
    }
    qemu_coroutine_self()->locks_held++;
}

void coroutine_fn qemu_co_rwlock_upgrade(CoRwlock *lock)
{
    qemu_co_mutex_lock(&lock->mutex);
    core_assert(lock->owners > 0);
    if (lock->owners == 1 && STAILQ_EMPTY(&lock->tickets)) {
        lock->owners = -1;
        qemu_co_mutex_unlock(&lock->mutex);
    } else {
        lock->owners--;
        co_rwlock_wait(lock, false, true);
        core_assert(lock->owners == -1);
    }
}

void coroutine_fn qemu_co_rwlock_downgrade(CoRwlock *lock)
{
    qemu_co_mutex_lock(&lock->mutex);
    core_assert(lock->owners == -1);
    lock->owners = 1;
    co_rwlock_wake_first(lock);
}

void coroutine_fn qemu_co_rwlock_unlock(CoRwlock *lock)
{
    qemu_coroutine_self()->locks_held--;
    qemu_co_mutex_lock(&lock->mutex);
    core_assert(lock->owners != 0);
    lock->owners = lock->owners > 0 ? lock->owners - 1 : 0;
    co_rwlock_wake_first(lock);
}
