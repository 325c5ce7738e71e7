/* See driver.h. The scenario runs on thread 0 of an execution; everything else here runs on the kernel thread. */
#include "fuzz/driver.h"

#include <glib.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz/program.h"
#include "os/os.h"
#include "report/symbolize.h"
#include "report/report.h"

#define WARM_UP_EXECUTIONS 3u
#define WINDOWS_MAX        64u

typedef struct Scenario {
    FuzzInput input;
} Scenario;

static const SchedResult *last_result;
static CheckResult last_verdict;
static size_t last_size;
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
    Scenario *scenario = opaque;

    driver_program.run(&scenario->input);
}

const CheckResult *driver_execute(const uint8_t *data, size_t size)
{
    SchedPlan plan;
    size_t plan_bytes = sched_plan_decode(&plan, data, size);
    Scenario scenario = { .input = { .data = data, .size = size - plan_bytes } };
    SchedLimits limits = { .steps = fuzz_target.steps_max, .late_ns = fuzz_target.late_ns };

    executions++;
    if (warm_up_failed) {
        return &last_verdict; /* what failed has left the core's globals as they were: nothing can follow it */
    }
    last_size = size;
    for (size_t i = 0; i < window_count; i++) {
        windows[i].entered = false;
    }
    last_result = sched_run(body, &scenario, &plan, &limits);
    last_verdict = check_judge(last_result);
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

void driver_report(FILE *stream, const CheckResult *verdict, const char *program, const char *name)
{
    char *replay = name ? g_strdup_printf("%s %s", program, name) : NULL;
    ReportFinding finding = {
        .result = last_result,
        .check = verdict,
        .replay = replay,
        .input_bytes = last_size,
        .execution = executions,
    };

    report_print(stream, &finding);
    fprintf(stream, "%.3f s after the first execution\n", driver_seconds());
    g_free(replay);
}

/* ---- start */

void driver_init(void)
{
    if (sched_init()) {
        exit(2);
    }
    os_init();
    check_init();
    sched_set_namer(report_site_namer);
    driver_program.init();
    declare_windows();
    started = now_seconds();
    for (unsigned i = 0; i < WARM_UP_EXECUTIONS && !warm_up_failed; i++) {
        warm_up_failed = driver_execute(NULL, 0)->verdict != CHECK_NONE;
    }
    executions = 0;
    forget_windows();
}
