/*
 * The driver of the simulated targets: turns bytes into an execution and an execution into a verdict. Kernel thread only.
 */
#ifndef WAKEFUZZ_FUZZ_DRIVER_H
#define WAKEFUZZ_FUZZ_DRIVER_H

#include <stdio.h>

#include "check/check.h"
#include "fuzz/fuzz.h"
#include "report/json.h"
#include "report/report.h"
#include "sched/sched.h"

/* Prepare scheduler, simulated OS, oracles and report, and run the empty input until what is built lazily stands. Exits with
 * status 2 and a message where the machine cannot. Once. */
void driver_init(void);

/* Run the target on an input and judge. Valid until the next call. Where the empty input failed already in driver_init(), that is the
 * result for each. */
const CheckResult *driver_execute(const uint8_t *data, size_t size);

/* The same with the two parts of an input apart, the scenario's bytes and a plan; and in this process even where the program forks
 * for each execution, for whoever has forked already. */
const CheckResult *driver_execute_plan(const uint8_t *scenario, size_t size, const SchedPlan *plan);

/* The scheduler's result of the last driver_execute(). */
const SchedResult *driver_result(void);

/* What makes the last execution's finding the same as another (report_finding_key()), and its one-line summary. */
void driver_describe(const CheckResult *verdict, char key[REPORT_KEY_BYTES], char *summary, size_t summary_size);

/* The report on the last execution as members of the object that is open (report/data.h); not where the program forks for each. */
void driver_write_data(Json *json, const CheckResult *verdict);

/* The empty input is a finding: whatever input is given, that execution is the result. */
bool driver_warm_up_failed(void);

/* Executions end as if the step bound were reached before this step; 0: where the target says. */
void driver_stop_before(uint64_t step);

/* After an execution that was stopped right before what ended it before: what a report is to say of it, which is the last steps and who took them. */
CheckResult driver_cut(void);

/* Called, where it is not NULL, when a sanitizer begins to report what it has found; the process ends after that. On a fiber. */
extern void (*driver_sanitizer_hook)(void);
/* Called, where it is not NULL, with each piece of text that a sanitizer prints. */
extern void (*driver_sanitizer_text)(const char *text);

/* Print the report on the last execution. name: of the input's file, for the replay command; NULL: none. */
void driver_report(FILE *stream, const CheckResult *verdict, const char *program, const char *name);

/* Print the end of a finding's report, which a fuzzing engine reads, to stderr, and abort(). After driver_report(). ClusterFuzz leaves
 * frames out that begin with "abort": where no thread is to blame, ours must not become the finding's. */
__attribute__((noreturn)) void abort_after_report(void);

/* Windows and how many executions since driver_init() entered them: those that the target declares, then any others. */
typedef struct DriverWindow {
    const char *name;
    uint64_t executions;
    bool declared;
    bool entered; /* in this execution */
} DriverWindow;
const DriverWindow *driver_windows(size_t *count);

/* What fuzz_note() was told in the last execution, a line each, "THREAD: TEXT". */
const char *driver_history(void);

/* How many executions there were since driver_init(), and how many seconds of CLOCK_MONOTONIC have passed since it began to warm up. */
uint64_t driver_executions(void);
double driver_seconds(void);

#endif
