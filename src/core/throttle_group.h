/*
 * Throttle groups: requests of several members, which live in different threads, share one rate.
 *
 * A request that comes too early waits in its member's queue. In the whole group one timer at most is armed, that of the
 * member whose turn is next; whoever goes on sees to the next one:
 *
 *     request of a member                        timer of the member whose turn it is
 *     1  lock; a timer is armed, or it is too
 *        early: then arm this member's
 *     2  pending + 1; into throttled_reqs;
 *        unlock, yield
 *                                                a  a coroutine in the member's context: lock
 *                                                b  no timer is armed any more; wake the first in the queue, or,
 *                                                   where there is none, do as in 4; unlock
 *     3  lock; pending - 1; account
 *     4  the next member in turn that has a
 *        request: arm its timer, or wake one
 *
 * any_timer_armed says "somebody's timer will see to the next". Hence
 *  - it is lowered at b and not when the timer fires: otherwise another thread arms a timer in between, perhaps this
 *    member's (QEMU 9c8430f5d6; fault throttle-timer-flag-cleared-early);
 *  - a member that leaves with its timer armed sees to the next (QEMU 6fccbb475b; fault throttle-member-leaves-with-timer).
 *
 * Invariants
 *  1. any_timer_armed: a member's timer is pending, or its callback or the coroutine of step a is on the way.
 *  2. pending_reqs counts requests from step 2 until they have the lock again in step 3: it may be above 0 while
 *     throttled_reqs is empty.
 *  3. The one lock is for the group and for the queues of all its members. With a CoMutex for each queue, a coroutine
 *     would yield with the group's lock held, and the next one of that thread block on it (QEMU d481617765; fault
 *     throttle-lock-held-across-yield).
 *
 * There is one rate, in requests, and one direction; QEMU has six rates and two independent directions.
 *
 * From QEMU: block/throttle-groups.c (10.0.13 for the timer's flag).
 */
#ifndef WAKEFUZZ_CORE_THROTTLE_GROUP_H
#define WAKEFUZZ_CORE_THROTTLE_GROUP_H

#include "core/aio_context.h"
#include "core/co_queue.h"
#include "core/queue.h"

typedef struct ThrottleGroupMember ThrottleGroupMember;

typedef struct ThrottleGroup {
    QemuMutex lock; /* for the rest, and for what members say is under it */
    int64_t interval_ns;
    int64_t next_ns; /* no request before */
    LIST_HEAD(, ThrottleGroupMember) members;
    ThrottleGroupMember *token; /* whose turn it was last; NULL: no members */
    bool any_timer_armed;       /* see invariant 1 */
} ThrottleGroup;

struct ThrottleGroupMember {
    ThrottleGroup *group;
    AioContext *aio_context; /* of the timer and of the coroutines that it starts */
    QEMUTimer timer;

    CoQueue throttled_reqs; /* under the group's lock */
    unsigned pending_reqs;  /* under the group's lock; see invariant 2 */
    LIST_ENTRY(ThrottleGroupMember) round_robin;

    unsigned io_limits_disabled; /* sections in which requests are not held up; any thread; atomic */
    unsigned restart_pending;    /* coroutines of step a that have not ended; any thread; atomic */
};

/* A group in which a request may start every interval_ns nanoseconds (at least 1). Any thread. */
void throttle_group_init(ThrottleGroup *group, int64_t interval_ns);
/* All members must have left. */
void throttle_group_destroy(ThrottleGroup *group);

/* member, which is the caller's memory, joins; ctx must outlive it. Main thread. */
void throttle_group_register_member(ThrottleGroup *group, ThrottleGroupMember *member, AioContext *ctx);

/* member leaves. None of its requests may be waiting, and none may come; see throttle_group_drain_begin(). On return nothing
 * of it is left in its context. Main thread outside coroutines; polls. */
void throttle_group_unregister_member(ThrottleGroupMember *member);

/* Wait until the member may start one more request. Coroutines of any thread; yields. */
void coroutine_fn throttle_group_co_io_limits_intercept(ThrottleGroupMember *member);

/* Requests of the member that wait go on at once, and new ones do not wait, until as many calls of the second. Returns at
 * once; who wants to know that none waits any more counts its requests. Any thread. */
void throttle_group_drain_begin(ThrottleGroupMember *member);
void throttle_group_drain_end(ThrottleGroupMember *member);

#endif
