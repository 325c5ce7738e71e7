/*
 * Messages of stream sockets, and the descriptors that they carry (SCM_RIGHTS); see socket.h. No other control data is modelled, and no address.
 *
 * 1. A descriptor on its way is a reference to its file, not a number: closing the number that was sent changes nothing.
 * 2. Those for which the receiver has no room are dropped, and MSG_CTRUNC says so.
 */
#include <string.h>

#include "os/real.h"
#include "os/sanitizer.h"
#include "os/socket.h"

REAL_SYMBOL(recvmsg)
REAL_SYMBOL(sendmsg)

#define MESSAGES_MAX 64u /* with descriptors, on their way at once */

static OsRights pool[MESSAGES_MAX];
static OsRights *free_rights;
static unsigned used;

void os_rights_reset(void)
{
    free_rights = NULL;
    used = 0;
}

static OsRights *rights_new(void)
{
    OsRights *rights = free_rights;

    if (rights) {
        free_rights = rights->next;
    } else if (used < MESSAGES_MAX) {
        rights = &pool[used++];
    } else {
        sched_fail("unmodelled", "more than %u messages with descriptors on their way are not modelled", MESSAGES_MAX);
    }
    *rights = (OsRights){ 0 };
    return rights;
}

static void rights_free(OsRights *rights)
{
    rights->next = free_rights;
    free_rights = rights;
}

void os_rights_drop(OsRights *rights)
{
    if (rights) {
        for (unsigned i = 0; i < rights->count; i++) {
            os_file_drop(rights->files[i]);
        }
        rights_free(rights);
    }
}

void os_rights_drop_all(OsFile *file)
{
    while (file->socket.rights) {
        OsRights *rights = file->socket.rights;

        file->socket.rights = rights->next;
        os_rights_drop(rights);
    }
}

/* ---- in the stream */

size_t os_rights_limit(const OsFile *file, size_t total)
{
    const OsRights *rights = file->socket.rights;

    if (rights && rights->first < file->socket.taken + total && rights->end < file->socket.taken + total) {
        return (size_t)(rights->end - file->socket.taken);
    }
    return total;
}

void os_rights_take(OsFile *file, OsSpan *span, size_t total)
{
    OsRights *rights = file->socket.rights;

    file->socket.taken += total;
    if (!rights || rights->first >= file->socket.taken) {
        return;
    }
    file->socket.rights = rights->next;
    if (span->takes_rights) {
        span->rights = rights;
    } else {
        os_rights_drop(rights);
    }
}

void os_rights_put(OsFile *file, OsSpan *span, size_t total)
{
    OsRights *rights = span->rights, **link = &file->socket.rights;

    if (!rights) {
        return;
    }
    while (*link) {
        link = &(*link)->next;
    }
    rights->next = NULL;
    rights->first = file->socket.taken + file->socket.used;
    rights->end = rights->first + total;
    *link = rights;
    span->rights = NULL;
}

/* ---- in messages */

/* The files that a message names, NULL for none; a negative errno. */
static int collect(const struct msghdr *message, OsRights **result)
{
    OsRights *rights = NULL;

    *result = NULL;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR((struct msghdr *)(uintptr_t)message, part)) {
        unsigned count = (unsigned)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        int fds[OS_RIGHTS_MAX];

        os_reads(part, part->cmsg_len);
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS || rights || count > OS_RIGHTS_MAX) {
            sched_fail("unmodelled",
                       "sendmsg with control data other than one SCM_RIGHTS of at most %u descriptors is not modelled",
                       OS_RIGHTS_MAX);
        }
        memcpy(fds, CMSG_DATA(part), count * sizeof(int));
        rights = rights_new();
        for (; rights->count < count; rights->count++) {
            OsFile *file = os_fd_file(fds[rights->count]);

            if (!file) {
                os_rights_drop(rights);
                return -EBADF;
            }
            os_file_hold(file);
            rights->files[rights->count] = file;
        }
    }
    *result = rights;
    return 0;
}

/* Give what has come numbers, and write these into the message. */
static void install(struct msghdr *message, OsRights *rights, bool close_on_exec)
{
    size_t room = message->msg_controllen > sizeof(struct cmsghdr)
                      ? (message->msg_controllen - sizeof(struct cmsghdr)) / sizeof(int)
                      : 0;
    struct cmsghdr *part = message->msg_control;
    unsigned done = 0;

    for (; rights && done < rights->count && done < room; done++) {
        int number;

        os_file_hold(rights->files[done]);
        number = os_fd_open(rights->files[done], 0, close_on_exec);
        if (number < 0) {
            break;
        }
        os_writes(CMSG_DATA(part) + done * sizeof(int), sizeof(int));
        memcpy(CMSG_DATA(part) + done * sizeof(int), &number, sizeof(int));
    }
    if (rights && done < rights->count) {
        message->msg_flags |= MSG_CTRUNC;
    }
    if (done) {
        size_t space = CMSG_SPACE(done * sizeof(int));

        os_writes(part, sizeof(*part));
        *part = (struct cmsghdr){ .cmsg_len = CMSG_LEN(done * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
        message->msg_controllen = space < message->msg_controllen ? space : message->msg_controllen;
    } else {
        message->msg_controllen = 0;
    }
    os_rights_drop(rights);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    OsFile *file;
    OsSpan span;
    ssize_t result;
    int error;

    if (!sched_here()) {
        return REAL(recvmsg)(fd, message, flags);
    }
    SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));
    file = os_socket_find(fd, &error);
    if (!file || error) {
        return os_result(file ? error : os_socket_foreign(fd, "recvmsg"));
    }
    span = os_span(message->msg_iov, (int)message->msg_iovlen);
    span.takes_rights = true;
    result = os_socket_receive(file, &span, flags);
    if (result >= 0) {
        message->msg_namelen = 0;
        message->msg_flags = flags & MSG_CMSG_CLOEXEC;
        install(message, span.rights, flags & MSG_CMSG_CLOEXEC);
    }
    return os_result(result);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    OsFile *file;
    OsSpan span;
    ssize_t result;
    int error;

    if (!sched_here()) {
        return REAL(sendmsg)(fd, message, flags);
    }
    SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));
    file = os_socket_find(fd, &error);
    if (!file || error) {
        return os_result(file ? error : os_socket_foreign(fd, "sendmsg"));
    }
    if (message->msg_namelen) {
        sched_fail("unmodelled", "sendmsg with an address is not modelled");
    }
    span = os_span(message->msg_iov, (int)message->msg_iovlen);
    error = collect(message, &span.rights);
    if (error) {
        return os_result(error);
    }
    result = os_socket_send(file, &span, flags);
    os_rights_drop(span.rights); /* not sent */
    return os_result(result);
}
