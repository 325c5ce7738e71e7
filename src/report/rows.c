/*
 * The choice of rows for the step table.
 *
 * 1. Every candidate has a weight; the heaviest stay, and of equals the latest: what happened last explains the end.
 * 2. A step is a candidate once, with the heaviest of its reasons.
 */
#include "report/rows.h"

#include <stdlib.h>
#include <string.h>

enum Weight {
    OF_THE_BUG = 100,
    NEXT_TO_IT = 95, /* who looked, who slept, who wrote what the waker read */
    LIFE = 80,       /* threads come and go */
    CHANGES = 60,    /* of the objects that matter */
    SLEEPS = 50,     /* of the threads that matter */
    ANNOUNCED = 40,  /* by the waiter before it slept, though the waker did not look */
    READS = 30,
    PASSING = 10,
};

enum { OBJECTS_MAX = 16, ANNOUNCING_STEPS = 24, CONTEXT_BEFORE = 12, CONTEXT_AFTER = 3 };

typedef struct Choice {
    CheckTrace trace;
    ReportRow *rows; /* grows */
    size_t count, room;
    uint64_t objects[OBJECTS_MAX];
    unsigned object_count;
} Choice;

static void choose(Choice *choice, size_t step, uint8_t weight, bool marked)
{
    if (step == CHECK_NO_STEP || step >= choice->trace.count) {
        return;
    }
    if (choice->count == choice->room) {
        choice->room = choice->room ? 2 * choice->room : 256;
        void *grown = realloc(choice->rows, choice->room * sizeof(*choice->rows));

        if (!grown) {
            abort();
        }
        choice->rows = grown;
    }
    choice->rows[choice->count++] = (ReportRow){
        .step = step,
        .weight = weight,
        .marked = marked,
        .by_hand = choice->trace.steps[step].flags & SCHED_STEP_PROBE,
    };
}

static void add_object(Choice *choice, uint64_t object)
{
    if (object == 0 || choice->object_count == OBJECTS_MAX) {
        return;
    }
    for (unsigned i = 0; i < choice->object_count; i++) {
        if (choice->objects[i] == object) {
            return;
        }
    }
    choice->objects[choice->object_count++] = object;
}

static void add_object_of(Choice *choice, size_t step)
{
    if (step != CHECK_NO_STEP) {
        add_object(choice, check_step_object(&choice->trace.steps[step]));
    }
}

static bool matters(const Choice *choice, const SchedStep *step)
{
    uint64_t object = check_step_object(step);

    for (unsigned i = 0; object && i < choice->object_count; i++) {
        if (choice->objects[i] == object) {
            return true;
        }
    }
    return false;
}

static bool is_life(const SchedStep *step)
{
    return step->operation == SCHED_CALL &&
           (step->call == SCHED_CALL_START || step->call == SCHED_CALL_EXIT || step->call == SCHED_CALL_CREATE);
}

static bool is_call(const SchedStep *step, SchedCall call)
{
    return step->operation == SCHED_CALL && step->call == call;
}

/* ------------------------------------------------------------------------------------------- a lost wakeup */

/* What the waker looked at between its write and its decision, and the waiter had written: the waiter's
 * announcements. */
static void add_announcements(Choice *choice, const CheckCause *cause)
{
    CheckTrace trace = choice->trace;

    for (size_t i = cause->write_step + 1; i <= cause->check_step && i < trace.count; i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == cause->waker && check_step_reads(step)) {
            size_t written = check_last_change(trace, check_step_object(step), i);

            if (written != CHECK_NO_STEP && trace.steps[written].thread == cause->waiter) {
                add_object(choice, check_step_object(step));
            }
        }
    }
}

static void choose_key_steps(Choice *choice, const CheckCause *cause)
{
    choose(choice, cause->write_step, OF_THE_BUG, true);
    choose(choice, cause->check_step, OF_THE_BUG, true);
    choose(choice, cause->wake_step, OF_THE_BUG, true);
    choose(choice, cause->take_step, OF_THE_BUG, true);
    choose(choice, cause->probe_step, OF_THE_BUG, false);
    choose(choice, cause->sleep_step, NEXT_TO_IT, false);
    choose(choice, cause->look_step, NEXT_TO_IT, false);
    choose(choice, cause->check_write_step, NEXT_TO_IT, false);
}

