/*
 * What became of the wakeup that a missed wakeup misses. Pure functions on a trace; see cause_wake.h.
 *
 * There are three ways, and the report says which it was:
 *  1. The waker looked at something and did not wake anybody: check_step.
 *  2. It woke, but not the waiter: wake_step. (A condition nobody waits on yet, the wrong descriptor.)
 *  3. It woke the waiter's descriptor, and before the waiter had looked another thread read it empty: wake_step and
 *     take_step. What the waker looked at before is of no interest then: it had decided rightly.
 */
#include "check/cause_wake.h"

/* ------------------------------------------------------------------------------------------- the decision not to wake */

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

static size_t next_of_thread(CheckTrace trace, uint32_t thread, size_t after)
{
    for (size_t i = after + 1; i < trace.count; i++) {
        if (trace.steps[i].thread == thread && trace.steps[i].operation != SCHED_FENCE) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

enum { DECISION_STEPS = 4000 };
enum { RANK_NONE, RANK_READ, RANK_WAITERS, RANK_NEXT, RANK_ANNOUNCED };

/* How likely it is that the waker asked "is anybody waiting?" here. */
static unsigned check_rank(CheckTrace trace, const CheckCause *cause, size_t at)
{
    const SchedStep *step = &trace.steps[at];
    uint64_t object = check_step_object(step);

    if (!check_step_reads(step) || object == 0 || object == cause->object) {
        return RANK_NONE;
    }

    size_t written = check_last_change(trace, object, at);

    if (written != CHECK_NO_STEP && trace.steps[written].thread == cause->waiter) {
        return RANK_ANNOUNCED; /* the waiter announced itself here */
    }
    if (step->operation == SCHED_LOAD && next_of_thread(trace, cause->waker, cause->write_step) == at) {
        return RANK_NEXT; /* the very next thing: perhaps where the waiter should have announced itself */
    }
    return changed_by(trace, cause->waiter, object, at) ? RANK_WAITERS : RANK_READ;
}

static bool touches(CheckTrace trace, uint32_t thread, uint64_t object)
{
    for (size_t i = 0; i < trace.count && object; i++) {
        if (trace.steps[i].thread == thread && check_step_object(&trace.steps[i]) == object) {
            return true;
        }
    }
    return false;
}

/* Would the waiter learn of a write to this descriptor? It polls it, or reads it. */
static bool listens(CheckTrace trace, const CheckCause *cause, uint64_t object)
{
    for (size_t i = 0; i < trace.count && object; i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == cause->waiter && step->operation == SCHED_CALL && step->call != SCHED_CALL_WRITE &&
            step->call != SCHED_CALL_CLOSE && check_step_object(step) == object) {
            return true;
        }
    }
    return false;
}

/* Could this wakeup have been meant for the waiter? One on a condition, futex or descriptor that the waiter never
 * touched is another story. */
static bool meant_for_waiter(CheckTrace trace, const CheckCause *cause, const SchedStep *wake)
{
    uint64_t object = check_step_object(wake);

    if (wake->call == SCHED_CALL_WRITE) {
        return listens(trace, cause, object);
    }
    return touches(trace, cause->waiter, object);
}

static bool ends_a_section(const SchedStep *step)
{
    return step->flags & (SCHED_STEP_BLOCKED | SCHED_STEP_PROBE) ||
           (step->operation == SCHED_CALL && (step->call == SCHED_CALL_MUTEX_UNLOCK || step->call == SCHED_CALL_EXIT));
}

/* A decision may take several looks in a row, "somebody waits, but he is busy": the last one is what it came to. */
static size_t last_of_the_looks(CheckTrace trace, const CheckCause *cause, size_t first)
{
    const char *function = trace.steps[first].site->function;
    size_t last = first;

    for (;;) {
        size_t next = next_of_thread(trace, cause->waker, last);

        if (next == CHECK_NO_STEP || trace.steps[next].operation != SCHED_LOAD || trace.steps[next].flags & SCHED_STEP_PROBE ||
            trace.steps[next].site->function != function || check_step_object(&trace.steps[next]) == cause->object) {
            return last;
        }
        last = next;
    }
}

/* From the write to where the waker blocks, unlocks or ends; beyond an unlock only reads of what the waiter wrote
 * still count. */
static void find_check(CheckTrace trace, CheckCause *cause)
{
    unsigned best = RANK_NONE;
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

        /* What it reads after it has let a mutex go has nothing to do with what that guards. */
        unsigned rank = cause->kind == CHECK_CAUSE_GUARD ? RANK_NONE : check_rank(trace, cause, i);

        if (rank > best && (!unlocked || (best == RANK_NONE && rank >= RANK_WAITERS))) {
            best = rank;
            cause->check_step = i;
        }
    }
}

