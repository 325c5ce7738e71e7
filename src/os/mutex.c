/*
 * Mutexes of every type. The state is the real mutex; only the waiting is simulated.
 *
 *     step | A holds the mutex                       | B
 *     -----+-----------------------------------------+------------------------------------------
 *        1 |                                         | point, finds it locked, joins the queue, sleeps
 *        2 | point, real unlock, wakes all waiters   |
 *        3 | (may lock again, or any third thread)   |
 *        4 |                                         | runs, tries again: locks, or sleeps again
 *
 * 1. A real lock function is called only where it cannot block.
 * 2. A normal mutex that its owner locks again puts it to sleep for ever; that is what it does natively.
 * 3. Between the look at the mutex and the real call there is no scheduling point.
 */
#include "os/mutex.h"

#include <errno.h>

#include "os/clock.h"
#include "os/held.h"
#include "os/os.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/thread.h"
#include "os/waitq.h"

REAL_SYMBOL(pthread_mutex_lock)
REAL_SYMBOL(pthread_mutex_trylock)
REAL_SYMBOL(pthread_mutex_timedlock)
REAL_SYMBOL(pthread_mutex_clocklock)
REAL_SYMBOL(pthread_mutex_unlock)

#define KIND_TYPE  3    /* normal, recursive, error-checking, adaptive */
#define KIND_OTHER 0x70 /* robust, priority inheritance, priority ceiling */

static int balance; /* locked minus unlocked */

static int locked(pthread_mutex_t *mutex, int error)
{
    if (error == 0) {
        balance++;
        os_held_add(mutex);
    }
    return error;
}

void os_mutex_reset(void)
{
    balance = 0;
}

int os_mutexes_left(void)
{
    return balance;
}

int os_mutex_trylock(pthread_mutex_t *mutex)
{
    return locked(mutex, REAL(pthread_mutex_trylock)(mutex));
}

static bool owner_may_relock(const pthread_mutex_t *mutex)
{
    int type = mutex->__data.__kind & KIND_TYPE;

    /* for the owner the real function of these types counts, or refuses, and does not block */
    return (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK) && mutex->__data.__owner == os_thread_tid();
}

/* Lock without blocking; EBUSY where the caller has to wait. */
static int attempt(pthread_mutex_t *mutex)
{
    os_touch(mutex);
    if (mutex->__data.__kind & KIND_OTHER) {
        return os_mutex_trylock(mutex);
    }
    if (mutex->__data.__lock != 0 && !owner_may_relock(mutex)) {
        return EBUSY;
    }
    /* lock rather than trylock, so that TSan sees the order in which locks are taken */
    return locked(mutex, REAL(pthread_mutex_lock)(mutex));
}

static int lock_slowly(pthread_mutex_t *mutex, SchedCall call, uint64_t deadline_ns)
{
    SchedBlock block = { .call = call, .object = mutex, .deadline_ns = deadline_ns };
    int error = EBUSY;

    while (error == EBUSY && sched_now_ns() < deadline_ns) {
        os_waitq_sleep(OS_WAIT_MUTEX, &block);
        error = attempt(mutex);
    }
    return error == EBUSY ? ETIMEDOUT : error;
}

int os_mutex_lock(pthread_mutex_t *mutex, SchedCall call, uint64_t deadline_ns)
{
    int error = attempt(mutex);

    return __builtin_expect(error == EBUSY, 0) ? lock_slowly(mutex, call, deadline_ns) : error;
}

int os_mutex_unlock(pthread_mutex_t *mutex)
{
    int error;

    os_touch(mutex);
    error = REAL(pthread_mutex_unlock)(mutex);
    if (error == 0) {
        balance--;
        os_held_remove(mutex);
        os_waitq_wake_all(OS_WAIT_MUTEX, mutex);
    }
    return error;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (!sched_here()) {
        return REAL(pthread_mutex_lock)(mutex);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_LOCK, mutex);
    return os_mutex_lock(mutex, SCHED_CALL_MUTEX_LOCK, SCHED_FOREVER);
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    if (!sched_here()) {
        return REAL(pthread_mutex_trylock)(mutex);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_TRYLOCK, mutex);
    os_touch(mutex);
    return os_mutex_trylock(mutex);
}

/* glibc looks at the time only when it has to wait. */
static int lock_until(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *time)
{
    uint64_t deadline_ns;
    int error = attempt(mutex);

    if (error != EBUSY) {
        return error;
    }
    if (os_deadline(clock, time, &deadline_ns)) {
        return EINVAL;
    }
    return lock_slowly(mutex, SCHED_CALL_MUTEX_TIMEDLOCK, deadline_ns);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict time)
{
    if (!sched_here()) {
        return REAL(pthread_mutex_timedlock)(mutex, time);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_TIMEDLOCK, mutex);
    return lock_until(mutex, CLOCK_REALTIME, time);
}

int pthread_mutex_clocklock(pthread_mutex_t *restrict mutex, clockid_t clock, const struct timespec *restrict time)
{
    if (!sched_here()) {
        return REAL(pthread_mutex_clocklock)(mutex, clock, time);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_TIMEDLOCK, mutex);
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) {
        return EINVAL;
    }
    return lock_until(mutex, clock, time);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (!sched_here()) {
        return REAL(pthread_mutex_unlock)(mutex);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_UNLOCK, mutex);
    return os_mutex_unlock(mutex);
}
