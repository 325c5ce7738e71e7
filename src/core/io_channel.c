/* See io_channel.h. The source's functions run in the thread that runs the GLib context which the watch is attached to. */
#include "core/io_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/glib_source.h"

struct IOChannel {
    unsigned references; /* atomic; no point, as in GLib's objects */
    int fd;
};

/* ---- life ---- */

IOChannel *io_channel_new(int fd)
{
    IOChannel *ioc = g_new0(IOChannel, 1);
    int flags = fcntl(fd, F_GETFL);

    core_assert(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    ioc->references = 1;
    ioc->fd = fd;
    return ioc;
}

void io_channel_ref(IOChannel *ioc)
{
    __atomic_fetch_add(&ioc->references, 1, __ATOMIC_RELAXED);
}

void io_channel_unref(IOChannel *ioc)
{
    if (ioc && __atomic_fetch_sub(&ioc->references, 1, __ATOMIC_ACQ_REL) == 1) {
        close(ioc->fd);
        g_free(ioc);
    }
}

void io_channel_close(IOChannel *ioc)
{
    shutdown(ioc->fd, SHUT_RDWR);
}

/* ---- data ---- */

ssize_t io_channel_read(IOChannel *ioc, void *buffer, size_t size)
{
    ssize_t done;

    do {
        done = recv(ioc->fd, buffer, size, 0);
    } while (done < 0 && errno == EINTR);
    return done;
}

ssize_t io_channel_write(IOChannel *ioc, const void *buffer, size_t size)
{
    size_t offset = 0;

    while (offset < size) {
        ssize_t done = send(ioc->fd, (const char *)buffer + offset, size - offset, MSG_NOSIGNAL);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return errno == EAGAIN && offset ? (ssize_t)offset : -1;
        }
        offset += (size_t)done;
    }
    return (ssize_t)offset;
}

/* ---- watch ---- */

typedef struct IOChannelWatch {
    GSource source;
    IOChannel *ioc;
    GIOCondition condition;
    GPollFD pfd;
} IOChannelWatch;

static gboolean watch_prepare(GSource *source, gint *timeout_ms)
{
    glib_source_enter(source);
    *timeout_ms = -1;
    return FALSE;
}

static gboolean watch_check(GSource *source)
{
    IOChannelWatch *watch = (IOChannelWatch *)source;

    bool ready;

    glib_source_enter(source);
    ready = (watch->pfd.revents & watch->condition) != 0;
    glib_source_leave(source);
    return ready;
}

static gboolean watch_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    IOChannelWatch *watch = (IOChannelWatch *)source;

    gboolean stays = ((IOChannelFunc *)(void (*)(void))callback)(watch->ioc, watch->pfd.revents & watch->condition, opaque);

    glib_source_leave(source);
    return stays;
}

static void watch_finalize(GSource *source)
{
    io_channel_unref(((IOChannelWatch *)source)->ioc);
}

static GSourceFuncs watch_funcs = {
    .prepare = watch_prepare,
    .check = watch_check,
    .dispatch = watch_dispatch,
    .finalize = watch_finalize,
};

GSource *io_channel_create_watch(IOChannel *ioc, GIOCondition condition)
{
    GSource *source = g_source_new(&watch_funcs, sizeof(IOChannelWatch));
    IOChannelWatch *watch = (IOChannelWatch *)source;

    io_channel_ref(ioc);
    watch->ioc = ioc;
    watch->condition = condition;
    watch->pfd = (GPollFD){ .fd = ioc->fd, .events = (gushort)condition };
    g_source_add_poll(source, &watch->pfd);
    return source;
}
