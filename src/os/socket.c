/*
 * Stream sockets of the AF_UNIX family, as pairs or connected by name (socket_listen.c). Other sockets stay real, and the calls on them that
 * could wait are not modelled.
 *
 * 1. What one end sends lies in the other end's ring, 64 KiB. Writable while a quarter of it at most is in use, as
 *    Linux tells poll.
 * 2. shutdown and close show at the other end as in Linux: end of file, EPIPE, POLLRDHUP, POLLHUP; ECONNRESET once
 *    where an end was closed with data unread. There is no SIGPIPE.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "os/fd.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/socket.h"

REAL_SYMBOL(socketpair)
REAL_SYMBOL(shutdown)
REAL_SYMBOL(recv)
REAL_SYMBOL(send)
REAL_SYMBOL(getsockopt)
REAL_SYMBOL(setsockopt)

#define READABLE (POLLIN | POLLRDNORM | POLLRDHUP)
#define WRITABLE (POLLOUT | POLLWRNORM | POLLWRBAND)

static unsigned socket_poll(OsFile *file)
{
    unsigned events = 0;

    if (file->socket.used) {
        events |= POLLIN | POLLRDNORM;
    }
    if (file->socket.receive_shut) {
        events |= READABLE;
    }
    if (file->socket.listening) {
        return events | (file->socket.pending ? POLLIN | POLLRDNORM : 0);
    }
    if (!file->socket.peer || file->socket.peer->socket.used * 4 <= OS_BUFFER_BYTES) {
        events |= WRITABLE;
    }
    if (!file->socket.connected) {
        events |= POLLHUP;
    }
    if (file->socket.receive_shut && file->socket.send_shut) {
        events |= POLLHUP;
    }
    return events | (file->socket.error ? POLLERR : 0);
}

static int take_error(OsFile *file)
{
    int error = file->socket.error;

    file->socket.error = 0;
    return -error;
}

/* Copy out what is there; peek: and leave it. */
static ssize_t receive(OsFile *file, OsSpan *span, bool peek)
{
    size_t total = span->left < file->socket.used ? span->left : file->socket.used;
    size_t first = OS_BUFFER_BYTES - file->socket.head;

    if (!file->socket.connected) {
        return -EINVAL;
    }
    total = os_rights_limit(file, total);
    os_acquire(file);
    if (total == 0 && span->left) {
        if (file->socket.error) {
            return take_error(file);
        }
        return file->socket.receive_shut ? 0 : -EAGAIN;
    }
    first = first < total ? first : total;
    os_span_store(span, file->socket.buffer->bytes + file->socket.head, first);
    os_span_store(span, file->socket.buffer->bytes, total - first);
    if (!peek && total) {
        os_rights_take(file, span, total);
        file->socket.used -= total;
        file->socket.head = file->socket.used ? (file->socket.head + total) % OS_BUFFER_BYTES : 0;
        if (file->socket.peer) {
            os_file_notify(file->socket.peer, WRITABLE);
        }
    }
    return (ssize_t)total;
}

static ssize_t socket_read(OsFile *file, OsSpan *span)
{
    return receive(file, span, false);
}

static ssize_t socket_write(OsFile *file, OsSpan *span)
{
    OsFile *peer = file->socket.peer;
    size_t room, total, tail, first;

    if (!file->socket.connected) {
        return -ENOTCONN;
    }
    if (file->socket.send_shut || !peer || peer->socket.receive_shut) {
        return -EPIPE;
    }
    if (file->socket.error) {
        return take_error(file);
    }
    room = OS_BUFFER_BYTES - peer->socket.used;
    total = span->left < room ? span->left : room;
    if (total == 0) {
        return span->left ? -EAGAIN : 0;
    }
    tail = (peer->socket.head + peer->socket.used) % OS_BUFFER_BYTES;
    first = OS_BUFFER_BYTES - tail < total ? OS_BUFFER_BYTES - tail : total;
    os_span_fetch(span, peer->socket.buffer->bytes + tail, first);
    os_span_fetch(span, peer->socket.buffer->bytes, total - first);
    os_rights_put(peer, span, total);
    peer->socket.used += total;
    os_release(peer);
    os_file_notify(peer, POLLIN | POLLRDNORM);
    return (ssize_t)total;
}

