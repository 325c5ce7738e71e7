/*
 * See step.h. Until driver_init() has run, nothing here uses GLib: what that sets up at its first use would be missing from the first
 * execution.
 *
 * An execution that a sanitizer or a signal ends does not come back: what it was is told as the process dies, by a sanitizer's death
 * callback, and by a handler of the signals where no sanitizer has one.
 */
#include "fuzz/step.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz/crash.h"
#include "fuzz/driver.h"
#include "fuzz/probe_text.h"
#include "os/heap.h"
#include "sched/sched.h"

enum { CLOCK = UINT16_MAX, SAID_BYTES_MAX = 1 << 16 };

static const WakefuzzSchedule *walked;
static size_t next;    /* stop */
static bool elsewhere; /* another thread was met than was to be */
static uint64_t hash_when_cut;
static char said[SAID_BYTES_MAX]; /* by a sanitizer */
static size_t said_bytes;

extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

static void print_stop(const WakefuzzStop *stop)
{
    printf("%s%s %6zu  %s: %s: %s  (%s)\n", stop->switched ? ">" : " ", stop->marked ? "*" : " ", stop->step, stop->who,
           stop->function, stop->what, stop->place);
    fflush(stdout);
}

static void on_step(size_t step, SchedThread *thread)
{
    const WakefuzzStop *stop = &walked->stops[next];

    while (next < walked->stop_count && stop->step < step) {
        stop = &walked->stops[++next];
    }
    if (next == walked->stop_count || stop->step != step) {
        return;
    }
    next++;
    elsewhere |= stop->thread != (thread ? sched_thread_id(thread) : CLOCK);
    print_stop(stop);
    wakefuzz_step(stop);
}

static size_t *steps_of(const WakefuzzSchedule *schedule)
{
    size_t *steps = calloc(schedule->stop_count + 1, sizeof(*steps));

    for (size_t i = 0; steps && i < schedule->stop_count; i++) {
        steps[i] = schedule->stops[i].step;
    }
    return steps;
}

static int tell(const char *verdict, uint64_t trace_hash)
{
    char hash[17];

    snprintf(hash, sizeof(hash), "%016" PRIx64, trace_hash);
    printf("verdict=%s hash=%s\n", verdict, hash);
    if (strcmp(hash, walked->hash) == 0 && strcmp(verdict, walked->verdict) == 0 && !elsewhere) {
        return 1;
    }
    if (strcmp(verdict, check_verdict_name(CHECK_NONE)) == 0) {
        return 0;
    }
    fprintf(stderr, "another execution than the one that was promoted (verdict=%s hash=%s): the code has changed since\n",
            walked->verdict, walked->hash);
    return 2;
}

/* ---- what does not come back */

static void on_sanitizer(void)
{
    hash_when_cut = sched_result_so_far()->trace_hash;
}

static void on_sanitizer_text(const char *text)
{
    while (*text && said_bytes < sizeof(said) - 1) {
        said[said_bytes++] = *text++;
    }
}

__attribute__((noreturn)) static void end(const char *verdict)
{
    int status = tell(verdict, hash_when_cut);

    fflush(NULL);
    syscall(SYS_exit_group, status);
    __builtin_unreachable();
}

static void on_death(void)
{
    static ProbeResult result;

    end(probe_text_sanitizer(said, &result) ? result.verdict : "crash");
}

static void on_crash(int number)
{
    sched_passthrough_begin();
    os_heap_leave();
    fprintf(stderr, "%s\n", strsignal(number));
    hash_when_cut = sched_result_so_far()->trace_hash;
    end("crash");
}

static void expect_cuts(void)
{
    static const int crashes[] = FUZZ_CRASH_SIGNALS;
    struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK };

    driver_sanitizer_hook = on_sanitizer;
    driver_sanitizer_text = on_sanitizer_text;
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(on_death);
    }
    for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]) && !__asan_init && !__tsan_init; i++) {
        sigaction(crashes[i], &action, NULL);
    }
}

/* ---- the whole */

int wakefuzz_walk(const WakefuzzSchedule *schedule)
{
    const CheckResult *verdict;
    size_t *steps = steps_of(schedule);

    if (!steps) {
        fprintf(stderr, "no memory\n");
        return 2;
    }
    walked = schedule;
    if (schedule->empty) {
        sched_watch(steps, schedule->stop_count, on_step);
    }
    driver_init();
    expect_cuts();
    sched_install_fault_handler();
    sched_watch(steps, schedule->stop_count, on_step);
    verdict = driver_execute(schedule->input, schedule->input_bytes);
    sched_watch(NULL, 0, NULL);
    if (verdict->verdict != CHECK_NONE) {
        driver_report(stderr, verdict, "", NULL);
    }
    return tell(check_verdict_name(verdict->verdict), driver_result()->trace_hash);
}
