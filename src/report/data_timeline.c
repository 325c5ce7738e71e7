/* See data_timeline.h. The steps of the experiment are none of the execution's: they are left out here. */
#include "report/data_timeline.h"

#include <stdlib.h>

enum { RUNS_MAX = 800, SLEEPS_MAX = 400, WAKES_MAX = 400, KICKS_MAX = 100, FIELDS = 4 };

/* The last `room` of the quadruples that were added. */
typedef struct Ring {
    size_t (*items)[FIELDS];
    size_t room, added;
} Ring;

static Ring ring_new(size_t room)
{
    Ring ring = { .items = calloc(room, sizeof(*ring.items)), .room = room };

    if (!ring.items) {
        abort();
    }
    return ring;
}

static void ring_add(Ring *ring, size_t a, size_t b, size_t c, size_t d)
{
    size_t *item = ring->items[ring->added++ % ring->room];

    item[0] = a;
    item[1] = b;
    item[2] = c;
    item[3] = d;
}

static void ring_write(Json *json, const char *key, Ring *ring, unsigned fields)
{
    size_t first = ring->added > ring->room ? ring->added - ring->room : 0;

    json_open(json, key, '[');
    for (size_t i = first; i < ring->added; i++) {
        json_open(json, NULL, '[');
        for (unsigned k = 0; k < fields; k++) {
            json_number(json, NULL, ring->items[i % ring->room][k]);
        }
        json_close(json, ']');
    }
    json_close(json, ']');
    free(ring->items);
}

/* Made by the experiment. */
static bool by_hand(const SchedStep *step)
{
    return step->flags & SCHED_STEP_PROBE;
}

/* The first step of the experiment at the end, or the trace's length. */
static size_t end_of_execution(CheckTrace trace)
{
    size_t end = trace.count;

    while (end > 0 && by_hand(&trace.steps[end - 1])) {
        end--;
    }
    return end;
}

static size_t next_of_thread(CheckTrace trace, uint32_t thread, size_t from)
{
    while (from < trace.count && (trace.steps[from].thread != thread || by_hand(&trace.steps[from]))) {
        from++;
    }
    return from;
}

static bool is_call(const SchedStep *step, SchedCall call)
{
    return step->operation == SCHED_CALL && step->call == call;
}

static void write_runs(Json *json, CheckTrace trace, size_t from)
{
    Ring runs = ring_new(RUNS_MAX);

    for (size_t i = from; i < trace.count;) {
        size_t first = i;
        const SchedStep *step = &trace.steps[first];

        while (i < trace.count && trace.steps[i].thread == step->thread && trace.steps[i].strand == step->strand &&
               by_hand(&trace.steps[i]) == by_hand(step)) {
            i++;
        }
        if (step->thread != CHECK_CLOCK && !by_hand(step)) {
            ring_add(&runs, step->thread, first, i - 1, step->strand);
        }
    }
    ring_write(json, "runs", &runs, FIELDS);
}

static void write_sleeps(Json *json, CheckTrace trace, size_t from)
{
    Ring sleeps = ring_new(SLEEPS_MAX);

    for (size_t i = 0; i < trace.count; i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->flags & SCHED_STEP_BLOCKED && !by_hand(step)) {
            size_t next = next_of_thread(trace, step->thread, i + 1);

            if (next >= from) {
                ring_add(&sleeps, step->thread, i, next, 0);
            }
        }
    }
    ring_write(json, "sleeps", &sleeps, 3);
}

/* A thread that the experiment let go on has been woken by nobody: its next step is none of this trace. */
static void write_wakes(Json *json, CheckTrace trace, size_t from)
{
    Ring wakes = ring_new(WAKES_MAX);
    size_t count;
    const SchedWakeup *wakeups = sched_wakeups(&count);

    for (size_t i = 0; i < count; i++) {
        size_t step = wakeups[i].step;

        if (step > from && step <= trace.count && !by_hand(&trace.steps[step - 1])) {
            ring_add(&wakes, step - 1, trace.steps[step - 1].thread, wakeups[i].thread,
                     next_of_thread(trace, wakeups[i].thread, step));
        }
    }
    ring_write(json, "wakes", &wakes, FIELDS);
}

static bool woke_somebody(size_t step)
{
    size_t count;
    const SchedWakeup *wakeups = sched_wakeups(&count);
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (wakeups[middle].step <= step) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && wakeups[low].step == step + 1;
}

static bool is_eventfd(CheckTrace trace, uintptr_t object)
{
    for (size_t i = 0; object && i < trace.count; i++) {
        if (is_call(&trace.steps[i], SCHED_CALL_EVENTFD) && trace.steps[i].new_value == object) {
            return true;
        }
    }
    return false;
}

static void write_kicks(Json *json, CheckTrace trace, size_t from)
{
    Ring kicks = ring_new(KICKS_MAX);

    for (size_t i = from; i < trace.count; i++) {
        const SchedStep *write = &trace.steps[i];
        size_t read = i + 1;

        if (!is_call(write, SCHED_CALL_WRITE) || woke_somebody(i) || !is_eventfd(trace, write->object)) {
            continue;
        }
        while (read < trace.count &&
               !(is_call(&trace.steps[read], SCHED_CALL_READ) && trace.steps[read].object == write->object)) {
            read++;
        }
        if (read < trace.count && trace.steps[read].thread != write->thread) {
            ring_add(&kicks, i, write->thread, trace.steps[read].thread, read);
        }
    }
    ring_write(json, "kicks", &kicks, FIELDS);
}

void report_data_timeline(Json *json, CheckTrace trace, size_t from)
{
    CheckTrace execution = { .steps = trace.steps, .count = end_of_execution(trace) };

    json_number(json, "from", from);
    json_number(json, "end", execution.count);
    write_runs(json, execution, from);
    write_sleeps(json, execution, from);
    write_wakes(json, execution, from);
    write_kicks(json, execution, from);
}
