/*
 * AioContext: life, home threads, notification.
 *
 * Any thread, except where a function says otherwise.
 *
 * Invariants
 * 1. The context frees itself with its last reference, in whichever thread drops it, and then has no coroutine
 *    scheduled and no BH that is not deleted.
 * 2. While a loop may be asleep, notify_me is not 0; whoever gives it work and reads notify_me != 0 makes the eventfd
 *    readable.
 * 3. Only the loop that slept clears notified and the eventfd, and it looks at BHs, handlers and timers after that,
 *    not before.
 */
#include "core/aio_context.h"

#include <errno.h>

#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/fatal.h"
#include "core/graph_lock.h"
#include "core/linux_aio.h"
#include "core/main_loop.h"
#include "core/sanitizer.h"
#include "core/thread_pool.h"

static unsigned live_count; /* raw builtins: for the leak check, not a part of the program under test */

/* ---- whose context runs here ---- */

static __thread AioContext *my_aio_context;

/*
 * A coroutine may change threads between two calls: the address of the thread variable must be worked out anew each
 * time.
 */
static __attribute__((noinline)) AioContext **my_aio_context_here(void)
{
    AioContext **address = &my_aio_context;

    __asm__ volatile("" : "+r"(address));
    return address;
}

AioContext *qemu_get_current_aio_context(void)
{
    AioContext *ctx = *my_aio_context_here();

    if (ctx) {
        return ctx;
    }
    return bql_locked() ? qemu_get_aio_context() : NULL;
}

void qemu_set_current_aio_context(AioContext *ctx)
{
    core_assert(!ctx || !*my_aio_context_here());
    *my_aio_context_here() = ctx;
}

bool in_aio_context_home_thread(AioContext *ctx)
{
    return ctx == qemu_get_current_aio_context();
}

void aio_context_thread_reset(void)
{
    *my_aio_context_here() = NULL;
}

/* ---- notification; the table is in aio_context.h ---- */

void aio_notify(AioContext *ctx)
{
    /* ORDER: the work, such as a BH in bh_list, before notified
     * PAIRS: aio_notify_accept()
     * ELSE:  a loop that polls in user space sees notified, accepts it, and does not find the work */
    smp_wmb();
    qatomic_set(&ctx->notified, true);

    /* ORDER: the work and notified before reading notify_me
     * PAIRS: aio_poll(), aio_ctx_prepare()
     * ELSE:  the loop has not seen the work and goes to sleep, and this thread has not seen that it does; QEMU
     *        5710a3e09f */
    smp_mb();
    if (qatomic_read(&ctx->notify_me)) {
        event_notifier_set(&ctx->notifier);
    }
}

void aio_notify_accept(AioContext *ctx)
{
    qatomic_set(&ctx->notified, false);

    /* ORDER: notified, and clearing the eventfd, before reading the flags of BHs
     * PAIRS: aio_notify()
     * ELSE:  a BH that is scheduled in between is not run now, and its notification is gone; QEMU 21a03d17f2 */
    smp_mb();
    event_notifier_test_and_clear(&ctx->notifier);
}

/* The eventfd has done its work when ppoll returns; aio_notify_accept() clears it, before BHs are looked at. */
static void aio_context_notifier_cb(EventNotifier *e)
{
    (void)e;
}

static AioContext *context_of_notifier(EventNotifier *e)
{
    return (AioContext *)((char *)e - offsetof(AioContext, notifier));
}

static bool aio_context_notifier_poll(void *opaque)
{
    return qatomic_read(&context_of_notifier(opaque)->notified);
}

static void aio_timerlist_notify(void *opaque)
{
    aio_notify(opaque);
}

/* ---- life ---- */

AioContext *aio_context_new(void)
{
    AioContext *ctx = (AioContext *)g_source_new(&aio_source_funcs, sizeof(*ctx));
    int result;

    ctx->notifier.fd = -1;
    result = event_notifier_init(&ctx->notifier, false);
    if (result < 0) {
        g_source_unref(&ctx->source);
        errno = -result;
        return NULL;
    }
    g_source_set_can_recurse(&ctx->source, true);
    qemu_lockcnt_init(&ctx->list_lock);
    SLIST_INIT(&ctx->bh_list);
    STAILQ_INIT(&ctx->bh_slice_list);
    SLIST_INIT(&ctx->scheduled_coroutines);
    ctx->co_schedule_bh = aio_bh_new(ctx, aio_co_schedule_bh, ctx);
    timerlist_init(&ctx->timer_list, aio_timerlist_notify, ctx);
    ctx->thread_pool_max = THREAD_POOL_MAX_THREADS_DEFAULT;
    aio_set_event_notifier(ctx, &ctx->notifier, aio_context_notifier_cb, aio_context_notifier_poll, aio_context_notifier_cb);
    register_aiocontext(ctx);
    __atomic_fetch_add(&live_count, 1, __ATOMIC_RELAXED);
    return ctx;
}

