/*
 * The experiment at quiescence and before a long idle jump of the clock.
 *
 * Runs on the kernel thread that owns the scheduler, while every fiber is parked.
 *
 * 1. Only waits that POSIX allows to return for no reason are tried: a program that breaks then was broken before.
 * 2. Threads are tried in order of their ids, so that two executions of one input examine alike.
 * 3. The first that makes progress ends the experiment: everything after it would look at a changed world.
 * 4. The experiment moves the thread that makes progress: where it slept is noted before.
 * 5. A thread that goes back to the same wait is tried once more, as a control. An idle event loop does the same
 *    things twice, though perhaps not equally often; one that had work lying there does it the first time only. Steps
 *    of housekeeping count for neither, nor do those that look (sched_look_begin()), after which what is found is done.
 */
#include "check/examine.h"

#include <stdlib.h>
#include <string.h>

#include "check/check.h"
#include "check/given.h"
#include "check/trace.h"

enum { HOUSEKEEPERS_MAX = 16 };

static CheckExperiment experiment;
static const char *housekeepers[HOUSEKEEPERS_MAX];
static unsigned housekeeper_count;

void check_housekeeping(const char *function)
{
    if (housekeeper_count == HOUSEKEEPERS_MAX) {
        abort();
    }
    housekeepers[housekeeper_count++] = function;
}

static bool is_housekeeping(const SchedStep *step)
{
    if (step->flags & SCHED_STEP_LOOK) {
        return true;
    }
    if (step->operation == SCHED_CALL || !step->site) {
        return false;
    }
    for (unsigned i = 0; i < housekeeper_count; i++) {
        if (strcmp(step->site->function, housekeepers[i]) == 0) {
            return true;
        }
    }
    return false;
}

void check_experiment_reset(void)
{
    /* not the copy of a stack, which is large and says by its count that it is none */
    experiment.thread = NULL;
    experiment.progress = CHECK_STUCK;
    experiment.probe = (SchedProbe){ 0 };
    experiment.stack.count = 0;
    experiment.asleep = experiment.examined = 0;
    experiment.next_deadline_ns = SCHED_FOREVER;
}

const CheckExperiment *check_experiment(void)
{
    return &experiment;
}

/* Not memcpy(): a sanitizer's would complain about the red zones between the variables of a frame. */
static void copy_stack(const SchedThread *thread, CheckStackCopy *copy)
{
    void *low, *high, *frame, *pc;

    sched_thread_stack(thread, &low, &high);
    sched_thread_frame(thread, &frame, &pc);
    copy->frame = copy->first = (uintptr_t)frame;
    copy->pc = (uintptr_t)pc;
    copy->count = 0;
    if ((uintptr_t)frame < (uintptr_t)low || (uintptr_t)frame >= (uintptr_t)high || (uintptr_t)frame % 8) {
        return;
    }
    for (const volatile uint64_t *word = frame; word < (uint64_t *)high && copy->count < CHECK_STACK_WORDS; word++) {
        copy->words[copy->count++] = *word;
    }
}

/* What the reader wants to know of the moment at which everybody slept. */
static void note_sleepers(void)
{
    experiment.asleep = 0;
    experiment.next_deadline_ns = SCHED_FOREVER;
    for (uint32_t id = 0; id < sched_thread_count(); id++) {
        const SchedThread *thread = sched_thread_by_id(id);
        const SchedBlock *block = thread ? sched_thread_block(thread) : NULL;

        if (id % 64 == 0) {
            experiment.asleep_set[id / 64] = 0;
        }
        if (block) {
            experiment.asleep_set[id / 64] |= UINT64_C(1) << id % 64;
            experiment.asleep++;
            experiment.next_deadline_ns = block->deadline_ns < experiment.next_deadline_ns ? block->deadline_ns
                                                                                           : experiment.next_deadline_ns;
        }
    }
}

