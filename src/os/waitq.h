/*
 * Queues of threads that wait at an address: of a mutex, of a futex word, ... The state that they wait for lives in
 * the program's own object; only the waiting itself lives here.
 *
 * Fibers only. Nobody else runs between two scheduling points, so nothing is locked.
 *
 * 1. A queue exists from the first os_waitq_join() to the last os_waitq_leave() of an address; a woken thread keeps
 *    it until it leaves.
 * 2. A thread is in at most one queue at a time, so SCHED_THREADS_MAX queues are enough and nothing is allocated.
 * 3. Where os_waitq_waiting[kind] is 0 nobody waits at any address of that kind: the fast path of every unlock.
 */
#ifndef WAKEFUZZ_OS_WAITQ_H
#define WAKEFUZZ_OS_WAITQ_H

#include "sched/sched.h"

typedef enum OsWaitKind {
    OS_WAIT_MUTEX,
    OS_WAIT_RWLOCK_READ,
    OS_WAIT_RWLOCK_WRITE,
    OS_WAIT_SPIN,
    OS_WAIT_BARRIER,
    OS_WAIT_COND,
    OS_WAIT_COND_DESTROY,
    OS_WAIT_SEM,
    OS_WAIT_ONCE,
    OS_WAIT_FUTEX,
    OS_WAIT_KINDS
} OsWaitKind;

typedef struct OsWaitQueue {
    SchedQueue queue;
    uintptr_t address;
    uint32_t users; /* joined and not yet left */
    uint32_t kind;
    struct OsWaitQueue *next; /* in the bucket, or free */
} OsWaitQueue;

/* A thread's place in a queue, on its stack. */
typedef struct OsWaiter {
    SchedWaiter waiter; /* .data is the caller's */
    OsWaitQueue *queue;
} OsWaiter;

extern uint32_t os_waitq_waiting[OS_WAIT_KINDS];

/* The calling thread waits at address from now on. */
void os_waitq_join(OsWaitKind kind, const volatile void *address, OsWaiter *waiter);
/* ... and no longer; also after it was woken. */
void os_waitq_leave(OsWaiter *waiter);
/* The queue of an address, or NULL where nobody has joined. */
OsWaitQueue *os_waitq_find(OsWaitKind kind, const volatile void *address);
/* A waiter of another queue goes on waiting at address. */
void os_waitq_move(OsWaiter *waiter, OsWaitKind kind, const volatile void *address);
/* Threads that wait and were not woken yet. */
unsigned os_waitq_length(OsWaitKind kind, const volatile void *address);
void os_waitq_reset(void);

/* Join, sleep as block says, leave. block->object is the address. */
SchedWake os_waitq_sleep(OsWaitKind kind, const SchedBlock *block);

static inline void os_waitq_wake_all(OsWaitKind kind, const volatile void *address)
{
    if (__builtin_expect(os_waitq_waiting[kind] != 0, 0)) {
        OsWaitQueue *queue = os_waitq_find(kind, address);

        if (queue) {
            sched_queue_wake_all(&queue->queue);
        }
    }
}

#endif
