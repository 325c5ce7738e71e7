/* Requests of the client of a network block device; see nbd_client.h. Home thread of the node, unless said otherwise. */
#include <errno.h>
#include <sys/socket.h>

#include "core/fatal.h"
#include "core/lockable.h"
#include "core/nbd_client_int.h"

void (*nbd_client_trace_hook)(NBDClientEvent event);

void nbd_trace(NBDClientEvent event)
{
    if (nbd_client_trace_hook) {
        nbd_client_trace_hook(event);
    }
}

/* ------------------------------------------------------------------------------------------- the socket */

static void nbd_readable(void *opaque);
static void nbd_writable(void *opaque);

static void nbd_update_handlers(BDRVNBDState *s)
{
    aio_set_fd_handler(bdrv_get_aio_context(s->bs), s->fd, s->read_co ? nbd_readable : NULL, s->write_co ? nbd_writable : NULL,
                       NULL, NULL, s);
}

static void nbd_socket_ready(BDRVNBDState *s, Coroutine **waiter)
{
    Coroutine *co = *waiter;

    *waiter = NULL;
    nbd_update_handlers(s);
    aio_co_wake(co);
}

static void nbd_readable(void *opaque)
{
    BDRVNBDState *s = opaque;

    nbd_socket_ready(s, &s->read_co);
}

static void nbd_writable(void *opaque)
{
    BDRVNBDState *s = opaque;

    nbd_socket_ready(s, &s->write_co);
}

static void coroutine_fn nbd_socket_yield(BDRVNBDState *s, Coroutine **waiter)
{
    core_assert(!*waiter);
    *waiter = qemu_coroutine_self();
    nbd_update_handlers(s);
    qemu_coroutine_yield();
}

int coroutine_fn nbd_read(BDRVNBDState *s, void *buffer, size_t size, bool idle)
{
    size_t done = 0;

    while (done < size) {
        ssize_t ret = recv(s->fd, (char *)buffer + done, size - done, MSG_DONTWAIT);

        if (ret > 0) {
            done += (size_t)ret;
        } else if (ret == 0 || (errno != EAGAIN && errno != EINTR)) {
            return -EIO;
        } else if (errno == EAGAIN && idle && done == 0) {
            bdrv_dec_in_flight(s->bs);
            nbd_socket_yield(s, &s->read_co);
            bdrv_inc_in_flight(s->bs);
        } else if (errno == EAGAIN) {
            nbd_socket_yield(s, &s->read_co);
        }
    }
    return 0;
}

