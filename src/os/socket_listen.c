/*
 * Stream sockets that find each other by names in the file system: socket, bind, listen, accept, connect, and who is at which end.
 *
 * 1. A name is an inode; it is bound while the socket that took it is open, and stays until it is unlinked.
 * 2. connect() makes the other end at once, and puts it in the listener's line: one more than the backlog waits there for accept(), and
 *    whoever comes after that sleeps. What is sent before accept() is not lost.
 * 3. Who sleeps in connect() does not keep the listener: when it is closed, all look again.
 */
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "os/inode.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/socket.h"

REAL_SYMBOL(socket)
REAL_SYMBOL(bind)
REAL_SYMBOL(listen)
REAL_SYMBOL(connect)
REAL_SYMBOL(accept)
REAL_SYMBOL(accept4)
REAL_SYMBOL(getsockname)
REAL_SYMBOL(getpeername)

#define ADDRESSES_MAX 64u
#define ACCEPTABLE    (POLLIN | POLLRDNORM)

static OsAddress addresses[ADDRESSES_MAX];
static unsigned addresses_used;
static SchedQueue connectors; /* asleep until there is room in a line, or a listener is gone */

void os_socket_reset(void)
{
    addresses_used = 0;
    connectors = (SchedQueue){ 0 };
}

/* ---- socket, bind, listen */

int socket(int domain, int type, int protocol)
{
    if (!sched_here() || domain != AF_UNIX || (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM || protocol != 0) {
        return REAL(socket)(domain, type, protocol);
    }
    SCHED_POINT(SCHED_CALL_SOCKET, 0);
    return os_fd_open_new(os_socket_new(type & SOCK_NONBLOCK), type & SOCK_CLOEXEC);
}

/* The path in an address of the program's, with a 0 behind it; a negative errno. */
static int path_of(const struct sockaddr *address, socklen_t length, struct sockaddr_un *text)
{
    const size_t first = offsetof(struct sockaddr_un, sun_path);

    if (length > sizeof(*text) || length <= first) {
        return -EINVAL;
    }
    os_reads(address, length);
    *text = (struct sockaddr_un){ 0 };
    memcpy(text, address, length);
    if (text->sun_family != AF_UNIX) {
        return -EINVAL;
    }
    if (!text->sun_path[0] || !memchr(text->sun_path, 0, sizeof(text->sun_path))) {
        sched_fail("unmodelled", "an abstract name of a socket, or one of %zu bytes, is not modelled", sizeof(text->sun_path));
    }
    return 0;
}

static int bind_simulated(OsFile *file, const struct sockaddr_un *text)
{
    char name[OS_NAME_BYTES];
    OsAddress *address;
    int looked;

    if (!os_path(AT_FDCWD, text->sun_path, name)) {
        return -ENAMETOOLONG;
    }
    looked = os_inode_find(name) ? -EEXIST : os_machine_look(name);
    if (looked != -ENOENT) {
        return looked == -EEXIST ? -EADDRINUSE : -ENOENT;
    }
    if (file->socket.address) {
        return -EINVAL;
    }
    address = addresses_used < ADDRESSES_MAX ? &addresses[addresses_used] : NULL;
    if (!address || !(address->inode = os_inode_new(name, S_IFSOCK | 0777))) {
        sched_fail("unmodelled", "so many names of sockets are not modelled (%s)", name);
    }
    addresses_used++;
    address->text = *text;
    address->bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text->sun_path) + 1);
    address->inode->socket = file;
    file->socket.address = address;
    if (file->socket.peer) {
        file->socket.peer->socket.peer_address = address;
    }
    return 0;
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_un text;
    OsFile *file;
    int error;

    if (!sched_here() || !os_fd_file(fd)) {
        return REAL(bind)(fd, address, length);
    }
    SCHED_POINT(SCHED_CALL_SOCKET, os_fd_object(fd));
    file = os_socket_find(fd, &error);
    error = !file ? -EBADF : error ? error : path_of(address, length, &text);
    return (int)os_result(error ? error : bind_simulated(file, &text));
}

