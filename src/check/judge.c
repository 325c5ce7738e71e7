/*
 * From an outcome of the scheduler to a verdict: asks the oracles in a fixed order. Runs on the kernel thread, after
 * an execution.
 *
 * 1. Exactly one verdict per execution; the first oracle that speaks has it.
 * 2. A more specific fact goes before a more general one: a completion that got lost also leaves a thread asleep; a circle of locks
 *    leaves completions behind that those in it would have seen.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/given.h"
#include "check/oracles.h"

void check_say(CheckResult *verdict, const char *format, ...)
{
    size_t used = strlen(verdict->message);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(verdict->message + used, sizeof(verdict->message) - used, format, arguments);
    va_end(arguments);
}

/* sched_fail() was called with a verdict of its own. */
static void take_over_failure(const SchedResult *result, CheckResult *verdict)
{
    if (!result->reason || !check_verdict_parse(result->reason, &verdict->verdict)) {
        fprintf(stderr, "check_judge: sched_fail() was called with '%s', which is no verdict (src/check/verdict.h)\n",
                result->reason ? result->reason : "(null)");
        abort();
    }
    verdict->culprit = result->culprit;
    check_say(verdict, "%s", result->message ? result->message : "");
}

CheckResult check_judge(const SchedResult *result)
{
    CheckResult verdict = { .step = CHECK_NO_STEP, .culprit = NULL };

    switch (result->outcome) {
    case SCHED_DONE:
        (void)(check_lost_completion(result, &verdict) || check_leak(result, &verdict));
        break;
    case SCHED_QUIESCENT:
        (void)((!result->culprit && !check_lock_cycle() && check_lost_completion(result, &verdict)) ||
               check_given(result, &verdict) || check_quiescence(result, &verdict));
        break;
    case SCHED_LATE:
        (void)(check_given(result, &verdict) || check_late(result, &verdict));
        break;
    case SCHED_STEP_BOUND:
    case SCHED_TIME_BOUND:
    case SCHED_NO_STEP:
        (void)(check_given(result, &verdict) || check_livelock(result, &verdict));
        break;
    case SCHED_STACK_OVERFLOW:
        check_stack_overflow(result, &verdict);
        break;
    case SCHED_FAILED:
        take_over_failure(result, &verdict);
        (void)(check_given(result, &verdict) || check_double_entry(result, &verdict));
        break;
    }
    return verdict;
}

static void forget(void)
{
    check_experiment_reset();
    check_given_reset();
}

void check_init(void)
{
    sched_on_begin(forget);
    sched_set_examiner(check_examine);
}
