/* Queues of threads that wait at an address; see waitq.h. A hash table with chains over a fixed pool of queues:
 * queues never move, as their waiters point to them. */
#include "os/waitq.h"

#include <string.h>

#define BUCKETS 1024u /* a power of two */

uint32_t os_waitq_waiting[OS_WAIT_KINDS];

static OsWaitQueue pool[SCHED_THREADS_MAX];
static OsWaitQueue *buckets[BUCKETS];
static OsWaitQueue *free_queues;
static uint32_t pool_used; /* queues taken from the pool since the last reset; the rest was never touched */

static OsWaitQueue **bucket_of(OsWaitKind kind, uintptr_t address)
{
    uint64_t hash = (address + kind) * UINT64_C(0x9e3779b97f4a7c15);

    return &buckets[hash >> 54];
}

_Static_assert(BUCKETS == 1u << (64 - 54), "bucket_of() shifts for this many buckets");

OsWaitQueue *os_waitq_find(OsWaitKind kind, const volatile void *address)
{
    OsWaitQueue *queue = *bucket_of(kind, (uintptr_t)address);

    while (queue && (queue->address != (uintptr_t)address || queue->kind != kind)) {
        queue = queue->next;
    }
    return queue;
}

static OsWaitQueue *find_or_make(OsWaitKind kind, const volatile void *address)
{
    OsWaitQueue **bucket = bucket_of(kind, (uintptr_t)address);
    OsWaitQueue *queue = os_waitq_find(kind, address);

    if (queue) {
        return queue;
    }
    queue = free_queues;
    if (queue) {
        free_queues = queue->next;
    } else {
        queue = &pool[pool_used++]; /* invariant 2 */
    }
    *queue = (OsWaitQueue){ .address = (uintptr_t)address, .kind = kind, .next = *bucket };
    *bucket = queue;
    return queue;
}

static void drop(OsWaitQueue *queue)
{
    OsWaitQueue **link = bucket_of(queue->kind, queue->address);

    os_waitq_waiting[queue->kind]--;
    if (--queue->users) {
        return;
    }
    while (*link != queue) {
        link = &(*link)->next;
    }
    *link = queue->next;
    queue->next = free_queues;
    free_queues = queue;
}

static void hold(OsWaitQueue *queue)
{
    os_waitq_waiting[queue->kind]++;
    queue->users++;
}

void os_waitq_join(OsWaitKind kind, const volatile void *address, OsWaiter *waiter)
{
    waiter->queue = find_or_make(kind, address);
    hold(waiter->queue);
    sched_queue_add(&waiter->queue->queue, &waiter->waiter);
}

void os_waitq_leave(OsWaiter *waiter)
{
    sched_queue_remove(&waiter->waiter);
    drop(waiter->queue);
}

void os_waitq_move(OsWaiter *waiter, OsWaitKind kind, const volatile void *address)
{
    SchedThread *thread = waiter->waiter.thread;

    sched_queue_remove(&waiter->waiter);
    drop(waiter->queue);
    waiter->queue = find_or_make(kind, address);
    hold(waiter->queue);
    sched_queue_add(&waiter->queue->queue, &waiter->waiter);
    waiter->waiter.thread = thread; /* sched_queue_add() took the caller */
}

unsigned os_waitq_length(OsWaitKind kind, const volatile void *address)
{
    OsWaitQueue *queue = os_waitq_waiting[kind] ? os_waitq_find(kind, address) : NULL;

    return queue ? sched_queue_length(&queue->queue) : 0;
}

SchedWake os_waitq_sleep(OsWaitKind kind, const SchedBlock *block)
{
    OsWaiter waiter = { 0 };
    SchedWake wake;

    os_waitq_join(kind, block->object, &waiter);
    wake = sched_block(block);
    os_waitq_leave(&waiter);
    return wake;
}

void os_waitq_reset(void)
{
    for (unsigned kind = 0; kind < OS_WAIT_KINDS; kind++) {
        if (os_waitq_waiting[kind]) { /* the last execution failed, and waiters are left in its queues */
            memset(buckets, 0, sizeof(buckets));
            memset(os_waitq_waiting, 0, sizeof(os_waitq_waiting));
            break;
        }
    }
    free_queues = NULL;
    pool_used = 0;
}
