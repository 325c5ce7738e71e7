/*
 * What is known about a finding once every thread has been asked for its stack, and the one line that sums it up.
 * Kernel thread, after an execution.
 */
#ifndef WAKEFUZZ_REPORT_SUMMARY_H
#define WAKEFUZZ_REPORT_SUMMARY_H

#include "report/report.h"
#include "report/stacks.h"

enum { REPORT_SUMMARY_BYTES = 768, REPORT_TOKEN_BYTES = 384, REPORT_HASH_BYTES = 9, REPORT_TOKEN_FUNCTIONS = 3 };

typedef struct ReportFacts {
    ReportStack *stacks;   /* by thread id */
    uint32_t thread_count;
    uint32_t culprit;      /* CHECK_NO_THREAD: none */
    unsigned asleep;       /* blocked threads, when nobody could go on */
    CheckCycle recursion;  /* stack-overflow; length 0: none found */
    char recursion_text[384];
} ReportFacts;

/* Take all stacks. Release with report_facts_free(). */
void report_facts_gather(const ReportFinding *finding, ReportFacts *facts);
void report_facts_free(ReportFacts *facts);

/* The culprit's stack, or an empty one. */
const ReportStack *report_culprit_stack(const ReportFacts *facts);

/* The function in which a missed or late wakeup's waiter waits; the one that should have woken it, NULL where that is unknown. */
const char *report_waiter_function(const ReportFinding *finding, const ReportFacts *facts);
const char *report_waker_function(const ReportFinding *finding);

/* "missed-wakeup: main waits in A, B did not wake it": one line, without the final newline. */
void report_sentence(const ReportFinding *finding, const ReportFacts *facts, char text[REPORT_SUMMARY_BYTES]);

/* "missed-wakeup--A--B--C": the verdict and up to three functions. The same for the same bug, whatever the schedule. */
void report_dedup_token(const ReportFinding *finding, const ReportFacts *facts, char token[REPORT_TOKEN_BYTES]);

/* What was left or lost where no thread is to blame: "2 file descriptors (eventfd 512), 1 coroutine" has the kinds "file descriptor" and "coroutine".
 * A kind has no terminating zero. A message of another shape has none. */
typedef void ReportVisitKind(const char *kind, size_t length, void *opaque);
void report_each_kind(const char *message, ReportVisitKind *visit, void *opaque);

/* Eight letters for the token. ClusterFuzz keeps letters where it drops digits. */
void report_letters_hash(const char *token, char letters[REPORT_HASH_BYTES]);

#endif
