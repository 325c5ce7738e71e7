/*
 * The inside of the job layer, for the two files that implement it: job.c lets the coroutine run, sleep and pause,
 * job_finish.c brings jobs to an end.
 *
 * Threads and invariants: job.h. All of these with job_mutex held.
 */
#ifndef WAKEFUZZ_CORE_JOB_INT_H
#define WAKEFUZZ_CORE_JOB_INT_H

#include "core/job.h"

/* Aborts where the table does not allow it. */
void job_state_transition_locked(Job *job, JobStatus status);

void job_event_idle_locked(Job *job);

/* A bottom half of the main context that completes the job; takes the mutex itself. */
void job_exit(void *opaque);

/* The job's own reference goes. May drop the mutex. Main. */
void job_do_dismiss_locked(Job *job);

#endif
