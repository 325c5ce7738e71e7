/* What the simulated OS keeps for each thread of an execution. Fibers only. */
#ifndef WAKEFUZZ_OS_THREAD_H
#define WAKEFUZZ_OS_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "sched/sched.h"

/* Records live in a static array and are never reused within an execution: their addresses name threads in the trace.
 */
typedef struct OsThread {
    SchedThread *thread;
    void *(*function)(void *);
    void *argument;
    void *exit_value;                  /* of pthread_exit(), while cleanup handlers run */
    __pthread_unwind_buf_t *cleanups;  /* newest first, linked through __pad[0] */
    struct OsThread *joiner;           /* who sleeps in pthread_join() for this thread */
    int (*c11_function)(void *);       /* of thrd_create() */
    unsigned once_depth;               /* pthread_once() routines that this thread is running */
    sigset_t mask; /* of signals that it blocks */
    bool detached;
    bool joined;
} OsThread;

/* The record of a thread of this execution; made when it has none yet. */
OsThread *os_thread_of(SchedThread *thread);
OsThread *os_thread_self(void);
/* What names the thread with this handle in scheduling points; NULL for threads of no execution. */
const void *os_thread_object(pthread_t handle);
void os_thread_reset(void);

/* The tid that glibc has in the calling thread's descriptor and writes into the locks that it takes: the tid of the
 * parked kernel thread. gettid() inside a fiber would be the scheduler's. */
pid_t os_thread_tid(void);

/* Run the destructors of the calling thread's keys, and empty all its keys. */
void os_key_run_destructors(void);

/* The calls, after their scheduling point; pthread_ and C11 functions share them. Errors are positive, as in pthread
 * functions. */
int os_thread_create(pthread_t *handle, bool detached, void *(*function)(void *), void *argument);
int os_thread_join(pthread_t handle, void **value, uint64_t deadline_ns);
int os_thread_detach(pthread_t handle);
void os_thread_exit(void *value) __attribute__((noreturn));
int os_key_create(pthread_key_t *key, void (*destructor)(void *));
int os_key_delete(pthread_key_t key);

#endif