static void finish_check(CheckTrace trace, CheckCause *cause)
{
    cause->check_step = last_of_the_looks(trace, cause, cause->check_step);
    cause->check_write_step = check_last_change(trace, check_step_object(&trace.steps[cause->check_step]), cause->check_step);
}

/* ------------------------------------------------------------------------------------------- the wakeup that was taken */

/* A read that got something: one that failed has its errno, negated, as its value. */
static bool empties(const SchedStep *step)
{
    return step->operation == SCHED_CALL && step->call == SCHED_CALL_READ && (int64_t)step->new_value > 0 &&
           !(step->flags & SCHED_STEP_PROBE);
}

/* Where the bytes that were written at `write` were read, by whomever. */
static size_t read_of(CheckTrace trace, size_t write, size_t end)
{
    for (size_t i = write + 1; i < end; i++) {
        if (empties(&trace.steps[i]) && check_step_object(&trace.steps[i]) == check_step_object(&trace.steps[write])) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

/* Was this step a write to a descriptor of the waiter's, which another thread then read? */
static size_t taken_from_waiter(CheckTrace trace, const SchedProbe *probe, const CheckCause *cause, size_t at)
{
    const SchedStep *step = &trace.steps[at];

    if (step->operation != SCHED_CALL || step->call != SCHED_CALL_WRITE || !listens(trace, cause, check_step_object(step))) {
        return CHECK_NO_STEP;
    }

    size_t read = read_of(trace, at, probe->first_step);

    return read != CHECK_NO_STEP && trace.steps[read].thread != cause->waiter ? read : CHECK_NO_STEP;
}

/* ------------------------------------------------------------------------------------------- a condition of plain data */

/* Did this look, by whomever and at whichever object, lead straight to a wakeup elsewhere in the execution? Then it is
 * one of those by which the program decides. */
static bool decides(CheckTrace trace, const SchedStep *look)
{
    for (size_t i = 0; i < trace.count; i++) {
        if (check_step_same_place(&trace.steps[i], look)) {
            size_t next = next_of_thread(trace, trace.steps[i].thread, i);

            if (next != CHECK_NO_STEP && check_step_wakes(&trace.steps[next])) {
                return true;
            }
        }
    }
    return false;
}

/* Has this thread looked at something that the waiter had announced, here or in the looks of the same function just
 * before? */
static bool asks_for_waiter(CheckTrace trace, const CheckCause *cause, size_t at)
{
    const SchedStep *last = &trace.steps[at];

    for (size_t i = at + 1; i-- > 0;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread != last->thread || step->operation == SCHED_FENCE) {
            continue;
        }
        if (step->operation != SCHED_LOAD || step->site->function != last->site->function) {
            return false;
        }
        if (changed_by(trace, cause->waiter, check_step_object(step), i)) {
            return true;
        }
    }
    return false;
}

/* Somebody asked whether to wake the waiter, and did not. */
static bool declines(CheckTrace trace, const CheckCause *cause, size_t at)
{
    const SchedStep *step = &trace.steps[at];
    size_t next;

    if (step->operation != SCHED_LOAD || step->thread == cause->waiter || !asks_for_waiter(trace, cause, at) ||
        !decides(trace, step)) {
        return false;
    }
    next = next_of_thread(trace, step->thread, at);
    return next == CHECK_NO_STEP || !check_step_wakes(&trace.steps[next]);
}

/* The change that made the condition true is not to be seen. But whoever made it decided about a wakeup then: the last
 * decision of all since the waiter was awake is the one that left it asleep. */
static void find_last_decision(CheckTrace trace, const SchedProbe *probe, CheckCause *cause)
{
    size_t looked_at = 0, first = cause->look_step == CHECK_NO_STEP ? 0 : cause->look_step;

    for (size_t i = probe->first_step; i-- > first && looked_at++ < DECISION_STEPS;) {
        size_t read = taken_from_waiter(trace, probe, cause, i);

        if (read != CHECK_NO_STEP) {
            cause->wake_step = i;
            cause->take_step = read;
            return;
        }
        if (declines(trace, cause, i)) {
            cause->check_step = i;
            return;
        }
        if (trace.steps[i].thread == cause->waiter && i != cause->sleep_step && trace.steps[i].flags & SCHED_STEP_BLOCKED) {
            return; /* since then it was awake, and has looked */
        }
    }
}

/* The section in which the decision fell is the one whose end made the condition visible. */
static void move_guard(CheckTrace trace, CheckCause *cause)
{
    size_t decided = cause->check_step != CHECK_NO_STEP ? cause->check_step : cause->wake_step;
    uint32_t thread = trace.steps[decided].thread;

    for (size_t i = decided; i < trace.count && !(trace.steps[i].flags & SCHED_STEP_PROBE); i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == thread && step->operation == SCHED_CALL && step->call == SCHED_CALL_MUTEX_UNLOCK &&
            check_step_object(step) == cause->object) {
            cause->write_step = i;
            cause->waker = thread;
            return;
        }
    }
}

