/*
 * The experiment that tells a missed wakeup from a deadlock: each sleeper in turn is let go on as if its wait had
 * returned spuriously. If it gets somewhere, what it waited for was there, and nobody told it.
 */
#ifndef WAKEFUZZ_CHECK_EXAMINE_H
#define WAKEFUZZ_CHECK_EXAMINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/sched.h"

/* How a sleeper showed that it had something to do. */
typedef enum CheckProgress {
    CHECK_STUCK,          /* nothing changed */
    CHECK_ENDED,          /* the thread ran to its end */
    CHECK_LET_OTHERS_GO,  /* another thread can run now */
    CHECK_LEFT_ITS_WAIT,  /* it did not go to sleep in the same wait again */
    CHECK_DID_SOMETHING,  /* it did, but the first look was another than the second: work was done */
} CheckProgress;

enum { CHECK_STACK_WORDS = 2048 };

/* The stack of a sleeper from its innermost frame outwards, as it was before the experiment moved it. */
typedef struct CheckStackCopy {
    uintptr_t frame, pc; /* saved frame pointer and code address */
    uintptr_t first;     /* address of words[0] */
    size_t count;        /* words copied; 0: there is no copy */
    uint64_t words[CHECK_STACK_WORDS];
} CheckStackCopy;

typedef struct CheckExperiment {
    SchedThread *thread;  /* that made progress, or NULL */
    CheckProgress progress;
    SchedProbe probe;     /* of that thread, the successful one */
    CheckStackCopy stack; /* of that thread; else of the last one that was resumed */
    SchedBlock block;     /* what that thread was blocked on, likewise */
    unsigned asleep;      /* blocked threads before the experiment, */
    uint64_t asleep_set[SCHED_THREADS_MAX / 64]; /* which they are: bit id % 64 of word id / 64; */
    uint64_t next_deadline_ns; /* the first of their deadlines, or SCHED_FOREVER */
    unsigned examined;    /* sleepers that were resumed, in all experiments of the execution */
} CheckExperiment;

/*
 * For sched_set_examiner(). Resumes, in order of thread id, each thread whose wait may return spuriously and does not
 * merely let time pass, until one makes progress; returns it, or NULL. Kernel thread, during an execution; never
 * blocks.
 */
SchedThread *check_examine(void);

/* The last experiment of the last execution, for the oracles and the report. Kernel thread. */
const CheckExperiment *check_experiment(void);

/* Forget it; at the start of each execution. */
void check_experiment_reset(void);

#endif
