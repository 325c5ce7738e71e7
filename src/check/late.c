/*
 * Oracle: late-wakeup. Only a timer beyond the bound could go on, yet the experiment showed a sleeper whose condition
 * held already: its wakeup was lost, and the timer merely hides it.
 */
#include "check/oracles.h"

bool check_late(const SchedResult *result, CheckResult *verdict)
{
    CheckTrace trace = check_trace();
    const SchedProbe *probe = &check_experiment()->probe;

    verdict->verdict = CHECK_LATE_WAKEUP;
    verdict->culprit = result->culprit;
    check_cause_find(trace, sched_thread_id(result->culprit), probe, &verdict->cause);

    uint64_t deadline = check_experiment()->next_deadline_ns;
    size_t since = verdict->cause.write_step != CHECK_NO_STEP ? verdict->cause.write_step : verdict->cause.sleep_step;

    if (deadline != SCHED_FOREVER && since != CHECK_NO_STEP && deadline > trace.steps[since].time_ns) {
        verdict->late_ns = deadline - trace.steps[since].time_ns;
    }
    return true;
}
