/*
 * What the oracles ask of a trace. A CheckTrace is a view: it owns nothing. Unless said otherwise functions are pure;
 * any thread may call them as long as no execution runs.
 */
#ifndef WAKEFUZZ_CHECK_TRACE_H
#define WAKEFUZZ_CHECK_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/sched.h"

#define CHECK_NO_STEP   SIZE_MAX
#define CHECK_NO_THREAD UINT32_MAX
#define CHECK_CLOCK     UINT16_MAX /* the thread of a step that the environment made */

typedef struct CheckTrace {
    const SchedStep *steps;
    size_t count;
} CheckTrace;

/* The trace of the last execution. */
CheckTrace check_trace(void);

/* The next four are asked of each step many times: inlined, the search for a root cause takes half the time. */

/* Which object a step touches: its ordinal, or its address where it lies on a stack and has none; 0: no object. */
static inline uint64_t check_step_object(const SchedStep *step)
{
    /* Ordinals are small; user addresses are not: the two cannot meet. */
    return step->object_id ? step->object_id : step->object;
}

/* Atomic load, or read-modify-write: the step looked at its object and found old_value. */
static inline bool check_step_reads(const SchedStep *step)
{
    return step->operation == SCHED_LOAD || step->operation == SCHED_RMW;
}

/* The step left another value than it found. */
static inline bool check_step_changes(const SchedStep *step)
{
    return (step->operation == SCHED_STORE || step->operation == SCHED_RMW) && step->old_value != step->new_value;
}

/* The same place in the program, whatever it is done to. */
static inline bool check_step_same_place(const SchedStep *a, const SchedStep *b)
{
    return a->operation == b->operation && a->call == b->call && a->pc == b->pc;
}

/* A call that may let another thread go on: signal, broadcast, futex wake, write, post. */
bool check_step_wakes(const SchedStep *step);

/* The same place in the program doing the same thing to the same object, as a number; the thread counts only if asked
 * for. */
uint64_t check_step_shape(const SchedStep *step, bool with_thread);

/* The last step before `before` at which the object was changed, or CHECK_NO_STEP. */
size_t check_last_change(CheckTrace trace, uint64_t object, size_t before);

/* The last step of that thread before `before` at which it went to sleep, or CHECK_NO_STEP. */
size_t check_last_sleep(CheckTrace trace, uint32_t thread, size_t before);

/* "main", "iothread0", "thread 3"; "the clock" for the environment's steps and for CHECK_NO_THREAD. Valid until the
 * eighth call after; kernel thread. */
const char *check_thread_name(uint32_t id);

#endif