void aio_context_finalize(GSource *source)
{
    AioContext *ctx = (AioContext *)source;

    if (ctx->notifier.fd < 0) {
        return; /* it never came to life */
    }
    SANITIZER_ACQUIRE(ctx);
    thread_pool_free_aio(ctx->thread_pool);
    if (ctx->linux_aio) {
        laio_detach_aio_context(ctx->linux_aio, ctx);
        laio_cleanup(ctx->linux_aio);
    }
    core_assert(!ctx->uring);
    core_assert(SLIST_EMPTY(&ctx->scheduled_coroutines));
    core_assert(STAILQ_EMPTY(&ctx->bh_slice_list)); /* or an aio_bh_poll() is under way */
    qemu_bh_delete(ctx->co_schedule_bh);
    aio_bh_finalize(ctx);

    aio_set_event_notifier(ctx, &ctx->notifier, NULL, NULL, NULL);
    qemu_lockcnt_inc(&ctx->list_lock);
    aio_free_deleted_handlers(ctx);
    qemu_lockcnt_dec(&ctx->list_lock);
    if (!LIST_EMPTY(&ctx->aio_handlers)) {
        core_fatal("leak", "fd %d still has a handler in an AioContext that is freed", LIST_FIRST(&ctx->aio_handlers)->pfd.fd);
    }
    event_notifier_cleanup(&ctx->notifier);
    qemu_lockcnt_destroy(&ctx->list_lock);
    timerlist_deinit(&ctx->timer_list);
    unregister_aiocontext(ctx);
    aio_epoll_free(ctx);
    g_free(ctx->poll_fds);
    g_free(ctx->poll_nodes);
    __atomic_fetch_sub(&live_count, 1, __ATOMIC_RELAXED);
}

void aio_context_ref(AioContext *ctx)
{
    g_source_ref(&ctx->source);
}

void aio_context_unref(AioContext *ctx)
{
    SANITIZER_RELEASE(ctx);
    g_source_unref(&ctx->source);
}

GSource *aio_get_g_source(AioContext *ctx)
{
    return g_source_ref(&ctx->source);
}

unsigned aio_context_live_count(void)
{
    return __atomic_load_n(&live_count, __ATOMIC_RELAXED);
}

ThreadPoolAio *aio_get_thread_pool(AioContext *ctx)
{
    if (!ctx->thread_pool) {
        ctx->thread_pool = thread_pool_new_aio(ctx);
    }
    return ctx->thread_pool;
}

LinuxAioState *aio_setup_linux_aio(AioContext *ctx)
{
    if (!ctx->linux_aio) {
        ctx->linux_aio = laio_init();
        if (ctx->linux_aio) {
            laio_attach_aio_context(ctx->linux_aio, ctx);
        }
    }
    return ctx->linux_aio;
}

LinuxAioState *aio_get_linux_aio(AioContext *ctx)
{
    core_assert(ctx->linux_aio);
    return ctx->linux_aio;
}

void aio_context_set_aio_params(AioContext *ctx, int64_t max_batch)
{
    core_assert(max_batch >= 0);
    ctx->aio_max_batch = max_batch;
}

void aio_context_set_thread_pool_params(AioContext *ctx, int min, int max)
{
    core_assert(min >= 0 && min <= max && max > 0);
    ctx->thread_pool_min = min;
    ctx->thread_pool_max = max;
    if (ctx->thread_pool) {
        thread_pool_update_params(ctx->thread_pool, ctx);
    }
}

void aio_context_set_poll_params(AioContext *ctx, unsigned max_rounds)
{
    qatomic_set(&ctx->poll_max_rounds, max_rounds);
    aio_notify(ctx);
}

void aio_timer_init(AioContext *ctx, QEMUTimer *timer, QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque)
{
    timer_init_full(timer, &ctx->timer_list, type, scale, cb, opaque);
}

QEMUTimer *aio_timer_new(AioContext *ctx, QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque)
{
    QEMUTimer *timer = g_new0(QEMUTimer, 1);

    aio_timer_init(ctx, timer, type, scale, cb, opaque);
    return timer;
}
