/*
 * The interface between the engine and a base policy. A policy sees *candidates*: threads that can run and that no constraint
 * holds back, the running thread among them. It decides who goes on; everything else is the engine's.
 *
 * All calls come from the engine, one at a time. None may allocate, block, or look at anything but the threads' events, keys and
 * indices, the plan and the random numbers. Cost: at most O(log candidates), and no scan over all threads.
 */
#ifndef WAKEFUZZ_SCHED_POLICY_H
#define WAKEFUZZ_SCHED_POLICY_H

#include "sched/internal.h"

typedef struct SchedPolicy {
    const char *name;
    void (*begin)(const SchedPlan *plan, SchedRandom *random);
    void (*enable)(SchedThread *thread);  /* is a candidate from now on */
    void (*disable)(SchedThread *thread); /* is none any more */
    void (*event)(SchedThread *thread);   /* the running candidate has come to its next event */
    void (*execute)(SchedThread *thread); /* a thread is about to do its event */
    void (*yield)(SchedThread *thread);   /* it asks that others go first, or it has run for too long */
    /* Who goes on. current: the running thread where it is a candidate, else NULL. yields: not current, if there is another.
     * NULL only where there is no candidate. */
    SchedThread *(*pick)(SchedThread *current, bool yields);
} SchedPolicy;

extern const SchedPolicy sched_policy_fifo, sched_policy_walk, sched_policy_pos, sched_policy_pct, sched_policy_urw,
    sched_policy_surw;

/* A set of threads with O(1) insertion, removal and uniform draw; a thread is in at most one (thread->set_index). */
typedef struct PolicySet {
    SchedThread *items[SCHED_THREADS_MAX];
    uint32_t count;
} PolicySet;

static inline void policy_set_add(PolicySet *set, SchedThread *thread)
{
    thread->set_index = set->count;
    set->items[set->count++] = thread;
}

static inline void policy_set_remove(PolicySet *set, SchedThread *thread)
{
    SchedThread *last = set->items[--set->count];

    set->items[thread->set_index] = last;
    last->set_index = thread->set_index;
}

#endif
