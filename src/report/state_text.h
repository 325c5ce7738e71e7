/*
 * Words for how things stood when the execution ended. Kernel thread, after an execution.
 */
#ifndef WAKEFUZZ_REPORT_STATE_TEXT_H
#define WAKEFUZZ_REPORT_STATE_TEXT_H

#include "check/check.h"
#include "report/text.h"

/* What the thread did at the end: "asleep in poll", "could run". */
void report_add_state(Text *text, uint32_t id);

/* How the execution ended: "quiescent: 2 threads asleep, no timer, no I/O". */
void report_add_end(Text *text, const SchedResult *result, unsigned asleep);

#endif
