/*
 * Threads, mutexes, conditions, semaphores, and the big lock ("BQL").
 *
 * The names and the semantics are those of QEMU's include/qemu/thread.h and include/qemu/main-loop.h. Everything here
 * may be called by any thread. A function that fails for want of resources, or that is used against its rules, ends
 * the program by core_fatal().
 */
#ifndef WAKEFUZZ_CORE_THREAD_H
#define WAKEFUZZ_CORE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct QemuMutex {
    pthread_mutex_t lock;
    bool initialized;
} QemuMutex;

typedef struct QemuCond {
    pthread_cond_t cond; /* its timed waits use CLOCK_MONOTONIC */
    bool initialized;
} QemuCond;

typedef struct QemuSemaphore {
    QemuMutex mutex;
    QemuCond cond;
    unsigned count; /* protected by mutex */
} QemuSemaphore;

typedef struct QemuThread {
    pthread_t thread;
} QemuThread;

enum { QEMU_THREAD_JOINABLE, QEMU_THREAD_DETACHED };

/* Not recursive: a second lock by its holder is a deadlock, as in QEMU. Only qemu_mutex_lock() may block. */
void qemu_mutex_init(QemuMutex *mutex);
void qemu_mutex_destroy(QemuMutex *mutex);
void qemu_mutex_lock(QemuMutex *mutex);
void qemu_mutex_unlock(QemuMutex *mutex);

void qemu_cond_init(QemuCond *cond);
void qemu_cond_destroy(QemuCond *cond);
/*
 * Wake one waiter, or all. Call them with the mutex held, or the object may be gone between unlock and signal
 * (f4f71363fc).
 */
void qemu_cond_signal(QemuCond *cond);
void qemu_cond_broadcast(QemuCond *cond);
/* Unlocks the mutex, sleeps, locks it again. May return without a signal: wait in a loop. */
void qemu_cond_wait(QemuCond *cond, QemuMutex *mutex);
/* The same with a limit, 0 or more milliseconds. Returns false when the time ran out. */
bool qemu_cond_timedwait(QemuCond *cond, QemuMutex *mutex, int timeout_ms);

void qemu_sem_init(QemuSemaphore *sem, unsigned count);
void qemu_sem_destroy(QemuSemaphore *sem);
void qemu_sem_post(QemuSemaphore *sem);
/* Blocks until the count is above 0 and takes 1 from it. */
void qemu_sem_wait(QemuSemaphore *sem);
/* Returns 0, or -ETIMEDOUT after timeout_ms milliseconds. */
int qemu_sem_timedwait(QemuSemaphore *sem, int timeout_ms);

/*
 * Starts a thread that runs function(argument). name is copied; the kernel shows its first 15 characters. mode is
 * QEMU_THREAD_JOINABLE or QEMU_THREAD_DETACHED. The new thread starts with fresh thread variables
 * (core_thread_reset()).
 */
void qemu_thread_create(QemuThread *thread, const char *name, void *(*function)(void *), void *argument, int mode);
/* Blocks until the thread has ended; returns what its function returned. Joinable threads only, once each. */
void *qemu_thread_join(QemuThread *thread);

/*
 * The big lock. The main thread holds it except while main_loop_wait() sleeps; any other thread that holds it counts
 * as being in the main context (see qemu_get_current_aio_context()), as QEMU's vCPU threads do.
 */
void bql_lock(void); /* blocks */
void bql_unlock(void);
bool bql_locked(void); /* by the calling thread */

/* Parts of core_init(), core_reset() and core_thread_reset(). */
void bql_init(void);
void bql_destroy(void);
void bql_thread_reset(void);

#endif
