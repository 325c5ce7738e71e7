/*
 * Root cause of a missed wakeup. Pure functions on a trace; see cause.h for the table that they fill in.
 *
 * 1. The condition consists of what the waiter read both before it went to sleep and when it was resumed, with
 *    different values.
 * 2. Steps of the experiment are never blamed: the write is one of the execution proper.
 * 3. Among several candidates the one that the probe read first wins: what it read later it may have read because it had
 *    left its loop already.
 */
#include "check/cause.h"

#include <stdlib.h>

typedef struct Candidate {
    bool looked; /* the waiter had read this object before it slept: the better sort of candidate */
    uint64_t object;
    size_t look_step, probe_step, write_step;
} Candidate;

/* ------------------------------------------------------------------------------------------- the write */

static size_t last_look(CheckTrace trace, uint32_t waiter, uint64_t object, size_t before)
{
    for (size_t i = before; i-- > 0;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == waiter && check_step_reads(step) && check_step_object(step) == object) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

static size_t last_change_by_others(CheckTrace trace, uint32_t waiter, uint64_t object, size_t after, size_t before)
{
    for (size_t i = before; i-- > after + 1;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread != waiter && !(step->flags & SCHED_STEP_PROBE) && check_step_changes(step) &&
            check_step_object(step) == object) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

static bool written_by_itself(CheckTrace trace, const SchedProbe *probe, uint64_t object, size_t before)
{
    for (size_t i = probe->first_step; i < before; i++) {
        if (check_step_changes(&trace.steps[i]) && check_step_object(&trace.steps[i]) == object) {
            return true;
        }
    }
    return false;
}

/* Fill in a candidate from what the waiter read at probe_step. False: this read explains nothing. */
static bool candidate_at(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t sleep_step, size_t probe_step,
                         Candidate *candidate)
{
    const SchedStep *read = &trace.steps[probe_step];
    uint64_t object = check_step_object(read);

    if (!check_step_reads(read) || object == 0 || written_by_itself(trace, probe, object, probe_step)) {
        return false;
    }

    size_t look = last_look(trace, waiter, object, probe->first_step);
    bool looked = look != CHECK_NO_STEP;

    if (looked && trace.steps[look].old_value == read->old_value) {
        return false;
    }

    size_t since = looked ? look : sleep_step;
    size_t write = last_change_by_others(trace, waiter, object, since, probe->first_step);

    *candidate = (Candidate){ looked, object, look, probe_step, write };
    return write != CHECK_NO_STEP;
}

static bool better(const Candidate *a, const Candidate *b)
{
    if (a->looked != b->looked) {
        return a->looked;
    }
    return a->probe_step < b->probe_step;
}

static int compare_shapes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Where the resumed waiter first does what it had never done before: from there on it is out of its loop. */
static size_t end_of_known_ways(CheckTrace trace, uint32_t waiter, const SchedProbe *probe)
{
    uint64_t *known = malloc((probe->first_step + 1) * sizeof(*known));
    size_t known_count = 0;
    size_t end = probe->end_step;

    if (!known) {
        abort();
    }
    for (size_t i = 0; i < probe->first_step; i++) {
        if (trace.steps[i].thread == waiter) {
            known[known_count++] = check_step_shape(&trace.steps[i], false);
        }
    }
    qsort(known, known_count, sizeof(*known), compare_shapes);
    for (size_t i = probe->first_step; i < end; i++) {
        uint64_t shape = check_step_shape(&trace.steps[i], false);

        /* The first step of a probe is the experiment's own (a spurious return): it is new by nature. */
        if (trace.steps[i].call != SCHED_CALL_SPURIOUS && !bsearch(&shape, known, known_count, sizeof(*known), compare_shapes)) {
            end = i;
        }
    }
    free(known);
    return end;
}

static bool best_candidate(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t sleep_step, size_t end,
                           Candidate *best)
{
    bool found = false;

    for (size_t i = probe->first_step; i < end; i++) {
        Candidate candidate;

        if (trace.steps[i].thread == waiter && candidate_at(trace, waiter, probe, sleep_step, i, &candidate) &&
            (!found || better(&candidate, best))) {
            *best = candidate;
            found = true;
        }
    }
    return found;
}

static bool find_write(CheckTrace trace, const SchedProbe *probe, CheckCause *cause)
{
    Candidate best;
    size_t sleep_step = cause->sleep_step == CHECK_NO_STEP ? 0 : cause->sleep_step;
    size_t known_end = end_of_known_ways(trace, cause->waiter, probe);

    if (!best_candidate(trace, cause->waiter, probe, sleep_step, known_end, &best) &&
        !best_candidate(trace, cause->waiter, probe, sleep_step, probe->end_step, &best)) {
        return false;
    }
    cause->kind = CHECK_CAUSE_WRITE;
    cause->object = best.object;
    cause->look_step = best.look_step;
    cause->probe_step = best.probe_step;
    cause->write_step = best.write_step;
    cause->waker = trace.steps[best.write_step].thread;
    return true;
}

/* ------------------------------------------------------------------------------------------- the guard */

static bool touched_by_probe(CheckTrace trace, const SchedProbe *probe, uint64_t object)
{
    for (size_t i = probe->first_step; i < probe->end_step; i++) {
        if (trace.steps[i].operation == SCHED_CALL && check_step_object(&trace.steps[i]) == object) {
            return true;
        }
    }
    return false;
}

/* The condition is plain data. Whoever changed it held the mutex that the waiter takes again on its way out. */
static void find_guard(CheckTrace trace, const SchedProbe *probe, CheckCause *cause)
{
    size_t since = cause->sleep_step == CHECK_NO_STEP ? 0 : cause->sleep_step;

    for (size_t i = probe->first_step; i-- > since;) {
        const SchedStep *step = &trace.steps[i];
        uint64_t object = check_step_object(step);

        if (step->thread != cause->waiter && !(step->flags & SCHED_STEP_PROBE) && step->operation == SCHED_CALL &&
            step->call == SCHED_CALL_MUTEX_UNLOCK && object != 0 && touched_by_probe(trace, probe, object)) {
            cause->kind = CHECK_CAUSE_GUARD;
            cause->object = object;
            cause->write_step = i;
            cause->waker = step->thread;
            return;
        }
    }
}

/* ---------------------------------------------------------------------------------------- the decision not to wake */

static bool changed_by(CheckTrace trace, uint32_t thread, uint64_t object, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (trace.steps[i].thread == thread && check_step_changes(&trace.steps[i]) &&
            check_step_object(&trace.steps[i]) == object) {
            return true;
        }
    }
    return false;
}

/* How likely it is that the waker asked "is anybody waiting?" here. 0: it did not. */
static unsigned check_rank(CheckTrace trace, const CheckCause *cause, size_t at)
{
    const SchedStep *step = &trace.steps[at];
    uint64_t object = check_step_object(step);

    if (!check_step_reads(step) || object == 0 || object == cause->object) {
        return 0;
    }

    size_t written = check_last_change(trace, object, at);

    if (written != CHECK_NO_STEP && trace.steps[written].thread == cause->waiter) {
        return 3; /* the waiter announced itself here */
    }
    return changed_by(trace, cause->waiter, object, at) ? 2 : 1;
}

/* Could this wakeup have been meant for the waiter? One on a condition or futex that the waiter never touched is
 * another story. */
static bool meant_for_waiter(CheckTrace trace, const CheckCause *cause, const SchedStep *wake)
{
    uint64_t object = check_step_object(wake);

    if (wake->call == SCHED_CALL_WRITE) {
        return true; /* which descriptors the waiter polls, no step says */
    }
    for (size_t i = 0; i < trace.count && object; i++) {
        if (trace.steps[i].thread == cause->waiter && check_step_object(&trace.steps[i]) == object) {
            return true;
        }
    }
    return false;
}

static bool ends_a_section(const SchedStep *step)
{
    return step->flags & (SCHED_STEP_BLOCKED | SCHED_STEP_PROBE) ||
           (step->operation == SCHED_CALL && (step->call == SCHED_CALL_MUTEX_UNLOCK || step->call == SCHED_CALL_EXIT));
}

/* From the write to where the waker blocks, unlocks or ends; beyond an unlock only reads of what the waiter wrote
 * still count. */
static void find_check(CheckTrace trace, CheckCause *cause)
{
    unsigned best = 0;
    bool unlocked = false;

    for (size_t i = cause->write_step + 1; i < trace.count; i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->flags & SCHED_STEP_PROBE) {
            break;
        }
        if (step->thread != cause->waker) {
            continue;
        }
        if (check_step_wakes(step) && cause->wake_step == CHECK_NO_STEP && meant_for_waiter(trace, cause, step)) {
            cause->wake_step = i;
        }
        if (ends_a_section(step)) {
            if (step->call != SCHED_CALL_MUTEX_UNLOCK || step->flags & SCHED_STEP_BLOCKED) {
                break;
            }
            unlocked = true;
        }

        unsigned rank = check_rank(trace, cause, i);

        if (rank > best && (!unlocked || (best == 0 && rank >= 2))) {
            best = rank;
            cause->check_step = i;
        }
    }
    if (cause->check_step != CHECK_NO_STEP) {
        uint64_t object = check_step_object(&trace.steps[cause->check_step]);

        cause->check_write_step = check_last_change(trace, object, cause->check_step);
    }
}

void check_cause_find(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, CheckCause *cause)
{
    *cause = (CheckCause){
        .waiter = waiter,
        .waker = CHECK_NO_THREAD,
        .sleep_step = check_last_sleep(trace, waiter, probe->first_step),
        .look_step = CHECK_NO_STEP,
        .write_step = CHECK_NO_STEP,
        .probe_step = CHECK_NO_STEP,
        .check_step = CHECK_NO_STEP,
        .check_write_step = CHECK_NO_STEP,
        .wake_step = CHECK_NO_STEP,
    };
    if (!find_write(trace, probe, cause)) {
        find_guard(trace, probe, cause);
    }
    if (cause->kind != CHECK_CAUSE_UNKNOWN) {
        find_check(trace, cause);
    }
}
