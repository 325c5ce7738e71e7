/* Comparing the ways of a waiter; see cause_ways.h. Pure functions on a trace. */
#include "check/cause_ways.h"

#include <stdlib.h>

enum { DETOUR_STEPS = 8, JOINED_STEPS = 3 };
enum { CONTEXT_STEPS = 8 };

size_t check_ways_next(CheckTrace trace, uint32_t thread, size_t after, size_t end)
{
    for (size_t i = after + 1; i < end; i++) {
        if (trace.steps[i].thread == thread) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

/* ------------------------------------------------------------------------------------------- where they part */

/* The waiter's steps on its old way and on its new one, side by side. */
typedef struct Ways {
    CheckTrace trace;
    uint32_t waiter;
    const SchedProbe *probe;
    size_t old, new; /* CHECK_NO_STEP: the end */
} Ways;

static void old_on(Ways *ways)
{
    ways->old = check_ways_next(ways->trace, ways->waiter, ways->old, ways->probe->first_step);
}

static void new_on(Ways *ways)
{
    ways->new = check_ways_next(ways->trace, ways->waiter, ways->new, ways->probe->end_step);
}

static bool at_their_end(const Ways *ways)
{
    return ways->old == CHECK_NO_STEP || ways->new == CHECK_NO_STEP;
}

static bool side_by_side(const Ways *ways)
{
    return !at_their_end(ways) && check_step_same_place(&ways->trace.steps[ways->old], &ways->trace.steps[ways->new]);
}

/* Not only for a moment. */
static bool joined(Ways ways)
{
    for (unsigned i = 0; i < JOINED_STEPS; i++) {
        if (!side_by_side(&ways)) {
            return false;
        }
        old_on(&ways);
        new_on(&ways);
    }
    return true;
}

/* They have parted: do they come together again soon? Then on to there. A counter that is found at 0 has a few other steps taken to
 * count, and nothing else follows from it. */
static bool rejoin(Ways *ways)
{
    Ways old_ways = *ways;

    for (unsigned i = 0; i <= DETOUR_STEPS && old_ways.old != CHECK_NO_STEP; i++, old_on(&old_ways)) {
        Ways both = old_ways;

        for (unsigned k = 0; k <= DETOUR_STEPS && both.new != CHECK_NO_STEP; k++, new_on(&both)) {
            if (joined(both)) {
                *ways = both;
                return true;
            }
        }
    }
    return false;
}

size_t check_ways_parting(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t old, size_t new, size_t *rejoined)
{
    Ways ways = { trace, waiter, probe, old, new };
    size_t first = CHECK_NO_STEP, detour_end = CHECK_NO_STEP;
    size_t *end = rejoined ? rejoined : &detour_end;

    *end = CHECK_NO_STEP;

    for (;;) {
        old_on(&ways);
        new_on(&ways);
        if (at_their_end(&ways)) {
            return first;
        }
        if (!side_by_side(&ways)) {
            size_t parting = ways.new;

            first = first == CHECK_NO_STEP ? parting : first;
            if (!rejoin(&ways)) {
                return parting;
            }
            *end = *end == CHECK_NO_STEP ? ways.new : *end;
        }
    }
}

/* ------------------------------------------------------------------------------------------- the same before */

static size_t previous_of(CheckTrace trace, uint32_t thread, size_t before)
{
    for (size_t i = before; i-- > 0;) {
        if (trace.steps[i].thread == thread) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

/* How many steps before them the waiter did the same, at most CONTEXT_STEPS. */
static unsigned same_before(CheckTrace trace, uint32_t waiter, size_t a, size_t b)
{
    unsigned count = 0;

    while (count < CONTEXT_STEPS) {
        a = previous_of(trace, waiter, a);
        b = previous_of(trace, waiter, b);
        if (a == CHECK_NO_STEP || b == CHECK_NO_STEP || !check_step_same_place(&trace.steps[a], &trace.steps[b])) {
            break;
        }
        count++;
    }
    return count;
}

size_t check_ways_before(CheckTrace trace, uint32_t waiter, size_t first, size_t end, size_t probe_step)
{
    const SchedStep *again = &trace.steps[probe_step];
    unsigned most = 0;
    size_t best = CHECK_NO_STEP;

    for (size_t i = end; i-- > first && most < CONTEXT_STEPS;) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == waiter && check_step_same_place(step, again) && check_step_object(step) == check_step_object(again)) {
            unsigned same = same_before(trace, waiter, i, probe_step);

            if (best == CHECK_NO_STEP || same > most) {
                best = i;
                most = same;
            }
        }
    }
    return best;
}

/* ------------------------------------------------------------------------------------------- known ways */

static int compare_turns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Two steps in a row as a number: a turn of the way that the waiter took. */
static uint64_t turn(const SchedStep *from, const SchedStep *to)
{
    SchedStep places[2] = { *from, *to };

    places[0].object = places[1].object = 0;
    places[0].object_id = places[1].object_id = 0;
    return check_step_shape(&places[0], false) * 31 + check_step_shape(&places[1], false);
}

size_t check_ways_known_end(CheckTrace trace, uint32_t waiter, const SchedProbe *probe)
{
    uint64_t *known = malloc((probe->first_step + 1) * sizeof(*known));
    size_t known_count = 0, last = CHECK_NO_STEP, end = probe->end_step;

    if (!known) {
        abort();
    }
    for (size_t i = 0; i < probe->first_step; i++) {
        if (trace.steps[i].thread == waiter) {
            if (last != CHECK_NO_STEP) {
                known[known_count++] = turn(&trace.steps[last], &trace.steps[i]);
            }
            last = i;
        }
    }
    qsort(known, known_count, sizeof(*known), compare_turns);

    /* The first step of a probe may be the experiment's own, and follows on a wait that nobody had ended: it is new by
     * nature. */
    for (size_t i = probe->first_step + 1; i < end; i++) {
        uint64_t taken = turn(&trace.steps[i - 1], &trace.steps[i]);

        if (trace.steps[i - 1].call != SCHED_CALL_SPURIOUS &&
            !bsearch(&taken, known, known_count, sizeof(*known), compare_turns)) {
            end = i;
        }
    }
    free(known);
    return end;
}
