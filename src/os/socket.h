/*
 * What the files of simulated sockets share: the stream (socket.c), messages and the descriptors in them (socket_rights.c), names, listeners and
 * connections (socket_listen.c). Fibers only. Nothing here is a scheduling point, or allocates.
 *
 * Descriptors travel as Linux has them: with the bytes of the sendmsg() that carried them. Whoever takes the first of these bytes takes the
 * descriptors, and gets no byte beyond the last one in the same call.
 */
#ifndef WAKEFUZZ_OS_SOCKET_H
#define WAKEFUZZ_OS_SOCKET_H

#include <sys/socket.h>
#include <sys/un.h>

#include "os/fd.h"

#define OS_RIGHTS_MAX 16u /* descriptors of one message */

struct OsRights {
    OsRights *next;
    uint64_t first, end; /* the bytes that they came with: positions in the receiver's stream */
    unsigned count;
    OsFile *files[OS_RIGHTS_MAX]; /* with a reference each */
};

/* A name in the file system that a socket was bound to; never reused in an execution. */
typedef struct OsAddress {
    struct sockaddr_un text; /* as the program gave it, closed by a 0 */
    socklen_t bytes;
    struct OsInode *inode; /* with a reference */
} OsAddress;

extern const OsFileKind os_socket_kind;

/* An end of nothing yet; NULL when there are too many. */
OsFile *os_socket_new(int flags);
void os_socket_join(OsFile *one, OsFile *other);
/* The socket behind a number. NULL: a real descriptor, or not open. A simulated descriptor of another kind is refused with ENOTSOCK. */
OsFile *os_socket_find(int fd, int *error);

/* Where that is NULL: -EBADF, -ENOTSOCK, or the end of the execution if it is a socket of the machine's. */
int os_socket_foreign(int fd, const char *call);

/* The transfers of socket.c with the flags of recv() and send(). What the system call returns, or a negative errno. */
ssize_t os_socket_receive(OsFile *file, OsSpan *span, int flags);
ssize_t os_socket_send(OsFile *file, OsSpan *span, int flags);

/* socket_rights.c: bytes of `total` that may be taken from file at once. */
size_t os_rights_limit(const OsFile *file, size_t total);
/* ... `total` are taken: so are the descriptors that came with them, into span, or dropped. */
void os_rights_take(OsFile *file, OsSpan *span, size_t total);
/* ... `total` are sent to file by span. */
void os_rights_put(OsFile *file, OsSpan *span, size_t total);
void os_rights_drop(OsRights *rights); /* one message's; may be NULL */
void os_rights_drop_all(OsFile *file);

/* socket_listen.c: a socket that is bound or listens is closed. */
void os_socket_unbind(OsFile *file);

#endif
