/*
 * The one wait object, its kick, and a synchronous call into another event loop. The protocol is told in aio_wait.h.
 *
 * Threads: aio_wait_begin() and aio_wait_end() run in the waiting thread, in practice the main thread; aio_wait_kick()
 * anywhere.
 */
#include "core/aio_wait.h"

#include "core/atomic.h"
#include "core/coroutine.h"
#include "core/fatal.h"
#include "core/main_loop.h"

AioWait global_aio_wait;

AioContext *aio_wait_begin(AioContext *ctx)
{
    bool at_home = ctx && in_aio_context_home_thread(ctx);

    core_assert(!qemu_in_coroutine());
    qatomic_inc(&global_aio_wait.num_waiters);

    /* ORDER: num_waiters before the condition that the caller evaluates next
     * PAIRS: aio_wait_kick()
     * ELSE:  the condition is read true, the kick reads no waiter, and the poll sleeps for ever; QEMU 7455ff1aa0 */
    smp_mb__after_rmw();

    if (at_home) {
        return ctx;
    }
    core_assert(qemu_get_current_aio_context() == qemu_get_aio_context());
    return qemu_get_aio_context();
}

void aio_wait_end(void)
{
    qatomic_dec(&global_aio_wait.num_waiters);
}

/* Being run is all it is for: aio_poll() returns once it has made progress. */
static void dummy_bh_cb(void *opaque)
{
    (void)opaque;
}

void aio_wait_kick(void)
{
    /* ORDER: the caller's write to the condition before reading num_waiters
     * PAIRS: aio_wait_begin()
     * ELSE:  the kick is skipped while the waiter still reads the old condition; QEMU 7455ff1aa0 */
    smp_mb();

    if (qatomic_read(&global_aio_wait.num_waiters)) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), dummy_bh_cb, NULL);
    }
}

/* One call by aio_wait_bh_oneshot(); lives on the stack of the waiting thread. */
typedef struct AioWaitBHData {
    bool done; /* written by the bottom half, read by the waiter; atomic */
    QEMUBHFunc *cb;
    void *opaque;
} AioWaitBHData;

static void aio_wait_bh(void *opaque)
{
    AioWaitBHData *data = opaque;

    data->cb(data->opaque);

    /* ORDER: the callback's effects before done
     * PAIRS: aio_wait_bh_oneshot()
     * ELSE:  the waiter goes on before it can see them. data is gone after this store. */
    qatomic_store_release(&data->done, true);
    aio_wait_kick();
}

void aio_wait_bh_oneshot(AioContext *ctx, QEMUBHFunc *cb, void *opaque)
{
    AioWaitBHData data = { .cb = cb, .opaque = opaque };

    core_assert(qemu_get_current_aio_context() == qemu_get_aio_context());

    aio_bh_schedule_oneshot(ctx, aio_wait_bh, &data);

    /* ORDER: done before what the callback wrote
     * PAIRS: aio_wait_bh()
     * ELSE:  the caller reads the state of before the callback */
    AIO_WAIT_WHILE_UNLOCKED(NULL, !qatomic_load_acquire(&data.done));
}

void aio_wait_reset(void)
{
    global_aio_wait.num_waiters = 0;
}