/* What the waiter wrote on its last steps before it slept: among it is what a waker should have looked at. */
static void choose_announced(Choice *choice, const CheckCause *cause)
{
    size_t i = cause->sleep_step == CHECK_NO_STEP ? 0 : cause->sleep_step;

    for (unsigned own_steps = 0; i-- > 0 && own_steps < ANNOUNCING_STEPS;) {
        const SchedStep *step = &choice->trace.steps[i];

        if (step->thread != cause->waiter) {
            continue;
        }
        if (step->flags & SCHED_STEP_BLOCKED) {
            return;
        }
        own_steps++;
        if (check_step_changes(step)) {
            choose(choice, i, ANNOUNCED, false);
        }
    }
}

/* From where on sleeps and reads explain the end: when the waiter looked or slept, or wrote what the waker read. */
static size_t first_of_interest(const CheckCause *cause)
{
    size_t first = cause->look_step < cause->sleep_step ? cause->look_step : cause->sleep_step;

    first = cause->check_write_step < first ? cause->check_write_step : first;
    return first == CHECK_NO_STEP ? 0 : first;
}

static void choose_step_around_cause(Choice *choice, const CheckCause *cause, size_t i)
{
    const SchedStep *step = &choice->trace.steps[i];
    bool ours = step->thread == cause->waiter || step->thread == cause->waker;

    if (ours && is_life(step)) {
        choose(choice, i, LIFE, false);
    } else if (check_step_changes(step) && matters(choice, step)) {
        choose(choice, i, CHANGES, false);
    } else if (is_call(step, SCHED_CALL_CLOCK_ADVANCE)) {
        choose(choice, i, SLEEPS, false);
    } else if (ours && step->flags & SCHED_STEP_BLOCKED) {
        choose(choice, i, i > first_of_interest(cause) ? SLEEPS : PASSING, false);
    } else if (ours && check_step_reads(step) && matters(choice, step)) {
        choose(choice, i, i > first_of_interest(cause) ? READS : PASSING, false);
    }
}

static void choose_for_cause(Choice *choice, const CheckCause *cause)
{
    add_object(choice, cause->kind == CHECK_CAUSE_GUARD ? 0 : cause->object);
    add_object_of(choice, cause->check_step);
    add_object_of(choice, cause->take_step);
    if (cause->check_step != CHECK_NO_STEP) {
        add_announcements(choice, cause);
    }
    choose_key_steps(choice, cause);
    choose_announced(choice, cause);
    for (size_t i = 0; i < choice->trace.count; i++) {
        if (!(choice->trace.steps[i].flags & SCHED_STEP_PROBE)) {
            choose_step_around_cause(choice, cause, i);
        }
    }
}

/* ------------------------------------------------------------------------------------------- the other verdicts */

static void choose_for_deadlock(Choice *choice)
{
    enum { WAITS_MAX = 16 };
    CheckWait waits[WAITS_MAX];
    unsigned count = check_waits(choice->trace, waits, WAITS_MAX);

    for (unsigned i = 0; i < count; i++) {
        choose(choice, waits[i].sleep_step, OF_THE_BUG, waits[i].in_cycle);
        choose(choice, waits[i].taken_step, NEXT_TO_IT, waits[i].in_cycle);
        add_object_of(choice, waits[i].sleep_step);
    }
    for (size_t i = 0; i < choice->trace.count; i++) {
        const SchedStep *step = &choice->trace.steps[i];

        if (step->flags & SCHED_STEP_PROBE) {
            continue;
        }
        if (is_life(step)) {
            choose(choice, i, LIFE, false);
        } else if (step->operation == SCHED_CALL && matters(choice, step)) {
            choose(choice, i, CHANGES, false);
        } else if (step->flags & SCHED_STEP_BLOCKED || check_step_wakes(step)) {
            choose(choice, i, SLEEPS, false);
        }
    }
}

/* One turn of the loop, the last whole one; its beginning weighs most, so that a long one is cut at its end. */
static void choose_for_loop(Choice *choice, const CheckCycle *loop)
{
    size_t start = loop->first + loop->length * (loop->repeats - 1);

    for (size_t i = 0; i < loop->length; i++) {
        choose(choice, start + i, i < REPORT_ROWS_MAX ? NEXT_TO_IT : PASSING, false);
    }
}