/* A full barrier and then a look, both right after the mutex was let go of: so one asks whether anybody waits for what has been changed. */
static void find_check_after_guard(CheckTrace trace, CheckCause *cause)
{
    const SchedStep *unlock = &trace.steps[cause->write_step];
    bool fence = false;

    for (size_t i = cause->write_step + 1; i < trace.count; i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread != cause->waker) {
            continue;
        }
        if (step->strand != unlock->strand || step->flags & SCHED_STEP_PROBE ||
            (fence ? step->operation != SCHED_LOAD : step->operation != SCHED_FENCE)) {
            return;
        }
        if (fence) {
            size_t next = next_of_thread(trace, cause->waker, i);

            cause->check_step = next != CHECK_NO_STEP && check_step_wakes(&trace.steps[next]) ? CHECK_NO_STEP : i;
            return;
        }
        fence = true;
    }
}

static void explain_plain_data(CheckTrace trace, const SchedProbe *probe, CheckCause *cause)
{
    if (cause->kind == CHECK_CAUSE_GUARD && cause->look_step != CHECK_NO_STEP) {
        find_check_after_guard(trace, cause);
        if (cause->check_step != CHECK_NO_STEP) {
            return;
        }
    }
    find_last_decision(trace, probe, cause);
    if (cause->check_step == CHECK_NO_STEP && cause->wake_step == CHECK_NO_STEP) {
        return;
    }
    if (cause->kind == CHECK_CAUSE_GUARD) {
        move_guard(trace, cause);
    } else if (cause->take_step != CHECK_NO_STEP) {
        cause->kind = CHECK_CAUSE_TAKEN;
        cause->waker = trace.steps[cause->wake_step].thread;
    } else {
        cause->check_step = CHECK_NO_STEP; /* who did not wake whom for what: that would be guessing */
    }
}

void check_cause_find_wake(CheckTrace trace, const SchedProbe *probe, CheckCause *cause)
{
    if (cause->kind != CHECK_CAUSE_UNKNOWN) {
        find_check(trace, cause);
    }
    if (cause->kind != CHECK_CAUSE_WRITE && cause->wake_step == CHECK_NO_STEP && cause->check_step == CHECK_NO_STEP) {
        explain_plain_data(trace, probe, cause);
    }
    if (cause->check_step != CHECK_NO_STEP) {
        finish_check(trace, cause);
    }
    if (cause->wake_step != CHECK_NO_STEP) {
        cause->take_step = taken_from_waiter(trace, probe, cause, cause->wake_step);
    }
    if (cause->take_step != CHECK_NO_STEP) {
        cause->check_step = cause->check_write_step = CHECK_NO_STEP; /* it had decided rightly */
    }
}
