/*
 * The report as data, for programs that make something else of it: a JSON object. Kernel thread, after an execution.
 */
#ifndef WAKEFUZZ_REPORT_DATA_H
#define WAKEFUZZ_REPORT_DATA_H

#include "report/json.h"
#include "report/report.h"

/*
 * Write members of the object that is open: what report_print() says, in pieces, and the timeline (data_timeline.h).
 * stack: [[function, file or null, line], ...], innermost first. A step's stack is there where it was watched (watch.h).
 * Nothing in it depends on addresses.
 */
void report_write_data(Json *json, const ReportFinding *finding);

#endif
