/*
 * Oracle: missed-wakeup and deadlock. Nobody can run, no timer is armed, no I/O is in flight, and somebody has not
 * ended: an exact fact. Which of the two it is has been found out by the experiment (examine.c).
 */
#include "check/oracles.h"

enum { WAITS_MAX = 64 };

static void missed_wakeup(const SchedResult *result, CheckResult *verdict)
{
    verdict->verdict = CHECK_MISSED_WAKEUP;
    verdict->culprit = result->culprit;
    check_cause_find(check_trace(), sched_thread_id(result->culprit), &check_experiment()->probe, &verdict->cause);
}

/* The thread to begin the report with: one of a cycle of waits, else the first that sleeps, which is the main thread
 * if it does. */
static SchedThread *choose_culprit(const CheckWait *waits, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (waits[i].in_cycle) {
            return sched_thread_by_id(waits[i].waiter);
        }
    }
    return count ? sched_thread_by_id(waits[0].waiter) : NULL;
}

bool check_lock_cycle(void)
{
    CheckWait waits[WAITS_MAX];
    unsigned count = check_waits(check_trace(), waits, WAITS_MAX);

    for (unsigned i = 0; i < count; i++) {
        if (waits[i].in_cycle) {
            return true;
        }
    }
    return false;
}

static void deadlock(CheckResult *verdict)
{
    CheckWait waits[WAITS_MAX];
    unsigned count = check_waits(check_trace(), waits, WAITS_MAX);

    verdict->verdict = CHECK_DEADLOCK;
    verdict->culprit = choose_culprit(waits, count);
}

bool check_quiescence(const SchedResult *result, CheckResult *verdict)
{
    if (result->culprit) {
        missed_wakeup(result, verdict);
    } else {
        deadlock(verdict);
    }
    return true;
}
