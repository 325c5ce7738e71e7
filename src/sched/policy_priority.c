/*
 * The two policies that always run the candidate of highest priority, on one binary heap.
 *
 * PCT (Burckhardt et al., ASPLOS 2010): random priority per thread; at d - 1 drawn steps the running thread's falls below all others.
 * POS (Yuan et al., CAV 2018): random priority per pending event; when an event is done, those that race with it draw anew.
 */
#include "sched/policy.h"

#define DEPTH_MAX    5u
#define LENGTH_LEAST 16u

static struct {
    SchedThread *heap[SCHED_THREADS_MAX + 1]; /* from 1; greatest key on top; place is thread->set_index */
    uint32_t count;
    SchedRandom *random;
    uint64_t floor; /* the next key below all others: falls with each use */
    /* PCT */
    uint32_t events, change_count;
    uint32_t changes[DEPTH_MAX];
} heap;

static void place(uint32_t index, SchedThread *thread)
{
    heap.heap[index] = thread;
    thread->set_index = index;
}

static void sift_up(uint32_t index, SchedThread *thread)
{
    for (; index > 1 && thread->key > heap.heap[index / 2]->key; index /= 2) {
        place(index, heap.heap[index / 2]);
    }
    place(index, thread);
}

static void sift_down(uint32_t index, SchedThread *thread)
{
    for (uint32_t child; (child = 2 * index) <= heap.count; index = child) {
        if (child < heap.count && heap.heap[child + 1]->key > heap.heap[child]->key) {
            child++;
        }
        if (heap.heap[child]->key <= thread->key) {
            break;
        }
        place(index, heap.heap[child]);
    }
    place(index, thread);
}

static void heap_update(SchedThread *thread, uint64_t key)
{
    uint32_t index = thread->set_index;
    bool up = key > thread->key;

    thread->key = key;
    if (up) {
        sift_up(index, thread);
    } else {
        sift_down(index, thread);
    }
}

static void heap_add(SchedThread *thread)
{
    sift_up(++heap.count, thread);
}

static void heap_remove(SchedThread *thread)
{
    uint32_t index = thread->set_index;
    SchedThread *last = heap.heap[heap.count--];

    thread->set_index = 0;
    if (last == thread) {
        return;
    }
    if (index > 1 && last->key > heap.heap[index / 2]->key) {
        sift_up(index, last);
    } else {
        sift_down(index, last);
    }
}

static void heap_begin(SchedRandom *random)
{
    heap.count = 0;
    heap.random = random;
    heap.floor = SCHED_THREADS_MAX * 64ull; /* random keys lie above */
}

static uint64_t draw_key(void)
{
    return sched_random(heap.random) | 1ull << 40;
}

static SchedThread *heap_pick(SchedThread *current, bool yields)
{
    (void)current;
    (void)yields; /* yield() has lowered the key already */
    return heap.count ? heap.heap[1] : NULL;
}

static void heap_yield(SchedThread *thread)
{
    if (thread->set_index) {
        heap_update(thread, heap.floor ? heap.floor-- : 0);
    }
}

/* ---- PCT */

static void pct_begin(const SchedPlan *plan, SchedRandom *random)
{
    uint32_t length = plan->length > LENGTH_LEAST ? plan->length : LENGTH_LEAST;

    heap_begin(random);
    heap.events = 0;
    heap.change_count = plan->parameter % DEPTH_MAX;
    for (uint32_t i = 0; i < heap.change_count; i++) {
        heap.changes[i] = sched_random_below(random, length);
    }
}

/* A thread keeps its priority for the whole execution: key 0 marks one that has none yet. */
static void pct_enable(SchedThread *thread)
{
    if (!thread->key) {
        thread->key = draw_key();
    }
    heap_add(thread);
}

static void pct_event(SchedThread *thread)
{
    uint32_t now = heap.events++;

    for (uint32_t i = 0; i < heap.change_count; i++) {
        if (heap.changes[i] == now) {
            heap_yield(thread);
        }
    }
}

const SchedPolicy sched_policy_pct = {
    .name = "pct",
    .begin = pct_begin,
    .enable = pct_enable,
    .disable = heap_remove,
    .event = pct_event,
    .yield = heap_yield,
    .pick = heap_pick,
};

/* ---- POS */

static void pos_begin(const SchedPlan *plan, SchedRandom *random)
{
    (void)plan;
    heap_begin(random);
}

static void pending_add(SchedThread *thread)
{
    SchedObject *object = thread->event.reads || thread->event.writes ? thread->event.object
                                                                      : NULL; /* else it races with nothing */

    thread->pending_object = object;
    if (!object) {
        return;
    }
    thread->pending_previous = NULL;
    thread->pending_next = object->pending;
    if (object->pending) {
        object->pending->pending_previous = thread;
    }
    object->pending = thread;
}

static void pending_remove(SchedThread *thread)
{
    SchedObject *object = thread->pending_object;

    if (!object) {
        return;
    }
    if (thread->pending_previous) {
        thread->pending_previous->pending_next = thread->pending_next;
    } else {
        object->pending = thread->pending_next;
    }
    if (thread->pending_next) {
        thread->pending_next->pending_previous = thread->pending_previous;
    }
    thread->pending_object = NULL;
}

static void pos_enable(SchedThread *thread)
{
    thread->key = draw_key();
    heap_add(thread);
    pending_add(thread);
}

static void pos_disable(SchedThread *thread)
{
    pending_remove(thread);
    heap_remove(thread);
}

static void pos_event(SchedThread *thread)
{
    heap_update(thread, draw_key());
    pending_remove(thread); /* a wait that went on without doing its event again */
    pending_add(thread);
}

static void pos_execute(SchedThread *thread)
{
    SchedObject *object = thread->pending_object;

    pending_remove(thread);
    if (!object) {
        return;
    }
    for (SchedThread *other = object->pending; other; other = other->pending_next) {
        if ((thread->event.writes || other->event.writes) && other->set_index) {
            heap_update(other, draw_key());
        }
    }
}

const SchedPolicy sched_policy_pos = {
    .name = "pos",
    .begin = pos_begin,
    .enable = pos_enable,
    .disable = pos_disable,
    .event = pos_event,
    .execute = pos_execute,
    .yield = heap_yield,
    .pick = heap_pick,
};
