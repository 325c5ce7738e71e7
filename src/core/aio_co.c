/*
 * Entering coroutines from elsewhere: now, when the running coroutine yields, or by a BH of the coroutine's own
 * context.
 *
 * Any thread schedules and wakes; the BH runs in the context's home thread.
 *
 * Invariants
 * 1. co->scheduled is claimed before the coroutine gets into scheduled_coroutines and given back before it is entered:
 *    it is in that list at most once.
 * 2. A coroutine is entered only in the home thread of its context. So a wake from another thread cannot overtake the
 *    yield.
 */
#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/coroutine_int.h"
#include "core/fatal.h"
#include "core/sanitizer.h"

/* Enters what was scheduled up to now, in the order of scheduling. */
void aio_co_schedule_bh(void *opaque)
{
    AioContext *ctx = opaque;
    SLIST_HEAD(, Coroutine) reversed, straight = SLIST_HEAD_INITIALIZER(straight);
    Coroutine *co;

    SLIST_MOVE_ATOMIC(&reversed, &ctx->scheduled_coroutines);
    while ((co = SLIST_FIRST(&reversed))) {
        SLIST_REMOVE_HEAD(&reversed, co_scheduled_next);
        SLIST_INSERT_HEAD(&straight, co, co_scheduled_next);
    }
    while ((co = SLIST_FIRST(&straight))) {
        SLIST_REMOVE_HEAD(&straight, co_scheduled_next);

        /* ORDER: scheduled before whatever the coroutine publishes when it runs
         * PAIRS: aio_co_schedule()
         * ELSE:  the next schedule finds the old claim and aborts; the barrier is in qemu_aio_coroutine_enter() */
        qatomic_set(&co->scheduled, NULL);
        qemu_aio_coroutine_enter(ctx, co);
    }
}

void aio_co_schedule(AioContext *ctx, Coroutine *co)
{
    const char *scheduled = qatomic_cmpxchg(&co->scheduled, NULL, __func__);
    GMainContext *loop;

    if (scheduled) {
        core_fatal("double-entry", "%s: Co-routine was already scheduled in '%s': coroutine %u (%s)", __func__, scheduled, co->id,
                   co->name);
    }

    /* The coroutine may run, and drop the last reference to the context, before the BH is scheduled (f0f8100287). The GLib context that it
     * is attached to goes with its io thread, and letting go of ctx takes the lock in there: docs/findings.md, 12. */
    loop = g_source_get_context(&ctx->source);
    if (loop) {
        g_main_context_ref(loop);
    }
    aio_context_ref(ctx);
    SLIST_INSERT_HEAD_ATOMIC(&ctx->scheduled_coroutines, co, co_scheduled_next);
    qemu_bh_schedule(ctx->co_schedule_bh);
    aio_context_unref(ctx);
    if (loop) {
        SANITIZER_RELEASE(loop); /* its count orders those who let go of it, in code that is not instrumented */
        SANITIZER_ACQUIRE(loop);
        g_main_context_unref(loop);
    }
}

void aio_co_wake(Coroutine *co)
{
    /* ORDER: the pointer co, from wherever the caller has it, before co->ctx: by the data dependency
     * PAIRS: qemu_aio_coroutine_enter()
     * ELSE:  the coroutine goes on in a context that it has left */
    aio_co_enter(qatomic_read(&co->ctx), co);
}

void aio_co_enter(AioContext *ctx, Coroutine *co)
{
    if (ctx != qemu_get_current_aio_context()) {
        aio_co_schedule(ctx, co);
        return;
    }
    if (qemu_in_coroutine()) {
        Coroutine *self = qemu_coroutine_self();

        core_assert(self != co);
        STAILQ_INSERT_TAIL(&self->co_queue_wakeup, co, co_queue_next);
    } else {
        qemu_aio_coroutine_enter(ctx, co);
    }
}

typedef struct AioCoRescheduleSelf {
    Coroutine *co;
    AioContext *new_ctx;
} AioCoRescheduleSelf;

static void aio_co_reschedule_self_bh(void *opaque)
{
    AioCoRescheduleSelf *data = opaque;

    aio_co_schedule(data->new_ctx, data->co);
}

void coroutine_fn aio_co_reschedule_self(AioContext *new_ctx)
{
    AioContext *old_ctx = qemu_get_current_aio_context();

    if (old_ctx != new_ctx) {
        AioCoRescheduleSelf data = { .co = qemu_coroutine_self(), .new_ctx = new_ctx };

        /*
         * Not at once: the other thread could enter the coroutine before it has yielded in this one. The BH runs
         * after.
         */
        aio_bh_schedule_oneshot(old_ctx, aio_co_reschedule_self_bh, &data);
        qemu_coroutine_yield();
    }
}
