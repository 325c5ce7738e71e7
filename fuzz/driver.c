/* See driver.h. The scenario runs on thread 0 of an execution; everything else here runs on the kernel thread. */
#include "fuzz/driver.h"

#include <glib.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/core.h"
#include "core/coroutine.h"
#include "core/fatal.h"
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

/* ---- what the core reports */

static void on_fatal(const char *verdict, const char *message)
{
    sched_fail(verdict, "%s", message);
}

static void on_switch(Coroutine *to)
{
    CoroutineInfo info;

    if (!to) {
        sched_stack_switched(NULL, NULL, 0);
        return;
    }
    coroutine_describe(to, &info);
    sched_stack_switched((void *)info.stack_low, (void *)info.stack_high, info.id);
}

void fuzz_violated(const char *format, ...)
{
    char message[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    sched_fail("assertion", "%s", message);
}

/* ---- leaks */

static uint64_t count_fds(void)
{
    return os_fds_left();
}

static void describe_fds(char *text, size_t size)
{
    size_t used = 0;
    char one[128];

    text[0] = '\0';
    for (unsigned i = 0; os_describe_fd_left(i, one, sizeof(one)) >= 0 && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "; " : "", one);
    }
}

static uint64_t count_coroutines(void)
{
    return coroutine_live_count();
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

    core_init();
    fuzz_target.run(&scenario->input);
    core_reset();
}

const CheckResult *driver_execute(const uint8_t *data, size_t size)
{
    SchedPlan plan;
    size_t plan_bytes = sched_plan_decode(&plan, data, size);
    Scenario scenario = { .input = { .data = data, .size = size - plan_bytes } };
    SchedLimits limits = { .steps = fuzz_target.steps_max, .late_ns = fuzz_target.late_ns };

    executions++;
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

/* ---- coroutines, for the report */

typedef struct Visit {
    ReportVisitCoroutine *visit;
    void *opaque;
} Visit;

static void visit_coroutine(const CoroutineInfo *info, void *opaque)
{
    static const char *const states[] = {
        [COROUTINE_NEW] = "not entered yet",
        [COROUTINE_RUNNING] = "running",
        [COROUTINE_ENTERING] = "has entered another coroutine",
        [COROUTINE_SUSPENDED] = "suspended",
    };
    Visit *visit = opaque;
    ReportCoroutine coroutine = {
        .name = info->name,
        .strand = info->id,
        .low = (void *)info->stack_low,
        .high = (void *)info->stack_high,
        .frame = (void *)info->frame_pointer,
        .pc = (void *)info->pc,
        .state = info->scheduled ? info->scheduled : states[info->state],
    };

    if (info->state == COROUTINE_SUSPENDED || info->state == COROUTINE_ENTERING) {
        visit->visit(&coroutine, visit->opaque);
    }
}

static void enumerate_coroutines(ReportVisitCoroutine *visit, void *opaque)
{
    coroutine_foreach(visit_coroutine, &(Visit){ visit, opaque });
}

void driver_init(void)
{
    if (sched_init()) {
        exit(2);
    }
    os_init();
    check_init();
    report_set_coroutines(enumerate_coroutines);
    sched_set_namer(report_site_namer);
    core_fatal_hook = on_fatal;
    coroutine_hooks.stack_alloc = sched_stack_alloc;
    coroutine_hooks.switched = on_switch;
    check_leak_register("file descriptor", count_fds, describe_fds);
    check_leak_register("coroutine", count_coroutines, NULL);
    g_main_context_default(); /* lives as long as the process, so it must not be born in an execution */
    declare_windows();
    started = now_seconds();
    for (unsigned i = 0; i < WARM_UP_EXECUTIONS; i++) {
        driver_execute(NULL, 0);
    }
    executions = 0;
    forget_windows();
}
