/*
 * A watch on a socket that is there only while the front end can take input.
 *
 * Everything here runs in the thread that runs the GLib context, but for adding and removing.
 *
 * Invariants
 * 1. The front end is asked in each round of the loop, before it sleeps. Whoever changes the answer only has to make the
 *    loop go round.
 * 2. It has a reference to the channel: another thread may disconnect, and destroy this source, while prepare runs.
 * 3. The real watch is no child source of this one: GLib would skip our prepare when the child's says that it is ready,
 *    and the answer is wanted in every round.
 *
 * From QEMU: chardev/char-io.c.
 */
#include "core/chardev_int.h"
#include "core/fatal.h"
#include "core/glib_source.h"

typedef struct IOWatchPoll {
    GSource parent;
    IOChannel *ioc;
    GSource *watch; /* NULL while the front end takes no input */
    IOCanReadHandler *can_read;
    IOChannelFunc *read;
    void *opaque;
    GMainContext *context;
} IOWatchPoll;

static void remove_watch(IOWatchPoll *poll)
{
    if (poll->watch) {
        glib_source_destroy(poll->watch);
        g_source_unref(poll->watch);
        poll->watch = NULL;
    }
}

static gboolean io_watch_poll_prepare(GSource *source, gint *timeout_ms)
{
    IOWatchPoll *poll = (IOWatchPoll *)source;
    bool now_active;

    glib_source_enter(source);
    *timeout_ms = -1;
    now_active = poll->can_read(poll->opaque) > 0;
    if (now_active && !poll->watch) {
        poll->watch = io_channel_create_watch(poll->ioc, G_IO_IN | G_IO_ERR | G_IO_HUP | G_IO_NVAL);
        g_source_set_callback(poll->watch, (GSourceFunc)(void (*)(void))poll->read, poll->opaque, NULL);
        glib_source_attach(poll->watch, poll->context);
    } else if (!now_active) {
        remove_watch(poll);
    }
    glib_source_leave(source);
    return FALSE;
}

static gboolean io_watch_poll_check(GSource *source)
{
    (void)source;
    return FALSE;
}

static gboolean io_watch_poll_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    (void)source;
    (void)callback;
    (void)opaque;
    core_fatal("assertion", "%s: never ready", __func__);
}

static void io_watch_poll_finalize(GSource *source)
{
    IOWatchPoll *poll = (IOWatchPoll *)source;

    SANITIZER_ACQUIRE(poll->context);
    remove_watch(poll);
    io_channel_unref(poll->ioc);
}

static GSourceFuncs io_watch_poll_funcs = {
    .prepare = io_watch_poll_prepare,
    .check = io_watch_poll_check,
    .dispatch = io_watch_poll_dispatch,
    .finalize = io_watch_poll_finalize,
};

GSource *io_add_watch_poll(const char *label, IOChannel *ioc, IOCanReadHandler *can_read, IOChannelFunc *read, void *opaque,
                           GMainContext *context)
{
    GSource *source = g_source_new(&io_watch_poll_funcs, sizeof(IOWatchPoll));
    IOWatchPoll *poll = (IOWatchPoll *)source;

    io_channel_ref(ioc);
    poll->ioc = ioc;
    poll->can_read = can_read;
    poll->read = read;
    poll->opaque = opaque;
    poll->context = context;
    g_source_set_name(source, label);
    glib_source_attach(source, context);
    g_source_unref(source); /* the context's now */
    return source;
}

void io_remove_watch_poll(GSource *source)
{
    glib_source_destroy(source);
}
