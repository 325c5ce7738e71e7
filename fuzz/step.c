/*
 * See step.h. Until driver_init() has run, nothing here uses GLib: what that sets up at its first use would be missing from the first
 * execution.
 */
#include "fuzz/step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/driver.h"
#include "sched/sched.h"

enum { CLOCK = UINT16_MAX };

static const WakefuzzSchedule *walked;
static size_t next;    /* stop */
static bool elsewhere; /* another thread was met than was to be */

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

static int tell(const CheckResult *verdict)
{
    const char *name = check_verdict_name(verdict->verdict);
    char hash[17];

    snprintf(hash, sizeof(hash), "%016" PRIx64, driver_result()->trace_hash);
    printf("verdict=%s hash=%s\n", name, hash);
    if (strcmp(hash, walked->hash) == 0 && strcmp(name, walked->verdict) == 0 && !elsewhere) {
        return 1;
    }
    if (verdict->verdict == CHECK_NONE) {
        return 0;
    }
    fprintf(stderr, "another execution than the one that was promoted (verdict=%s hash=%s): the code has changed since\n",
            walked->verdict, walked->hash);
    return 2;
}

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
    sched_install_fault_handler();
    sched_watch(steps, schedule->stop_count, on_step);
    verdict = driver_execute(schedule->input, schedule->input_bytes);
    sched_watch(NULL, 0, NULL);
    if (verdict->verdict != CHECK_NONE) {
        driver_report(stderr, verdict, "", NULL);
    }
    return tell(verdict);
}
