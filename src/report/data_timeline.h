/* Who ran, slept and woke whom, as data. Kernel thread, after an execution. */
#ifndef WAKEFUZZ_REPORT_DATA_TIMELINE_H
#define WAKEFUZZ_REPORT_DATA_TIMELINE_H

#include "check/check.h"
#include "report/json.h"

/*
 * Members of the object that is open, all of them about steps from `from` on, the latest where there are too many:
 *
 *   runs     [thread, first step, last step, coroutine]      it ran, alone, and the coroutine in it (0: none)
 *   sleeps   [thread, step, next step of the thread]         from falling asleep to going on; the trace's length: it never did
 *   wakes    [step, thread, woken thread, its next step]     the step let the other one go on; thread 65535 is the clock
 *   kicks    [step, thread, other thread, its step]          an eventfd was written that nobody slept on, and then read
 */
void report_data_timeline(Json *json, CheckTrace trace, size_t from);

#endif
