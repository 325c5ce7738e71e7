/* See scenario_nbd.h. A client runs in a thread of its own, all else in the main thread. */
#include "fuzz/qemu/scenario_nbd.h"

#include "block/aio-wait.h"
#include "block/export.h"
#include "block/nbd.h"
#include "fuzz/qemu/scenario_image.h"
#include "io/channel-socket.h"
#include "qemu/bswap.h"

#define DEPTH       SCENARIO_NBD_DEPTH
#define BLOCK_BYTES SCENARIO_NBD_BLOCK_BYTES

/* ---- the wire: the protocol's newstyle handshake and its simple replies, as the NBD project's doc/proto.md has them */

#define OPTION_MAGIC       UINT64_C(0x49484156454f5054)
#define OPTION_EXPORT_NAME 1u
#define FIXED_NO_ZEROES    3u
#define REQUEST_MAGIC      0x25609513u
#define REPLY_MAGIC        0x67446698u

enum { READ, WRITE, DISCONNECT, FLUSH };

typedef struct QEMU_PACKED Request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t bytes;
} Request;

typedef struct QEMU_PACKED Reply {
    uint32_t magic, error;
    uint64_t cookie;
} Reply;

static bool get(const NbdPeer *client, void *buffer, size_t bytes)
{
    return scenario_read_all(client->fd, buffer, bytes);
}

static bool put(const NbdPeer *client, const void *buffer, size_t bytes)
{
    return send(client->fd, buffer, bytes, MSG_NOSIGNAL) == (ssize_t)bytes; /* a socket has room for all that a client sends */
}

static bool shake_hands(const NbdPeer *client)
{
    static const char name[] = "disk";
    uint8_t hello[18], option[4 + 16 + sizeof(name) - 1], answer[10];

    if (!get(client, hello, sizeof(hello))) {
        return false;
    }
    stl_be_p(option, FIXED_NO_ZEROES);
    stq_be_p(option + 4, OPTION_MAGIC);
    stl_be_p(option + 12, OPTION_EXPORT_NAME);
    stl_be_p(option + 16, sizeof(name) - 1);
    memcpy(option + 20, name, sizeof(name) - 1);
    if (!put(client, option, sizeof(option)) || !get(client, answer, sizeof(answer))) {
        return false;
    }
    fuzz_check(ldq_be_p(answer) == SCENARIO_NBD_DISK_BYTES);
    return true;
}

/* ---- a client */

static unsigned type_of(const NbdPeer *client, unsigned slot)
{
    static const unsigned types[] = { WRITE, READ, FLUSH, WRITE };

    return types[client->types >> (2 * slot) & 3];
}

static bool send_request(NbdPeer *client, unsigned slot, uint64_t cookie)
{
    unsigned type = type_of(client, slot);
    struct QEMU_PACKED {
        Request request;
        uint8_t data[BLOCK_BYTES];
    } message = {
        .request.magic = cpu_to_be32(REQUEST_MAGIC),
        .request.type = cpu_to_be16(type),
        .request.cookie = cpu_to_be64(cookie),
        .request.offset = cpu_to_be64(type == FLUSH ? 0 : (client->number * DEPTH + slot) * BLOCK_BYTES),
        .request.bytes = cpu_to_be32(type == FLUSH ? 0 : BLOCK_BYTES),
    };

    memset(message.data, client->patterns[slot] + 1, BLOCK_BYTES);
    return put(client, &message, sizeof(Request) + (type == WRITE ? BLOCK_BYTES : 0));
}

static bool take_reply(NbdPeer *client, uint64_t first, bool pending[DEPTH])
{
    uint8_t data[BLOCK_BYTES];
    uint64_t slot;
    Reply reply;

    if (!get(client, &reply, sizeof(reply))) {
        return false;
    }
    fuzz_check(be32_to_cpu(reply.magic) == REPLY_MAGIC);
    fuzz_check(reply.error == 0);
    slot = be64_to_cpu(reply.cookie) - first;
    fuzz_check(slot < DEPTH);
    fuzz_check(pending[slot]);
    pending[slot] = false;
    if (type_of(client, slot) == WRITE) {
        client->patterns[slot]++;
    } else if (type_of(client, slot) == READ) {
        if (!get(client, data, sizeof(data))) {
            return false;
        }
        fuzz_check(scenario_pattern(data, sizeof(data)) == client->patterns[slot]);
    }
    return true;
}