int listen(int fd, int backlog)
{
    OsFile *file;
    int error;

    if (!sched_here() || !os_fd_file(fd)) {
        return REAL(listen)(fd, backlog);
    }
    SCHED_POINT(SCHED_CALL_SOCKET, os_fd_object(fd));
    file = os_socket_find(fd, &error);
    error = !file ? -EBADF : error ? error : !file->socket.address || file->socket.connected ? -EINVAL : 0;
    if (!error) {
        file->socket.listening = true;
        file->socket.backlog = backlog < 0 || backlog > SOMAXCONN ? SOMAXCONN : (unsigned)backlog;
        sched_queue_wake_all(&connectors);
    }
    return (int)os_result(error);
}

void os_socket_unbind(OsFile *file)
{
    if (!file->socket.address || file->socket.address->inode->socket != file) {
        return; /* an end that was accepted has its listener's name */
    }
    file->socket.address->inode->socket = NULL;
    os_inode_drop(file->socket.address->inode);
    while (file->socket.pending) {
        OsFile *end = file->socket.pending;

        file->socket.pending = end->socket.pending;
        if (end->socket.peer) {
            end->socket.peer->socket.error = ECONNRESET;
        }
        os_file_drop(end);
    }
    sched_queue_wake_all(&connectors);
}

/* ---- connect */

/* The listener of that name, or a negative errno. */
static int find_listener(const struct sockaddr_un *text, OsFile **listener)
{
    char name[OS_NAME_BYTES];
    OsInode *inode;

    *listener = NULL;
    if (!os_path(AT_FDCWD, text->sun_path, name)) {
        return -ENAMETOOLONG;
    }
    inode = os_inode_find(name);
    if (!inode) {
        if (os_machine_look(name) == -EEXIST) {
            sched_fail("unmodelled", "connect to what the machine has at %s is not modelled", name);
        }
        return -ENOENT;
    }
    if (!inode->socket || !inode->socket->socket.listening || inode->socket->socket.receive_shut) {
        return -ECONNREFUSED;
    }
    *listener = inode->socket;
    return 0;
}

static void wait_for_room(const OsFile *listener)
{
    SchedBlock block = { .call = SCHED_CALL_CONNECT,
                         .object = (const void *)(uintptr_t)listener->serial,
                         .deadline_ns = SCHED_FOREVER };
    SchedWaiter waiter = { 0 };

    sched_queue_add(&connectors, &waiter);
    sched_block(&block);
    sched_queue_remove(&waiter);
}

static int join_line(OsFile *file, OsFile *listener)
{
    OsFile *end = os_socket_new(0), **link = &listener->socket.pending;

    if (!end) {
        return -ENFILE;
    }
    os_socket_join(file, end);
    end->socket.address = file->socket.peer_address = listener->socket.address;
    end->socket.peer_address = file->socket.address;
    while (*link) {
        link = &(*link)->socket.pending;
    }
    *link = end;
    listener->socket.pending_count++;
    os_release(listener);
    os_file_notify(listener, ACCEPTABLE);
    os_file_notify(file, POLLOUT | POLLWRNORM | POLLWRBAND);
    return 0;
}

static int connect_simulated(OsFile *file, const struct sockaddr_un *text)
{
    OsFile *listener;
    int error;

    for (;;) {
        error = find_listener(text, &listener);
        if (error) {
            return error;
        }
        if (listener->socket.pending_count <= listener->socket.backlog) {
            if (file->socket.listening || file->socket.connected) {
                return file->socket.listening ? -EINVAL : -EISCONN;
            }
            return join_line(file, listener);
        }
        if (file->flags & O_NONBLOCK) {
            return -EAGAIN;
        }
        wait_for_room(listener);
    }
}

