/*
 * The character device; see chardev.h.
 *
 * Threads: the device's context accepts, reads and hangs up. Any thread writes. The main thread creates and deletes.
 *
 * Invariants
 * 1. A disconnect happens under chr_write_lock: by the device's context when it reads the end of the stream or sees the
 *    client hang up, or by a writer whose write failed.
 * 2. While a client is connected nobody listens; when it has gone, the next is let in.
 * 3. A write that fails disconnects only if the front end takes no input: otherwise the reader finds what the client sent
 *    before it left, then the end of the stream.
 *
 * From QEMU: chardev/char.c, char-fe.c, char-socket.c.
 */
#include "core/chardev.h"

#include <errno.h>

#include "core/atomic.h"
#include "core/chardev_int.h"
#include "core/fatal.h"
#include "core/glib_source.h"
#include "core/main_loop.h"
#include "core/queue.h"
#include "core/thread.h"

#define CHR_READ_BUF_LEN 4096

typedef enum TCPChardevState {
    TCP_CHARDEV_STATE_DISCONNECTED,
    TCP_CHARDEV_STATE_CONNECTED,
} TCPChardevState;

struct Chardev {
    QemuMutex chr_write_lock; /* writers, and whoever disconnects */
    char *label;
    CharBackend *be;
    ChardevFEOpenFunc *set_fe_open; /* with its argument: fixed before there is a front end */
    void *fe_open_opaque;
    bool fe_is_open;        /* of whoever sets handlers, one at a time */
    GMainContext *gcontext; /* where the device runs */
    /* Under chr_write_lock: a writer that disconnects takes them away from the device's context. */
    GSource *gsource; /* the reader */
    GSource *hup_source;
    SocketListener *listener;
    IOChannel *ioc;
    TCPChardevState state; /* written under chr_write_lock; atomic */
    int max_size;          /* what the front end said last that it can take; of the device's context */
    LIST_ENTRY(Chardev) next; /* in chardevs */
};

static void tcp_chr_accept(IOChannel *ioc, void *opaque);

/* ---- to the front end ---- */

static void qemu_chr_be_event(Chardev *chr, QEMUChrEvent event)
{
    CharBackend *be = chr->be;

    if (be && be->chr_event) {
        be->chr_event(be->opaque, event);
    }
}

static int qemu_chr_be_can_write(Chardev *chr)
{
    CharBackend *be = chr->be;

    return be && be->chr_can_read ? be->chr_can_read(be->opaque) : 0;
}

static void qemu_chr_be_write(Chardev *chr, const uint8_t *buf, int size)
{
    CharBackend *be = chr->be;

    if (be && be->chr_read) {
        be->chr_read(be->opaque, buf, size);
    }
}

/* ---- disconnect ---- */

static void remove_fd_in_watch(Chardev *chr)
{
    if (chr->gsource) {
        io_remove_watch_poll(chr->gsource);
        chr->gsource = NULL;
    }
}

static void remove_hup_source(Chardev *chr)
{
    if (chr->hup_source) {
        glib_source_destroy(chr->hup_source);
        g_source_unref(chr->hup_source);
        chr->hup_source = NULL;
    }
}

static void tcp_chr_free_connection(Chardev *chr)
{
    remove_hup_source(chr);
    remove_fd_in_watch(chr);
    if (chr->ioc) {
        io_channel_close(chr->ioc);
    }
    io_channel_unref(chr->ioc);
    chr->ioc = NULL;
    qatomic_set(&chr->state, TCP_CHARDEV_STATE_DISCONNECTED);
}

static void tcp_chr_disconnect_locked(Chardev *chr)
{
    bool emit_close = qatomic_read(&chr->state) == TCP_CHARDEV_STATE_CONNECTED;

    tcp_chr_free_connection(chr);
    socket_listener_set_client_func(chr->listener, tcp_chr_accept, chr, chr->gcontext);
    if (emit_close) {
        qemu_chr_be_event(chr, CHR_EVENT_CLOSED);
    }
}

static void tcp_chr_disconnect(Chardev *chr)
{
    qemu_mutex_lock(&chr->chr_write_lock);
    tcp_chr_disconnect_locked(chr);
    qemu_mutex_unlock(&chr->chr_write_lock);
}

/* ---- in the device's context ---- */

