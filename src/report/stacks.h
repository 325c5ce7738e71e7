/*
 * Stacks of threads and coroutines as a person reads them: the first frame is the libc call in which the thread
 * sleeps, as a debugger would show it; the simulated OS, the scheduler and the start of the thread are left out.
 *
 * Kernel thread only, after an execution and before the next one.
 */
#ifndef WAKEFUZZ_REPORT_STACKS_H
#define WAKEFUZZ_REPORT_STACKS_H

#include <stdio.h>

#include "report/report.h"
#include "report/symbolize.h"
#include "sched/sched.h"

typedef struct ReportStack {
    const ReportFrame **frames; /* innermost first */
    unsigned count;
    bool cut;                   /* there were more frames than are ever kept */
} ReportStack;

/* The stack of a thread that has not ended; empty where it has, or has not run yet (a culprit has). Of the thread
 * that the experiment moved: as it was before. */
ReportStack report_stack_of_thread(SchedThread *thread, bool is_culprit);

/* The stack of a suspended coroutine, by its frame pointers; never reads outside [low, high). */
ReportStack report_stack_of_coroutine(const ReportCoroutine *coroutine);

/* The stack that these addresses are, innermost first, as the unwinder takes them. */
ReportStack report_stack_of_pcs(const uintptr_t *taken, unsigned count, bool cut);

void report_stack_free(ReportStack *stack);

/*
 * "    #0 0x... in ppoll src/os/poll.c:12", one line a frame, the numbers from `first`. Of more than `most` frames
 * the middle ones are left out, and counted.
 */
void report_stack_print(FILE *out, const ReportStack *stack, unsigned first, unsigned most);

/* Drop the frames that are nobody's concern, in place; returns the new count. For report_stack_of_thread() and its
 * test. */
unsigned report_stack_trim(const ReportFrame **frames, unsigned count);

/*
 * The function in which the thread waits: the innermost that is neither a libc call nor a general waiting function
 * (aio_poll and its kind). hint, the function that last looked at the condition, wins where it is on the stack and no
 * general one; may be NULL. "??" for an empty stack. Static storage.
 */
const char *report_waiting_function(const ReportStack *stack, const char *hint);

/* The coroutines that were registered, in order of the enumerator. */
void report_each_coroutine(ReportVisitCoroutine *visit, void *opaque);

#endif