static int compare_shapes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* What the thread did in a probe, step by step, but for housekeeping. The caller frees it. */
static uint64_t *shapes_of(CheckTrace trace, const SchedProbe *probe, size_t *count)
{
    uint64_t *shapes = malloc((probe->end_step - probe->first_step + 1) * sizeof(*shapes));

    if (!shapes) {
        abort();
    }
    *count = 0;
    for (size_t i = probe->first_step; i < probe->end_step; i++) {
        if (!is_housekeeping(&trace.steps[i])) {
            shapes[(*count)++] = check_step_shape(&trace.steps[i], false);
        }
    }
    return shapes;
}

/* Does the second one do anything that the first one did not do at all? How often it does a thing says nothing: a
 * thread that spins begins in another phase of its loop, and one that polls before it sleeps takes more or fewer
 * turns. */
static bool has_new_shape(CheckTrace trace, const SchedProbe *probe, const SchedProbe *control)
{
    size_t known_count, count;
    uint64_t *known = shapes_of(trace, probe, &known_count), *shapes = shapes_of(trace, control, &count);
    bool found = false;

    qsort(known, known_count, sizeof(*known), compare_shapes);
    for (size_t i = 0; i < count && !found; i++) {
        found = !bsearch(&shapes[i], known, known_count, sizeof(*known), compare_shapes);
    }
    free(shapes);
    free(known);
    return found;
}

static CheckProgress control_probe(SchedThread *thread, const SchedProbe *probe)
{
    SchedProbe control;

    if (!sched_probe(thread, &control)) {
        return CHECK_STUCK;
    }
    if (control.ended) {
        return CHECK_ENDED;
    }
    if (control.others_enabled) {
        return CHECK_LET_OTHERS_GO;
    }

    CheckTrace trace = check_trace();
    bool spins = probe->bounded || control.bounded;
    bool differs = has_new_shape(trace, probe, &control) || (!spins && has_new_shape(trace, &control, probe));

    return differs ? CHECK_DID_SOMETHING : CHECK_STUCK;
}

/* A condition wait takes its mutex again before it looks at anything: where somebody holds that, the sleeper has only
 * moved. */
static bool waits_for_its_mutex(const SchedThread *thread, SchedCall before, const SchedProbe *probe)
{
    const SchedBlock *block = sched_thread_block(thread);
    CheckTrace trace = check_trace();

    if ((before != SCHED_CALL_COND_WAIT && before != SCHED_CALL_COND_TIMEDWAIT) || !block ||
        block->call != SCHED_CALL_MUTEX_LOCK) {
        return false;
    }
    for (size_t i = probe->first_step; i < probe->end_step; i++) {
        if (trace.steps[i].call != SCHED_CALL_MUTEX_LOCK && trace.steps[i].call != SCHED_CALL_SPURIOUS) {
            return false;
        }
    }
    return true;
}

static CheckProgress examine_thread(SchedThread *thread, SchedProbe *probe)
{
    SchedCall before = sched_thread_block(thread)->call;

    experiment.block = *sched_thread_block(thread);
    copy_stack(thread, &experiment.stack);
    if (!sched_probe(thread, probe)) {
        return CHECK_STUCK;
    }
    experiment.examined++;
    if (probe->ended) {
        return CHECK_ENDED;
    }
    if (probe->others_enabled) {
        return CHECK_LET_OTHERS_GO;
    }
    if (!probe->bounded && !probe->same_wait) {
        if (waits_for_its_mutex(thread, before, probe)) {
            return CHECK_STUCK;
        }
        return CHECK_LEFT_ITS_WAIT;
    }
    return control_probe(thread, probe);
}

SchedThread *check_examine(void)
{
    SchedThread *owed;

    note_sleepers();
    owed = check_given_examine(experiment.next_deadline_ns == SCHED_FOREVER);
    if (owed) {
        return owed; /* nobody has to be woken to know that */
    }
    for (uint32_t id = 0; id < sched_thread_count(); id++) {
        SchedThread *thread = sched_thread_by_id(id);
        const SchedBlock *block = thread ? sched_thread_block(thread) : NULL;
        SchedProbe probe = { 0 };

        if (!block || !block->spurious_ok || block->sleeping) {
            continue;
        }

        CheckProgress progress = examine_thread(thread, &probe);

        if (progress != CHECK_STUCK) {
            experiment.thread = thread;
            experiment.progress = progress;
            experiment.probe = probe;
            return thread;
        }
    }
    return NULL;
}
