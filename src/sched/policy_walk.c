/*
 * FIFO: the running thread goes on; where it cannot, the one that has waited longest. Random walk: at each decision the running
 * thread is left with a fixed probability, drawn per execution between 1/2 and 1/256, for any other candidate.
 */
#include "sched/policy.h"

static SchedThread *first_candidate(void)
{
    SchedThread *thread = sched_engine_.ready_first;

    while (thread && thread->held) {
        thread = thread->ready_next;
    }
    return thread;
}

static SchedThread *fifo_pick(SchedThread *current, bool yields)
{
    SchedThread *first;

    if (current && !yields) {
        return current;
    }
    first = first_candidate();
    return first ? first : current;
}

const SchedPolicy sched_policy_fifo = { .name = "fifo", .pick = fifo_pick };

static struct {
    PolicySet set;
    SchedRandom *random;
    uint64_t mask; /* go on unless random & mask == 0 */
} walk;

static void walk_begin(const SchedPlan *plan, SchedRandom *random)
{
    walk.set.count = 0;
    walk.random = random;
    walk.mask = (2ull << (plan->parameter % 8)) - 1;
}

static void walk_enable(SchedThread *thread)
{
    policy_set_add(&walk.set, thread);
}

static void walk_disable(SchedThread *thread)
{
    policy_set_remove(&walk.set, thread);
}

static SchedThread *walk_pick(SchedThread *current, bool yields)
{
    uint32_t index;

    if (!current) {
        return walk.set.count ? walk.set.items[sched_random_below(walk.random, walk.set.count)] : NULL;
    }
    if (walk.set.count == 1 || (!yields && sched_random(walk.random) & walk.mask)) {
        return current;
    }
    index = sched_random_below(walk.random, walk.set.count - 1);
    return walk.set.items[index == current->set_index ? walk.set.count - 1 : index];
}

const SchedPolicy sched_policy_walk = {
    .name = "walk",
    .begin = walk_begin,
    .enable = walk_enable,
    .disable = walk_disable,
    .pick = walk_pick,
};
