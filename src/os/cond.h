/* What C11 condition variables use of the model. Fibers only; no scheduling points inside. Errors are positive. */
#ifndef WAKEFUZZ_OS_COND_H
#define WAKEFUZZ_OS_COND_H

#include <pthread.h>

#include "sched/sched.h"

int os_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, SchedCall call, uint64_t deadline_ns);
void os_cond_signal(pthread_cond_t *cond);
void os_cond_broadcast(pthread_cond_t *cond);
void os_cond_destroy(pthread_cond_t *cond);

#endif
