/*
 * The stacks of the threads at chosen steps: taken while an execution runs, named when it is over. Kernel thread, outside executions; one
 * set of steps in a process.
 */
#ifndef WAKEFUZZ_REPORT_WATCH_H
#define WAKEFUZZ_REPORT_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "report/stacks.h"

enum { REPORT_WATCHED_MAX = 512 };

/* From now on executions take the stack of each of these steps' threads (sorted, none twice; copied), right before the step. */
bool report_watch(const size_t *steps, size_t count);

/* Those steps. */
const size_t *report_watched(size_t *count);

/* The stack at that step of the last execution; empty where it was not watched. Release with report_stack_free(). */
ReportStack report_watched_stack(size_t step);

#endif
