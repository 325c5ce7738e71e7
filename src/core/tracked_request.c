/*
 * Tracked requests, as tracked_request.h tells.
 *
 * Threads: any thread that runs coroutines. No function blocks the thread but by the short lock.
 */
#include "core/tracked_request.h"

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/lockable.h"

void tracked_requests_init(TrackedRequests *requests)
{
    *requests = (TrackedRequests){ 0 };
    qemu_mutex_init(&requests->reqs_lock);
}

void tracked_requests_destroy(TrackedRequests *requests)
{
    core_assert(LIST_EMPTY(&requests->tracked_requests));
    core_assert(qatomic_read(&requests->serialising_in_flight) == 0);
    qemu_mutex_destroy(&requests->reqs_lock);
}

void coroutine_fn tracked_request_begin(TrackedRequest *request, TrackedRequests *requests, int64_t offset, int64_t bytes)
{
    core_assert(offset >= 0 && bytes > 0);
    *request = (TrackedRequest){
        .requests = requests,
        .offset = offset,
        .bytes = bytes,
        .co = qemu_coroutine_self(),
        .overlap_offset = offset,
        .overlap_bytes = bytes,
    };
    qemu_co_queue_init(&request->wait_queue);
    QEMU_LOCK_GUARD(&requests->reqs_lock);
    LIST_INSERT_HEAD(&requests->tracked_requests, request, list);
}

static bool overlap(const TrackedRequest *a, const TrackedRequest *b)
{
    return a->overlap_offset < b->overlap_offset + b->overlap_bytes && b->overlap_offset < a->overlap_offset + a->overlap_bytes;
}

/* The one to wait for, or NULL. Under the lock. */
static TrackedRequest *find_conflicting(TrackedRequest *self)
{
    TrackedRequest *other;

    LIST_FOREACH(other, &self->requests->tracked_requests, list) {
        if (other == self || (!other->serialising && !self->serialising) || !overlap(other, self)) {
            continue;
        }
        core_assert(other->co != self->co); /* a request inside of one that it would wait for */

        /* One that waits will find this one when it is woken, whomever it waits for. */
        if (!other->waiting_for) {
            return other;
        }
    }
    return NULL;
}

/* Under the lock, which is dropped while the request waits. */
static void coroutine_fn wait_for_conflicts(TrackedRequest *self)
{
    TrackedRequest *other;

    while ((other = find_conflicting(self))) {
        self->waiting_for = other;
        qemu_co_queue_wait(&other->wait_queue, &self->requests->reqs_lock);
        self->waiting_for = NULL;
    }
}

void coroutine_fn tracked_request_wait_serialising(TrackedRequest *request)
{
    TrackedRequests *requests = request->requests;

    /* ORDER: the request in the list, by the lock, before serialising_in_flight
     * PAIRS: tracked_request_make_serialising()
     * ELSE:  the request does not see the other one's count, nor the other one this request in the list: both go ahead */
    if (qatomic_read(&requests->serialising_in_flight) == 0) {
        return;
    }
    QEMU_LOCK_GUARD(&requests->reqs_lock);
    wait_for_conflicts(request);
}

void coroutine_fn tracked_request_make_serialising(TrackedRequest *request, int64_t align)
{
    TrackedRequests *requests = request->requests;
    int64_t begin = request->offset & ~(align - 1);
    int64_t end = (request->offset + request->bytes + align - 1) & ~(align - 1);

    QEMU_LOCK_GUARD(&requests->reqs_lock);
    if (!request->serialising) {
        request->serialising = true;

        /* ORDER: serialising_in_flight before walking the list, both under the lock
         * PAIRS: tracked_request_wait_serialising()
         * ELSE:  see there */
        qatomic_inc(&requests->serialising_in_flight);
    }
    end = MAX(end, request->overlap_offset + request->overlap_bytes);
    request->overlap_offset = MIN(begin, request->overlap_offset);
    request->overlap_bytes = end - request->overlap_offset;
    wait_for_conflicts(request);
}

void coroutine_fn tracked_request_end(TrackedRequest *request)
{
    TrackedRequests *requests = request->requests;

    if (request->serialising) {
        qatomic_dec(&requests->serialising_in_flight);
    }
    WITH_QEMU_LOCK_GUARD(&requests->reqs_lock) {
        LIST_REMOVE(request, list);
    }
    /* Out of the list nobody finds it: the queue needs no lock any more. */
    qemu_co_queue_restart_all(&request->wait_queue);
}
