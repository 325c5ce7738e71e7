/*
 * Target qemu_monitor: the storage daemon's QMP monitor in its own thread. A client sends commands at any moment, also while the monitor is
 * being cleaned up, as the daemon does at its end.
 *
 * Needs: monitor/qmp.c qmp_dispatcher_co
 *
 * Invariants: the cleanup ends.
 *
 * The empty scenario is one command that is no coroutine, against the cleanup: enough for QEMU's fc1a2ec7da.
 */
#include "fuzz/qemu/scenario.h"

#include "chardev/char-io.h"
#include "chardev/char.h"
#include "io/channel-file.h"
#include "monitor/monitor-internal.h"
#include "monitor/monitor.h"
#include "qapi/qmp-registry.h"
#include "storage-daemon/qapi/qapi-commands.h"
#include "storage-daemon/qapi/qapi-init-commands.h"

#define TYPE_WIRE    "chardev-wire"
#define COMMANDS_MAX 5u

/* ---- a character device on one end of a socket pair */

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

/* ---- the client */

typedef struct Client {
    int fd;
    unsigned command_count;
    uint8_t commands[COMMANDS_MAX];
    bool stays; /* it does not close its end before the monitor is gone */
} Client;

static const char *const texts[] = {
    "{\"execute\":\"query-commands\"}",
    "{\"execute\":\"query-block\"}",
    "{\"execute\":\"no-such-command\"}",
    "{\"execute\":\"query-named-block-nodes\"}",
    "}",
};

static void send_text(Client *client, const char *text)
{
    fuzz_check(write(client->fd, text, strlen(text)) == (ssize_t)strlen(text) || errno == EPIPE);
}

static void *client_thread(void *opaque)
{
    Client *client = opaque;

    send_text(client, "{\"execute\":\"qmp_capabilities\"}");
    for (unsigned i = 0; i < client->command_count; i++) {
        send_text(client, texts[client->commands[i]]);
    }
    if (!client->stays) {
        close(client->fd);
    }
    return NULL;
}

/* ---- the scenario */

static void register_commands(void)
{
    qmp_init_marshal(&qmp_commands);
    QTAILQ_INIT(&qmp_cap_negotiation_commands);
    qmp_register_command(&qmp_cap_negotiation_commands, "qmp_capabilities", qmp_marshal_qmp_capabilities, QCO_ALLOW_PRECONFIG, 0);
}

static void run(FuzzInput *in)
{
    Client client;
    unsigned rounds = fuzz_choice(in, 6);
    QemuThread thread;
    Chardev *chr;
    int ends[2];

    client = (Client){ .command_count = 1 + fuzz_choice(in, COMMANDS_MAX), .stays = !fuzz_flag(in) };
    for (unsigned i = 0; i < client.command_count; i++) {
        client.commands[i] = fuzz_choice(in, G_N_ELEMENTS(texts));
    }
    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    client.fd = ends[1];
    register_commands();
    monitor_init_globals();
    chr = wire_new(ends[0]);
    monitor_init_qmp(chr, false, &error_fatal);
    qemu_thread_create(&thread, "client", client_thread, &client, QEMU_THREAD_JOINABLE);
    for (unsigned i = 0; i < rounds; i++) {
        main_loop_wait(true);
    }
    monitor_cleanup();
    object_unref(OBJECT(chr));
    qemu_thread_join(&thread);
    if (client.stays) {
        close(client.fd);
    }
}

const FuzzTarget fuzz_target = { .name = "qemu_monitor", .run = run };
