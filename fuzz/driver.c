/* See driver.h. The scenario runs on thread 0 of an execution; everything else here runs on the kernel thread. */
#include "fuzz/driver.h"

#include <glib.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz/forked.h"
#include "fuzz/plain_access.h"
#include "fuzz/program.h"
#include "fuzz/race.h"
#include "os/heap.h"
#include "os/os.h"
#include "report/data.h"
#include "report/report.h"
#include "report/symbolize.h"

#define WARM_UP_EXECUTIONS   3u
#define WINDOWS_MAX          64u
#define STEPS_WITH_PLAIN_MAX 500000u /* at least, where plain accesses are points: executions are longer */

#define INPUT_BYTES_MAX   (1u << 20)
#define HISTORY_BYTES_MAX 65536u
#define FORKED_THREADS    24u /* that a child finds ready: one that has to make more is not put back as it was */

/* What passes between the process and its children: orders to them, and what an execution leaves. Pointers are into static storage. */
typedef struct Shared {
    /* to the child */
    uint64_t executions;
    bool learning;
    bool no_step; /* it is known to end so */
    size_t size;
    uint8_t data[INPUT_BYTES_MAX];
    uint64_t stop_before; /* 0: nowhere */
    FILE *stream;
    const char *replay; /* line, or NULL */
    char line[4096];
    /* from the child */
    SchedResult result;
    CheckResult verdict; /* for a report: to the child */
    DriverWindow windows[WINDOWS_MAX];
    size_t window_count;
    char history[HISTORY_BYTES_MAX];
    char message[1024]; /* result.message */
    SchedOverride deviations[SCHED_DEVIATIONS_MAX];
} Shared;

static const SchedResult *last_result;
static CheckResult last_verdict;
static const uint8_t *last_data;
static size_t last_size;
static const SchedPlan *given_plan; /* instead of the one at the end of last_data */
static Shared *shared; /* NULL: this program does not fork */
static uint64_t executions;
static double started;
static DriverWindow windows[WINDOWS_MAX];
static size_t window_count;
static uint64_t stop_before; /* 0: nowhere */
static char history[HISTORY_BYTES_MAX];
static size_t history_bytes;
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

/* ---- the clock */

uint64_t fuzz_time_ns(void)
{
    return sched_now_ns();
}

/* ---- the disk */

const char *fuzz_file(const char *name)
{
    return name; /* in the simulated OS: below the folder that the process runs in, and nowhere on its disk */
}

void fuzz_disk_faults(bool requests, bool batches)
{
    os_aio_set_faults((requests ? OS_AIO_ERRORS | OS_AIO_SHORT : 0) |
                      (batches ? OS_AIO_SHORT_BATCH | OS_AIO_EAGAIN | OS_AIO_REFUSED : 0));
}

