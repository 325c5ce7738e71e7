/*
 * A lock of either kind, as an argument: the mutex of threads (QemuMutex) or the mutex of coroutines (CoMutex).
 *
 * Functions that must drop a lock while they sleep take a QemuLockable pointer and so work with both.
 * QEMU_MAKE_LOCKABLE(&mutex) builds one, chosen by the type of its argument; it lives until the end of the enclosing
 * block. NULL stands for "no lock".
 *
 * QEMU_LOCK_GUARD(&mutex) takes a lock until the end of the enclosing block, and WITH_QEMU_LOCK_GUARD(&mutex) { ... }
 * for the statement that follows.
 *
 * Threads: any. Taking a CoMutex yields and needs a coroutine; taking a QemuMutex blocks the thread. From QEMU:
 * include/qemu/lockable.h.
 */
#ifndef WAKEFUZZ_CORE_LOCKABLE_H
#define WAKEFUZZ_CORE_LOCKABLE_H

#include "core/co_mutex.h"
#include "core/thread.h"

typedef struct QemuLockable {
    void *object;
    void (*lock)(void *object);
    void (*unlock)(void *object);
} QemuLockable;

static inline void qemu_lockable_mutex_lock(void *object)
{
    qemu_mutex_lock((QemuMutex *)object);
}

static inline void qemu_lockable_mutex_unlock(void *object)
{
    qemu_mutex_unlock((QemuMutex *)object);
}

static inline void qemu_lockable_co_mutex_lock(void *object)
{
    qemu_co_mutex_lock((CoMutex *)object);
}

static inline void qemu_lockable_co_mutex_unlock(void *object)
{
    qemu_co_mutex_unlock((CoMutex *)object);
}

static inline void qemu_lockable_lock(QemuLockable *lockable)
{
    lockable->lock(lockable->object);
}

static inline void qemu_lockable_unlock(QemuLockable *lockable)
{
    lockable->unlock(lockable->object);
}

#define QEMU_LOCKABLE_OF_(pointer, kind) \
    (&(QemuLockable){ .object = (pointer), .lock = qemu_lockable_##kind##_lock, .unlock = qemu_lockable_##kind##_unlock })

/* A QemuLockable for a QemuMutex *, a CoMutex *, or a QemuLockable * (returned as it is). The argument is not NULL. */
#define QEMU_MAKE_LOCKABLE(pointer)                     \
    _Generic((pointer),                                 \
        QemuLockable *: (pointer),                      \
        QemuMutex *: QEMU_LOCKABLE_OF_(pointer, mutex), \
        CoMutex *: QEMU_LOCKABLE_OF_(pointer, co_mutex))

static inline QemuLockable qemu_lockable_guard_begin(QemuLockable *lockable)
{
    qemu_lockable_lock(lockable);
    return *lockable;
}

static inline void qemu_lockable_guard_end(QemuLockable *guard)
{
    if (guard->object) {
        qemu_lockable_unlock(guard);
    }
}

#define QEMU_LOCKABLE_GUARD_  __attribute__((cleanup(qemu_lockable_guard_end), unused)) QemuLockable
#define LOCKABLE_PASTE_(a, b) a##b
#define LOCKABLE_NAME_(a, b)  LOCKABLE_PASTE_(a, b)

#define QEMU_LOCK_GUARD(pointer) \
    QEMU_LOCKABLE_GUARD_ LOCKABLE_NAME_(lock_guard_, __COUNTER__) = qemu_lockable_guard_begin(QEMU_MAKE_LOCKABLE(pointer))

/* A loop of one turn: `break` leaves the statement, and return unlocks too. */
#define WITH_QEMU_LOCK_GUARD(pointer)                                                                                   \
    for (QEMU_LOCKABLE_GUARD_ with_guard_ = qemu_lockable_guard_begin(QEMU_MAKE_LOCKABLE(pointer)); with_guard_.object; \
         qemu_lockable_guard_end(&with_guard_), with_guard_.object = NULL)

#endif