static int tcp_chr_read_poll(void *opaque)
{
    Chardev *chr = opaque;

    if (qatomic_read(&chr->state) != TCP_CHARDEV_STATE_CONNECTED) {
        return 0;
    }
    chr->max_size = qemu_chr_be_can_write(chr);
    return chr->max_size;
}

static gboolean tcp_chr_read(IOChannel *ioc, GIOCondition condition, void *opaque)
{
    Chardev *chr = opaque;
    uint8_t buf[CHR_READ_BUF_LEN];
    ssize_t size;

    (void)condition;
    if (qatomic_read(&chr->state) != TCP_CHARDEV_STATE_CONNECTED || chr->max_size <= 0) {
        return G_SOURCE_CONTINUE;
    }
    size = io_channel_read(ioc, buf, MIN(sizeof(buf), (size_t)chr->max_size));
    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        tcp_chr_disconnect(chr);
    } else if (size > 0) {
        qemu_chr_be_write(chr, buf, (int)size);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean tcp_chr_hup(IOChannel *ioc, GIOCondition condition, void *opaque)
{
    (void)ioc;
    (void)condition;
    tcp_chr_disconnect(opaque);
    return G_SOURCE_REMOVE;
}

/* chr_write_lock is held. */
static void update_ioc_handlers(Chardev *chr)
{
    if (qatomic_read(&chr->state) != TCP_CHARDEV_STATE_CONNECTED) {
        return;
    }
    remove_fd_in_watch(chr);
    chr->gsource = io_add_watch_poll(chr->label, chr->ioc, tcp_chr_read_poll, tcp_chr_read, chr, chr->gcontext);

    /* After the reader, in each round: poll() says that the client is gone also while there is still input from it. */
    remove_hup_source(chr);
    chr->hup_source = io_channel_create_watch(chr->ioc, G_IO_HUP);
    g_source_set_priority(chr->hup_source, G_PRIORITY_DEFAULT + 1);
    g_source_set_callback(chr->hup_source, (GSourceFunc)(void (*)(void))tcp_chr_hup, chr, NULL);
    glib_source_attach(chr->hup_source, chr->gcontext);
}

static void tcp_chr_accept(IOChannel *ioc, void *opaque)
{
    Chardev *chr = opaque;

    /* The lock, so that whoever disconnects the one before has said so: CLOSED after OPENED would drop what the new one sends. */
    qemu_mutex_lock(&chr->chr_write_lock);
    chr->ioc = ioc;
    socket_listener_set_client_func(chr->listener, NULL, NULL, NULL);
    qatomic_set(&chr->state, TCP_CHARDEV_STATE_CONNECTED);
    update_ioc_handlers(chr);
    qemu_mutex_unlock(&chr->chr_write_lock);
    qemu_chr_be_event(chr, CHR_EVENT_OPENED);
}

static void qemu_chr_be_update_read_handlers(Chardev *chr, GMainContext *context)
{
    qemu_mutex_lock(&chr->chr_write_lock);
    chr->gcontext = context;
    if (qatomic_read(&chr->state) == TCP_CHARDEV_STATE_DISCONNECTED) {
        socket_listener_set_client_func(chr->listener, tcp_chr_accept, chr, chr->gcontext);
    }
    update_ioc_handlers(chr);
    qemu_mutex_unlock(&chr->chr_write_lock);
}

/* ---- write: any thread ---- */

/* chr_write_lock is held. */
static int tcp_chr_write(Chardev *chr, const uint8_t *buf, int size)
{
    int ret;

    if (qatomic_read(&chr->state) != TCP_CHARDEV_STATE_CONNECTED) {
        errno = EIO;
        return -1;
    }
    ret = (int)io_channel_write(chr->ioc, buf, (size_t)size);
    if (ret < 0 && errno != EAGAIN) {
        if (qemu_chr_be_can_write(chr) <= 0) {
            tcp_chr_disconnect_locked(chr);
        }
        errno = EIO;
    }
    return ret;
}

int qemu_chr_fe_write(CharBackend *be, const uint8_t *buf, int size)
{
    Chardev *chr = be->chr;
    int ret;

    if (!chr) {
        return 0;
    }
    qemu_mutex_lock(&chr->chr_write_lock);
    ret = tcp_chr_write(chr, buf, size);
    qemu_mutex_unlock(&chr->chr_write_lock);
    return ret;
}

/* ---- for front ends ---- */

bool qemu_chr_fe_init(CharBackend *be, Chardev *chr)
{
    if (chr->be) {
        return false;
    }
    chr->be = be;
    be->chr = chr;
    return true;
}

/* Without a lock: the device may emit events, for which the front end is just another client of theirs (34f1f3e06d). */
static void qemu_chr_fe_set_open(Chardev *chr, bool is_open)
{
    if (chr->fe_is_open == is_open) {
        return;
    }
    chr->fe_is_open = is_open;
    if (chr->set_fe_open) {
        chr->set_fe_open(chr->fe_open_opaque, is_open);
    }
}

void qemu_chr_fe_set_handlers(CharBackend *be, IOCanReadHandler *can_read, IOReadHandler *read, IOEventHandler *event,
                              void *opaque, GMainContext *context)
{
    Chardev *chr = be->chr;

    if (!opaque) {
        qemu_mutex_lock(&chr->chr_write_lock);
        remove_fd_in_watch(chr);
        qemu_mutex_unlock(&chr->chr_write_lock);
    }
    be->chr_can_read = can_read;
    be->chr_read = read;
    be->chr_event = event;
    be->opaque = opaque;
    qemu_chr_be_update_read_handlers(chr, context ? context : qemu_main_loop_get_g_main_context());
    qemu_chr_fe_set_open(chr, opaque != NULL);
    if (opaque && qatomic_read(&chr->state) == TCP_CHARDEV_STATE_CONNECTED) {
        qemu_chr_be_event(chr, CHR_EVENT_OPENED); /* it came before the front end did */
    }
}

void qemu_chr_fe_deinit(CharBackend *be)
{
    if (be->chr) {
        qemu_chr_fe_set_handlers(be, NULL, NULL, NULL, NULL, NULL);
        be->chr->be = NULL;
        be->chr = NULL;
    }
}

guint qemu_chr_fe_add_watch(CharBackend *be, GIOCondition condition, FEWatchFunc *function, void *opaque)
{
    Chardev *chr = be->chr;
    GSource *source = NULL;
    guint tag = 0;

    if (!chr) {
        return 0;
    }
    qemu_mutex_lock(&chr->chr_write_lock);
    if (chr->ioc) {
        source = io_channel_create_watch(chr->ioc, condition);
    }
    qemu_mutex_unlock(&chr->chr_write_lock);
    if (source) {
        g_source_set_callback(source, (GSourceFunc)(void (*)(void))function, opaque, NULL);
        tag = glib_source_attach(source, chr->gcontext);
        g_source_unref(source);
    }
    return tag;
}

void qemu_chr_fe_accept_input(CharBackend *be)
{
    if (be->chr) {
        qemu_notify_event();
    }
}

/* ---- life ---- */

static LIST_HEAD(, Chardev) chardevs = LIST_HEAD_INITIALIZER(chardevs); /* main thread */

Chardev *qemu_chr_new_socket(const char *label)
{
    SocketListener *listener = socket_listener_new();
    Chardev *chr;

    if (!listener) {
        return NULL;
    }
    chr = g_new0(Chardev, 1);
    qemu_mutex_init(&chr->chr_write_lock);
    chr->label = g_strdup(label);
    chr->listener = listener;
    LIST_INSERT_HEAD(&chardevs, chr, next);
    return chr;
}

void qemu_chr_set_fe_open_func(Chardev *chr, ChardevFEOpenFunc *function, void *opaque)
{
    core_assert(!chr->be);
    chr->set_fe_open = function;
    chr->fe_open_opaque = opaque;
}

void qemu_chr_delete(Chardev *chr)
{
    core_assert(!chr->be);
    LIST_REMOVE(chr, next);
    tcp_chr_free_connection(chr);
    socket_listener_free(chr->listener);
    qemu_mutex_destroy(&chr->chr_write_lock);
    g_free(chr->label);
    g_free(chr);
}

void qemu_chr_cleanup(void)
{
    while (!LIST_EMPTY(&chardevs)) {
        qemu_chr_delete(LIST_FIRST(&chardevs));
    }
}

void qemu_chr_socket_connect(Chardev *chr, int fd)
{
    socket_listener_connect(chr->listener, fd);
}

void qemu_chr_socket_close(Chardev *chr)
{
    core_assert(!chr->be);
    socket_listener_close(chr->listener);
    tcp_chr_disconnect(chr);
}