static void choose_for_leak(Choice *choice)
{
    for (size_t i = 0; i < choice->trace.count; i++) {
        const SchedStep *step = &choice->trace.steps[i];

        if (is_life(step) || is_call(step, SCHED_CALL_JOIN) || is_call(step, SCHED_CALL_DETACH)) {
            choose(choice, i, LIFE, false);
        } else if (step->flags & SCHED_STEP_BLOCKED) {
            choose(choice, i, SLEEPS, false);
        }
    }
}

static void choose_window(Choice *choice, size_t around)
{
    size_t end = around == CHECK_NO_STEP ? choice->trace.count : around + CONTEXT_AFTER + 1;
    size_t start = end > 2 * CONTEXT_BEFORE ? end - 2 * CONTEXT_BEFORE : 0;

    for (size_t i = start; i < end; i++) {
        if (i >= choice->trace.count || choice->trace.steps[i].operation != SCHED_FENCE) {
            choose(choice, i, PASSING, i == around);
        }
    }
}

/* ------------------------------------------------------------------------------------------- the heaviest */

static int by_step_then_weight(const void *a, const void *b)
{
    const ReportRow *x = a, *y = b;

    return x->step != y->step ? (x->step > y->step) - (x->step < y->step) : y->weight - x->weight;
}

static int by_weight_then_step(const void *a, const void *b)
{
    const ReportRow *x = a, *y = b;

    return x->weight != y->weight ? y->weight - x->weight : (x->step < y->step) - (x->step > y->step);
}

static size_t without_doubles(ReportRow *rows, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (kept && rows[kept - 1].step == rows[i].step) {
            rows[kept - 1].marked |= rows[i].marked;
        } else {
            rows[kept++] = rows[i];
        }
    }
    return kept;
}

/* What has no bearing is shown only where there is little else. */
static size_t without_light_ones(const ReportRow *rows, size_t count)
{
    enum { FEW = 12 };

    while (count > FEW && rows[count - 1].weight == PASSING && rows[0].weight > PASSING) {
        count--;
    }
    return count;
}

static bool is_lost_wakeup(const CheckResult *check)
{
    return check->verdict == CHECK_MISSED_WAKEUP || check->verdict == CHECK_LATE_WAKEUP;
}

unsigned report_choose_rows(CheckTrace trace, const CheckResult *check, ReportRow rows[REPORT_ROWS_MAX], size_t *hidden)
{
    Choice choice = { .trace = trace };

    switch (check->verdict) {
    case CHECK_MISSED_WAKEUP:
    case CHECK_LATE_WAKEUP:
        choose_for_cause(&choice, &check->cause);
        break;
    case CHECK_DEADLOCK:
    case CHECK_LOST_COMPLETION:
        choose_for_deadlock(&choice);
        break;
    case CHECK_LIVELOCK:
        if (check->loop.length) {
            choose_for_loop(&choice, &check->loop);
        } else {
            choose_window(&choice, CHECK_NO_STEP);
        }
        break;
    case CHECK_LEAK:
        choose_for_leak(&choice);
        break;
    default:
        choose_window(&choice, check->step);
        break;
    }
    if (choice.count) {
        qsort(choice.rows, choice.count, sizeof(*choice.rows), by_step_then_weight);
        choice.count = without_doubles(choice.rows, choice.count);
    }
    if (choice.count) {
        qsort(choice.rows, choice.count, sizeof(*choice.rows), by_weight_then_step);
    }
    choice.count = without_light_ones(choice.rows, choice.count);

    unsigned kept = choice.count < REPORT_ROWS_MAX ? (unsigned)choice.count : REPORT_ROWS_MAX;

    *hidden = choice.count - kept;
    if (kept && choice.rows) {
        memcpy(rows, choice.rows, kept * sizeof(*rows));
    }
    qsort(rows, kept, sizeof(*rows), by_step_then_weight);
    for (unsigned i = 0; i < kept; i++) {
        rows[i].no_wakeup = is_lost_wakeup(check) && rows[i].step == check->cause.check_step &&
                            check->cause.wake_step == CHECK_NO_STEP;
    }
    free(choice.rows);
    return kept;
}
