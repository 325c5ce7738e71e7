/*
 * Verdicts on executions: what check/ offers to the fuzz driver and to the report.
 *
 * One oracle per file; the list of verdicts is in verdict.h. check/ stands on sched/ only. Unless said otherwise
 * functions are called on the kernel thread that owns the scheduler, outside an execution, and do not block.
 */
#ifndef WAKEFUZZ_CHECK_CHECK_H
#define WAKEFUZZ_CHECK_CHECK_H

#include "check/cause.h"
#include "check/cycle.h"
#include "check/examine.h"
#include "check/trace.h"
#include "check/verdict.h"
#include "check/waits.h"

#define CHECK_MESSAGE_BYTES 512u

/* What an oracle found. Everything that verdict does not need is zero. Valid until the next execution. */
typedef struct CheckResult {
    CheckVerdict verdict;
    SchedThread *culprit;   /* whose stack explains the verdict; NULL: none in particular */
    char message[CHECK_MESSAGE_BYTES]; /* facts beyond the thread and its functions; may be empty */
    CheckCause cause;       /* missed-wakeup, late-wakeup */
    uint64_t late_ns;       /* late-wakeup: how long the condition had held when the timer would have come */
    CheckCycle loop;        /* livelock: indices into the trace; length 0: no regular loop at the end */
    uint32_t loop_threads;  /* livelock: how many threads take part */
    size_t step;            /* nondeterminism: the first step that differs; else CHECK_NO_STEP */
} CheckResult;

/* Prepare: registers check_examine() as the scheduler's examiner. After sched_init(), before the first execution,
 * once. */
void check_init(void);

/* The verdict on the last execution; CHECK_NONE for a good one. Aborts on a verdict name in result->reason that
 * verdict.h does not know: sched_fail() was called with a misspelt one. */
CheckResult check_judge(const SchedResult *result);

/* --------------------------------------------------------------------------------- what must be gone at the end */

/*
 * At the end of each good execution count() must return 0, else the verdict is `leak`. what is the singular,
 * "coroutine". describe() writes a short list of the things left, may be NULL. At most 16 kinds. Before the first
 * execution; any thread.
 */
void check_leak_register(const char *what, uint64_t (*count)(void), void (*describe)(char *text, size_t size));

/*
 * count() is the number of requests that the kernel has finished and whose submitter was never told. It must be 0
 * when an execution ends, well or asleep, else the verdict is `lost-completion`: a sleeper that can still find its
 * completion when it is woken makes it a missed wakeup instead. Otherwise as check_leak_register().
 */
void check_completion_register(const char *what, uint64_t (*count)(void), void (*describe)(char *text, size_t size));

/*
 * Steps of this function of the program only tidy up: a sleeper that did nothing else when it was woken by hand had nothing
 * to do. A name as __func__ has it, static storage; at most 16. Before the first execution; any thread. Code that looks whether there is
 * something to do says so itself (sched_look_begin()).
 */
void check_housekeeping(const char *function);

/* ------------------------------------------------------------------------------------------- the same input again */

typedef struct CheckRecording CheckRecording;

/* Keep the trace of the last execution. Release with check_recording_free(). Aborts when there is no memory. */
CheckRecording *check_record(const SchedResult *result);
void check_recording_free(CheckRecording *recording);

/* Was the last execution the recorded one again? verdict is CHECK_NONE or CHECK_NONDETERMINISM, with the first step
 * that differs. */
CheckResult check_compare(const CheckRecording *first, const SchedResult *second);

#endif
