/*
 * Condition variables. The real object is used only for its attributes: which clock its deadlines mean.
 *
 *     step | waiter, holds the mutex                        | signaller
 *     -----+------------------------------------------------+---------------------------------------------
 *        1 | point; joins the queue of the condition        |
 *        2 | unlocks the mutex, wakes who waits for it      |
 *        3 | sleeps (1-3 are one step: nobody runs between) |
 *        4 |                                                | point; takes one waiter out, or all, and wakes them
 *        5 | runs, locks the mutex, or sleeps for it        |
 *
 * 1. A signal with nobody in the queue does nothing and is not remembered.
 * 2. Which waiter a signal takes is a decision; first-in-first-out is choice 0.
 * 3. A waiter that the experiment resumes, or whose deadline has come, leaves the queue before anybody can signal it
 *    again.
 */
#include "os/cond.h"

#include <errno.h>

#include "os/clock.h"
#include "os/mutex.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/waitq.h"

REAL_SYMBOL(pthread_cond_wait)
REAL_SYMBOL(pthread_cond_timedwait)
REAL_SYMBOL(pthread_cond_clockwait)
REAL_SYMBOL(pthread_cond_signal)
REAL_SYMBOL(pthread_cond_broadcast)
REAL_SYMBOL(pthread_cond_destroy)

#define WREFS_MONOTONIC 2u /* glibc: bit of __wrefs set by pthread_cond_init() for CLOCK_MONOTONIC */

int os_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, SchedCall call, uint64_t deadline_ns)
{
    SchedBlock block = { .call = call, .spurious_ok = true, .object = cond, .deadline_ns = deadline_ns };
    OsWaiter waiter = { 0 };
    SchedWake wake = SCHED_TIMEOUT;
    int error;

    os_touch(cond);
    os_waitq_join(OS_WAIT_COND, cond, &waiter);
    error = os_mutex_unlock(mutex);
    if (error) {
        os_waitq_leave(&waiter);
        return error;
    }
    if (sched_now_ns() < deadline_ns) {
        wake = sched_block(&block);
    }
    os_waitq_leave(&waiter);
    os_waitq_wake_all(OS_WAIT_COND_DESTROY, cond);
    error = os_mutex_lock(mutex, SCHED_CALL_MUTEX_LOCK, SCHED_FOREVER);
    if (error) {
        return error;
    }
    return wake == SCHED_TIMEOUT ? ETIMEDOUT : 0;
}

int pthread_cond_wait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex)
{
    if (!sched_here()) {
        return REAL(pthread_cond_wait)(cond, mutex);
    }
    SCHED_POINT(SCHED_CALL_COND_WAIT, cond);
    return os_cond_wait(cond, mutex, SCHED_CALL_COND_WAIT, SCHED_FOREVER);
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, const struct timespec *restrict time)
{
    uint64_t deadline_ns;

    if (!sched_here()) {
        return REAL(pthread_cond_timedwait)(cond, mutex, time);
    }
    SCHED_POINT(SCHED_CALL_COND_TIMEDWAIT, cond);
    if (os_deadline(cond->__data.__wrefs & WREFS_MONOTONIC ? CLOCK_MONOTONIC : CLOCK_REALTIME, time, &deadline_ns)) {
        return EINVAL;
    }
    return os_cond_wait(cond, mutex, SCHED_CALL_COND_TIMEDWAIT, deadline_ns);
}

int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, clockid_t clock,
                           const struct timespec *restrict time)
{
    uint64_t deadline_ns;

    if (!sched_here()) {
        return REAL(pthread_cond_clockwait)(cond, mutex, clock, time);
    }
    SCHED_POINT(SCHED_CALL_COND_TIMEDWAIT, cond);
    if ((clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) || os_deadline(clock, time, &deadline_ns)) {
        return EINVAL;
    }
    return os_cond_wait(cond, mutex, SCHED_CALL_COND_TIMEDWAIT, deadline_ns);
}

void os_cond_signal(pthread_cond_t *cond)
{
    OsWaitQueue *queue;

    os_touch(cond);
    queue = os_waitq_waiting[OS_WAIT_COND] ? os_waitq_find(OS_WAIT_COND, cond) : NULL;
    if (queue) {
        sched_queue_wake_chosen(&queue->queue);
    }
}

int pthread_cond_signal(pthread_cond_t *cond)
{
    if (!sched_here()) {
        return REAL(pthread_cond_signal)(cond);
    }
    SCHED_POINT(SCHED_CALL_COND_SIGNAL, cond);
    os_cond_signal(cond);
    return 0;
}

void os_cond_broadcast(pthread_cond_t *cond)
{
    os_touch(cond);
    os_waitq_wake_all(OS_WAIT_COND, cond);
}

int pthread_cond_broadcast(pthread_cond_t *cond)
{
    if (!sched_here()) {
        return REAL(pthread_cond_broadcast)(cond);
    }
    SCHED_POINT(SCHED_CALL_COND_BROADCAST, cond);
    os_cond_broadcast(cond);
    return 0;
}

/* Like glibc, wait for those who sleep on it or were woken and have not left yet. */
void os_cond_destroy(pthread_cond_t *cond)
{
    SchedBlock block = { .call = SCHED_CALL_OTHER, .object = cond, .deadline_ns = SCHED_FOREVER };

    while (os_waitq_waiting[OS_WAIT_COND] && os_waitq_find(OS_WAIT_COND, cond)) {
        os_waitq_sleep(OS_WAIT_COND_DESTROY, &block);
    }
}

int pthread_cond_destroy(pthread_cond_t *cond)
{
    if (sched_here()) {
        SCHED_POINT(SCHED_CALL_OTHER, cond);
        os_cond_destroy(cond);
    }
    return REAL(pthread_cond_destroy)(cond);
}
