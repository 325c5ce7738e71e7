/*
 * The coroutine that keeps the connection of a network block device's client; see nbd_client.h. Home thread of the node, unless said
 * otherwise.
 */
#include <errno.h>
#include <unistd.h>

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/nbd_client_int.h"

static void coroutine_fn nbd_connection_yield(BDRVNBDState *s, NBDWait what)
{
    s->connection_waits = what;
    qemu_coroutine_yield();
    core_assert(s->connection_waits == NBD_AWAKE);
}

void nbd_connection_wake(BDRVNBDState *s, NBDWait what)
{
    if (s->connection_waits == what) {
        s->connection_waits = NBD_AWAKE;
        aio_co_wake(s->connection_co);
    }
}

/* ------------------------------------------------------------------------------------------- to connect again */

static void reconnect_delay_timer_del(BDRVNBDState *s)
{
    if (s->reconnect_delay_timer) {
        timer_del(s->reconnect_delay_timer);
        timer_free(s->reconnect_delay_timer);
        s->reconnect_delay_timer = NULL;
    }
}

/* Those that wait for the connection do so no longer. */
static void nbd_let_waiters_go(BDRVNBDState *s, NBDClientEvent why)
{
    if (s->state == NBD_CLIENT_CONNECTING_WAIT) {
        s->state = NBD_CLIENT_CONNECTING_NOWAIT;
        if (!qemu_co_queue_empty(&s->free_sema)) {
            nbd_trace(why);
        }
        while (qemu_co_enter_next_impl(&s->free_sema, NULL)) {
            /* they fail, in this thread */
        }
    }
}

static void reconnect_delay_timer_cb(void *opaque)
{
    BDRVNBDState *s = opaque;

    reconnect_delay_timer_del(s);
    nbd_let_waiters_go(s, NBD_DELAY_IS_OVER);
}

static void reconnect_delay_timer_init(BDRVNBDState *s)
{
    core_assert(!s->reconnect_delay_timer);
    s->reconnect_delay_timer = aio_timer_new(bdrv_get_aio_context(s->bs), QEMU_CLOCK_REALTIME, SCALE_NS, reconnect_delay_timer_cb,
                                             s);
    timer_mod(s->reconnect_delay_timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + (int64_t)s->options.reconnect_delay_ns);
}

static void nbd_recv_coroutines_wake_all(BDRVNBDState *s)
{
    for (unsigned i = 0; i < s->options.max_requests; i++) {
        if (s->requests[i].receiving) {
            s->requests[i].receiving = false;
            aio_co_wake(s->requests[i].coroutine);
        }
    }
}

static void nbd_close_socket(BDRVNBDState *s)
{
    if (s->fd >= 0) {
        core_assert(!s->read_co && !s->write_co);
        close(s->fd);
        s->fd = -1;
    }
}

static void coroutine_fn nbd_reconnect_attempt(BDRVNBDState *s)
{
    int fd;

    while (s->in_flight > 0) {
        nbd_connection_yield(s, NBD_FOR_REQUESTS);
    }
    if (!nbd_client_connecting(s)) {
        return;
    }
    nbd_close_socket(s);
    fd = s->options.connect(s->options.opaque);
    if (fd < 0) {
        return;
    }
    nbd_trace(NBD_CONNECTED_AGAIN);
    s->fd = fd;
    s->state = NBD_CLIENT_CONNECTED;
    qemu_co_queue_restart_all(&s->free_sema);
}

static void coroutine_fn nbd_wait_for_drained_end(BDRVNBDState *s)
{
    nbd_trace(NBD_DRAINED_WHILE_LOST);
    bdrv_dec_in_flight(s->bs);
    nbd_connection_yield(s, NBD_FOR_DRAINED_END);
    bdrv_inc_in_flight(s->bs);
}