/* What the call is about: the listener, where there is one by now. */
static uintptr_t object_of(const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_un text;
    OsFile *listener;

    return path_of(address, length, &text) == 0 && find_listener(&text, &listener) == 0 ? listener->serial : 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_un text;
    OsFile *file;
    int error;

    if (!sched_here()) {
        return REAL(connect)(fd, address, length);
    }
    SCHED_POINT(SCHED_CALL_CONNECT, object_of(address, length));
    file = os_socket_find(fd, &error);
    if (!file) {
        return (int)os_result(os_socket_foreign(fd, "connect"));
    }
    error = error ? error : path_of(address, length, &text);
    if (!error) {
        os_file_hold(file);
        error = connect_simulated(file, &text);
        os_file_drop(file);
    }
    return (int)os_result(error);
}

/* ---- accept */

static void put_address(const OsAddress *name, struct sockaddr *address, socklen_t *length)
{
    struct sockaddr_un text = { .sun_family = AF_UNIX };
    socklen_t bytes = name ? name->bytes : sizeof(sa_family_t);
    size_t room;

    text = name ? name->text : text;
    os_reads(length, sizeof(*length));
    room = *length < bytes ? *length : bytes;
    if (room) {
        os_writes(address, room);
        memcpy(address, &text, room);
    }
    *length = bytes;
}

static int take_first(OsFile *listener, int flags)
{
    OsFile *end = listener->socket.pending;
    int number;

    os_file_hold(end);
    number = os_fd_open(end, 0, flags & SOCK_CLOEXEC);
    if (number < 0) {
        return number; /* it stays in the line */
    }
    end->flags |= flags & SOCK_NONBLOCK;
    listener->socket.pending = end->socket.pending;
    listener->socket.pending_count--;
    end->socket.pending = NULL;
    os_file_drop(end);
    os_acquire(listener);
    sched_queue_wake_all(&connectors);
    return number;
}

static int accept_simulated(OsFile *listener, struct sockaddr *address, socklen_t *length, int flags)
{
    int number;

    if (!listener->socket.listening || (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))) {
        return -EINVAL;
    }
    os_file_hold(listener);
    while (!listener->socket.pending && !listener->socket.receive_shut && !(listener->flags & O_NONBLOCK)) {
        os_file_wait(listener, POLLIN, SCHED_CALL_ACCEPT);
    }
    number = listener->socket.pending ? take_first(listener, flags) : listener->socket.receive_shut ? -EINVAL : -EAGAIN;
    if (number >= 0 && address) {
        put_address(os_fd_file(number)->socket.peer_address, address, length);
    }
    os_file_drop(listener);
    return number;
}

static int accept_any(int fd, struct sockaddr *address, socklen_t *length, int flags, void *site, void *frame)
{
    OsFile *file;
    int error;

    sched_point(SCHED_CALL_ACCEPT, os_fd_object(fd), site, frame);
    file = os_socket_find(fd, &error);
    if (!file) {
        return (int)os_result(os_socket_foreign(fd, "accept"));
    }
    return (int)os_result(error ? error : accept_simulated(file, address, length, flags));
}

int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict length)
{
    if (!sched_here()) {
        return REAL(accept)(fd, address, length);
    }
    return accept_any(fd, address, length, 0, __builtin_return_address(0), __builtin_frame_address(0));
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags)
{
    if (!sched_here()) {
        return REAL(accept4)(fd, address, length, flags);
    }
    return accept_any(fd, address, length, flags, __builtin_return_address(0), __builtin_frame_address(0));
}

/* ---- names of both ends: Linux gives the address family and nothing else for an end without one, also when the other is closed */

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict length)
{
    OsFile *file;
    int error;

    if (!sched_here() || !(file = os_socket_find(fd, &error))) {
        return REAL(getsockname)(fd, address, length);
    }
    if (!error) {
        put_address(file->socket.address, address, length);
    }
    return (int)os_result(error);
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict length)
{
    OsFile *file;
    int error;

    if (!sched_here() || !(file = os_socket_find(fd, &error))) {
        return REAL(getpeername)(fd, address, length);
    }
    error = error ? error : file->socket.connected ? 0 : -ENOTCONN;
    if (!error) {
        put_address(file->socket.peer_address, address, length);
    }
    return (int)os_result(error);
}
