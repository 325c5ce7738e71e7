/*
 * Reads-from constraints as a filter over the base policy. "The read at site R must see the write at site W": a thread whose next
 * event is a read at R is preferred while W was the last write of its object, and held back while it was not; "must not" the
 * other way round. All else is the base policy's choice.
 *
 * 1. A held thread is no candidate of the base policy; the running thread is never held, only one that waits at a point.
 * 2. Held-back threads and spinning ones together would never end: after a budget of deferred decisions all constraints are given up.
 */
#include "sched/constraint.h"

#define DEFERRED_MAX 400u /* decisions; a yield counts for 20. Measured in the prototype: less loses programs, more wastes steps */

static struct {
    const SchedPlan *plan;
    uint32_t deferred;
    uint32_t held_count, preferred_count;
    SchedThread *held[SCHED_THREADS_MAX], *preferred[SCHED_THREADS_MAX];
    uint64_t site_filter[4]; /* bit (site % 256): some constraint reads there */
} constraints;

void sched_constraints_begin(const SchedPlan *plan)
{
    constraints.plan = plan;
    constraints.deferred = 0;
    constraints.held_count = 0;
    constraints.preferred_count = 0;
    for (unsigned i = 0; i < 4; i++) {
        constraints.site_filter[i] = 0;
    }
    for (unsigned i = 0; i < plan->constraint_count; i++) {
        unsigned bit = plan->constraints[i].read_site % 256;

        constraints.site_filter[bit / 64] |= 1ull << (bit % 64);
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

void sched_constraints_release(SchedThread *thread)
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

void sched_constraints_classify(SchedThread *thread)
{
    const SchedEvent *event = &thread->event;
    unsigned bit = event->site % 256;
    bool serves = false, breaks = false;

    if (!event->reads || !event->object || !(constraints.site_filter[bit / 64] >> (bit % 64) & 1)) {
        return;
    }
    for (unsigned i = 0; i < constraints.plan->constraint_count; i++) {
        const SchedConstraint *c = &constraints.plan->constraints[i];

        if (c->read_site == event->site) {
            bool sees = event->object->last_write == c->write_site;

            serves |= sees != c->must_not;
            breaks |= sees == c->must_not;
        }
    }
    if (breaks) {
        hold(thread);
    } else if (serves) {
        prefer(thread);
    }
}

void sched_constraints_written(SchedObject *object, void (*changed)(SchedThread *))
{
    if (!object->held) {
        return;
    }
    for (uint32_t i = constraints.held_count; i-- > 0;) {
        SchedThread *thread = constraints.held[i];

        if (thread->event.object != object) {
            continue;
        }
        sched_constraints_release(thread);
        sched_constraints_classify(thread);
        if (!thread->held) {
            changed(thread);
        }
    }
}

bool sched_constraints_deferred(unsigned weight, void (*changed)(SchedThread *))
{
    if (!constraints.held_count) {
        return false;
    }
    constraints.deferred += weight;
    if (constraints.deferred <= DEFERRED_MAX) {
        return false;
    }
    while (constraints.held_count) {
        SchedThread *thread = constraints.held[constraints.held_count - 1];

        sched_constraints_release(thread);
        changed(thread);
    }
    while (constraints.preferred_count) {
        sched_constraints_release(constraints.preferred[constraints.preferred_count - 1]);
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