static int coroutine_fn nbd_write(BDRVNBDState *s, const void *buffer, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t ret = send(s->fd, (const char *)buffer + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (ret >= 0) {
            done += (size_t)ret;
        } else if (errno == EAGAIN) {
            nbd_socket_yield(s, &s->write_co);
        } else if (errno != EINTR) {
            return -EIO;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------- state */

bool nbd_client_connecting(const BDRVNBDState *s)
{
    return s->state == NBD_CLIENT_CONNECTING_WAIT || s->state == NBD_CLIENT_CONNECTING_NOWAIT;
}

NBDClientState nbd_state_when_lost(const BDRVNBDState *s)
{
    return s->options.reconnect_delay_ns ? NBD_CLIENT_CONNECTING_WAIT : NBD_CLIENT_CONNECTING_NOWAIT;
}

void nbd_channel_error(BDRVNBDState *s, int ret)
{
    if (s->state == NBD_CLIENT_CONNECTED) {
        shutdown(s->fd, SHUT_RDWR);
        s->state = nbd_state_when_lost(s);
        if (s->in_flight) {
            nbd_trace(NBD_LOST_WITH_REQUESTS);
        }
    }
    if (ret != -EIO) {
        s->state = NBD_CLIENT_QUIT;
    }
}

/* ------------------------------------------------------------------------------------------- requests */

/* Under send_mutex. The place, or -1 where the request cannot be sent. */
static int coroutine_fn nbd_get_place(BDRVNBDState *s)
{
    int i = 0;

    while (s->in_flight == s->options.max_requests || s->state == NBD_CLIENT_CONNECTING_WAIT) {
        nbd_trace(s->state == NBD_CLIENT_CONNECTING_WAIT ? NBD_REQUEST_WAITS_FOR_CONNECTION : NBD_REQUEST_WAITS_FOR_ROOM);
        qemu_co_queue_wait(&s->free_sema, &s->send_mutex);
    }
    if (s->state != NBD_CLIENT_CONNECTED) {
        return -1;
    }
    while (s->requests[i].coroutine) {
        i++;
    }
    s->in_flight++;
    s->requests[i] = (NBDClientRequest){ .coroutine = qemu_coroutine_self() };
    return i;
}

/* Under send_mutex. i: the request's place, -1 where it has none. */
static void coroutine_fn nbd_leave(BDRVNBDState *s, int i)
{
    if (i >= 0) {
        s->requests[i].coroutine = NULL;
        if (--s->in_flight == 0) {
            nbd_connection_wake(s, NBD_FOR_REQUESTS);
        }
    }
    qemu_co_queue_next(&s->free_sema); /* invariant 2 */
}

/* The place, or a negative errno. */
static int coroutine_fn nbd_co_send_request(BDRVNBDState *s, NBDRequest *request, const void *data)
{
    int i, ret;

    QEMU_LOCK_GUARD(&s->send_mutex);
    i = nbd_get_place(s);
    ret = i < 0 ? -EIO : 0;
    if (ret == 0) {
        request->cookie = (uint64_t)i + 1;
        ret = nbd_write(s, request, sizeof(*request));
    }
    if (ret == 0 && request->type == NBD_CMD_WRITE) {
        ret = nbd_write(s, data, request->len);
    }
    if (ret < 0) {
        nbd_channel_error(s, ret);
        nbd_leave(s, i);
        return ret;
    }
    return i;
}

/* The reply that connection_co has found the head of is for this request. */
static int coroutine_fn nbd_receive_data(BDRVNBDState *s, const NBDRequest *request, void *data)
{
    int ret = -(int)s->reply.error;

    if (ret == 0 && request->type == NBD_CMD_READ && nbd_read(s, data, request->len, false) < 0) {
        nbd_channel_error(s, -EIO);
        ret = -EIO;
    }
    return ret;
}

static int coroutine_fn nbd_co_receive_reply(BDRVNBDState *s, int i, const NBDRequest *request, void *data)
{
    int ret = -EIO;

    if (s->state == NBD_CLIENT_CONNECTED) {
        s->requests[i].receiving = true;
        qemu_coroutine_yield();
    }
    /* Otherwise it was woken because the connection is lost, or that came to pass meanwhile. */
    if (s->state == NBD_CLIENT_CONNECTED) {
        ret = nbd_receive_data(s, request, data);
    }
    nbd_connection_wake(s, NBD_FOR_DATA_READ);

    QEMU_LOCK_GUARD(&s->send_mutex);
    nbd_leave(s, i);
    return ret;
}

/* A request that was lost with its connection is sent again when there is a new one in time. */
static int coroutine_fn nbd_co_request(BlockDriverState *bs, NBDRequest *request, void *data)
{
    BDRVNBDState *s = bs->opaque;
    int ret;

    core_assert(in_aio_context_home_thread(bdrv_get_aio_context(bs)));
    nbd_trace(NBD_REQUEST_BEGINS);
    if ((int64_t)request->len > s->options.bytes || (int64_t)request->from > s->options.bytes - (int64_t)request->len) {
        return -EIO;
    }
    do {
        ret = nbd_co_send_request(s, request, data);
        if (ret >= 0) {
            ret = nbd_co_receive_reply(s, ret, request, data);
        }
    } while (ret < 0 && s->state == NBD_CLIENT_CONNECTING_WAIT);
    return ret;
}

static int coroutine_fn nbd_client_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                             BdrvRequestFlags flags)
{
    NBDRequest request = { .from = (uint64_t)offset, .len = (uint32_t)bytes, .type = NBD_CMD_READ };
    void *data = g_malloc((gsize)bytes);
    int ret = nbd_co_request(bs, &request, data);

    (void)flags;
    if (ret == 0) {
        qemu_iovec_from_buf(qiov, 0, data, (size_t)bytes);
    }
    g_free(data);
    return ret;
}

static int coroutine_fn nbd_client_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                              BdrvRequestFlags flags)
{
    NBDRequest request = { .from = (uint64_t)offset, .len = (uint32_t)bytes, .type = NBD_CMD_WRITE };
    void *data = g_malloc((gsize)bytes);
    int ret;

    (void)flags;
    qemu_iovec_to_buf(qiov, 0, data, (size_t)bytes);
    ret = nbd_co_request(bs, &request, data);
    g_free(data);
    return ret;
}

/* ------------------------------------------------------------------------------------------- life: main thread */

static void nbd_client_close(BlockDriverState *bs)
{
    BDRVNBDState *s = bs->opaque;

    s->closed = true;
    nbd_connection_end(s);
}

static const BlockDriver bdrv_nbd = {
    .format_name = "nbd",
    .instance_size = sizeof(BDRVNBDState),
    .bdrv_close = nbd_client_close,
    .bdrv_co_preadv = nbd_client_co_preadv,
    .bdrv_co_pwritev = nbd_client_co_pwritev,
    .bdrv_drain_begin = nbd_client_drain_begin,
    .bdrv_drain_end = nbd_client_drain_end,
};

BlockDriverState *bdrv_new_nbd(const char *node_name, AioContext *ctx, const NBDClientOptions *options)
{
    BlockDriverState *bs = bdrv_new(&bdrv_nbd, node_name, ctx);
    BDRVNBDState *s = bs->opaque;

    core_assert(options->bytes % BDRV_SECTOR_SIZE == 0 && options->retry_ns > 0);
    core_assert(options->max_requests >= 1 && options->max_requests <= NBD_REQUESTS_MAX);
    s->bs = bs;
    s->options = *options;
    qemu_co_mutex_init(&s->send_mutex);
    qemu_co_queue_init(&s->free_sema);
    qemu_co_sleep_init(&s->sleep);
    s->fd = options->connect(options->opaque);
    s->state = s->fd >= 0 ? NBD_CLIENT_CONNECTED : nbd_state_when_lost(s);
    s->connection_co = qemu_coroutine_create(nbd_connection_entry, s);
    bdrv_inc_in_flight(bs);
    aio_co_schedule(ctx, s->connection_co);
    return bs;
}
