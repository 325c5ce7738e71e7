/*
 * URW: a candidate is drawn with probability proportional to the events that it has still to do, as measured in an earlier
 * execution (the counts are in the plan). SURW (Zhao et al., ASPLOS 2025): the same draw, but only the accesses to one shared object
 * count; who does the next of them is drawn in advance, and the other threads wait before theirs.
 *
 * A Fenwick tree over thread numbers holds the weights: O(log n) to change one and to draw.
 */
#include <string.h>

#include "sched/policy.h"

#define COUNT_UNKNOWN 16u /* events of a thread of which nothing was measured */
#define WEIGHT_UNIT   16u /* of one remaining event; a thread that has done all it was measured to do weighs 1 */

typedef struct Weights {
    uint32_t tree[SCHED_THREADS_MAX + 1];
    uint32_t weight[SCHED_THREADS_MAX]; /* what the tree holds for a thread now */
    uint32_t total, size; /* size: a power of two, as large as the greatest thread number needs */
} Weights;

static struct {
    Weights weights;
    uint32_t remaining[SCHED_THREADS_MAX];
    uint32_t known;
    const SchedPlan *plan;
    SchedRandom *random;
    uint32_t candidates;
    /* SURW */
    PolicySet unhindered; /* candidates whose next event does not count, and the intended one */
    SchedThread *intended;
} urw;

static void weights_grow(uint32_t id)
{
    uint32_t old = urw.weights.size;

    if (id < old) {
        return;
    }
    while (urw.weights.size <= id) {
        urw.weights.size *= 2;
    }
    memset(&urw.weights.tree[old + 1], 0, (urw.weights.size - old) * sizeof(urw.weights.tree[0]));
    memset(&urw.weights.weight[old], 0, (urw.weights.size - old) * sizeof(urw.weights.weight[0]));
    for (uint32_t node = old * 2; node <= urw.weights.size; node *= 2) {
        urw.weights.tree[node] = urw.weights.total; /* a doubled tree's root covers the old one */
    }
}

static void weights_set(uint32_t id, uint32_t weight)
{
    uint32_t difference = weight - urw.weights.weight[id]; /* modulo 2^32 */

    urw.weights.weight[id] = weight;
    urw.weights.total += difference;
    for (uint32_t node = id + 1; node <= urw.weights.size; node += node & -node) {
        urw.weights.tree[node] += difference;
    }
}

static uint32_t weights_draw(void)
{
    uint32_t target = sched_random_below(urw.random, urw.weights.total), position = 0;

    for (uint32_t step = urw.weights.size; step; step /= 2) {
        if (position + step <= urw.weights.size && urw.weights.tree[position + step] <= target) {
            position += step;
            target -= urw.weights.tree[position];
        }
    }
    return position; /* the thread's number: nodes count from 1 */
}

static uint32_t weight_of(uint32_t id)
{
    return urw.remaining[id] * WEIGHT_UNIT + 1;
}

static void begin(const SchedPlan *plan, SchedRandom *random)
{
    urw.plan = plan;
    urw.random = random;
    urw.known = 0;
    urw.candidates = 0;
    urw.unhindered.count = 0;
    urw.intended = NULL;
    urw.weights.size = 4;
    urw.weights.total = 0;
    memset(urw.weights.tree, 0, 5 * sizeof(urw.weights.tree[0]));
    memset(urw.weights.weight, 0, 4 * sizeof(urw.weights.weight[0]));
}

static void first_sight(SchedThread *thread)
{
    weights_grow(thread->id);
    for (; urw.known <= thread->id; urw.known++) {
        urw.remaining[urw.known] = urw.known < urw.plan->count_count ? urw.plan->counts[urw.known] : COUNT_UNKNOWN;
    }
}

/* ---- URW */

static void urw_enable(SchedThread *thread)
{
    first_sight(thread);
    urw.candidates++;
    weights_set(thread->id, weight_of(thread->id));
}

