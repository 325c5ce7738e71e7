/*
 * Root cause of a missed wakeup. Pure functions on a trace; see cause.h for the table that they fill in.
 *
 * The waiter's steps during the experiment (the probe) are laid beside its own earlier ones (the past). What it waits
 * for shows where the two part:
 *
 *   past   ... ppoll, ..., reads OBJECT == 1, goes round its loop, ppoll: asleep
 *   probe      ppoll, ..., reads OBJECT == 0, leaves its loop ...
 *
 * 1. Belief: what the waiter took an object to be when it fell asleep is what it read or wrote there last. A read of
 *    the probe that finds this belief confirmed explains nothing.
 * 2. A read decides when the same read once found the believed value and the waiter then went another way, and no
 *    other read of a changed value stands between it and the fork. Counters that merely moved do not decide. The
 *    first read of the probe that decides is the condition: what comes after it is consequence.
 * 3. An object that the waiter wrote last before it slept is how it announces itself (notify_me, a visitors' count),
 *    and no condition, unless it sleeps on the object itself, as on a futex.
 * 4. Steps of the experiment are never blamed: the write is one of the execution proper.
 * 5. Where nothing decides, the condition is plain data. A wakeup that was on its way to the waiter and that another
 *    thread took is the cause then; else the guard of the data; else, as a guess, the latest write to anything that
 *    the probe found changed.
 */
#include "check/cause.h"

#include <stdlib.h>

enum {
    CONTEXT_STEPS = 64, /* two steps with this much in common before them are in the same place */
    FORK_STEPS = 16,    /* the way from a read to the branch that depends on it: other terms of the condition, an unlock */
};

/* ------------------------------------------------------------------------------------------- the waiter's own steps */

/* What the waiter did, in order: indices into the trace. Those from probe on belong to the experiment. */
typedef struct Steps {
    CheckTrace trace;
    size_t *at;
    uint64_t *shapes;
    size_t count, probe;
} Steps;

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);

    if (!memory) {
        abort();
    }
    return memory;
}

static Steps steps_of(CheckTrace trace, uint32_t waiter, const SchedProbe *probe)
{
    Steps own = { .trace = trace,
                  .at = allocate(probe->end_step, sizeof(size_t)),
                  .shapes = allocate(probe->end_step, sizeof(uint64_t)) };

    for (size_t i = 0; i < probe->end_step; i++) {
        if (i == probe->first_step) {
            own.probe = own.count;
        }
        /* A spurious return is the experiment's own doing. */
        if (trace.steps[i].thread == waiter && trace.steps[i].call != SCHED_CALL_SPURIOUS) {
            own.at[own.count] = i;
            own.shapes[own.count++] = check_step_shape(&trace.steps[i], false);
        }
    }
    if (probe->first_step >= probe->end_step) {
        own.probe = own.count;
    }
    return own;
}

static void steps_free(Steps *own)
{
    free(own->at);
    free(own->shapes);
}

static const SchedStep *own_step(const Steps *own, size_t i)
{
    return &own->trace.steps[own->at[i]];
}

static int compare_shapes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Where the resumed waiter first does what it had never done before: from there on it is out of its loop. */
static size_t end_of_known_ways(const Steps *own)
{
    uint64_t *known = allocate(own->probe, sizeof(*known));
    size_t end = own->probe;

    for (size_t i = 0; i < own->probe; i++) {
        known[i] = own->shapes[i];
    }
    qsort(known, own->probe, sizeof(*known), compare_shapes);
    while (end < own->count && bsearch(&own->shapes[end], known, own->probe, sizeof(*known), compare_shapes)) {
        end++;
    }
    free(known);
    return end;
}

/* ------------------------------------------------------------------------------------------- what was believed */

typedef struct Belief {
    size_t at;       /* the waiter's last step before the probe that read or wrote the object; CHECK_NO_STEP: none */
    uint64_t value;  /* what it knew the object to be from then on */
    bool announced;  /* that step wrote it */
} Belief;

