/*
 * The call_rcu thread: frees what readers no longer see.
 *
 * Threads: producers, in any thread; one consumer, the call_rcu thread.
 *
 * The queue: a list with a dummy element, so that it is never empty and producers touch only its tail. A producer exchanges the
 * tail for its own end and then links itself to the old one; between these two the list is cut, and the consumer, which sees
 * the cut as an end, waits until the producer has linked and counted.
 *
 * Invariants
 *  1. head belongs to the consumer. Elements are linked from head to tail, but for producers between exchange and link.
 *  2. rcu_call_count is the number of elements linked, less those that the consumer has decided to take: never more than there
 *     are in the list.
 *  3. Callbacks taken with one grace period were all called for before it began.
 */
#include <glib.h>

#include "core/atomic.h"
#include "core/event.h"
#include "core/fatal.h"
#include "core/rcu.h"
#include "core/rcu_int.h"
#include "core/thread.h"

#define RCU_CALL_MIN_SIZE 30 /* callbacks that are worth forcing a grace period */

static struct rcu_head dummy;
static struct rcu_head *head;  /* of the consumer */
static struct rcu_head **tail; /* any thread; atomic */
static int rcu_call_count;     /* any thread; atomic */
static int in_drain_call_rcu;  /* drainers; atomic */
static QemuEvent rcu_call_ready_event;

static QemuThread thread;
static bool stopping; /* of the thread */

bool rcu_call_is_urgent(void)
{
    return qatomic_read(&rcu_call_count) >= RCU_CALL_MIN_SIZE || qatomic_read(&in_drain_call_rcu);
}

/* ------------------------------------------------------------------------------------------- the queue */

static void enqueue(struct rcu_head *node)
{
    struct rcu_head **old_tail;

    node->next = NULL;
    old_tail = qatomic_xchg(&tail, &node->next);

    /* ORDER: node before it can be reached
     * PAIRS: try_dequeue()
     * ELSE:  the consumer calls a function that is not there yet */
    qatomic_store_release(old_tail, node);
}

/* The first element, or NULL where a producer has not linked yet. There is at least one that is no dummy. */
static struct rcu_head *try_dequeue(void)
{
    for (;;) {
        struct rcu_head *node = head;

        /* ORDER: the link before the element that it leads to
         * PAIRS: enqueue()
         * ELSE:  its function is read before it is written */
        struct rcu_head *next = qatomic_load_acquire(&node->next);

        if (!next) {
            return NULL;
        }
        core_assert(node != &dummy || qatomic_read(&tail) != &dummy.next);
        head = next;
        if (node != &dummy) {
            return node;
        }
        enqueue(node); /* back to the end, so that the last element can be taken */
    }
}

/* Under the big lock, which it drops while it waits for a producer that is about to link. */
static struct rcu_head *dequeue(void)
{
    struct rcu_head *node = try_dequeue();

    while (!node) {
        bql_unlock();
        qemu_event_reset(&rcu_call_ready_event);
        node = try_dequeue();
        if (!node) {
            qemu_event_wait(&rcu_call_ready_event);
            node = try_dequeue();
        }
        bql_lock();
    }
    return node;
}

/* ------------------------------------------------------------------------------------------- the thread */

/* Sleep until there are callbacks; how many. */
static int wait_for_callbacks(void)
{
    for (;;) {
        int count;

        qemu_event_reset(&rcu_call_ready_event);
        count = qatomic_read(&rcu_call_count);
        if (count) {
            return count;
        }
        qemu_event_wait(&rcu_call_ready_event);
    }
}

/* A callback may call for others after the one that stops the thread: they are run too. */
static void *call_rcu_thread(void *opaque)
{
    (void)opaque;
    rcu_register_thread();
    while (!stopping || qatomic_read(&rcu_call_count)) {
        int count = wait_for_callbacks();

        synchronize_rcu();
        qatomic_sub(&rcu_call_count, count);
        bql_lock();
        for (; count > 0; count--) {
            struct rcu_head *node = dequeue();

            node->func(node);
        }
        bql_unlock();
    }
    rcu_unregister_thread();
    return NULL;
}

void call_rcu1(struct rcu_head *node, RCUCBFunc *func)
{
    node->func = func;
    enqueue(node);
    qatomic_inc(&rcu_call_count);
    qemu_event_set(&rcu_call_ready_event);
}

/* ------------------------------------------------------------------------------------------- draining */

typedef struct RcuDrain {
    struct rcu_head rcu;
    QemuEvent done;
} RcuDrain;

static void drain_callback(struct rcu_head *node)
{
    qemu_event_set(&((RcuDrain *)node)->done);
}

void drain_call_rcu(void)
{
    RcuDrain drain = { 0 };
    bool locked = bql_locked();

    qemu_event_init(&drain.done, false);
    if (locked) {
        bql_unlock(); /* callbacks need it */
    }
    qatomic_inc(&in_drain_call_rcu);
    call_rcu1(&drain.rcu, drain_callback);
    qemu_event_wait(&drain.done);
    qatomic_dec(&in_drain_call_rcu);
    if (locked) {
        bql_lock();
    }
}

/* ------------------------------------------------------------------------------------------- life */

void rcu_call_start(void)
{
    head = &dummy;
    tail = &dummy.next;
    dummy.next = NULL;
    rcu_call_count = in_drain_call_rcu = 0;
    stopping = false;
    qemu_event_init(&rcu_call_ready_event, false);
    qemu_thread_create(&thread, "call_rcu", call_rcu_thread, NULL, QEMU_THREAD_JOINABLE);
}

/* In the thread itself, in its turn: a flag set from outside could be slept over. */
static void stop_callback(struct rcu_head *node)
{
    (void)node;
    stopping = true;
}

void rcu_call_stop(void)
{
    struct rcu_head stop;
    bool locked = bql_locked();

    if (locked) {
        bql_unlock();
    }
    call_rcu1(&stop, stop_callback);
    qemu_thread_join(&thread);
    if (locked) {
        bql_lock();
    }
    qemu_event_destroy(&rcu_call_ready_event);
}