static bool do_round(NbdPeer *client, uint64_t first)
{
    bool pending[DEPTH] = { false };

    for (unsigned slot = 0; slot < DEPTH; slot++) {
        if (!send_request(client, slot, first + slot)) {
            return false;
        }
        pending[slot] = true;
    }
    if (client->leaves_early) {
        return false;
    }
    for (unsigned slot = 0; slot < DEPTH; slot++) {
        if (!take_reply(client, first, pending)) {
            return false;
        }
    }
    return true;
}

static bool do_rounds(NbdPeer *client)
{
    for (unsigned round = 0; round < client->rounds; round++) {
        if (!do_round(client, round * DEPTH)) {
            return false;
        }
    }
    return true;
}

static void *client_thread(void *opaque)
{
    NbdPeer *client = opaque;

    if (shake_hands(client)) {
        bool done = do_rounds(client);

        fuzz_check(done || client->leaves_early || client->server->removed);
        if (done && client->says_so) {
            Request last = { .magic = cpu_to_be32(REQUEST_MAGIC), .type = cpu_to_be16(DISCONNECT) };

            put(client, &last, sizeof(last));
        }
    }
    close(client->fd);
    return NULL;
}

/* ---- the server, as qemu-nbd makes one: a connection is handed over by its descriptor */

struct NbdConnection {
    NbdServer *server;
    QIOChannelSocket *channel;
    NbdConnection *next;
};

static void connection_closed(NBDClient *nbd_client, bool negotiated)
{
    NbdConnection *connection = nbd_client_owner(nbd_client), **link = &connection->server->connections;

    while (*link != connection) {
        link = &(*link)->next;
    }
    *link = connection->next;
    object_unref(OBJECT(connection->channel));
    g_free(connection);
    nbd_client_put(nbd_client);
}

void scenario_nbd_begin(NbdServer *server)
{
    *server = (NbdServer){ 0 };
    nbd_server_is_qemu_nbd(0);
}

void scenario_nbd_connect(NbdServer *server, NbdPeer *peer)
{
    NbdConnection *connection = g_new(NbdConnection, 1);
    int ends[2];

    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    peer->server = server;
    peer->fd = ends[1];
    peer->connected = true;
    qemu_thread_create(&peer->thread, "client", client_thread, peer, QEMU_THREAD_JOINABLE);
    *connection = (NbdConnection){ server, qio_channel_socket_new_fd(ends[0], &error_fatal), server->connections };
    server->connections = connection;
    nbd_client_new(connection->channel, NBD_DEFAULT_HANDSHAKE_MAX_SECS, NULL, NULL, connection_closed, connection);
}

void scenario_nbd_hang_up(NbdServer *server)
{
    server->removed = true;
    for (NbdConnection *connection = server->connections; connection; connection = connection->next) {
        qio_channel_shutdown(QIO_CHANNEL(connection->channel), QIO_CHANNEL_SHUTDOWN_BOTH, NULL);
    }
    AIO_WAIT_WHILE_UNLOCKED(NULL, server->connections);
}

void scenario_nbd_read(NbdPeer *peer, unsigned number, FuzzInput *in)
{
    uint8_t flags = fuzz_byte(in);

    *peer = (NbdPeer){
        .number = number,
        .rounds = 1 + (flags & 3) % 3,
        .types = flags >> 2,
        .leaves_early = (flags & 0xc0) == 0xc0,
        .says_so = !(flags & 0x40),
    };
}

void scenario_nbd_join(NbdPeer *peer)
{
    if (peer->connected) {
        qemu_thread_join(&peer->thread);
    }
}
