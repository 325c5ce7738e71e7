/*
 * Root cause of a missed wakeup: the write that made the condition true. Pure functions on a trace; see cause.h for the
 * table that they fill in. What became of the wakeup is in cause_wake.c.
 *
 * 1. The condition consists of what the waiter knew before it went to sleep and reads with another value when it is
 *    resumed. It knows what it has read, and what it has written itself.
 * 2. Not every value that differs matters: counters go up and down. The one that matters is the one after which the
 *    resumed waiter parts from the way that it took when it last read the old value at the same place. Of several the
 *    one is taken that was read last before the ways part.
 * 3. That is so as long as the waiter does what it had done before; what it reads later it may read because it has left
 *    its loop already, and then counts only where the waiter had looked at it just before it slept.
 * 4. Steps of the experiment are never blamed: the write is one of the execution proper.
 * 5. Plain data are not in the trace, but the mutex around them is: where the last that the waiter did before the ways parted, of all that
 *    others may have had a hand in, was to take a mutex and give it back, the condition is what that guards.
 */
#include "check/cause.h"

#include "check/cause_wake.h"
#include "check/cause_ways.h"

enum { OWN_STEPS_MAX = 3 };
enum { STEPS_OF_A_TURN = 40 }; /* a main loop's turn over two contexts has about 30 */
enum { STEPS_OF_A_DETOUR = 8 };
enum { PROBED_STEPS = 2000 };  /* a waiter that spins when it is resumed has read its condition long before */

typedef struct Candidate {
    bool guard;  /* object is a mutex, looked at by taking it: invariant 5 */
    bool looked; /* the waiter knew this object before it slept: the better sort of candidate */
    uint64_t object;
    size_t look_step, probe_step, write_step;
    size_t detour_end; /* of the detour on which the new value leads at once; CHECK_NO_STEP: on none */
    size_t parting; /* where the resumed waiter leaves its old way; CHECK_NO_STEP: unknown */
} Candidate;

/* ------------------------------------------------------------------------------------------- the write */

static bool is_access(const SchedStep *step)
{
    return step->operation == SCHED_LOAD || step->operation == SCHED_STORE || step->operation == SCHED_RMW;
}

/* What the waiter knows of the value after this access of its own. */
static uint64_t known_after(const SchedStep *step)
{
    return step->operation == SCHED_LOAD ? step->old_value : step->new_value;
}

