/* What condition variables and C11 mutexes use of the mutex model. Fibers only; no scheduling points inside. Errors
 * are positive. */
#ifndef WAKEFUZZ_OS_MUTEX_H
#define WAKEFUZZ_OS_MUTEX_H

#include <pthread.h>

#include "sched/sched.h"

/* Lock, sleeping if need be. ETIMEDOUT after deadline_ns. */
int os_mutex_lock(pthread_mutex_t *mutex, SchedCall call, uint64_t deadline_ns);
int os_mutex_trylock(pthread_mutex_t *mutex);
int os_mutex_unlock(pthread_mutex_t *mutex);
void os_mutex_reset(void);

#endif
