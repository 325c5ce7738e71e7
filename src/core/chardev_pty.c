/* The character device over a terminal; see chardev_pty.h. */
#include "core/chardev_pty.h"

#include <errno.h>
#include <poll.h>

#include "core/fatal.h"
#include "core/glib_source.h"
#include "core/main_loop.h"
#include "core/thread.h"

#define PTY_LOOK_NS      NANOSECONDS_PER_SECOND
#define PTY_READ_BUF_LEN 512

/* One who has opened the terminal. */
typedef struct PtyClient {
    IOChannel *ioc;
    int fd; /* of ioc */
} PtyClient;

struct PtyChardev {
    IOReadHandler *chr_read;
    IOEventHandler *chr_event;
    void *opaque;

    /* Under the big lock. */
    PtyClient *client; /* who is there, or may be; NULL: nobody */
    bool connected;
    GSource *reader;
    QEMUTimer timer;

    QemuMutex lock; /* of the rest */
    GQueue *opened; /* PtyClient: the others */
};

/* ---- who is there */

static void client_free(PtyClient *client)
{
    io_channel_close(client->ioc);
    io_channel_unref(client->ioc);
    g_free(client);
}

static void client_drop(PtyChardev *chr)
{
    if (chr->reader) {
        glib_source_destroy(chr->reader);
        g_source_unref(chr->reader);
        chr->reader = NULL;
    }
    g_clear_pointer(&chr->client, client_free);
}

static bool client_has_gone(const PtyClient *client)
{
    struct pollfd pfd = { .fd = client->fd, .events = POLLOUT };
    int ret;

    do {
        ret = poll(&pfd, 1, 0);
    } while (ret < 0 && errno == EINTR);
    return pfd.revents & POLLHUP;
}

static PtyClient *next_opened(PtyChardev *chr)
{
    PtyClient *client;

    qemu_mutex_lock(&chr->lock);
    client = g_queue_pop_head(chr->opened);
    qemu_mutex_unlock(&chr->lock);
    return client;
}

/* The first who is still there becomes the client. */
static bool somebody_is_there(PtyChardev *chr)
{
    while (chr->client || (chr->client = next_opened(chr))) {
        if (!client_has_gone(chr->client)) {
            return true;
        }
        client_drop(chr);
    }
    return false;
}

/* ---- the state */

static void pty_chr_state(PtyChardev *chr, bool connected);

static gboolean pty_chr_read(IOChannel *ioc, GIOCondition condition, void *opaque)
{
    PtyChardev *chr = opaque;
    uint8_t buf[PTY_READ_BUF_LEN];
    ssize_t size = io_channel_read(ioc, buf, sizeof(buf));

    (void)condition;
    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        pty_chr_state(chr, false);
        return G_SOURCE_REMOVE;
    }
    if (size > 0) {
        chr->chr_read(chr->opaque, buf, (int)size);
    }
    return G_SOURCE_CONTINUE;
}

static void add_reader(PtyChardev *chr)
{
    chr->reader = io_channel_create_watch(chr->client->ioc, G_IO_IN | G_IO_HUP);
    g_source_set_callback(chr->reader, (GSourceFunc)(void (*)(void))pty_chr_read, chr, NULL);
    glib_source_attach(chr->reader, qemu_main_loop_get_g_main_context());
}

static void pty_chr_state(PtyChardev *chr, bool connected)
{
    bool was_connected = chr->connected;

    if (!connected) {
        client_drop(chr);
        chr->connected = false;
        timer_mod_ns(&chr->timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + PTY_LOOK_NS);
        if (was_connected) {
            chr->chr_event(chr->opaque, CHR_EVENT_CLOSED);
        }
        return;
    }
    timer_del(&chr->timer);
    if (!was_connected) {
        chr->connected = true; /* before the event, which writes */
        add_reader(chr);
        chr->chr_event(chr->opaque, CHR_EVENT_OPENED);
    }
}

static void pty_chr_update_read_handler(PtyChardev *chr)
{
    pty_chr_state(chr, somebody_is_there(chr));
}

static void pty_chr_timer(void *opaque)
{
    pty_chr_update_read_handler(opaque);
}

/* ---- the front end's side */

int pty_chr_write(PtyChardev *chr, const uint8_t *buf, int size)
{
    if (!chr->connected) {
        pty_chr_update_read_handler(chr);
        return 0;
    }
    return (int)io_channel_write(chr->client->ioc, buf, (size_t)size);
}

/* ---- life */

void qemu_chr_open_pty(PtyChardev *chr, int fd)
{
    PtyClient *client = g_new(PtyClient, 1);

    *client = (PtyClient){ .ioc = io_channel_new(fd), .fd = fd };
    qemu_mutex_lock(&chr->lock);
    g_queue_push_tail(chr->opened, client);
    qemu_mutex_unlock(&chr->lock);
}

PtyChardev *qemu_chr_new_pty(IOReadHandler *read, IOEventHandler *event, void *opaque)
{
    PtyChardev *chr = g_new0(PtyChardev, 1);

    core_assert(qemu_in_main_thread());
    chr->chr_read = read;
    chr->chr_event = event;
    chr->opaque = opaque;
    qemu_mutex_init(&chr->lock);
    chr->opened = g_queue_new();
    timer_init_ns(&chr->timer, QEMU_CLOCK_REALTIME, pty_chr_timer, chr);
    pty_chr_state(chr, false);
    return chr;
}

void qemu_chr_free_pty(PtyChardev *chr)
{
    PtyClient *client;

    core_assert(qemu_in_main_thread());
    timer_del(&chr->timer);
    client_drop(chr);
    while ((client = g_queue_pop_head(chr->opened))) {
        client_free(client);
    }
    g_queue_free(chr->opened);
    qemu_mutex_destroy(&chr->lock);
    g_free(chr);
}
