/*
 * Reads-from constraints as a filter over the base policy; all else is the base policy's choice. Of a thread's next event:
 *
 *     constraint             | a read at R                         | a write, until some thread has read at R
 *     -----------------------+-------------------------------------+-------------------------------------------------
 *     R must see W           | is preferred while W was the last   | is held back where it would hide W: the last
 *                            | write of its object, else held back | write of its object was W, and it is not W itself
 *     R must not see W       | the other way round                 | is held back where it is W
 *
 * Without the second column a constraint could only wait for its chance; with it, it makes the chance. "Must see the initial value" has
 * no second column: it would stop nearly every write of the program.
 *
 * 1. A held thread is no candidate of the base policy; the running thread is never held, only one that waits at a point.
 * 2. Held-back threads and spinning ones together would never end: after a budget of deferred decisions all constraints are given up.
 * 3. A thread's next event is done when it is released: nothing else releases a thread whose event was classified, but for being
 *    classified anew.
 */
#include "sched/constraint.h"

#include <string.h>

/* Decisions; a yield counts for 20. Measured in the prototype: less loses programs, more wastes steps. A program whose executions are
 * longer gets as many as their length: a hundred threads must be able to start while one is held. */
#define DEFERRED_LEAST 400u

static struct {
    const SchedPlan *plan;
    uint32_t deferred, deferred_most;
    uint32_t held_count, preferred_count;
    SchedThread *held[SCHED_THREADS_MAX], *preferred[SCHED_THREADS_MAX];
    uint64_t site_filter[4]; /* bit (site % 256): some constraint names it */
    uint8_t done; /* bit i: a read at constraint i's read site has been done */
    bool done_changed; /* ... since the held threads were looked at */
    uint8_t reads[SCHED_THREADS_MAX]; /* bit i: the thread's next event reads at constraint i's read site */
} constraints;

_Static_assert(SCHED_CONSTRAINTS_MAX <= 8, "a bit for each constraint");

static void filter_add(uint16_t site)
{
    constraints.site_filter[site / 64 % 4] |= 1ull << (site % 64);
}

static bool filter_has(uint16_t site)
{
    return constraints.site_filter[site / 64 % 4] >> (site % 64) & 1;
}

void sched_constraints_begin(const SchedPlan *plan)
{
    constraints.plan = plan;
    constraints.held_count = 0;
    constraints.preferred_count = 0;
    if (!plan->constraint_count) {
        return;
    }
    constraints.deferred = 0;
    constraints.deferred_most = plan->length > DEFERRED_LEAST ? plan->length : DEFERRED_LEAST;
    constraints.done = 0;
    constraints.done_changed = false;
    memset(constraints.reads, 0, sizeof(constraints.reads));
    memset(constraints.site_filter, 0, sizeof(constraints.site_filter));
    for (unsigned i = 0; i < plan->constraint_count; i++) {
        filter_add(plan->constraints[i].read_site);
        filter_add(plan->constraints[i].write_site);
    }
}

static void hold(SchedThread *thread)
{
    thread->held = true;
    thread->event.object->held++;
    thread->held_index = constraints.held_count;
    constraints.held[constraints.held_count++] = thread;
}

static void prefer(SchedThread *thread)
{
    thread->preferred = true;
    thread->preferred_index = constraints.preferred_count;
    constraints.preferred[constraints.preferred_count++] = thread;
}

/* Neither held nor preferred any more. */
static void unlist(SchedThread *thread)
{
    if (thread->held) {
        SchedThread *last = constraints.held[--constraints.held_count];

        thread->held = false;
        thread->event.object->held--;
        constraints.held[thread->held_index] = last;
        last->held_index = thread->held_index;
    }
    if (thread->preferred) {
        SchedThread *last = constraints.preferred[--constraints.preferred_count];

        thread->preferred = false;
        constraints.preferred[thread->preferred_index] = last;
        last->preferred_index = thread->preferred_index;
    }
}

void sched_constraints_release(SchedThread *thread)
{
    uint8_t reads = constraints.reads[thread->id];

    if (reads) {
        constraints.done_changed |= (reads & ~constraints.done) != 0;
        constraints.done |= reads;
        constraints.reads[thread->id] = 0;
    }
    unlist(thread);
}

static bool write_breaks(const SchedConstraint *c, const SchedEvent *event)
{
    if (c->must_not) {
        return event->site == c->write_site;
    }
    return c->write_site != SCHED_SITE_INITIAL && event->object->last_write == c->write_site && event->site != c->write_site;
}

void sched_constraints_classify(SchedThread *thread)
{
    const SchedEvent *event = &thread->event;
    bool serves = false, breaks = false;

    constraints.reads[thread->id] = 0;
    if (!event->object || !(filter_has(event->site) || filter_has(event->object->last_write))) {
        return;
    }
    for (unsigned i = 0; i < constraints.plan->constraint_count; i++) {
        const SchedConstraint *c = &constraints.plan->constraints[i];

        if (event->reads && c->read_site == event->site) {
            bool sees = event->object->last_write == c->write_site;

            constraints.reads[thread->id] |= (uint8_t)(1u << i);
            serves |= sees != c->must_not;
            breaks |= sees == c->must_not;
        } else if (event->writes && !(constraints.done >> i & 1)) {
            breaks |= write_breaks(c, event);
        }
    }
    if (breaks) {
        hold(thread);
    } else if (serves) {
        prefer(thread);
    }
}

/* Look again at the threads that are held, at one object or (NULL) at any. */
static void reclassify_held(const SchedObject *object, void (*changed)(SchedThread *))
{
    for (uint32_t i = constraints.held_count; i-- > 0;) {
        SchedThread *thread = constraints.held[i];

        if (object && thread->event.object != object) {
            continue;
        }
        unlist(thread);
        sched_constraints_classify(thread);
        if (!thread->held) {
            changed(thread);
        }
    }
}

void sched_constraints_written(SchedObject *object, void (*changed)(SchedThread *))
{
    if (object->held) {
        reclassify_held(object, changed);
    }
}

bool sched_constraints_deferred(unsigned weight, void (*changed)(SchedThread *))
{
    if (constraints.done_changed) {
        constraints.done_changed = false;
        reclassify_held(NULL, changed);
    }
    if (!constraints.held_count) {
        return false;
    }
    constraints.deferred += weight;
    if (constraints.deferred <= constraints.deferred_most) {
        return false;
    }
    while (constraints.held_count) {
        SchedThread *thread = constraints.held[constraints.held_count - 1];

        unlist(thread);
        changed(thread);
    }
    while (constraints.preferred_count) {
        unlist(constraints.preferred[constraints.preferred_count - 1]);
    }
    return true;
}

SchedThread *sched_constraints_preferred(SchedRandom *random)
{
    return constraints.preferred_count ? constraints.preferred[sched_random_below(random, constraints.preferred_count)] : NULL;
}

SchedThread *sched_constraints_any_held(SchedRandom *random)
{
    return constraints.held_count ? constraints.held[sched_random_below(random, constraints.held_count)] : NULL;
}
