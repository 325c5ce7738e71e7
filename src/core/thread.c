/*
 * Threads, mutexes, conditions and semaphores over pthreads. Any thread.
 *
 * Invariants
 * 1. A call that fails is a bug of the caller or the end of the machine's resources: both end the program.
 * 2. Timed waits measure CLOCK_MONOTONIC: a step of the wall clock neither shortens nor lengthens them.
 */
#include "core/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/core.h"
#include "core/defer_call.h"
#include "core/fatal.h"

static void check(int error, const char *what)
{
    if (error) {
        core_fatal("assertion", "%s: %s", what, strerror(error));
    }
}

/* ---- mutexes ---- */

void qemu_mutex_init(QemuMutex *mutex)
{
    check(pthread_mutex_init(&mutex->lock, NULL), __func__);
    mutex->initialized = true;
}

void qemu_mutex_destroy(QemuMutex *mutex)
{
    core_assert(mutex->initialized);
    mutex->initialized = false;
    check(pthread_mutex_destroy(&mutex->lock), __func__);
}

void qemu_mutex_lock(QemuMutex *mutex)
{
    core_assert(mutex->initialized);
    check(pthread_mutex_lock(&mutex->lock), __func__);
}

void qemu_mutex_unlock(QemuMutex *mutex)
{
    core_assert(mutex->initialized);
    check(pthread_mutex_unlock(&mutex->lock), __func__);
}

/* ---- conditions ---- */

void qemu_cond_init(QemuCond *cond)
{
    pthread_condattr_t attributes;

    check(pthread_condattr_init(&attributes), __func__);
    check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), __func__);
    check(pthread_cond_init(&cond->cond, &attributes), __func__);
    check(pthread_condattr_destroy(&attributes), __func__);
    cond->initialized = true;
}

void qemu_cond_destroy(QemuCond *cond)
{
    core_assert(cond->initialized);
    cond->initialized = false;
    check(pthread_cond_destroy(&cond->cond), __func__);
}

void qemu_cond_signal(QemuCond *cond)
{
    core_assert(cond->initialized);
    check(pthread_cond_signal(&cond->cond), __func__);
    core_assert(cond->initialized); /* still: its owner may have destroyed it meanwhile */
}

void qemu_cond_broadcast(QemuCond *cond)
{
    core_assert(cond->initialized);
    check(pthread_cond_broadcast(&cond->cond), __func__);
    core_assert(cond->initialized);
}

void qemu_cond_wait(QemuCond *cond, QemuMutex *mutex)
{
    core_assert(cond->initialized && mutex->initialized);
    check(pthread_cond_wait(&cond->cond, &mutex->lock), __func__);
}

static struct timespec deadline_after_ms(int timeout_ms)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_nsec -= 1000000000;
        deadline.tv_sec++;
    }
    return deadline;
}

static bool cond_wait_until(QemuCond *cond, QemuMutex *mutex, const struct timespec *deadline)
{
    int error = pthread_cond_timedwait(&cond->cond, &mutex->lock, deadline);

    if (error == ETIMEDOUT) {
        return false;
    }
    check(error, __func__);
    return true;
}

bool qemu_cond_timedwait(QemuCond *cond, QemuMutex *mutex, int timeout_ms)
{
    struct timespec deadline = deadline_after_ms(timeout_ms);

    core_assert(cond->initialized && mutex->initialized);
    return cond_wait_until(cond, mutex, &deadline);
}

/* ---- semaphores ---- */

void qemu_sem_init(QemuSemaphore *sem, unsigned count)
{
    qemu_mutex_init(&sem->mutex);
    qemu_cond_init(&sem->cond);
    sem->count = count;
}

void qemu_sem_destroy(QemuSemaphore *sem)
{
    qemu_cond_destroy(&sem->cond);
    qemu_mutex_destroy(&sem->mutex);
}

void qemu_sem_post(QemuSemaphore *sem)
{
    qemu_mutex_lock(&sem->mutex);
    sem->count++;
    qemu_cond_signal(&sem->cond);
    qemu_mutex_unlock(&sem->mutex);
}

void qemu_sem_wait(QemuSemaphore *sem)
{
    qemu_mutex_lock(&sem->mutex);
    while (sem->count == 0) {
        qemu_cond_wait(&sem->cond, &sem->mutex);
    }
    sem->count--;
    qemu_mutex_unlock(&sem->mutex);
}

int qemu_sem_timedwait(QemuSemaphore *sem, int timeout_ms)
{
    struct timespec deadline = deadline_after_ms(timeout_ms);
    int result = 0;

    qemu_mutex_lock(&sem->mutex);
    while (sem->count == 0 && result == 0) {
        if (!cond_wait_until(&sem->cond, &sem->mutex, &deadline) && sem->count == 0) {
            result = -ETIMEDOUT;
        }
    }
    if (result == 0) {
        sem->count--;
    }
    qemu_mutex_unlock(&sem->mutex);
    return result;
}

/* ---- threads ---- */

typedef struct ThreadStart {
    void *(*function)(void *);
    void *argument;
    char name[16]; /* the kernel's limit */
} ThreadStart;

static void *thread_start(void *opaque)
{
    ThreadStart start = *(ThreadStart *)opaque;
    void *result;

    free(opaque);
    core_thread_reset();
    pthread_setname_np(pthread_self(), start.name);
    result = start.function(start.argument);
    defer_call_thread_reset();
    return result;
}

void qemu_thread_create(QemuThread *thread, const char *name, void *(*function)(void *), void *argument, int mode)
{
    ThreadStart *start = calloc(1, sizeof(*start));

    core_assert(start);
    start->function = function;
    start->argument = argument;
    snprintf(start->name, sizeof(start->name), "%s", name);

    check(pthread_create(&thread->thread, NULL, thread_start, start), __func__);
    if (mode == QEMU_THREAD_DETACHED) {
        check(pthread_detach(thread->thread), __func__);
    }
}

void *qemu_thread_join(QemuThread *thread)
{
    void *result;

    check(pthread_join(thread->thread, &result), __func__);
    return result;
}
