/*
 * The text report: what a person, and ClusterFuzz, read about a finding.
 *
 * report/ stands on the trace (sched/), on check/'s result and on libdw. All functions: kernel thread, outside an
 * execution. They block only on writing.
 */
#ifndef WAKEFUZZ_REPORT_REPORT_H
#define WAKEFUZZ_REPORT_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "check/check.h"

typedef struct ReportFinding {
    const SchedResult *result;
    const CheckResult *check;  /* its verdict is not CHECK_NONE */
    const char *replay;        /* the command that shows it again, or NULL */
    size_t input_bytes;
    uint64_t execution;        /* number of the execution in this process, from 1; 0: not counted */
} ReportFinding;

/*
 * Print the report. The execution must be the last one: its fibers are asked for their stacks. Nothing in it depends
 * on addresses but the code addresses after "#N".
 */
void report_print(FILE *out, const ReportFinding *finding);

/*
 * An execution that a sanitizer or a signal has ended, done once more and stopped right before: the same without a headline, which is what
 * was said when it ended. The culprit is the thread that took the last step; the verdict says which steps are shown.
 */
void report_print_cut(FILE *out, const ReportFinding *finding);

/*
 * Print the culprit's stack once more, below the frame of abort_on_finding(), and abort(). After report_print(). The
 * name is part of the interface: ClusterFuzz leaves frames out that begin with "abort".
 */
__attribute__((noreturn)) void abort_on_finding(FILE *out);

/* What abort_on_finding() prints, for a process that leaves the abort() to its parent. */
void report_print_end(FILE *out);

/* One suspended coroutine. Valid during the visit. */
typedef struct ReportCoroutine {
    const char *name;  /* its entry function, or what its maker called it */
    uint32_t strand;   /* its number in the trace, 0: none */
    void *low, *high;  /* bounds of its stack */
    void *frame, *pc;  /* saved frame pointer and code address */
    const char *where; /* thread or context that it belongs to, may be NULL */
    const char *state; /* "yielded in bdrv_co_preadv", "scheduled", ...; may be NULL */
} ReportCoroutine;

typedef void ReportVisitCoroutine(const ReportCoroutine *coroutine, void *opaque);

/* enumerate() calls visit() for each coroutine that is suspended at the end of an execution. NULL: there are none. */
void report_set_coroutines(void (*enumerate)(ReportVisitCoroutine *visit, void *opaque));

/*
 * What makes two findings the same: the verdict with, for a lost wakeup, the waiting function, the one that should have woken it and the
 * object of its condition; for others, functions of the stack or the message. Neither addresses nor numbers enter.
 */
enum { REPORT_KEY_BYTES = 512 };
void report_finding_key(const ReportFinding *finding, char key[REPORT_KEY_BYTES]);

/* The summary without "panic: ": "missed-wakeup: main waits in ...". For tools that list findings. */
void report_summary(const ReportFinding *finding, char *text, size_t size);

#endif
