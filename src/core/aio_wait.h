/*
 * Waiting in the main thread until work in other event loops has made a condition true.
 *
 * The waiter evaluates its condition, and while it holds polls its own AioContext, blocking. Whoever makes the
 * condition false calls aio_wait_kick() afterwards. There is one wait object for everything: a condition may depend on
 * many nodes, contexts and jobs, and a kick at a narrower object would miss waiters that look at a wider one (QEMU
 * cfe29d8294).
 *
 *     waiter (main thread)                        waker (any thread)
 *     1  num_waiters++                            a  make the condition false
 *     2  full barrier                             b  full barrier
 *     3  evaluate the condition                   c  read num_waiters
 *     4  true: aio_poll(), back to 3              d  not 0: one-shot bottom half in the main context
 *
 * Either 3 sees a, or c sees 1; in the second case the bottom half ends the poll of step 4, because it was queued in
 * the very context that step 4 polls.
 *
 * Invariants
 *  1. num_waiters counts every waiter, also one in the home thread of the context it waits for (QEMU 486574483a): its
 *     condition may still depend on other threads.
 *  2. A waiter that is not in the home thread of its context is the main thread, and polls the main context.
 *  3. aio_wait_kick() touches nothing but global state: the object that the condition was about may be gone by then.
 *
 * From QEMU: include/block/aio-wait.h, util/aio-wait.c.
 */
#ifndef WAKEFUZZ_CORE_AIO_WAIT_H
#define WAKEFUZZ_CORE_AIO_WAIT_H

#include "core/aio_context.h"

typedef struct AioWait {
    /* Number of threads inside AIO_WAIT_WHILE(). Written by waiters, read by aio_wait_kick() in any thread. Atomic. */
    unsigned num_waiters;
} AioWait;

extern AioWait global_aio_wait;

/*
 * Count the caller as a waiter and return the context that it has to poll: ctx where the caller is in its home thread,
 * else (also for a NULL ctx) the main context. Then evaluate the condition. Does not block. For AIO_WAIT_WHILE() only.
 */
AioContext *aio_wait_begin(AioContext *ctx);

/* The caller no longer waits. For AIO_WAIT_WHILE() only. */
void aio_wait_end(void);

/*
 * AIO_WAIT_WHILE_UNLOCKED(ctx, cond): poll until cond is false; blocks as long as it takes.
 *
 * cond is an expression that may have side effects (it may poll another context); it is evaluated at least once, and
 * again after each poll. ctx is the context whose work the condition depends on, or NULL for more than one. Call it in
 * the home thread of ctx or in the main thread, outside coroutines. Returns whether it had to wait.
 */
#define AIO_WAIT_WHILE_UNLOCKED(ctx, cond)               \
    ({                                                   \
        AioContext *aio_wait_ctx_ = aio_wait_begin(ctx); \
        bool aio_waited_ = false;                        \
        while (cond) {                                   \
            aio_poll(aio_wait_ctx_, true);               \
            aio_waited_ = true;                          \
        }                                                \
        aio_wait_end();                                  \
        aio_waited_;                                     \
    })

/* The older name. AioContexts have no lock of their own any more, so that both are the same. */
#define AIO_WAIT_WHILE(ctx, cond) AIO_WAIT_WHILE_UNLOCKED(ctx, cond)

/*
 * A condition that somebody may wait for has become false: wake the waiters. Any thread, also inside a coroutine;
 * never blocks; cheap where nobody waits. Call it after the write that changed the condition.
 */
void aio_wait_kick(void);

/*
 * Run cb(opaque) once in ctx's home thread, from a bottom half, and wait until it has returned. Main thread only,
 * outside coroutines; blocks by polling the main context.
 */
void aio_wait_bh_oneshot(AioContext *ctx, QEMUBHFunc *cb, void *opaque);

/* Nobody waits and nobody will be kicked: what holds before the first use. Between two executions; any thread. */
void aio_wait_reset(void);

#endif
