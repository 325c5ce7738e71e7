/*
 * What stands for a listening socket: a queue of connections, and an eventfd that is readable while it is not empty.
 *
 * Any thread connects; the function that is called for a connection runs in the context it was set with.
 *
 * Invariants
 * 1. A connection in the queue belongs to the listener, which closes it where nobody takes it.
 * 2. At most one connection is handed out in each round of the loop, and none without a function.
 *
 * From QEMU: io/net-listener.c.
 */
#include <unistd.h>

#include "core/chardev_int.h"
#include "core/event_notifier.h"
#include "core/glib_source.h"
#include "core/thread.h"

struct SocketListener {
    QemuMutex lock;
    GQueue fds;  /* as pointers; under lock */
    bool closed; /* under lock */
    EventNotifier waiting;
    GSource *source; /* of whoever sets the function */
};

typedef struct ListenerSource {
    GSource source;
    SocketListener *listener;
    SocketListenerFunc *function;
    void *opaque;
    GPollFD pfd;
} ListenerSource;

static gboolean listener_prepare(GSource *source, gint *timeout_ms)
{
    glib_source_enter(source);
    *timeout_ms = -1;
    return FALSE;
}

static gboolean listener_check(GSource *source)
{
    gboolean ready;

    glib_source_enter(source);
    ready = ((ListenerSource *)source)->pfd.revents != 0;
    glib_source_leave(source);
    return ready;
}

/* The next in the queue, or -1. The event is on again where there is another. */
static int take(SocketListener *listener)
{
    int fd = -1;

    qemu_mutex_lock(&listener->lock);
    event_notifier_test_and_clear(&listener->waiting);
    if (!g_queue_is_empty(&listener->fds)) {
        fd = GPOINTER_TO_INT(g_queue_pop_head(&listener->fds));
    }
    if (!g_queue_is_empty(&listener->fds)) {
        event_notifier_set(&listener->waiting);
    }
    qemu_mutex_unlock(&listener->lock);
    return fd;
}

static gboolean listener_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    ListenerSource *own = (ListenerSource *)source;
    int fd;

    glib_source_enter(source);
    fd = take(own->listener);

    (void)callback;
    (void)opaque;
    if (fd >= 0) {
        own->function(io_channel_new(fd), own->opaque);
    }
    glib_source_leave(source);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs listener_funcs = {
    .prepare = listener_prepare,
    .check = listener_check,
    .dispatch = listener_dispatch,
};

SocketListener *socket_listener_new(void)
{
    SocketListener *listener = g_new0(SocketListener, 1);

    if (event_notifier_init(&listener->waiting, false) < 0) {
        g_free(listener);
        return NULL;
    }
    qemu_mutex_init(&listener->lock);
    g_queue_init(&listener->fds);
    return listener;
}

void socket_listener_free(SocketListener *listener)
{
    socket_listener_set_client_func(listener, NULL, NULL, NULL);
    socket_listener_close(listener);
    event_notifier_cleanup(&listener->waiting);
    qemu_mutex_destroy(&listener->lock);
    g_free(listener);
}

void socket_listener_set_client_func(SocketListener *listener, SocketListenerFunc *function, void *opaque, GMainContext *context)
{
    ListenerSource *own;

    if (listener->source) {
        glib_source_destroy(listener->source);
        g_source_unref(listener->source);
        listener->source = NULL;
    }
    if (!function) {
        return;
    }
    listener->source = g_source_new(&listener_funcs, sizeof(ListenerSource));
    own = (ListenerSource *)listener->source;
    own->listener = listener;
    own->function = function;
    own->opaque = opaque;
    own->pfd = (GPollFD){ .fd = event_notifier_get_fd(&listener->waiting), .events = G_IO_IN };
    g_source_add_poll(listener->source, &own->pfd);
    glib_source_attach(listener->source, context);
}

void socket_listener_connect(SocketListener *listener, int fd)
{
    bool closed;

    qemu_mutex_lock(&listener->lock);
    closed = listener->closed;
    if (!closed) {
        g_queue_push_tail(&listener->fds, GINT_TO_POINTER(fd));
        event_notifier_set(&listener->waiting);
    }
    qemu_mutex_unlock(&listener->lock);
    if (closed) {
        close(fd);
    }
}

void socket_listener_close(SocketListener *listener)
{
    qemu_mutex_lock(&listener->lock);
    listener->closed = true;
    while (!g_queue_is_empty(&listener->fds)) {
        close(GPOINTER_TO_INT(g_queue_pop_head(&listener->fds)));
    }
    event_notifier_test_and_clear(&listener->waiting);
    qemu_mutex_unlock(&listener->lock);
}