static void socket_release(OsFile *file)
{
    OsFile *peer = file->socket.peer;

    os_socket_unbind(file);
    os_rights_drop_all(file);
    os_buffer_put(file->socket.buffer);
    if (peer) {
        os_release(peer);
        peer->socket.peer = NULL;
        peer->socket.receive_shut = peer->socket.send_shut = true;
        peer->socket.error = file->socket.used ? ECONNRESET : peer->socket.error;
        os_file_notify(peer, READABLE | WRITABLE | POLLHUP | POLLERR);
    }
}

static size_t socket_available(OsFile *file)
{
    return file->socket.used;
}

static void socket_describe(OsFile *file, char *buffer, size_t size)
{
    snprintf(buffer, size, ", %zu bytes unread%s", file->socket.used, file->socket.peer ? "" : ", other end closed");
}

const OsFileKind os_socket_kind = {
    .name = "socket",
    .stream = true,
    .mode = S_IFSOCK | 0777,
    .poll = socket_poll,
    .read = socket_read,
    .write = socket_write,
    .release = socket_release,
    .available = socket_available,
    .describe = socket_describe,
};

/* ---- socketpair */

OsFile *os_socket_new(int flags)
{
    OsBuffer *buffer = os_buffer_get();
    OsFile *file = buffer ? os_file_new(&os_socket_kind, O_RDWR | flags) : NULL;

    if (file) {
        file->socket.buffer = buffer;
    } else if (buffer) {
        os_buffer_put(buffer);
    }
    return file;
}

void os_socket_join(OsFile *one, OsFile *other)
{
    one->socket.peer = other;
    other->socket.peer = one;
    one->socket.connected = other->socket.connected = true;
}

static int make_pair(int flags, int fds[2])
{
    bool close_on_exec = flags & SOCK_CLOEXEC;
    OsFile *end[2];
    int numbers[2];

    end[0] = os_socket_new(flags & SOCK_NONBLOCK);
    if (!end[0]) {
        return -ENFILE;
    }
    end[1] = os_socket_new(flags & SOCK_NONBLOCK);
    if (!end[1]) {
        os_file_drop(end[0]);
        return -ENFILE;
    }
    os_socket_join(end[0], end[1]);
    numbers[0] = os_fd_open(end[0], 0, close_on_exec);
    if (numbers[0] < 0) {
        os_file_drop(end[1]);
        return -EMFILE;
    }
    numbers[1] = os_fd_open(end[1], 0, close_on_exec);
    if (numbers[1] < 0) {
        os_fd_close(numbers[0]);
        return -EMFILE;
    }
    os_writes(fds, sizeof(numbers));
    fds[0] = numbers[0];
    fds[1] = numbers[1];
    return 0;
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
    if (!sched_here()) {
        return REAL(socketpair)(domain, type, protocol, fds);
    }
    SCHED_POINT(SCHED_CALL_SOCKETPAIR, 0);
    if (domain != AF_UNIX || (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM || protocol != 0) {
        sched_fail("unmodelled", "socketpair other than (AF_UNIX, SOCK_STREAM, 0) is not modelled");
    }
    return (int)os_result(make_pair(type, fds));
}

/* ---- calls on sockets only */

OsFile *os_socket_find(int fd, int *error)
{
    OsFile *file = os_fd_file(fd);

    *error = file && file->kind != &os_socket_kind ? -ENOTSOCK : 0;
    return file;
}

int os_socket_foreign(int fd, const char *call)
{
    socklen_t bytes = sizeof(int);
    int type = 0;

    if (fd >= OS_FD_FIRST && fd < OS_FD_FIRST + OS_FD_COUNT) {
        return -EBADF;
    }
    if (REAL(getsockopt)(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0) {
        sched_fail("unmodelled", "%s on a real descriptor is not modelled", call);
    }
    return -errno;
}

static int shut_down(OsFile *file, int how)
{
    OsFile *peer = file->socket.peer;
    bool receive = how == SHUT_RD || how == SHUT_RDWR, send = how == SHUT_WR || how == SHUT_RDWR;

    if (!receive && !send) {
        return -EINVAL;
    }
    file->socket.receive_shut |= receive;
    file->socket.send_shut |= send;
    os_file_notify(file, READABLE | WRITABLE | POLLHUP);
    if (peer) {
        os_release(peer);
        peer->socket.receive_shut |= send;
        peer->socket.send_shut |= receive;
        os_file_notify(peer, READABLE | WRITABLE | POLLHUP);
    }
    return 0;
}

int shutdown(int fd, int how)
{
    OsFile *file;
    int error;

    if (!sched_here()) {
        return REAL(shutdown)(fd, how);
    }
    SCHED_POINT(SCHED_CALL_CLOSE, os_fd_object(fd));
    file = os_socket_find(fd, &error);
    if (!file) {
        error = REAL(shutdown)(fd, how);
        os_real_fd_changed();
        return error;
    }
    return (int)os_result(error ? error : shut_down(file, how));
}

ssize_t os_socket_receive(OsFile *file, OsSpan *span, int flags)
{
    bool nonblocking = (flags & MSG_DONTWAIT) || (file->flags & O_NONBLOCK);
    ssize_t result;

    if (flags & ~(MSG_DONTWAIT | MSG_PEEK | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC)) {
        sched_fail("unmodelled", "recv with flags 0x%x is not modelled", (unsigned)flags);
    }
    if (!(flags & MSG_PEEK)) {
        return os_file_read(file, span, nonblocking);
    }
    os_file_hold(file);
    while ((result = receive(file, span, true)) == -EAGAIN && !nonblocking) {
        os_file_wait(file, POLLIN, SCHED_CALL_READ);
    }
    os_file_drop(file);
    return result;
}

ssize_t os_socket_send(OsFile *file, OsSpan *span, int flags)
{
    if (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)) {
        sched_fail("unmodelled", "send with flags 0x%x is not modelled", (unsigned)flags);
    }
    return os_file_write(file, span, (flags & MSG_DONTWAIT) || (file->flags & O_NONBLOCK));
}

ssize_t recv(int fd, void *buffer, size_t bytes, int flags)
{
    struct iovec vector = { buffer, bytes };
    OsSpan span = os_span(&vector, 1);
    OsFile *file;
    ssize_t result;
    int error;

    if (!sched_here()) {
        return REAL(recv)(fd, buffer, bytes, flags);
    }
    SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));
    file = os_socket_find(fd, &error);
    if (!file) {
        if (!(flags & MSG_DONTWAIT)) {
            os_real_fd_wait(fd, POLLIN, SCHED_CALL_READ);
        }
        result = REAL(recv)(fd, buffer, bytes, flags);
        os_real_fd_changed();
        return result;
    }
    return os_result(error ? error : os_socket_receive(file, &span, flags));
}

