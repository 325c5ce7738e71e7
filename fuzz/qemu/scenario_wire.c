/* See scenario_wire.h. */
#include "fuzz/qemu/scenario_wire.h"

#include "chardev/char-io.h"
#include "io/channel-file.h"
#include "monitor/monitor.h"

#define TYPE_WIRE "chardev-wire"

typedef struct Wire {
    Chardev parent;
    QIOChannel *channel;
} Wire;

DECLARE_INSTANCE_CHECKER(Wire, WIRE, TYPE_WIRE)

static int wire_can_read(void *opaque)
{
    return qemu_chr_be_can_write(opaque);
}

static gboolean wire_read(QIOChannel *channel, GIOCondition condition, void *opaque)
{
    Chardev *chr = opaque;
    uint8_t buffer[256];
    int room = MIN(qemu_chr_be_can_write(chr), (int)sizeof(buffer));
    ssize_t bytes;

    if (room <= 0) {
        return TRUE;
    }
    bytes = qio_channel_read(channel, (char *)buffer, room, NULL);
    if (bytes == 0) {
        remove_fd_in_watch(chr);
        qemu_chr_be_event(chr, CHR_EVENT_CLOSED);
        return FALSE;
    }
    if (bytes > 0) {
        qemu_chr_be_write(chr, buffer, bytes);
    }
    return TRUE;
}

static int wire_write(Chardev *chr, const uint8_t *buffer, int bytes)
{
    return io_channel_send(WIRE(chr)->channel, buffer, bytes);
}

static GSource *wire_add_watch(Chardev *chr, GIOCondition condition)
{
    return qio_channel_create_watch(WIRE(chr)->channel, condition);
}

static void wire_update_read_handler(Chardev *chr)
{
    remove_fd_in_watch(chr);
    chr->gsource = io_add_watch_poll(chr, WIRE(chr)->channel, wire_can_read, wire_read, chr, chr->gcontext);
}

static void wire_class_init(ObjectClass *object_class)
{
    ChardevClass *class = CHARDEV_CLASS(object_class);

    class->chr_add_watch = wire_add_watch;
    class->chr_write = wire_write;
    class->chr_update_read_handler = wire_update_read_handler;
}

static void wire_finalize(Object *object)
{
    remove_fd_in_watch(CHARDEV(object));
    object_unref(OBJECT(WIRE(object)->channel));
}

static Chardev *wire_new(int fd)
{
    static const TypeInfo type = {
        .name = TYPE_WIRE,
        .parent = TYPE_CHARDEV,
        .instance_size = sizeof(Wire),
        .instance_finalize = wire_finalize,
        .class_init = (void *)wire_class_init, /* its second argument is const, or not, by version */
    };
    Chardev *chr;

    type_register_static(&type);
    chr = CHARDEV(object_new(TYPE_WIRE));
    chr->label = g_strdup("qmp");
    WIRE(chr)->channel = QIO_CHANNEL(qio_channel_file_new_fd(fd));
    fuzz_check(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    qemu_chr_set_feature(chr, QEMU_CHAR_FEATURE_GCONTEXT);
    qemu_chr_be_event(chr, CHR_EVENT_OPENED);
    return chr;
}

/* ---- the client at the other end */

static void send_text(const WireClient *client, const char *text)
{
    fuzz_check(write(client->fd, text, strlen(text)) == (ssize_t)strlen(text) || errno == EPIPE);
}

static void *client_thread(void *opaque)
{
    WireClient *client = opaque;

    send_text(client, "{\"execute\":\"qmp_capabilities\"}");
    for (unsigned i = 0; i < client->count; i++) {
        send_text(client, client->texts[i]);
    }
    if (!client->stays) {
        close(client->fd);
    }
    return NULL;
}

void scenario_wire_read(WireClient *client, const char *const *texts, unsigned text_count, FuzzInput *in)
{
    *client = (WireClient){ .count = 1 + fuzz_choice(in, WIRE_COMMANDS_MAX), .stays = !fuzz_flag(in) };
    for (unsigned i = 0; i < client->count; i++) {
        client->texts[i] = texts[fuzz_choice(in, text_count)];
    }
}

void scenario_wire_begin(WireClient *client)
{
    int ends[2];

    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    client->fd = ends[1];
    client->device = wire_new(ends[0]);
    monitor_init_qmp(client->device, false, &error_fatal);
    qemu_thread_create(&client->thread, "client", client_thread, client, QEMU_THREAD_JOINABLE);
}

void scenario_wire_end(WireClient *client)
{
    object_unref(OBJECT(client->device));
    qemu_thread_join(&client->thread);
    if (client->stays) {
        close(client->fd);
    }
}