static void urw_disable(SchedThread *thread)
{
    urw.candidates--;
    weights_set(thread->id, 0);
}

static void urw_execute(SchedThread *thread)
{
    if (urw.remaining[thread->id]) {
        urw.remaining[thread->id]--;
        if (urw.weights.weight[thread->id]) {
            weights_set(thread->id, weight_of(thread->id));
        }
    }
}

static SchedThread *urw_pick(SchedThread *current, bool yields)
{
    uint32_t weight, id;

    if (!urw.candidates) {
        return NULL;
    }
    if (!yields || !current || urw.candidates == 1) {
        return sched_thread_slot_id(weights_draw());
    }
    weight = urw.weights.weight[current->id];
    weights_set(current->id, 0);
    id = weights_draw();
    weights_set(current->id, weight);
    return sched_thread_slot_id(id);
}

const SchedPolicy sched_policy_urw = {
    .name = "urw",
    .begin = begin,
    .enable = urw_enable,
    .disable = urw_disable,
    .execute = urw_execute,
    .pick = urw_pick,
};

/* ---- SURW */

static bool counts(const SchedThread *thread)
{
    return thread->event.object && thread->event.object->id == urw.plan->object;
}

static bool is_unhindered(const SchedThread *thread)
{
    return thread->set_index != UINT32_MAX;
}

static void unhindered_update(SchedThread *thread, bool candidate)
{
    bool wanted = candidate && (!counts(thread) || thread == urw.intended);

    if (wanted && !is_unhindered(thread)) {
        policy_set_add(&urw.unhindered, thread);
    } else if (!wanted && is_unhindered(thread)) {
        policy_set_remove(&urw.unhindered, thread);
        thread->set_index = UINT32_MAX;
    }
}

static void surw_enable(SchedThread *thread)
{
    thread->set_index = UINT32_MAX;
    urw_enable(thread);
    unhindered_update(thread, true);
}

static void surw_disable(SchedThread *thread)
{
    unhindered_update(thread, false);
    urw_disable(thread);
}

static void surw_event(SchedThread *thread)
{
    unhindered_update(thread, true);
}

static void intend(SchedThread *thread)
{
    SchedThread *old = urw.intended;

    urw.intended = thread;
    if (old && urw.weights.weight[old->id]) {
        unhindered_update(old, true);
    }
    if (thread) {
        unhindered_update(thread, true);
    }
}

static void surw_execute(SchedThread *thread)
{
    if (counts(thread)) {
        urw_execute(thread);
        if (thread == urw.intended) {
            urw.intended = NULL;
        }
    }
}

/* A loop that yields until another thread has made its intended access would be the only one to run for ever: another is intended. */
static void surw_yield(SchedThread *thread)
{
    uint32_t weight = urw.weights.weight[thread->id];

    if (thread != urw.intended || urw.candidates < 2) {
        return;
    }
    weights_set(thread->id, 0);
    intend(sched_thread_slot_id(weights_draw()));
    weights_set(thread->id, weight);
    unhindered_update(thread, true);
}

static SchedThread *surw_pick(SchedThread *current, bool yields)
{
    uint32_t index;

    if (!urw.candidates) {
        return NULL;
    }
    if (!urw.intended || !urw.weights.weight[urw.intended->id] || !urw.unhindered.count) {
        intend(sched_thread_slot_id(weights_draw()));
    }
    if (!urw.unhindered.count) {
        return urw.intended;
    }
    index = sched_random_below(urw.random, urw.unhindered.count);
    if (yields && urw.unhindered.items[index] == current && urw.unhindered.count > 1) {
        index = (index + 1) % urw.unhindered.count;
    }
    return urw.unhindered.items[index];
}

const SchedPolicy sched_policy_surw = {
    .name = "surw",
    .begin = begin,
    .enable = surw_enable,
    .disable = surw_disable,
    .event = surw_event,
    .execute = surw_execute,
    .yield = surw_yield,
    .pick = surw_pick,
};
