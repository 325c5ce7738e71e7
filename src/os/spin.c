/* Spin locks. The state is the real lock. Who finds it taken sleeps instead of spinning: nobody else could run
 * otherwise. */
#include <errno.h>
#include <pthread.h>

#include "os/held.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/waitq.h"

REAL_SYMBOL(pthread_spin_lock)
REAL_SYMBOL(pthread_spin_trylock)
REAL_SYMBOL(pthread_spin_unlock)

int pthread_spin_lock(pthread_spinlock_t *lock)
{
    SchedBlock block = { .call = SCHED_CALL_SPIN_LOCK, .object = (const void *)lock, .deadline_ns = SCHED_FOREVER };
    int error;

    if (!sched_here()) {
        return REAL(pthread_spin_lock)(lock);
    }
    SCHED_POINT(SCHED_CALL_SPIN_LOCK, lock);
    os_touch((const void *)lock);
    while ((error = REAL(pthread_spin_trylock)(lock)) == EBUSY) {
        os_waitq_sleep(OS_WAIT_SPIN, &block);
    }
    if (error == 0) {
        os_held_add(lock);
    }
    return error;
}

int pthread_spin_trylock(pthread_spinlock_t *lock)
{
    int error;

    if (!sched_here()) {
        return REAL(pthread_spin_trylock)(lock);
    }
    SCHED_POINT(SCHED_CALL_SPIN_LOCK, lock);
    os_touch((const void *)lock);
    error = REAL(pthread_spin_trylock)(lock);
    if (error == 0) {
        os_held_add(lock);
    }
    return error;
}

int pthread_spin_unlock(pthread_spinlock_t *lock)
{
    int error;

    if (!sched_here()) {
        return REAL(pthread_spin_unlock)(lock);
    }
    SCHED_POINT(SCHED_CALL_SPIN_UNLOCK, lock);
    os_touch((const void *)lock);
    error = REAL(pthread_spin_unlock)(lock);
    os_held_remove(lock);
    os_waitq_wake_all(OS_WAIT_SPIN, lock);
    return error;
}