static Belief belief_in(const Steps *own, uint64_t object)
{
    for (size_t i = own->probe; i-- > 0;) {
        const SchedStep *step = own_step(own, i);

        if (step->operation <= SCHED_RMW && check_step_object(step) == object) {
            return (Belief){ i, step->operation == SCHED_LOAD ? step->old_value : step->new_value,
                             step->operation == SCHED_STORE || check_step_changes(step) };
        }
    }
    return (Belief){ .at = CHECK_NO_STEP };
}

static bool written_by_itself(const Steps *own, uint64_t object, size_t before)
{
    for (size_t i = own->probe; i < before; i++) {
        if (check_step_changes(own_step(own, i)) && check_step_object(own_step(own, i)) == object) {
            return true;
        }
    }
    return false;
}

static bool sleeps_on(const Steps *own, uint64_t object)
{
    return own->probe > 0 && check_step_object(own_step(own, own->probe - 1)) == object;
}

/* Is this a read of the probe that found another value than believed? False also where there was no belief. */
static bool finds_change(const Steps *own, size_t i, Belief *belief)
{
    const SchedStep *step = own_step(own, i);
    uint64_t object = check_step_object(step);

    if (!check_step_reads(step) || object == 0) {
        return false;
    }
    *belief = belief_in(own, object);
    return belief->at != CHECK_NO_STEP && belief->value != step->old_value && !written_by_itself(own, object, i);
}

/* ------------------------------------------------------------------------------------------- where the ways part */

/* How many steps before a and before b are the same. The probe goes on where the waiter slept. */
static size_t common_context(const Steps *own, size_t a, size_t b)
{
    size_t length = 0;

    while (length < CONTEXT_STEPS && length < a && length < b && own->shapes[a - 1 - length] == own->shapes[b - 1 - length]) {
        length++;
    }
    return length;
}

/* The step of the past that is the same read in the most similar place, and found the believed value; of equals the
 * latest. */
static size_t same_read_before(const Steps *own, size_t i, uint64_t value)
{
    size_t best = CHECK_NO_STEP, best_length = 0;

    for (size_t past = own->probe; past-- > 0;) {
        if (own->shapes[past] != own->shapes[i] || own_step(own, past)->old_value != value) {
            continue;
        }

        size_t length = common_context(own, i, past);

        if (best == CHECK_NO_STEP || length > best_length) {
            best = past;
            best_length = length;
        }
    }
    return best;
}

/* Do the ways part because of what was read at i? Invariant 2. */
static bool decides(const Steps *own, size_t i, const Belief *belief)
{
    size_t past = same_read_before(own, i, belief->value);

    if (past == CHECK_NO_STEP) {
        return false;
    }
    for (size_t k = 1; k <= FORK_STEPS; k++) {
        Belief other;

        if (past + k >= own->probe) {
            return false; /* the same way into the same sleep */
        }
        if (i + k >= own->count || own->shapes[i + k] != own->shapes[past + k]) {
            return true;
        }
        if (check_step_changes(own_step(own, i + k)) || finds_change(own, i + k, &other)) {
            return false;
        }
    }
    return false;
}

/* ------------------------------------------------------------------------------------------- the write */

typedef struct Candidate {
    bool looked; /* the waiter had met this object before it slept: the better sort of candidate */
    uint64_t object;
    size_t look_step, probe_step, write_step;
} Candidate;

