/*
 * Oracle: late-wakeup. Only a timer beyond the bound could go on, yet the experiment showed a sleeper whose condition held already:
 * its wakeup was lost, and the timer merely hides it.
 */
#include "check/oracles.h"

/* When the next thread would have been let go on by its own deadline. */
static uint64_t next_deadline_ns(void)
{
    uint64_t next = SCHED_FOREVER;

    for (uint32_t id = 0; id < sched_thread_count(); id++) {
        const SchedThread *thread = sched_thread_by_id(id);
        const SchedBlock *block = thread ? sched_thread_block(thread) : NULL;

        if (block && block->deadline_ns < next) {
            next = block->deadline_ns;
        }
    }
    return next;
}

bool check_late(const SchedResult *result, CheckResult *verdict)
{
    CheckTrace trace = check_trace();
    const SchedProbe *probe = &check_experiment()->probe;

    verdict->verdict = CHECK_LATE_WAKEUP;
    verdict->culprit = result->culprit;
    check_cause_find(trace, sched_thread_id(result->culprit), probe, &verdict->cause);

    /* The experiment may have ended the waiter's own wait: then its deadline is that of the last wait before. */
    uint64_t deadline = next_deadline_ns();
    size_t since = verdict->cause.write_step != CHECK_NO_STEP ? verdict->cause.write_step : verdict->cause.sleep_step;

    if (deadline != SCHED_FOREVER && since != CHECK_NO_STEP && deadline > trace.steps[since].time_ns) {
        verdict->late_ns = deadline - trace.steps[since].time_ns;
    }
    return true;
}
