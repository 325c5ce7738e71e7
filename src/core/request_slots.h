/*
 * RequestSlots: a device queue that takes so many requests at a time and no more, as a driver of NVMe disks has them.
 *
 * A request needs a slot; without one it waits. It is handed to the device, which may refuse it, and completed later by
 * any thread. Whichever way a slot comes back, somebody may be waiting for it:
 *
 *     request, in a coroutine of any thread          whoever gives a slot back
 *     1  lock; none free: into free_req_queue,
 *        unlock, yield
 *                                                    a  lock; free + 1; somebody queued: schedule the BH; unlock
 *                                                    b  BH in the slots' context, under the lock: while one is free
 *                                                       and somebody is queued, wake the first
 *     2  lock; look again (somebody who never
 *        waited may have been quicker)
 *
 * Step a belongs to a refused request as much as to one that has been completed (QEMU 1086e95da1; fault
 * request-slots-refused-wakes-nobody); and step b stops when none is free, since those it wakes come back into the queue
 * (QEMU cf4fbc3030; fault request-slots-wakes-for-ever).
 *
 * Invariants
 *  1. A slot is free, or it belongs to one request, from step 2 until that is refused or completed.
 *  2. A request that the device has taken is woken exactly once, by its completion, and only through its own context: it
 *     may be completed before it has yielded (QEMU 0f142cbd91; fault request-slots-enters-the-request).
 *
 * From QEMU: block/nvme.c.
 */
#ifndef WAKEFUZZ_CORE_REQUEST_SLOTS_H
#define WAKEFUZZ_CORE_REQUEST_SLOTS_H

#include "core/aio_context.h"
#include "core/co_queue.h"

#define REQUEST_SLOTS_MAX 16u

typedef struct SlotRequest SlotRequest;

typedef struct RequestSlots {
    AioContext *ctx;
    QEMUBH *free_req_queue_bh;
    QemuMutex lock; /* for the rest */
    unsigned slot_count;
    unsigned free_count;
    SlotRequest *busy[REQUEST_SLOTS_MAX]; /* whose slot it is; NULL: free */
    CoQueue free_req_queue;
} RequestSlots;

/*
 * Hand the request in this slot to the device. Returns 0, or a negative errno where the device does not take it: then
 * request_slots_complete() must not be called. Must not yield, and must not itself complete the request.
 */
typedef int RequestSlotsSubmit(void *opaque, unsigned slot);

/* slot_count is 1 to REQUEST_SLOTS_MAX. ctx, which must outlive the slots, is where waiting requests are let go on. Any thread. */
void request_slots_init(RequestSlots *slots, AioContext *ctx, unsigned slot_count);
/* No request may be under way. In ctx's home thread, or when that has ended. */
void request_slots_destroy(RequestSlots *slots);

/* Run one request: wait for a slot, submit(opaque, slot), wait for its completion. Returns what submit returned where that
 * is negative, else what the completion said. Coroutines of any thread; yields. */
int coroutine_fn request_slots_co_run(RequestSlots *slots, RequestSlotsSubmit *submit, void *opaque);

/* The request in this slot is done. Once for each request that was taken; any thread, also before submit has returned. */
void request_slots_complete(RequestSlots *slots, unsigned slot, int ret);

#endif