ssize_t send(int fd, const void *buffer, size_t bytes, int flags)
{
    struct iovec vector = { (void *)(size_t)buffer, bytes };
    OsSpan span = os_span(&vector, 1);
    OsFile *file;
    ssize_t result;
    int error;

    if (!sched_here()) {
        return REAL(send)(fd, buffer, bytes, flags);
    }
    SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));
    file = os_socket_find(fd, &error);
    if (!file) {
        if (!(flags & MSG_DONTWAIT)) {
            os_real_fd_wait(fd, POLLOUT, SCHED_CALL_WRITE);
        }
        result = REAL(send)(fd, buffer, bytes, flags);
        os_real_fd_changed();
        return result;
    }
    return os_result(error ? error : os_socket_send(file, &span, flags));
}

static int option(OsFile *file, int name, int *value)
{
    switch (name) {
    case SO_TYPE:
        *value = SOCK_STREAM;
        return 0;
    case SO_ACCEPTCONN:
        *value = file->socket.listening;
        return 0;
    case SO_DOMAIN:
        *value = AF_UNIX;
        return 0;
    case SO_ERROR:
        *value = -take_error(file);
        return 0;
    default:
        sched_fail("unmodelled", "getsockopt option %d on a simulated socket is not modelled", name);
    }
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict length)
{
    OsFile *file;
    int error, result;

    if (!sched_here()) {
        return REAL(getsockopt)(fd, level, name, value, length);
    }
    file = os_socket_find(fd, &error);
    if (!file) {
        return REAL(getsockopt)(fd, level, name, value, length);
    }
    if (error || level != SOL_SOCKET || *length < sizeof(result)) {
        return (int)os_result(error ? error : -EINVAL);
    }
    option(file, name, &result);
    os_writes(value, sizeof(result));
    memcpy(value, &result, sizeof(result));
    *length = sizeof(result);
    return 0;
}

/* Sizes of buffers, time-outs and the like: accepted, and without effect. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    OsFile *file;
    int error;

    if (!sched_here()) {
        return REAL(setsockopt)(fd, level, name, value, length);
    }
    file = os_socket_find(fd, &error);
    if (!file) {
        return REAL(setsockopt)(fd, level, name, value, length);
    }
    if (!error && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
        sched_fail("unmodelled", "SO_RCVTIMEO and SO_SNDTIMEO are not modelled");
    }
    return (int)os_result(error);
}