static size_t last_change_by_others(CheckTrace trace, uint32_t waiter, uint64_t object, size_t before)
{
    for (size_t i = before; i-- > 0;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread != waiter && !(step->flags & SCHED_STEP_PROBE) && check_step_changes(step) &&
            check_step_object(step) == object) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

/*
 * The write that took the object from what makes the waiter wait to what lets it go on. Conditions ask nearly always
 * for 0 or for NULL: where that is what has changed, it is the last write that changed it, and a list that was filled
 * and then got longer became interesting when it was filled. Otherwise the last write counts.
 */
static size_t find_change(CheckTrace trace, uint32_t waiter, uint64_t object, size_t after, size_t before, bool was_zero,
                          bool is_zero)
{
    size_t last = last_change_by_others(trace, waiter, object, before);

    if (last == CHECK_NO_STEP || last < after) {
        return CHECK_NO_STEP;
    }
    for (size_t i = last; was_zero != is_zero && i != CHECK_NO_STEP && i >= after;
         i = last_change_by_others(trace, waiter, object, i)) {
        const SchedStep *step = &trace.steps[i];

        if ((step->old_value == 0) == was_zero && (step->new_value == 0) == is_zero) {
            return i;
        }
    }
    return last;
}

static size_t last_look(const Steps *own, uint64_t object)
{
    for (size_t i = own->probe; i-- > 0;) {
        if (check_step_reads(own_step(own, i)) && check_step_object(own_step(own, i)) == object) {
            return own->at[i];
        }
    }
    return CHECK_NO_STEP;
}

/* Fill in a candidate from a read of the probe that found a change. False: nobody else has written the object. */
static bool candidate_at(const Steps *own, uint32_t waiter, const SchedProbe *probe, size_t i, const Belief *belief,
                         Candidate *candidate)
{
    const SchedStep *step = own_step(own, i);
    uint64_t object = check_step_object(step);
    size_t write = find_change(own->trace, waiter, object, own->at[belief->at] + 1, probe->first_step, belief->value == 0,
                               step->old_value == 0);

    *candidate = (Candidate){ true, object, last_look(own, object), own->at[i], write };
    return write != CHECK_NO_STEP;
}

/*
 * A condition over several objects (the readers of all contexts) is read by one site, one object after another. None
 * of them alone has to become 0: the latest write to any of them counts.
 */
static void widen_to_sum(const Steps *own, uint32_t waiter, const SchedProbe *probe, size_t decisive, Candidate *best)
{
    const SchedSite *site = own_step(own, decisive)->site;

    for (size_t i = decisive; i-- > own->probe && decisive - i <= FORK_STEPS && !check_step_changes(own_step(own, i));) {
        const SchedStep *step = own_step(own, i);
        Belief belief;

        if (!check_step_reads(step) || step->site != site || check_step_object(step) == best->object) {
            continue;
        }
        best->write_step = last_change_by_others(own->trace, waiter, best->object, probe->first_step);
        if (finds_change(own, i, &belief) && !belief.announced) {
            size_t write = last_change_by_others(own->trace, waiter, check_step_object(step), probe->first_step);

            if (write != CHECK_NO_STEP && write > best->write_step) {
                *best = (Candidate){ true, check_step_object(step), last_look(own, check_step_object(step)), own->at[i], write };
            }
        }
    }
}

/* The first read of the probe that decides. Objects of invariant 3 count only where announced says so. */
static bool first_decisive(const Steps *own, uint32_t waiter, const SchedProbe *probe, size_t end, bool announced,
                           Candidate *best)
{
    for (size_t i = own->probe; i < end; i++) {
        Belief belief;

        if (finds_change(own, i, &belief) && decides(own, i, &belief) &&
            (announced || !belief.announced || sleeps_on(own, check_step_object(own_step(own, i)))) &&
            candidate_at(own, waiter, probe, i, &belief, best)) {
            widen_to_sum(own, waiter, probe, i, best);
            return true;
        }
    }
    return false;
}

/* What another thread wrote to an object that the waiter meets in its probe for the first time. */
static bool unmet_candidate(const Steps *own, uint32_t waiter, const SchedProbe *probe, size_t i, Candidate *candidate)
{
    const SchedStep *step = own_step(own, i);
    uint64_t object = check_step_object(step);
    size_t since = own->probe > 0 ? own->at[own->probe - 1] : 0;

    if (!check_step_reads(step) || object == 0 || written_by_itself(own, object, i) ||
        belief_in(own, object).at != CHECK_NO_STEP) {
        return false;
    }

    size_t write = find_change(own->trace, waiter, object, since, probe->first_step, true, true);

    *candidate = (Candidate){ false, object, CHECK_NO_STEP, own->at[i], write };
    return write != CHECK_NO_STEP;
}

static bool better(const Candidate *a, const Candidate *b)
{
    if (a->looked != b->looked) {
        return a->looked;
    }
    return a->write_step > b->write_step; /* a tie keeps the earlier read */
}

/* The guess of invariant 5. */
static bool latest_changed(const Steps *own, uint32_t waiter, const SchedProbe *probe, size_t end, Candidate *best)
{
    bool found = false;

    for (size_t i = own->probe; i < end; i++) {
        Belief belief;
        Candidate candidate;
        bool changed = finds_change(own, i, &belief);

        if (changed ? !belief.announced && candidate_at(own, waiter, probe, i, &belief, &candidate)
                    : unmet_candidate(own, waiter, probe, i, &candidate)) {
            if (!found || better(&candidate, best)) {
                *best = candidate;
                found = true;
            }
        }
    }
    return found;
}

static void take_write(CheckCause *cause, CheckTrace trace, const Candidate *best)
{
    cause->kind = CHECK_CAUSE_WRITE;
    cause->object = best->object;
    cause->look_step = best->look_step;
    cause->probe_step = best->probe_step;
    cause->write_step = best->write_step;
    cause->waker = trace.steps[best->write_step].thread;
}

/* ------------------------------------------------------------------------------------------- the wakeup that was taken */

static bool is_call_on(const SchedStep *step, SchedCall call, uint64_t object)
{
    return step->operation == SCHED_CALL && step->call == call && object != 0 && check_step_object(step) == object;
}

/* Who read the descriptor empty after it was written at `wake`, before the waiter could run: CHECK_NO_STEP: nobody. */
static size_t taken_by_another(CheckTrace trace, uint32_t waiter, size_t wake, size_t before)
{
    uint64_t object = check_step_object(&trace.steps[wake]);

    for (size_t i = wake + 1; i < before; i++) {
        if (is_call_on(&trace.steps[i], SCHED_CALL_READ, object)) {
            return trace.steps[i].thread == waiter ? CHECK_NO_STEP : i;
        }
    }
    return CHECK_NO_STEP;
}

/*
 * Does the waiter listen to this descriptor: sleeps on it (a poll names only the first one), or has read it? Then
 * *since is where it last emptied it: an event of before is no secret to it.
 */
static bool listens_to(const Steps *own, uint64_t object, size_t *since)
{
    *since = 0;
    for (size_t i = own->probe; i-- > 0;) {
        if (is_call_on(own_step(own, i), SCHED_CALL_READ, object)) {
            *since = own->at[i];
            return true;
        }
    }
    return object != 0 && sleeps_on(own, object);
}

/* What the waker had to tell by the wakeup at `wake`: its last change before it to what the waiter looks at, made
 * after the waiter's last look. */
static bool told_by(const Steps *own, size_t wake, size_t since, Candidate *best)
{
    CheckTrace trace = own->trace;

    for (size_t i = wake; i-- > since;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread != trace.steps[wake].thread || !check_step_changes(step)) {
            continue;
        }

        Belief belief = belief_in(own, check_step_object(step));

        if (belief.at != CHECK_NO_STEP && !belief.announced && own->at[belief.at] < i) {
            *best = (Candidate){ true, check_step_object(step), own->at[belief.at], CHECK_NO_STEP, i };
            return true;
        }
    }
    return false;
}

