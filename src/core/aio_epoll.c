/*
 * The loop's epoll; aio_epoll.h has the protocol.
 *
 * The loop waits and upgrades; any thread that sets a handler changes what epoll watches, with list_lock held.
 */
#include "core/aio_epoll.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/fatal.h"

#define EVENTS_MAX 64 /* of one wait; the kernel begins the next one with those that are left */

typedef enum AioEpollState {
    AIO_EPOLL_NOT_YET,  /* too few descriptors so far: ppoll() */
    AIO_EPOLL_ACTIVE,   /* epoll */
    AIO_EPOLL_GIVEN_UP, /* the kernel has refused a descriptor: ppoll() for good */
} AioEpollState;

/* Made in the home thread, with list_lock held; freed with the context. */
typedef struct AioEpoll {
    int fd;
    unsigned min_fds;
    AioEpollState state; /* written with list_lock held; read also by the loop without it */
    struct epoll_event events[EVENTS_MAX]; /* of the loop, and used only while no callback runs */
} AioEpoll;

static int control(AioEpoll *epoll, int operation, AioHandler *handler)
{
    struct epoll_event event = { .events = handler->pfd.events, .data.ptr = handler };

    G_STATIC_ASSERT((int)G_IO_IN == (int)EPOLLIN && (int)G_IO_OUT == (int)EPOLLOUT);
    G_STATIC_ASSERT((int)G_IO_ERR == (int)EPOLLERR && (int)G_IO_HUP == (int)EPOLLHUP);
    return epoll_ctl(epoll->fd, operation, handler->pfd.fd, &event);
}

static bool is_watched(const AioHandler *handler)
{
    return handler && handler->pfd.events;
}

/* ---- any thread, with list_lock held */

/*
 * The loop may sleep in epoll_wait at this moment: the file stays open, and still watches the notifier, by which aio_set_handler() wakes it.
 */
static void give_up(AioEpoll *epoll)
{
    qatomic_set(&epoll->state, AIO_EPOLL_GIVEN_UP);
}

void aio_epoll_update(AioContext *ctx, AioHandler *old, AioHandler *handler)
{
    AioEpoll *epoll = ctx->epoll;
    bool was = is_watched(old), is = is_watched(handler);
    int operation = was && is ? EPOLL_CTL_MOD : is ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;

    if (qatomic_read(&epoll->state) != AIO_EPOLL_ACTIVE || (!was && !is)) {
        return;
    }
    if (control(epoll, operation, is ? handler : old) != 0) {
        give_up(epoll);
    }
}

/* ---- the loop, with the count of list_lock raised */

static unsigned count_watched(AioContext *ctx)
{
    unsigned count = 0;
    AioHandler *handler;

    AIO_FOREACH_HANDLER(ctx, handler) {
        count += !aio_handler_is_deleted(handler) && is_watched(handler);
    }
    return count;
}

/* list_lock is held. */
static void add_all(AioContext *ctx)
{
    AioHandler *handler;

    AIO_FOREACH_HANDLER(ctx, handler) {
        if (!aio_handler_is_deleted(handler) && is_watched(handler) && control(ctx->epoll, EPOLL_CTL_ADD, handler) != 0) {
            give_up(ctx->epoll);
            return;
        }
    }
    qatomic_set(&ctx->epoll->state, AIO_EPOLL_ACTIVE);
}

/* Who sets a handler does so before or after the walk, and after it knows of epoll: the table in aio_epoll.h. */
static void upgrade(AioContext *ctx)
{
    if (!qemu_lockcnt_dec_if_lock(&ctx->list_lock)) {
        return; /* a call around this one walks, too */
    }
    add_all(ctx);
    qemu_lockcnt_inc_and_unlock(&ctx->list_lock);
}

bool aio_epoll_is_in_use(AioContext *ctx)
{
    AioEpoll *epoll = ctx->epoll;

    if (aio_external_is_disabled(ctx)) {
        return false; /* epoll watches the handlers of external clients, too */
    }
    if (qatomic_read(&epoll->state) == AIO_EPOLL_NOT_YET && count_watched(ctx) >= epoll->min_fds) {
        upgrade(ctx);
    }
    return qatomic_read(&epoll->state) == AIO_EPOLL_ACTIVE;
}

/* epoll_wait() counts in milliseconds: what takes a time-out of nanoseconds is a ppoll() of the epoll file. */
void aio_epoll_wait(AioContext *ctx, AioHandlerList *ready, int64_t timeout_ns)
{
    AioEpoll *epoll = ctx->epoll;
    GPollFD pfd = { .fd = epoll->fd, .events = G_IO_IN };
    int count;

    if (timeout_ns > 0 && qemu_poll_ns(&pfd, 1, timeout_ns) == 0) {
        return;
    }
    count = epoll_wait(epoll->fd, epoll->events, EVENTS_MAX, timeout_ns < 0 ? -1 : 0);
    core_assert(count >= 0 || errno == EINTR); /* after a signal the caller's loop comes round again */
    for (int i = 0; i < count; i++) {
        aio_add_ready_handler(ready, epoll->events[i].data.ptr, (int)epoll->events[i].events);
    }
}

/* ---- life */

int aio_context_set_epoll(AioContext *ctx, unsigned min_fds)
{
    AioEpoll *epoll;
    int fd = epoll_create1(EPOLL_CLOEXEC);

    core_assert(!ctx->epoll);
    if (fd < 0) {
        return -errno;
    }
    epoll = g_new0(AioEpoll, 1);
    epoll->fd = fd;
    epoll->min_fds = min_fds;
    qemu_lockcnt_lock(&ctx->list_lock);
    ctx->epoll = epoll;
    qemu_lockcnt_unlock(&ctx->list_lock);
    return 0;
}

bool aio_context_uses_epoll(AioContext *ctx)
{
    return ctx->epoll && __atomic_load_n(&ctx->epoll->state, __ATOMIC_RELAXED) == AIO_EPOLL_ACTIVE;
}

void aio_epoll_free(AioContext *ctx)
{
    if (ctx->epoll) {
        close(ctx->epoll->fd);
        g_free(ctx->epoll);
    }
}
