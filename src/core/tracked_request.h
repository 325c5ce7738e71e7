/*
 * Tracked requests: those that are under way on one node, so that a request that must have its range for itself (one that
 * copies on read, or that reads, modifies and writes) waits for those that overlap with it, and they for it.
 *
 * Two requests conflict where their ranges overlap and at least one is serialising. One that finds a conflict waits in the
 * other's queue until that ends, and looks again. It does not wait for one that waits itself: that one looks again when
 * it is woken, and so finds the newcomer. Otherwise each could end up in the other's queue:
 *
 *     A: began, not serialising              B: began, not serialising; overlaps with A
 *     1  becomes serialising: B conflicts;
 *        waiting_for = B; into B's queue
 *                                            a  becomes serialising: A conflicts, but waits: goes on
 *                                            b  ends; wakes its queue
 *     2  waiting_for = NULL; looks again
 *
 * (QEMU 5f8b6491f2, and the same once more in the mirror job, d44dae1a7c; fault tracked-request-waits-for-a-waiter.)
 *
 * Invariants
 *  1. A request is in the list from begin to end, and its queue is used under the lock and only while it is in the list.
 *  2. waiting_for is not NULL exactly while the request is in a queue, or has been woken and has not looked again. The
 *     requests that wait for each other form a tree.
 *
 * From QEMU: block/io.c.
 */
#ifndef WAKEFUZZ_CORE_TRACKED_REQUEST_H
#define WAKEFUZZ_CORE_TRACKED_REQUEST_H

#include <stdint.h>

#include "core/co_queue.h"
#include "core/queue.h"

typedef struct TrackedRequest TrackedRequest;

/* The requests of one node. */
typedef struct TrackedRequests {
    QemuMutex reqs_lock;
    LIST_HEAD(, TrackedRequest) tracked_requests; /* under the lock */

    /* How many are serialising. Raised under the lock, lowered by any thread, read as a hint without it. Atomic. */
    unsigned serialising_in_flight;
} TrackedRequests;

/* On its coroutine's stack. */
struct TrackedRequest {
    TrackedRequests *requests;
    int64_t offset, bytes;
    Coroutine *co;

    /* under the lock */
    bool serialising;
    int64_t overlap_offset, overlap_bytes; /* the range, as it is aligned where serialising */
    CoQueue wait_queue;                    /* those who wait for this one */
    TrackedRequest *waiting_for;           /* see invariant 2 */
    LIST_ENTRY(TrackedRequest) list;
};

void tracked_requests_init(TrackedRequests *requests);
/* None may be under way. */
void tracked_requests_destroy(TrackedRequests *requests);

/* A request for this range begins; it conflicts with nobody until it has become serialising, or has waited for those that
 * are. offset >= 0, bytes > 0. Coroutines of any thread; does not yield. */
void coroutine_fn tracked_request_begin(TrackedRequest *request, TrackedRequests *requests, int64_t offset, int64_t bytes);

/* Wait until no serialising request overlaps. Coroutines; yields. */
void coroutine_fn tracked_request_wait_serialising(TrackedRequest *request);

/* Become serialising for the range, extended to multiples of align (a power of two), and wait until nobody else's overlaps.
 * May be called again. Coroutines; yields. */
void coroutine_fn tracked_request_make_serialising(TrackedRequest *request, int64_t align);

/* It has ended: those who waited for it go on. The coroutine that began it; does not yield. */
void coroutine_fn tracked_request_end(TrackedRequest *request);

#endif
