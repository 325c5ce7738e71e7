/*
 * Raw stacks: the code addresses of a thread's frames. Kernel thread, after an execution.
 */
#ifndef WAKEFUZZ_REPORT_UNWINDER_H
#define WAKEFUZZ_REPORT_UNWINDER_H

#include "check/examine.h"
#include "sched/sched.h"

enum { REPORT_PCS_MAX = 8192 };

/* Addresses to look up, innermost first: of a return address the one before. */
typedef struct ReportPcs {
    uintptr_t at[REPORT_PCS_MAX];
    unsigned count;
} ReportPcs;

/* Append the stack of a parked thread that has run: it unwinds itself, on its own stack, and goes back to where it
 * was. */
void report_unwind_thread(SchedThread *thread, ReportPcs *pcs);

/* Append the stack of the caller, a thread of an execution; no I/O, no memory. */
void report_unwind_here(ReportPcs *pcs);

/* Append the stack that the copy shows, by the unwind information of the code; where that fails, by frame pointers. */
void report_unwind_copy(const CheckStackCopy *copy, ReportPcs *pcs);

/* Append pc and the return addresses along the frame pointers, never reading outside [low, high). */
void report_walk_frames(const void *frame, const void *pc, const void *low, const void *high, ReportPcs *pcs);

#endif
