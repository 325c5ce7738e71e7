/*
 * Unnamed semaphores. The count is the real semaphore's. A post lets all waiters try again; those who find nothing
 * sleep again.
 *
 * The experiment at quiescence leaves these sleepers alone: the count is their whole condition, so there is nothing
 * that they could find true after a wakeup that was lost.
 */
#include <errno.h>
#include <semaphore.h>

#include "os/clock.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/waitq.h"

REAL_SYMBOL(sem_wait)
REAL_SYMBOL(sem_trywait)
REAL_SYMBOL(sem_timedwait)
REAL_SYMBOL(sem_clockwait)
REAL_SYMBOL(sem_post)

static int wait_until(sem_t *semaphore, uint64_t deadline_ns)
{
    SchedBlock block = { .call = SCHED_CALL_SEM_WAIT, .object = semaphore, .deadline_ns = deadline_ns };
    int saved_errno = errno;

    os_touch(semaphore);
    while (REAL(sem_trywait)(semaphore) != 0) {
        if (errno != EAGAIN) {
            return -1;
        }
        if (sched_now_ns() >= deadline_ns) {
            errno = ETIMEDOUT;
            return -1;
        }
        os_waitq_sleep(OS_WAIT_SEM, &block);
        os_touch(semaphore);
    }
    errno = saved_errno;
    return 0;
}

static int wait_until_time(sem_t *semaphore, clockid_t clock, const struct timespec *time)
{
    uint64_t deadline_ns;

    if ((clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) || os_deadline(clock, time, &deadline_ns)) {
        errno = EINVAL;
        return -1;
    }
    return wait_until(semaphore, deadline_ns);
}

int sem_wait(sem_t *semaphore)
{
    if (!sched_here()) {
        return REAL(sem_wait)(semaphore);
    }
    SCHED_POINT(SCHED_CALL_SEM_WAIT, semaphore);
    return wait_until(semaphore, SCHED_FOREVER);
}

int sem_trywait(sem_t *semaphore)
{
    if (sched_here()) {
        SCHED_POINT(SCHED_CALL_SEM_WAIT, semaphore);
        os_touch(semaphore);
    }
    return REAL(sem_trywait)(semaphore);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict time)
{
    if (!sched_here()) {
        return REAL(sem_timedwait)(semaphore, time);
    }
    SCHED_POINT(SCHED_CALL_SEM_WAIT, semaphore);
    return wait_until_time(semaphore, CLOCK_REALTIME, time);
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict time)
{
    if (!sched_here()) {
        return REAL(sem_clockwait)(semaphore, clock, time);
    }
    SCHED_POINT(SCHED_CALL_SEM_WAIT, semaphore);
    return wait_until_time(semaphore, clock, time);
}

int sem_post(sem_t *semaphore)
{
    int result;

    if (!sched_here()) {
        return REAL(sem_post)(semaphore);
    }
    SCHED_POINT(SCHED_CALL_SEM_POST, semaphore);
    os_touch(semaphore);
    result = REAL(sem_post)(semaphore);
    if (result == 0) {
        os_waitq_wake_all(OS_WAIT_SEM, semaphore);
    }
    return result;
}
