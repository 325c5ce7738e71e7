/*
 * The C11 names of threads, mutexes and condition variables. glibc's own forms call its internal functions, past
 * ours, so each is defined here over the same models. The types are glibc's pthread types under other names.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <threads.h>

#include "os/clock.h"
#include "os/cond.h"
#include "os/mutex.h"
#include "os/once.h"
#include "os/real.h"
#include "os/thread.h"

REAL_SYMBOL(thrd_create)
REAL_SYMBOL(thrd_join)
REAL_SYMBOL(thrd_detach)
REAL_SYMBOL(thrd_exit)
REAL_SYMBOL(thrd_sleep)
REAL_SYMBOL(thrd_yield)
REAL_SYMBOL(mtx_lock)
REAL_SYMBOL(mtx_timedlock)
REAL_SYMBOL(mtx_trylock)
REAL_SYMBOL(mtx_unlock)
REAL_SYMBOL(cnd_wait)
REAL_SYMBOL(cnd_timedwait)
REAL_SYMBOL(cnd_signal)
REAL_SYMBOL(cnd_broadcast)
REAL_SYMBOL(cnd_destroy)
REAL_SYMBOL(call_once)

_Static_assert(sizeof(mtx_t) <= sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t), "glibc's types");

static int c11_result(int error)
{
    switch (error) {
    case 0:
        return thrd_success;
    case EBUSY:
        return thrd_busy;
    case ETIMEDOUT:
        return thrd_timedout;
    case ENOMEM:
        return thrd_nomem;
    default:
        return thrd_error;
    }
}

/* ---- threads */

/* The result of a C11 thread travels through the void * of a pthread. */
static void *start(void *opaque)
{
    OsThread *self = os_thread_self();

    return (void *)(intptr_t)((thrd_start_t)self->c11_function)(opaque);
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *argument)
{
    int error;

    if (!sched_here()) {
        return REAL(thrd_create)(thread, function, argument);
    }
    SCHED_POINT(SCHED_CALL_CREATE, 0);
    error = os_thread_create(thread, false, start, argument);
    if (!error) {
        os_thread_of(sched_thread_by_handle(*thread))->c11_function = function;
    }
    return c11_result(error);
}

int thrd_join(thrd_t thread, int *result)
{
    void *value = NULL;
    int error;

    if (!sched_here()) {
        return REAL(thrd_join)(thread, result);
    }
    SCHED_POINT(SCHED_CALL_JOIN, os_thread_object(thread));
    error = os_thread_join(thread, &value, SCHED_FOREVER);
    if (!error && result) {
        *result = (int)(intptr_t)value;
    }
    return c11_result(error);
}

int thrd_detach(thrd_t thread)
{
    if (!sched_here()) {
        return REAL(thrd_detach)(thread);
    }
    SCHED_POINT(SCHED_CALL_DETACH, os_thread_object(thread));
    return c11_result(os_thread_detach(thread));
}

void thrd_exit(int result)
{
    if (!sched_here()) {
        REAL(thrd_exit)(result);
    }
    os_thread_exit((void *)(intptr_t)result);
}

int thrd_sleep(const struct timespec *span, struct timespec *left)
{
    if (!sched_here()) {
        return REAL(thrd_sleep)(span, left);
    }
    return clock_nanosleep(CLOCK_REALTIME, 0, span, left) == 0 ? 0 : -2;
}

void thrd_yield(void)
{
    if (!sched_here()) {
        REAL(thrd_yield)();
        return;
    }
    sched_yield_point(__builtin_return_address(0), __builtin_frame_address(0));
}

/* ---- mutexes */

int mtx_lock(mtx_t *mutex)
{
    if (!sched_here()) {
        return REAL(mtx_lock)(mutex);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_LOCK, mutex);
    return c11_result(os_mutex_lock((pthread_mutex_t *)mutex, SCHED_CALL_MUTEX_LOCK, SCHED_FOREVER));
}

int mtx_timedlock(mtx_t *restrict mutex, const struct timespec *restrict time)
{
    uint64_t deadline_ns;

    if (!sched_here()) {
        return REAL(mtx_timedlock)(mutex, time);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_TIMEDLOCK, mutex);
    if (os_deadline(CLOCK_REALTIME, time, &deadline_ns)) {
        return thrd_error;
    }
    return c11_result(os_mutex_lock((pthread_mutex_t *)mutex, SCHED_CALL_MUTEX_TIMEDLOCK, deadline_ns));
}

int mtx_trylock(mtx_t *mutex)
{
    if (!sched_here()) {
        return REAL(mtx_trylock)(mutex);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_TRYLOCK, mutex);
    return c11_result(os_mutex_trylock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    if (!sched_here()) {
        return REAL(mtx_unlock)(mutex);
    }
    SCHED_POINT(SCHED_CALL_MUTEX_UNLOCK, mutex);
    return c11_result(os_mutex_unlock((pthread_mutex_t *)mutex));
}

/* ---- condition variables */

int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    if (!sched_here()) {
        return REAL(cnd_wait)(cond, mutex);
    }
    SCHED_POINT(SCHED_CALL_COND_WAIT, cond);
    return c11_result(os_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, SCHED_CALL_COND_WAIT, SCHED_FOREVER));
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict time)
{
    uint64_t deadline_ns;

    if (!sched_here()) {
        return REAL(cnd_timedwait)(cond, mutex, time);
    }
    SCHED_POINT(SCHED_CALL_COND_TIMEDWAIT, cond);
    if (os_deadline(CLOCK_REALTIME, time, &deadline_ns)) {
        return thrd_error;
    }
    return c11_result(os_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, SCHED_CALL_COND_TIMEDWAIT, deadline_ns));
}

int cnd_signal(cnd_t *cond)
{
    if (!sched_here()) {
        return REAL(cnd_signal)(cond);
    }
    SCHED_POINT(SCHED_CALL_COND_SIGNAL, cond);
    os_cond_signal((pthread_cond_t *)cond);
    return thrd_success;
}

int cnd_broadcast(cnd_t *cond)
{
    if (!sched_here()) {
        return REAL(cnd_broadcast)(cond);
    }
    SCHED_POINT(SCHED_CALL_COND_BROADCAST, cond);
    os_cond_broadcast((pthread_cond_t *)cond);
    return thrd_success;
}

void cnd_destroy(cnd_t *cond)
{
    if (sched_here()) {
        SCHED_POINT(SCHED_CALL_OTHER, cond);
        os_cond_destroy((pthread_cond_t *)cond);
    }
    REAL(cnd_destroy)(cond);
}

/* ---- once */

void call_once(once_flag *flag, void (*routine)(void))
{
    if (!sched_here()) {
        REAL(call_once)(flag, routine);
        return;
    }
    SCHED_POINT(SCHED_CALL_ONCE, flag);
    os_once(&flag->__data, routine);
}
