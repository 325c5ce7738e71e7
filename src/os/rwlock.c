/*
 * Read-write locks. The state is the real lock; only the waiting is simulated. An unlock lets all waiters try again.
 *
 * 1. Readers pass a waiting writer, except where the lock's kind is PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP: as
 *    in glibc.
 * 2. Who asks for a lock that it holds for writing gets EDEADLK; a reader that asks for writing sleeps for ever.
 */
#include <errno.h>
#include <pthread.h>

#include "os/clock.h"
#include "os/held.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/thread.h"
#include "os/waitq.h"

REAL_SYMBOL(pthread_rwlock_rdlock)
REAL_SYMBOL(pthread_rwlock_wrlock)
REAL_SYMBOL(pthread_rwlock_tryrdlock)
REAL_SYMBOL(pthread_rwlock_trywrlock)
REAL_SYMBOL(pthread_rwlock_timedrdlock)
REAL_SYMBOL(pthread_rwlock_timedwrlock)
REAL_SYMBOL(pthread_rwlock_clockrdlock)
REAL_SYMBOL(pthread_rwlock_clockwrlock)
REAL_SYMBOL(pthread_rwlock_unlock)

static void wake_waiters(pthread_rwlock_t *lock)
{
    os_waitq_wake_all(OS_WAIT_RWLOCK_WRITE, lock);
    os_waitq_wake_all(OS_WAIT_RWLOCK_READ, lock);
}

/* EBUSY where a reader would have to wait. */
static int try_read(pthread_rwlock_t *lock)
{
    os_touch(lock);
    if (lock->__data.__flags == PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP && os_waitq_length(OS_WAIT_RWLOCK_WRITE, lock)) {
        return EBUSY;
    }
    return REAL(pthread_rwlock_tryrdlock)(lock);
}

static int try_write(pthread_rwlock_t *lock)
{
    int error;

    os_touch(lock);
    error = REAL(pthread_rwlock_trywrlock)(lock);
    if (error == 0) {
        os_held_add(lock);
    }
    return error;
}

static int lock_until(pthread_rwlock_t *lock, bool write, uint64_t deadline_ns)
{
    SchedBlock block = {
        .call = write ? SCHED_CALL_RWLOCK_WRLOCK : SCHED_CALL_RWLOCK_RDLOCK,
        .object = lock,
        .deadline_ns = deadline_ns,
    };
    int error = write ? try_write(lock) : try_read(lock);

    if (error == EBUSY && lock->__data.__cur_writer == os_thread_tid()) {
        return EDEADLK;
    }
    while (error == EBUSY && sched_now_ns() < deadline_ns) {
        os_waitq_sleep(write ? OS_WAIT_RWLOCK_WRITE : OS_WAIT_RWLOCK_READ, &block);
        error = write ? try_write(lock) : try_read(lock);
    }
    if (error != EBUSY) {
        return error;
    }
    if (write) {
        os_waitq_wake_all(OS_WAIT_RWLOCK_READ, lock); /* readers that had to let this writer go first */
    }
    return ETIMEDOUT;
}

static int lock_until_time(pthread_rwlock_t *lock, bool write, clockid_t clock, const struct timespec *time)
{
    uint64_t deadline_ns;

    if ((clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) || os_deadline(clock, time, &deadline_ns)) {
        return EINVAL;
    }
    return lock_until(lock, write, deadline_ns);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    if (!sched_here()) {
        return REAL(pthread_rwlock_rdlock)(lock);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_RDLOCK, lock);
    return lock_until(lock, false, SCHED_FOREVER);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    if (!sched_here()) {
        return REAL(pthread_rwlock_wrlock)(lock);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_WRLOCK, lock);
    return lock_until(lock, true, SCHED_FOREVER);
}

int pthread_rwlock_tryrdlock(pthread_rwlock_t *lock)
{
    if (!sched_here()) {
        return REAL(pthread_rwlock_tryrdlock)(lock);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_RDLOCK, lock);
    return try_read(lock);
}

int pthread_rwlock_trywrlock(pthread_rwlock_t *lock)
{
    if (!sched_here()) {
        return REAL(pthread_rwlock_trywrlock)(lock);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_WRLOCK, lock);
    return try_write(lock);
}

int pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict lock, const struct timespec *restrict time)
{
    if (!sched_here()) {
        return REAL(pthread_rwlock_timedrdlock)(lock, time);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_RDLOCK, lock);
    return lock_until_time(lock, false, CLOCK_REALTIME, time);
}

int pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict lock, const struct timespec *restrict time)
{
    if (!sched_here()) {
        return REAL(pthread_rwlock_timedwrlock)(lock, time);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_WRLOCK, lock);
    return lock_until_time(lock, true, CLOCK_REALTIME, time);
}

int pthread_rwlock_clockrdlock(pthread_rwlock_t *restrict lock, clockid_t clock, const struct timespec *restrict time)
{
    if (!sched_here()) {
        return REAL(pthread_rwlock_clockrdlock)(lock, clock, time);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_RDLOCK, lock);
    return lock_until_time(lock, false, clock, time);
}

int pthread_rwlock_clockwrlock(pthread_rwlock_t *restrict lock, clockid_t clock, const struct timespec *restrict time)
{
    if (!sched_here()) {
        return REAL(pthread_rwlock_clockwrlock)(lock, clock, time);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_WRLOCK, lock);
    return lock_until_time(lock, true, clock, time);
}

int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    int error;

    if (!sched_here()) {
        return REAL(pthread_rwlock_unlock)(lock);
    }
    SCHED_POINT(SCHED_CALL_RWLOCK_UNLOCK, lock);
    os_touch(lock);
    error = REAL(pthread_rwlock_unlock)(lock);
    if (error == 0) {
        os_held_remove(lock);
        wake_waiters(lock);
    }
    return error;
}
