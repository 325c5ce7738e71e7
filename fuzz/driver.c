/* See driver.h. The scenario runs on thread 0 of an execution; everything else here runs on the kernel thread. */
#include "fuzz/driver.h"

#include <glib.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz/forked.h"
#include "fuzz/program.h"
#include "os/os.h"
#include "report/symbolize.h"
#include "report/report.h"

#define WARM_UP_EXECUTIONS 3u
#define WINDOWS_MAX        64u

/* What an execution leaves; of one in a child, copied to where the parent finds it. Pointers are into static storage. */
typedef struct Outcome {
    SchedResult result;
    CheckResult verdict;
    DriverWindow windows[WINDOWS_MAX];
    size_t window_count;
    char message[1024]; /* result.message */
    SchedOverride deviations[SCHED_DEVIATIONS_MAX];
} Outcome;

static const SchedResult *last_result;
static CheckResult last_verdict;
static const uint8_t *last_data;
static size_t last_size;
static Outcome *outcome; /* shared; NULL: this program does not fork */
static uint64_t executions;
static double started;
static DriverWindow windows[WINDOWS_MAX];
static size_t window_count;
static bool warm_up_failed; /* by last_verdict: each input is said to fail like this */

/* ---- what a target reports */

void fuzz_violated(const char *format, ...)
{
    char message[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    sched_fail("assertion", "%s", message);
}

/* ---- windows */

void fuzz_reached(const char *window)
{
    size_t i = 0;

    while (i < window_count && windows[i].name != window && strcmp(windows[i].name, window) != 0) {
        i++;
    }
    if (i == WINDOWS_MAX) {
        return;
    }
    if (i == window_count) {
        windows[window_count++].name = window;
    }
    if (!windows[i].entered) {
        windows[i].entered = true;
        windows[i].executions++;
    }
}

static void declare_windows(void)
{
    for (const char *const *name = fuzz_target.windows; name && *name && window_count < WINDOWS_MAX; name++) {
        windows[window_count++] = (DriverWindow){ .name = *name, .declared = true };
    }
}

/* The empty inputs of the warm-up are no part of anybody's corpus. */
static void forget_windows(void)
{
    for (size_t i = 0; i < window_count; i++) {
        windows[i].executions = 0;
    }
}

const DriverWindow *driver_windows(size_t *count)
{
    *count = window_count;
    return windows;
}

/* ---- executions */

static void body(void *opaque)
{
    driver_program.run(opaque);
}

static void execute(void)
{
    SchedPlan plan;
    size_t plan_bytes = sched_plan_decode(&plan, last_data, last_size);
    FuzzInput input = { .data = last_data, .size = last_size - plan_bytes };
    SchedLimits limits = { .steps = fuzz_target.steps_max, .late_ns = fuzz_target.late_ns };

    last_result = sched_run(body, &input, &plan, &limits);
    last_verdict = check_judge(last_result);
}

static void execute_in_child(void *unused)
{
    (void)unused;
    execute();
    sched_share_publish();
    outcome->result = *last_result;
    outcome->verdict = last_verdict;
    if (last_result->message) {
        snprintf(outcome->message, sizeof(outcome->message), "%s", last_result->message);
        outcome->result.message = outcome->message;
    }
    memcpy(outcome->deviations, last_result->deviations, last_result->deviation_count * sizeof(SchedOverride));
    outcome->result.deviations = outcome->deviations;
    memcpy(outcome->windows, windows, sizeof(windows));
    outcome->window_count = window_count;
}

static void take_over(void)
{
    sched_share_collect();
    last_result = &outcome->result;
    last_verdict = outcome->verdict;
    memcpy(windows, outcome->windows, sizeof(windows));
    window_count = outcome->window_count;
}

const CheckResult *driver_execute(const uint8_t *data, size_t size)
{
    executions++;
    if (warm_up_failed) {
        return &last_verdict; /* what failed has left the core's globals as they were: nothing can follow it */
    }
    last_data = data;
    last_size = size;
    for (size_t i = 0; i < window_count; i++) {
        windows[i].entered = false;
    }
    if (outcome) {
        forked_run(execute_in_child, NULL);
        take_over();
    } else {
        execute();
    }
    return &last_verdict;
}

const SchedResult *driver_result(void)
{
    return last_result;
}

uint64_t driver_executions(void)
{
    return executions;
}

static double now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double driver_seconds(void)
{
    return now_seconds() - started;
}

/* ---- reports */

typedef struct Report {
    FILE *stream;
    const CheckResult *verdict;
    const char *program, *name;
    bool again; /* print the end of the report alone, and abort */
} Report;

static void report(const Report *report)
{
    char *replay = report->name ? g_strdup_printf("%s %s", report->program, report->name) : NULL;
    ReportFinding finding = {
        .result = last_result,
        .check = report->verdict,
        .replay = replay,
        .input_bytes = last_size,
        .execution = executions,
    };

    report_print(report->stream, &finding);
    fprintf(report->stream, "%.3f s after the first execution\n", driver_seconds());
    g_free(replay);
}

/* The stacks to be printed were in a child that is gone: its execution is done once more. */
static void report_in_child(void *opaque)
{
    Report *wanted = opaque;
    uint64_t hash = last_result->trace_hash;

    execute();
    if (last_result->trace_hash != hash && wanted->verdict->verdict != CHECK_NONDETERMINISM) {
        fprintf(wanted->stream, "panic: nondeterminism: the execution that found %s was another one than its repetition\n",
                check_verdict_name(wanted->verdict->verdict));
        return;
    }
    if (wanted->verdict->verdict != CHECK_NONDETERMINISM) {
        wanted->verdict = &last_verdict;
    }
    report(wanted);
}

void driver_report(FILE *stream, const CheckResult *verdict, const char *program, const char *name)
{
    Report wanted = { .stream = stream, .verdict = verdict, .program = program, .name = name };

    if (outcome) {
        forked_run(report_in_child, &wanted);
    } else {
        report(&wanted);
    }
}

static void report_end_in_child(void *opaque)
{
    Report *wanted = opaque;

    execute();
    wanted->verdict = &last_verdict;
    wanted->stream = fopen("/dev/null", "w");
    if (wanted->stream && last_verdict.verdict != CHECK_NONE) {
        report(wanted);
    }
    report_print_end(stderr);
}

void driver_abort(void)
{
    if (outcome) {
        forked_run(report_end_in_child, &(Report){ 0 });
    } else {
        report_print_end(stderr);
    }
    fflush(NULL);
    abort();
}

/* ---- start */

void driver_init(void)
{
    if (sched_init()) {
        exit(2);
    }
    os_init();
    check_init();
    sched_set_namer(driver_program.forks ? forked_namer : report_site_namer);
    if (driver_program.forks) {
        outcome = forked_alloc(sizeof(*outcome));
        if (sched_share_with_children()) {
            fprintf(stderr, "wakefuzz: cannot share memory with children\n");
            exit(2);
        }
    }
    driver_program.init();
    declare_windows();
    started = now_seconds();
    for (unsigned i = 0; i < WARM_UP_EXECUTIONS && !warm_up_failed; i++) {
        warm_up_failed = driver_execute(NULL, 0)->verdict != CHECK_NONE && !outcome; /* a child leaves nothing */
    }
    executions = 0;
    forget_windows();
}
