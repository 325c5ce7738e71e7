/*
 * Oracle: nondeterminism. The same input must give the same execution. The driver runs a finding again and compares;
 * this file names the first step at which the two part. Kernel thread, outside an execution.
 */
#include <stdlib.h>
#include <string.h>

#include "check/oracles.h"

struct CheckRecording {
    SchedStep *steps;
    size_t count;
    uint64_t hash;
};

CheckRecording *check_record(const SchedResult *result)
{
    CheckTrace trace = check_trace();
    CheckRecording *recording = malloc(sizeof(*recording));

    if (!recording || !(recording->steps = malloc((trace.count + 1) * sizeof(SchedStep)))) {
        abort();
    }
    if (trace.count) {
        memcpy(recording->steps, trace.steps, trace.count * sizeof(SchedStep));
    }
    recording->count = trace.count;
    recording->hash = result->trace_hash;
    return recording;
}

void check_recording_free(CheckRecording *recording)
{
    if (recording) {
        free(recording->steps);
        free(recording);
    }
}

static const char *what_it_does(const SchedStep *step)
{
    static const char *const operations[] = {
        [SCHED_LOAD] = "load",
        [SCHED_STORE] = "store",
        [SCHED_RMW] = "read-modify-write",
        [SCHED_FENCE] = "fence",
    };

    return step->operation == SCHED_CALL ? sched_call_name(step->call) : operations[step->operation];
}

/* What differs between two steps, as a word; NULL: nothing that counts. Addresses and values may differ (heap, pids).
 */
static const char *difference(const SchedStep *a, const SchedStep *b)
{
    if (a->thread != b->thread) {
        return "thread";
    }
    if (a->operation != b->operation || a->call != b->call) {
        return "operation";
    }
    if (a->pc != b->pc) {
        return "place in the program";
    }
    if (a->object_id != b->object_id) {
        return "object";
    }
    if (a->strand != b->strand) {
        return "coroutine";
    }
    return NULL;
}

static void say_step(CheckResult *verdict, const char *when, const SchedStep *step)
{
    check_say(verdict, "%s %s: %s", when, check_thread_name(step->thread), what_it_does(step));
    if (step->operation != SCHED_CALL && step->site) {
        check_say(verdict, " %s in %s", step->site->expression, step->site->function);
    }
    if (step->object_id) {
        check_say(verdict, " (object %u)", step->object_id);
    }
}

static size_t first_difference(const CheckRecording *first, CheckTrace second)
{
    size_t common = first->count < second.count ? first->count : second.count;
    size_t i = 0;

    while (i < common && !difference(&first->steps[i], &second.steps[i])) {
        i++;
    }
    return i;
}

CheckResult check_compare(const CheckRecording *first, const SchedResult *second)
{
    CheckResult verdict = { .verdict = CHECK_NONE, .step = CHECK_NO_STEP };
    CheckTrace trace = check_trace();

    if (first->hash == second->trace_hash && first->count == trace.count) {
        return verdict;
    }
    verdict.verdict = CHECK_NONDETERMINISM;
    verdict.culprit = second->culprit;
    verdict.step = first_difference(first, trace);
    if (verdict.step < first->count && verdict.step < trace.count) {
        const SchedStep *a = &first->steps[verdict.step], *b = &trace.steps[verdict.step];

        check_say(&verdict, "step %zu differs in its %s; ", verdict.step, difference(a, b));
        say_step(&verdict, "first", a);
        say_step(&verdict, ", then", b);
        verdict.culprit = sched_thread_by_id(b->thread);
    } else if (first->count != trace.count) {
        check_say(&verdict, "the first execution had %zu steps, this one has %zu; up to there they agree", first->count,
                  trace.count);
    } else {
        verdict.step = CHECK_NO_STEP;
        check_say(&verdict, "the trace hashes differ, though no step does");
    }
    return verdict;
}