/* Of the wakeups that another thread took, the last: after it nobody tried any more. */
static bool find_taken_wakeup(const Steps *own, const SchedProbe *probe, CheckCause *cause)
{
    for (size_t i = probe->first_step; i-- > 0;) {
        const SchedStep *step = &own->trace.steps[i];
        Candidate best;
        size_t since;

        if (step->thread != cause->waiter && !(step->flags & SCHED_STEP_PROBE) &&
            is_call_on(step, SCHED_CALL_WRITE, check_step_object(step)) && listens_to(own, check_step_object(step), &since) &&
            since < i && taken_by_another(own->trace, cause->waiter, i, probe->first_step) != CHECK_NO_STEP &&
            told_by(own, i, since, &best)) {
            take_write(cause, own->trace, &best);
            cause->wake_step = i;
            return true;
        }
    }
    return false;
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

/* Could this wakeup have been meant for the waiter? One on a condition, a futex or a descriptor that the waiter never
 * touched is another story. */
static bool meant_for_waiter(const Steps *own, const SchedStep *wake)
{
    uint64_t object = check_step_object(wake);
    size_t since;

    if (wake->call == SCHED_CALL_WRITE) {
        return listens_to(own, object, &since);
    }
    for (size_t i = 0; i < own->probe && object; i++) {
        if (check_step_object(own_step(own, i)) == object) {
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

/*
 * From the write to where the waker blocks, unlocks or ends; beyond an unlock only reads of what the waiter wrote
 * still count. Of reads in a row ("somebody sleeps, and nobody dispatches") the last had the say. Who tries to wake
 * the waiter did not decide against it: then there is a wakeup that went astray instead of a check.
 */
static void find_check(const Steps *own, CheckCause *cause)
{
    CheckTrace trace = own->trace;
    unsigned best = 0;
    bool unlocked = false, in_a_row = false;

    for (size_t i = cause->write_step + 1; i < trace.count; i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->flags & SCHED_STEP_PROBE) {
            break;
        }
        if (step->thread != cause->waker || step->operation == SCHED_FENCE) {
            continue;
        }
        if (check_step_wakes(step) && meant_for_waiter(own, step)) {
            cause->wake_step = i;
            cause->check_step = CHECK_NO_STEP;
            return;
        }
        if (ends_a_section(step)) {
            if (step->call != SCHED_CALL_MUTEX_UNLOCK || step->flags & SCHED_STEP_BLOCKED) {
                break;
            }
            unlocked = true;
        }

        unsigned rank = check_rank(trace, cause, i);

        if ((rank > best && (!unlocked || (best == 0 && rank >= 2))) || (rank >= 2 && in_a_row)) {
            best = rank > best ? rank : best;
            cause->check_step = i;
        }
        in_a_row = cause->check_step == i;
    }
    if (cause->check_step != CHECK_NO_STEP) {
        uint64_t object = check_step_object(&trace.steps[cause->check_step]);

        cause->check_write_step = check_last_change(trace, object, cause->check_step);
    }
}

static bool waits_on_condition(const Steps *own)
{
    SchedCall call = own->probe > 0 ? (SchedCall)own_step(own, own->probe - 1)->call : SCHED_CALL_NONE;

    return call == SCHED_CALL_COND_WAIT || call == SCHED_CALL_COND_TIMEDWAIT;
}

/* In the order of invariant 5. */
static void find_write(const Steps *own, const SchedProbe *probe, CheckCause *cause)
{
    size_t known_end = end_of_known_ways(own);
    Candidate best;

    /* Behind a condition variable is what its mutex guards. */
    if (waits_on_condition(own)) {
        find_guard(own->trace, probe, cause);
    }
    if (cause->kind == CHECK_CAUSE_UNKNOWN && first_decisive(own, cause->waiter, probe, known_end, false, &best)) {
        take_write(cause, own->trace, &best);
    }
    if (cause->kind == CHECK_CAUSE_UNKNOWN && !find_taken_wakeup(own, probe, cause)) {
        if (latest_changed(own, cause->waiter, probe, known_end, &best) ||
            first_decisive(own, cause->waiter, probe, own->count, true, &best) ||
            latest_changed(own, cause->waiter, probe, own->count, &best)) {
            take_write(cause, own->trace, &best);
        } else {
            find_guard(own->trace, probe, cause);
        }
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
        .taken_step = CHECK_NO_STEP,
    };

    Steps own = steps_of(trace, waiter, probe);

    find_write(&own, probe, cause);
    if (cause->kind != CHECK_CAUSE_UNKNOWN && cause->wake_step == CHECK_NO_STEP) {
        find_check(&own, cause);
    }
    steps_free(&own);
    if (cause->wake_step != CHECK_NO_STEP) {
        cause->taken_step = taken_by_another(trace, waiter, cause->wake_step, probe->first_step);
    }
}