/* Until it is connected, or closed. */
static void coroutine_fn nbd_co_reconnect_loop(BDRVNBDState *s)
{
    uint64_t pause_ns = s->options.retry_ns;

    nbd_recv_coroutines_wake_all(s);
    if (s->state == NBD_CLIENT_CONNECTING_WAIT) {
        reconnect_delay_timer_init(s);
    }
    while (nbd_client_connecting(s)) {
        if (qatomic_read(&s->drained)) {
            nbd_wait_for_drained_end(s);
            continue;
        }
        nbd_reconnect_attempt(s);
        if (nbd_client_connecting(s) && !qatomic_read(&s->drained)) {
            qemu_co_sleep_ns_wakeable(&s->sleep, QEMU_CLOCK_REALTIME, (int64_t)pause_ns);
            pause_ns = MIN(pause_ns * 2, s->options.retry_ns * 16);
        }
    }
    reconnect_delay_timer_del(s);
}

/* One reply, as far as it is not the request's. */
static void coroutine_fn nbd_read_reply(BDRVNBDState *s)
{
    uint64_t i;

    if (nbd_read(s, &s->reply, sizeof(s->reply), true) < 0) {
        nbd_channel_error(s, -EIO);
        return;
    }
    i = s->reply.cookie - 1;
    if (i >= s->options.max_requests || !s->requests[i].receiving) {
        nbd_channel_error(s, -EINVAL);
        return;
    }
    s->requests[i].receiving = false;
    aio_co_wake(s->requests[i].coroutine);
    nbd_connection_yield(s, NBD_FOR_DATA_READ);
}

void coroutine_fn nbd_connection_entry(void *opaque)
{
    BDRVNBDState *s = opaque;

    while (s->state != NBD_CLIENT_QUIT) {
        if (nbd_client_connecting(s)) {
            nbd_co_reconnect_loop(s);
        } else {
            nbd_read_reply(s);
        }
    }
    nbd_recv_coroutines_wake_all(s);
    qemu_co_queue_restart_all(&s->free_sema);
    while (s->in_flight > 0) {
        nbd_connection_yield(s, NBD_FOR_REQUESTS);
    }
    nbd_close_socket(s);
    bdrv_dec_in_flight(s->bs);

    /* ORDER: everything above before connection_co is NULL, and that before the kick reads num_waiters
     * PAIRS: nbd_connection_end()
     * ELSE:  the main thread frees the node under this coroutine, or sleeps for ever */
    qatomic_store_release(&s->connection_co, NULL);
    aio_wait_kick();
}

/* ------------------------------------------------------------------------------------------- drained sections */

/* A section has begun or has ended; which, is looked up: another may have begun meanwhile. */
static void nbd_drain_bh(void *opaque)
{
    BDRVNBDState *s = opaque;

    if (qatomic_read(&s->drained)) {
        qemu_co_sleep_wake(&s->sleep);
        reconnect_delay_timer_del(s);
        nbd_let_waiters_go(s, NBD_DRAIN_LETS_WAITERS_GO);
    } else {
        nbd_connection_wake(s, NBD_FOR_DRAINED_END);
    }
    bdrv_dec_in_flight(s->bs);
}

static void nbd_drain_changes(BlockDriverState *bs, bool drained)
{
    BDRVNBDState *s = bs->opaque;

    qatomic_set(&s->drained, drained);
    if (!s->closed) {
        bdrv_inc_in_flight(bs); /* the section waits for the bottom half */
        aio_bh_schedule_oneshot(bdrv_get_aio_context(bs), nbd_drain_bh, s);
    }
}

void nbd_client_drain_begin(BlockDriverState *bs)
{
    nbd_drain_changes(bs, true);
}

void nbd_client_drain_end(BlockDriverState *bs)
{
    nbd_drain_changes(bs, false);
}

/* ------------------------------------------------------------------------------------------- its end */

static void nbd_quit_bh(void *opaque)
{
    BDRVNBDState *s = opaque;

    nbd_channel_error(s, -ESHUTDOWN);
    qemu_co_sleep_wake(&s->sleep);
    nbd_connection_wake(s, NBD_FOR_DRAINED_END);
}

void nbd_connection_end(BDRVNBDState *s)
{
    AioContext *ctx = bdrv_get_aio_context(s->bs);

    aio_wait_bh_oneshot(ctx, nbd_quit_bh, s);

    /* ORDER: connection_co before the node is freed
     * PAIRS: nbd_connection_entry()
     * ELSE:  what the coroutine has done last is not done yet */
    AIO_WAIT_WHILE_UNLOCKED(ctx, qatomic_load_acquire(&s->connection_co));
}
