/*
 * Oracle: livelock. The step bound, or the bound of virtual time, was reached. The loop at the end of the trace is
 * named: whoever is in it runs without getting anywhere. Or a thread went round without a step, in plain code: its stack names the loop.
 */
#include <stdlib.h>

#include "check/oracles.h"

/* The tail that is searched: finding a period takes time quadratic in it, and a longer loop is no help to a reader. */
enum { TAIL_STEPS = 3000 };

static uint32_t threads_in(CheckTrace trace, size_t first, size_t length)
{
    bool seen[SCHED_THREADS_MAX] = { false };
    uint32_t count = 0;

    for (size_t i = first; i < first + length; i++) {
        uint16_t thread = trace.steps[i].thread;

        if (thread < SCHED_THREADS_MAX && !seen[thread]) {
            seen[thread] = true;
            count++;
        }
    }
    return count;
}

static void name_loop(CheckTrace trace, CheckResult *verdict)
{
    size_t start = trace.count > TAIL_STEPS ? trace.count - TAIL_STEPS : 0;
    size_t count = trace.count - start;
    uint64_t *shapes = malloc((count + 1) * sizeof(*shapes));
    CheckCycle cycle;

    if (!shapes) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        shapes[i] = check_step_shape(&trace.steps[start + i], true);
    }
    if (check_cycle_find(shapes, count, &cycle) && cycle.regular) {
        cycle.first += start;
        verdict->loop = cycle;
        verdict->loop_threads = threads_in(trace, cycle.first, cycle.length);
    }
    free(shapes);
}

bool check_livelock(const SchedResult *result, CheckResult *verdict)
{
    CheckTrace trace = check_trace();

    verdict->verdict = CHECK_LIVELOCK;
    verdict->culprit = result->culprit;
    if (result->outcome == SCHED_NO_STEP) {
        check_say(verdict, "no step in %u s of processor time", SCHED_NO_STEP_S);
        return true;
    }
    name_loop(trace, verdict);
    if (!verdict->culprit && trace.count) {
        verdict->culprit = sched_thread_by_id(trace.steps[trace.count - 1].thread);
    }
    if (result->outcome == SCHED_TIME_BOUND) {
        check_say(verdict, "%llu s of virtual time went by", (unsigned long long)(result->time_ns / 1000000000u));
    } else {
        check_say(verdict, "%llu steps", (unsigned long long)result->steps);
    }
    return true;
}