static size_t last_access(CheckTrace trace, uint32_t waiter, uint64_t object, size_t before)
{
    for (size_t i = before; i-- > 0;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == waiter && is_access(step) && check_step_object(step) == object) {
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

/* ------------------------------------------------------------------------------------------- where the ways part */

/* When the waiter last read this value of the object where it reads it again at probe_step. */
static size_t same_read_before(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t probe_step, uint64_t value)
{
    const SchedStep *read = &trace.steps[probe_step];

    for (size_t i = probe->first_step; i-- > 0;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == waiter && check_step_same_place(step, read) && check_step_object(step) == check_step_object(read) &&
            step->old_value == value) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

/* ------------------------------------------------------------------------------------------- candidates */

/* Where the last turn before the sleep began, of a loop that waits. */
static size_t last_turn(CheckTrace trace, uint32_t waiter, size_t sleep_step)
{
    unsigned own_steps = 0;
    size_t i = sleep_step;

    while (i > 0 && own_steps < STEPS_OF_A_TURN) {
        own_steps += trace.steps[--i].thread == waiter;
    }
    return i;
}

/* Did the waiter look at it just before it went to sleep, as one does in a loop that waits? */
static bool looked_before_sleep(CheckTrace trace, uint32_t waiter, size_t sleep_step, size_t look)
{
    return look >= last_turn(trace, waiter, sleep_step);
}

/* Where the waiter was just before on a way that it had taken once. CHECK_NO_STEP: nowhere. */
static size_t known_before(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t probe_step, size_t *old)
{
    unsigned own_steps = 0;

    for (size_t i = probe_step; i-- > probe->first_step && own_steps < STEPS_OF_A_DETOUR;) {
        if (trace.steps[i].thread == waiter) {
            *old = check_ways_before(trace, waiter, 0, probe->first_step, i);
            own_steps++;
            if (*old != CHECK_NO_STEP) {
                return i;
            }
        }
    }
    return CHECK_NO_STEP;
}

/* Where the ways part after a read that finds another value than it found before. Where the waiter has never read the old value at this
 * place, the new one leads it somewhere else at once, for all that is known. But what it reads on a detour from a known way is not where it
 * leaves that. */
static void find_parting(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, uint64_t value, Candidate *candidate)
{
    size_t step = candidate->probe_step, old = same_read_before(trace, waiter, probe, step, value), before, from_before, rejoined;
    bool known = old != CHECK_NO_STEP;

    candidate->detour_end = CHECK_NO_STEP;
    candidate->parting = known ? check_ways_parting(trace, waiter, probe, old, step, &candidate->detour_end) : step + 1;
    before = known_before(trace, waiter, probe, step, &old);
    if (before == CHECK_NO_STEP || candidate->parting == CHECK_NO_STEP) {
        return;
    }
    from_before = check_ways_parting(trace, waiter, probe, old, before, &rejoined);
    if (!known && rejoined != CHECK_NO_STEP && rejoined > step) {
        candidate->detour_end = rejoined;
    }
    if (from_before != CHECK_NO_STEP && from_before > candidate->parting) {
        candidate->parting = from_before;
    }
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

    size_t look = last_access(trace, waiter, object, probe->first_step);
    bool looked = look != CHECK_NO_STEP;

    if (looked && known_after(&trace.steps[look]) == read->old_value) {
        return false;
    }

    size_t since = looked ? look : sleep_step;
    size_t write = last_change_by_others(trace, waiter, object, since, probe->first_step);

    *candidate = (Candidate){
        .looked = looked,
        .object = object,
        .look_step = look,
        .probe_step = probe_step,
        .write_step = write,
        .detour_end = CHECK_NO_STEP,
        .parting = CHECK_NO_STEP,
    };
    if (looked) {
        find_parting(trace, waiter, probe, known_after(&trace.steps[look]), candidate);
        if (candidate->parting == probe_step + 1 && !looked_before_sleep(trace, waiter, sleep_step, look)) {
            candidate->parting = CHECK_NO_STEP;
        }
    }
    return write != CHECK_NO_STEP;
}

static size_t last_at_place(CheckTrace trace, uint32_t thread, const SchedStep *place, size_t before)
{
    for (size_t i = before; i-- > 0;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == thread && check_step_same_place(step, place) && check_step_object(step) == check_step_object(place)) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

/* Only work explains something else at once. What goes up and down with each turn differs, too, but does not matter. */
static bool parts_soon(CheckTrace trace, const SchedProbe *probe, const Candidate *candidate)
{
    size_t step = candidate->probe_step;

    for (unsigned i = 0; i < OWN_STEPS_MAX && step != CHECK_NO_STEP; i++) {
        step = check_ways_next(trace, trace.steps[candidate->probe_step].thread, step, probe->end_step);
    }
    return candidate->parting != CHECK_NO_STEP && (step == CHECK_NO_STEP || candidate->parting <= step);
}

/* The same for work that the waiter has left to itself: since it last looked at this place it has changed the object,
 * and has gone to sleep without another look. Nothing is no work, nor is a counter that
 * it finds here as it did the last time. */
static bool own_candidate_at(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t sleep_step, size_t probe_step,
                             Candidate *candidate)
{
    const SchedStep *read = &trace.steps[probe_step];
    uint64_t object = check_step_object(read);
    size_t look, write;

    if (!check_step_reads(read) || object == 0 || written_by_itself(trace, probe, object, probe_step)) {
        return false;
    }
    look = last_at_place(trace, waiter, read, sleep_step);
    write = last_access(trace, waiter, object, sleep_step);
    if (look == CHECK_NO_STEP || write <= look || !check_step_changes(&trace.steps[write]) || trace.steps[write].new_value == 0 ||
        trace.steps[write].new_value != read->old_value || known_after(&trace.steps[look]) == read->old_value ||
        trace.steps[look].old_value == read->old_value) {
        return false;
    }
    *candidate = (Candidate){
        .looked = true,
        .object = object,
        .look_step = look,
        .probe_step = probe_step,
        .write_step = write,
        .detour_end = CHECK_NO_STEP,
    };
    find_parting(trace, waiter, probe, known_after(&trace.steps[look]), candidate);
    return parts_soon(trace, probe, candidate);
}

/* ------------------------------------------------------------------------------------------- guards */

static bool is_call_on(const SchedStep *step, SchedCall call, uint64_t object)
{
    return step->operation == SCHED_CALL && step->call == call && check_step_object(step) == object;
}

/* The first or, going backwards, the last step in [from, end) at which the mutex is given back by the waiter, or by others. */
static size_t given_back(CheckTrace trace, uint32_t waiter, bool by_waiter, uint64_t mutex, size_t from, size_t end)
{
    for (size_t n = from; n < end; n++) {
        size_t i = by_waiter ? n : end - 1 - (n - from);
        const SchedStep *step = &trace.steps[i];

        if ((step->thread == waiter) == by_waiter && !(step->flags & SCHED_STEP_PROBE) &&
            is_call_on(step, SCHED_CALL_MUTEX_UNLOCK, mutex)) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

/* The same for a mutex that the waiter takes and gives back in its loop. */
static bool guard_at(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t sleep_step, size_t probe_step,
                     Candidate *candidate)
{
    const SchedStep *lock = &trace.steps[probe_step];
    uint64_t mutex = check_step_object(lock);
    size_t look, left, write;

    if (mutex == 0 || !is_call_on(lock, SCHED_CALL_MUTEX_LOCK, mutex)) {
        return false;
    }
    look = check_ways_before(trace, waiter, last_turn(trace, waiter, sleep_step), sleep_step, probe_step);
    if (look == CHECK_NO_STEP) {
        return false;
    }
    left = given_back(trace, waiter, true, mutex, look, sleep_step);
    write = left == CHECK_NO_STEP ? left : given_back(trace, waiter, false, mutex, left, probe->first_step);
    *candidate = (Candidate){
        .guard = true,
        .looked = true,
        .detour_end = CHECK_NO_STEP,
        .object = mutex,
        .look_step = look,
        .probe_step = probe_step,
        .write_step = write,
        .parting = check_ways_parting(trace, waiter, probe, look, probe_step, NULL),
    };
    return write != CHECK_NO_STEP && candidate->parting != CHECK_NO_STEP;
}

/* What is read on a detour follows from what has led there. */
static bool leads_to(const Candidate *a, const Candidate *b)
{
    return a->detour_end != CHECK_NO_STEP && b->probe_step > a->probe_step && b->probe_step < a->detour_end;
}

/* Invariant 2 first, then 3. Where one place reads several objects, such as counters to add up, the condition came true
 * with the last write to any of them. */
static bool better(CheckTrace trace, const Candidate *a, const Candidate *b)
{
    if (a->parting != b->parting) {
        return a->parting < b->parting;
    }
    if (a->looked != b->looked) {
        return a->looked;
    }
    if (leads_to(a, b) || leads_to(b, a)) {
        return leads_to(a, b);
    }
    if (a->parting == CHECK_NO_STEP) {
        return a->probe_step < b->probe_step;
    }
    if (!a->guard && check_step_same_place(&trace.steps[a->probe_step], &trace.steps[b->probe_step])) {
        return a->write_step > b->write_step;
    }
    return a->probe_step > b->probe_step;
}

typedef bool Propose(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t sleep_step, size_t probe_step,
                     Candidate *candidate);

static bool best_candidate(CheckTrace trace, const CheckCause *cause, const SchedProbe *probe, size_t end, Propose *propose,
                           Candidate *best)
{
    size_t sleep_step = cause->sleep_step == CHECK_NO_STEP ? 0 : cause->sleep_step;
    bool found = false;

    end = end - probe->first_step > PROBED_STEPS ? probe->first_step + PROBED_STEPS : end;
    for (size_t i = probe->first_step; i < end; i++) {
        Candidate candidate;

        if (trace.steps[i].thread == cause->waiter && propose(trace, cause->waiter, probe, sleep_step, i, &candidate) &&
            (!found || better(trace, &candidate, best))) {
            *best = candidate;
            found = true;
        }
    }
    return found;
}

static void set_write(CheckTrace trace, const Candidate *best, CheckCause *cause)
{
    cause->kind = best->guard ? CHECK_CAUSE_GUARD : CHECK_CAUSE_WRITE;
    cause->object = best->object;
    cause->look_step = best->look_step;
    cause->probe_step = best->probe_step;
    cause->write_step = best->write_step;
    cause->waker = trace.steps[best->write_step].thread;
}

/* On known ways: the waiter is still in its loop there. */
static bool find_write(CheckTrace trace, const SchedProbe *probe, CheckCause *cause)
{
    size_t known_end = check_ways_known_end(trace, cause->waiter, probe);
    Candidate best, own, guard;
    bool found = best_candidate(trace, cause, probe, known_end, candidate_at, &best);

    if (best_candidate(trace, cause, probe, known_end, own_candidate_at, &own) && (!found || own.parting < best.parting)) {
        best = own;
        found = true;
    }
    if (best_candidate(trace, cause, probe, known_end, guard_at, &guard) && (!found || better(trace, &guard, &best))) {
        best = guard;
        found = true;
    }
    if (found) {
        set_write(trace, &best, cause);
    }
    return found;
}

/* Anywhere: the waiter may never have woken before, so that all of its ways are new. What it had never looked at is no
 * condition here; what it had looked at last before it slept, or has left to itself, is a good one, returned as *sure. */
static bool guess_write(CheckTrace trace, const SchedProbe *probe, CheckCause *cause, bool *sure)
{
    Candidate best, own, guard;
    bool found = best_candidate(trace, cause, probe, probe->end_step, candidate_at, &best) && best.looked;

    *sure = found && best.parting != CHECK_NO_STEP &&
            looked_before_sleep(trace, cause->waiter, cause->sleep_step == CHECK_NO_STEP ? 0 : cause->sleep_step, best.look_step);
    if (best_candidate(trace, cause, probe, probe->end_step, own_candidate_at, &own) && (!found || own.parting < best.parting)) {
        best = own;
        found = *sure = true;
    }
    if (best_candidate(trace, cause, probe, probe->end_step, guard_at, &guard) && (!found || better(trace, &guard, &best))) {
        best = guard;
        found = *sure = true;
    }
    if (found) {
        set_write(trace, &best, cause);
    }
    return found;
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

/* Where the waiter has given the mutex back for its sleep: up to there it has held it, and known what that guards. */
static size_t left_before_sleep(CheckTrace trace, uint32_t waiter, size_t sleep_step, size_t first, uint64_t mutex)
{
    for (size_t i = sleep_step; i-- > first;) {
        if (trace.steps[i].thread == waiter && check_step_object(&trace.steps[i]) == mutex) {
            return is_call_on(&trace.steps[i], SCHED_CALL_MUTEX_UNLOCK, mutex) ? i : CHECK_NO_STEP;
        }
    }
    return CHECK_NO_STEP;
}

/* The condition is plain data. Whoever changed it held the mutex that the waiter takes again on its way out. */
static void find_guard(CheckTrace trace, const SchedProbe *probe, CheckCause *cause)
{
    size_t sleep = cause->sleep_step == CHECK_NO_STEP ? 0 : cause->sleep_step, first = last_turn(trace, cause->waiter, sleep);

    for (size_t i = probe->first_step; i-- > first;) {
        const SchedStep *step = &trace.steps[i];
        uint64_t object = check_step_object(step);
        size_t left;

        if (step->thread == cause->waiter || step->flags & SCHED_STEP_PROBE || object == 0 ||
            !is_call_on(step, SCHED_CALL_MUTEX_UNLOCK, object) || !touched_by_probe(trace, probe, object)) {
            continue;
        }
        left = left_before_sleep(trace, cause->waiter, sleep, first, object);
        if (i > (left == CHECK_NO_STEP ? sleep : left)) {
            cause->kind = CHECK_CAUSE_GUARD;
            cause->object = object;
            cause->look_step = left;
            cause->write_step = i;
            cause->waker = step->thread;
            return;
        }
    }
}

static CheckCause nothing_known(CheckTrace trace, uint32_t waiter, const SchedProbe *probe)
{
    return (CheckCause){
        .waiter = waiter,
        .waker = CHECK_NO_THREAD,
        .sleep_step = check_last_sleep(trace, waiter, probe->first_step),
        .look_step = CHECK_NO_STEP,
        .write_step = CHECK_NO_STEP,
        .probe_step = CHECK_NO_STEP,
        .check_step = CHECK_NO_STEP,
        .check_write_step = CHECK_NO_STEP,
        .wake_step = CHECK_NO_STEP,
        .take_step = CHECK_NO_STEP,
    };
}

/* ------------------------------------------------------------------------------------------- a wakeup that came too early */

/* The waiter sleeps on a condition, and somebody has signalled that after it had taken the mutex to look and before it slept. */
static void find_early(CheckTrace trace, CheckCause *cause)
{
    const SchedStep *sleep = cause->sleep_step == CHECK_NO_STEP ? NULL : &trace.steps[cause->sleep_step];

    if (!sleep || sleep->operation != SCHED_CALL ||
        (sleep->call != SCHED_CALL_COND_WAIT && sleep->call != SCHED_CALL_COND_TIMEDWAIT)) {
        return;
    }
    for (size_t i = cause->sleep_step; i-- > 0;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == cause->waiter && (step->flags & SCHED_STEP_BLOCKED || step->call == SCHED_CALL_MUTEX_LOCK)) {
            return;
        }
        if (step->thread != cause->waiter && check_step_wakes(step) && check_step_object(step) == check_step_object(sleep)) {
            cause->kind = CHECK_CAUSE_EARLY;
            cause->object = check_step_object(sleep);
            cause->wake_step = i;
            cause->waker = step->thread;
            return;
        }
    }
}

/* Does it say what became of the wakeup? Then it is better than a guess. */
static bool explains(const CheckCause *cause)
{
    return cause->check_step != CHECK_NO_STEP || cause->wake_step != CHECK_NO_STEP;
}

void check_cause_find(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, CheckCause *cause)
{
    CheckCause guess = nothing_known(trace, waiter, probe);
    bool sure = false, guessed;

    *cause = guess;
    if (find_write(trace, probe, cause)) {
        check_cause_find_wake(trace, probe, cause);
        return;
    }
    guessed = guess_write(trace, probe, &guess, &sure);
    if (guessed) {
        check_cause_find_wake(trace, probe, &guess);
    }
    if (!sure) {
        find_guard(trace, probe, cause);
        check_cause_find_wake(trace, probe, cause);
    }
    if (guessed && (sure || guess.take_step != CHECK_NO_STEP || !explains(cause))) {
        *cause = guess;
    }
    if (cause->kind == CHECK_CAUSE_UNKNOWN) {
        find_early(trace, cause);
    }
}