void fuzz_other_process(void)
{
    os_fds_apart();
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

/* ---- history */

void fuzz_note(const char *format, ...)
{
    size_t room = sizeof(history) - history_bytes;
    char text[256];
    va_list arguments;
    int bytes;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    bytes = snprintf(history + history_bytes, room, "%u: %s\n", sched_thread_id(sched_thread_self()), text);
    if (bytes < 0 || (size_t)bytes >= room) {
        history[history_bytes] = '\0'; /* no part of a line */
        return;
    }
    history_bytes += (size_t)bytes;
}

const char *driver_history(void)
{
    return shared ? shared->history : history;
}

/* ---- executions */

static void body(void *opaque)
{
    driver_program.run(opaque);
}

static void execute(void)
{
    SchedPlan plan;
    size_t plan_bytes = given_plan ? 0 : sched_plan_decode(&plan, last_data, last_size);
    FuzzInput input = { .data = last_data, .size = last_size - plan_bytes };
    SchedLimits limits = {
        .steps = stop_before          ? stop_before
                 : plain_access_any() ? MAX(STEPS_WITH_PLAIN_MAX, fuzz_target.steps_max)
                                      : fuzz_target.steps_max,
        .late_ns = fuzz_target.late_ns,
        .recursion = fuzz_target.recursion_max,
        .disturb = fuzz_target.disturbs,
    };

    history_bytes = 0;
    history[0] = '\0';
    last_result = sched_run(body, &input, given_plan ? given_plan : &plan, &limits);
    last_verdict = check_judge(last_result);
}

/* In a child: what was ordered. */
static void execute_order(void)
{
    last_data = shared->data;
    last_size = shared->size;
    executions = shared->executions;
    sched_set_learning(shared->learning);
    stop_before = shared->stop_before;
    sched_expect_no_step(shared->no_step);
    execute();
}

static void execute_in_child(void)
{
    execute_order();
    sched_share_publish();
    shared->result = *last_result;
    shared->verdict = last_verdict;
    if (last_result->message) {
        snprintf(shared->message, sizeof(shared->message), "%s", last_result->message);
        shared->result.message = shared->message;
    }
    memcpy(shared->deviations, last_result->deviations, last_result->deviation_count * sizeof(SchedOverride));
    shared->result.deviations = shared->deviations;
    memcpy(shared->windows, windows, sizeof(windows));
    shared->window_count = window_count;
    memcpy(shared->history, history, history_bytes + 1);
}

static void execute_in_a_child(ForkedHow how)
{
    sched_share_clear();
    forked_run(execute_in_child, how);
    sched_share_collect();
    last_result = &shared->result;
    last_verdict = shared->verdict;
}

/* A finding counts if it is one in a child of its own. */
static void confirm(void)
{
    uint64_t hash = last_result->trace_hash;

    execute_in_a_child(FORKED_FRESH);
    if (last_result->trace_hash != hash) {
        fprintf(stderr,
                "wakefuzz: a finding was another execution (%016" PRIx64 ") than it is in a child of its own (%016" PRIx64 ")\n",
                hash, last_result->trace_hash);
    }
}

static void execute_elsewhere(void)
{
    if (last_size > sizeof(shared->data)) {
        last_size = sizeof(shared->data); /* a scenario reads a few dozen bytes, and the plan's end is cut for good */
    }
    if (last_size) {
        memcpy(shared->data, last_data, last_size);
    }
    shared->size = last_size;
    shared->executions = executions;
    shared->learning = sched_learning();
    shared->no_step = false;
    execute_in_a_child(FORKED_REWOUND);
    shared->no_step = last_result->outcome == SCHED_NO_STEP;
    if (last_verdict.verdict != CHECK_NONE) {
        confirm();
    }
    for (size_t i = 0; i < shared->window_count; i++) {
        if (shared->windows[i].entered) {
            fuzz_reached(shared->windows[i].name);
        }
    }
}

static void leave_windows(void)
{
    for (size_t i = 0; i < window_count; i++) {
        windows[i].entered = false;
    }
}

const CheckResult *driver_execute(const uint8_t *data, size_t size)
{
    executions++;
    if (warm_up_failed) {
        return &last_verdict; /* what failed has left the core's globals as they were: nothing can follow it */
    }
    last_data = data;
    last_size = size;
    leave_windows();
    if (shared) {
        execute_elsewhere();
    } else {
        execute();
    }
    return &last_verdict;
}

const CheckResult *driver_execute_plan(const uint8_t *scenario, size_t size, const SchedPlan *plan)
{
    executions++;
    if (!warm_up_failed) {
        last_data = scenario;
        last_size = size;
        leave_windows();
        given_plan = plan;
        execute();
        given_plan = NULL;
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

CheckResult driver_cut(void)
{
    return (CheckResult){ .verdict = CHECK_ASSERTION, .step = CHECK_NO_STEP, .culprit = last_result->culprit };
}

/* ---- reports */

static void report(FILE *stream, const CheckResult *verdict, const char *replay)
{
    ReportFinding finding = {
        .result = last_result,
        .check = verdict,
        .replay = replay,
        .input_bytes = last_size,
        .execution = executions,
    };

    report_print(stream, &finding);
    fprintf(stream, "%.3f s after the first execution\n", driver_seconds());
}

/* The stacks to be printed were in a child that is gone: its execution is done once more. */
static void report_in_child(void)
{
    execute_order();
    if (shared->verdict.verdict == CHECK_NONDETERMINISM) {
        report(shared->stream, &shared->verdict, shared->replay);
    } else if (last_result->trace_hash != shared->result.trace_hash) {
        fprintf(shared->stream, "panic: nondeterminism: the execution that found %s was another one than its repetition\n",
                check_verdict_name(shared->verdict.verdict));
    } else {
        report(shared->stream, &last_verdict, shared->replay);
    }
}

void driver_report(FILE *stream, const CheckResult *verdict, const char *program, const char *name)
{
    char *replay = name ? g_strdup_printf("%s %s", program, name) : NULL;

    if (shared) {
        shared->stream = stream;
        shared->verdict = *verdict;
        snprintf(shared->line, sizeof(shared->line), "%s", replay ? replay : "");
        shared->replay = replay ? shared->line : NULL;
        forked_run(report_in_child, FORKED_FRESH);
    } else {
        report(stream, verdict, replay);
    }
    g_free(replay);
}

static void report_cut_in_child(void)
{
    ReportFinding finding = { .input_bytes = shared->size };
    CheckResult cut;

    execute_order();
    os_heap_leave(); /* it may be broken one step before it was noticed */
    cut = driver_cut();
    finding.check = &cut;
    finding.result = last_result;
    report_print_cut(stderr, &finding);
}

/* What a sanitizer says when it ends a child is of one thread, and without a step: tell what led there. */
static void tell_cut(void)
{
    uint64_t steps;

    sched_share_collect();
    steps = check_trace().count;
    if (steps > 1) {
        shared->stop_before = steps - 1;
        forked_run(report_cut_in_child, FORKED_FRESH);
    }
    race_tell(stderr);
}

static void report_end_in_child(void)
{
    FILE *nowhere = fopen("/dev/null", "w");

    execute_order();
    if (nowhere && last_verdict.verdict != CHECK_NONE) {
        report(nowhere, &last_verdict, NULL);
        report_print_end(stderr);
    }
    if (nowhere) {
        fclose(nowhere);
    }
}

void abort_after_report(void)
{
    if (shared) {
        forked_run(report_end_in_child, FORKED_FRESH);
    } else {
        report_print_end(stderr);
    }
    fflush(NULL);
    abort();
}

void driver_describe(const CheckResult *verdict, char key[REPORT_KEY_BYTES], char *summary, size_t summary_size)
{
    ReportFinding finding = { .result = last_result, .check = verdict };

    report_finding_key(&finding, key);
    report_summary(&finding, summary, summary_size);
}

void driver_write_data(Json *json, const CheckResult *verdict)
{
    ReportFinding finding = { .result = last_result, .check = verdict, .input_bytes = last_size };

    report_write_data(json, &finding);
}

bool driver_warm_up_failed(void)
{
    return warm_up_failed;
}

void driver_stop_before(uint64_t step)
{
    stop_before = step;
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
    plain_access_init();
    if (driver_program.forks) {
        shared = forked_alloc(sizeof(*shared));
        race_init();
        if (sched_share_with_children()) {
            fprintf(stderr, "wakefuzz: cannot share memory with children\n");
            exit(2);
        }
        if (sched_prepare_threads(FORKED_THREADS)) {
            fprintf(stderr, "wakefuzz: cannot prepare %u threads (see ulimit -u, -v)\n", FORKED_THREADS);
            exit(2);
        }
    }
    driver_program.init();
    declare_windows();
    started = now_seconds();
    if (shared) {
        sched_install_fault_handler();
        forked_on_death(sched_share_publish, tell_cut);
        forked_start();
    }
    for (unsigned i = 0; i < WARM_UP_EXECUTIONS && !warm_up_failed; i++) {
        warm_up_failed = driver_execute(NULL, 0)->verdict != CHECK_NONE && !shared; /* a child leaves nothing */
    }
    executions = 0;
    forget_windows();
}
