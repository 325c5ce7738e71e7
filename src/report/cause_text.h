/* The root cause of a lost wakeup in words. Kernel thread, after an execution. */
#ifndef WAKEFUZZ_REPORT_CAUSE_TEXT_H
#define WAKEFUZZ_REPORT_CAUSE_TEXT_H

#include "check/check.h"
#include "report/step_text.h"

/* " cause  step 41, iothread0: reader_count 1 -> 0 made main's condition true (graph_lock.c:229);" and what follows
 * from it. */
void report_cause(FILE *out, CheckTrace trace, const CheckResult *check, const CheckExperiment *experiment);

#endif
