/*
 * RequestSlots, as request_slots.h tells.
 *
 * Threads: any. No function blocks the thread but by the short lock.
 */
#include "core/request_slots.h"

#include <errno.h>

#include "core/fatal.h"
#include "core/lockable.h"

/* On its coroutine's stack. */
struct SlotRequest {
    Coroutine *co;
    int ret; /* written by the completion, before the wake */
};

static void free_req_queue_bh(void *opaque)
{
    RequestSlots *slots = opaque;

    QEMU_LOCK_GUARD(&slots->lock);
    while (slots->free_count > 0 && qemu_co_enter_next(&slots->free_req_queue, &slots->lock)) {
        /* those of this thread have run by now, and have taken their slots; others will have to look again */
    }
}

void request_slots_init(RequestSlots *slots, AioContext *ctx, unsigned slot_count)
{
    core_assert(slot_count >= 1 && slot_count <= REQUEST_SLOTS_MAX);
    *slots = (RequestSlots){ .ctx = ctx, .slot_count = slot_count, .free_count = slot_count };
    qemu_mutex_init(&slots->lock);
    qemu_co_queue_init(&slots->free_req_queue);
    slots->free_req_queue_bh = aio_bh_new(ctx, free_req_queue_bh, slots);
}

void request_slots_destroy(RequestSlots *slots)
{
    core_assert(slots->free_count == slots->slot_count);
    core_assert(qemu_co_queue_empty(&slots->free_req_queue));
    qemu_bh_delete(slots->free_req_queue_bh);
    qemu_mutex_destroy(&slots->lock);
}

static unsigned coroutine_fn get_slot(RequestSlots *slots, SlotRequest *request)
{
    unsigned slot = 0;

    QEMU_LOCK_GUARD(&slots->lock);
    while (slots->free_count == 0) {
        qemu_co_queue_wait(&slots->free_req_queue, &slots->lock);
    }
    while (slots->busy[slot]) {
        slot++;
    }
    slots->busy[slot] = request;
    slots->free_count--;
    return slot;
}

/* Returns whose slot it was. */
static SlotRequest *put_slot_and_wake(RequestSlots *slots, unsigned slot)
{
    SlotRequest *request;

    QEMU_LOCK_GUARD(&slots->lock);
    request = slots->busy[slot];
    core_assert(request);
    slots->busy[slot] = NULL;
    slots->free_count++;
    if (!qemu_co_queue_empty(&slots->free_req_queue)) {
        qemu_bh_schedule(slots->free_req_queue_bh);
    }
    return request;
}

int coroutine_fn request_slots_co_run(RequestSlots *slots, RequestSlotsSubmit *submit, void *opaque)
{
    SlotRequest request = { .co = qemu_coroutine_self(), .ret = -EINPROGRESS };
    unsigned slot = get_slot(slots, &request);
    int ret = submit(opaque, slot);

    if (ret < 0) {
        put_slot_and_wake(slots, slot);
        return ret;
    }

    /* Also where it has been completed already: the wake is on its way. */
    qemu_coroutine_yield();
    return request.ret;
}

void request_slots_complete(RequestSlots *slots, unsigned slot, int ret)
{
    SlotRequest *request = put_slot_and_wake(slots, slot);

    request->ret = ret;
    aio_co_wake(request->co);
}
