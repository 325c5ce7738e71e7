/*
 * What is done to a descriptor rather than with its file: close, dup, flags, status.
 *
 * 1. Closing a number does not disturb who sleeps on the file: the file goes when the last of both is gone.
 * 2. A number above the real ones never becomes real, and the other way round.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/inode.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(close)
REAL_SYMBOL(dup)
REAL_SYMBOL(dup2)
REAL_SYMBOL(dup3)
REAL_SYMBOL(fcntl)
REAL_SYMBOL(ioctl)
REAL_SYMBOL(fstat)
REAL_SYMBOL(fstat64)
REAL_SYMBOL(fdopen)

int close(int fd)
{
    int result;

    if (!sched_here()) {
        return REAL(close)(fd);
    }
    SCHED_POINT(SCHED_CALL_CLOSE, os_fd_object(fd));
    if (os_fd_file(fd)) {
        return (int)os_result(os_fd_close(fd));
    }
    result = REAL(close)(fd);
    os_real_fd_changed();
    return result;
}

/* ---- dup */

/* A further number for an open simulated file; -EINVAL as F_DUPFD for a `least` that no number can reach. */
static int duplicate(OsFile *file, int least, bool close_on_exec)
{
    if (least < 0 || least >= OS_FD_FIRST + OS_FD_COUNT) {
        return -EINVAL;
    }
    os_file_hold(file);
    return os_fd_open(file, least, close_on_exec);
}

int dup(int fd)
{
    OsFile *file;

    if (!sched_here()) {
        return REAL(dup)(fd);
    }
    SCHED_POINT(SCHED_CALL_FCNTL, os_fd_object(fd));
    file = os_fd_file(fd);
    return file ? (int)os_result(duplicate(file, 0, false)) : REAL(dup)(fd);
}

static bool simulated_range(int fd)
{
    return fd >= OS_FD_FIRST && fd < OS_FD_FIRST + OS_FD_COUNT;
}

/* Both are simulated, or file is NULL and to is not: then the call goes to the kernel. */
static int replace(OsFile *file, int to, bool close_on_exec)
{
    if (!file || !simulated_range(to)) {
        sched_fail("unmodelled", "dup2 between a simulated and a real descriptor is not modelled");
    }
    if (os_fd_file(to) != file) {
        os_file_hold(file);
        os_fd_replace(to, file, close_on_exec);
        return to;
    }
    os_fd_set_close_on_exec(to, close_on_exec);
    return to;
}

int dup2(int from, int to)
{
    OsFile *file;

    if (!sched_here()) {
        return REAL(dup2)(from, to);
    }
    SCHED_POINT(SCHED_CALL_FCNTL, os_fd_object(to));
    file = os_fd_file(from);
    if (!file && (!simulated_range(to) || REAL(fcntl)(from, F_GETFD) < 0)) {
        return REAL(dup2)(from, to);
    }
    return from == to ? to : replace(file, to, false);
}

int dup3(int from, int to, int flags)
{
    OsFile *file;

    if (!sched_here()) {
        return REAL(dup3)(from, to, flags);
    }
    SCHED_POINT(SCHED_CALL_FCNTL, os_fd_object(to));
    file = os_fd_file(from);
    if (from == to || (flags & ~O_CLOEXEC)) {
        return (int)os_result(-EINVAL);
    }
    if (!file && (!simulated_range(to) || REAL(fcntl)(from, F_GETFD) < 0)) {
        return REAL(dup3)(from, to, flags);
    }
    return replace(file, to, flags & O_CLOEXEC);
}

/* ---- fcntl, ioctl */

/* What F_SETFL may change. */
static int settable(const OsFile *file)
{
    return S_ISREG(file->kind->mode) ? O_NONBLOCK | O_APPEND | O_DIRECT | O_NOATIME : O_NONBLOCK;
}

static int control(OsFile *file, int fd, int command, long argument)
{
    switch (command) {
    case F_DUPFD:
        return duplicate(file, (int)argument, false);
    case F_DUPFD_CLOEXEC:
        return duplicate(file, (int)argument, true);
    case F_GETFD:
        return os_fd_close_on_exec(fd) ? FD_CLOEXEC : 0;
    case F_SETFD:
        os_fd_set_close_on_exec(fd, argument & FD_CLOEXEC);
        return 0;
    case F_GETFL:
        return file->flags;
    case F_SETFL:
        file->flags = (file->flags & ~settable(file)) | ((int)argument & settable(file));
        return 0;
    case F_GETPIPE_SZ:
        return S_ISFIFO(file->kind->mode) ? (int)OS_BUFFER_BYTES : -EBADF;
    default:
        sched_fail("unmodelled", "fcntl command %d on a simulated descriptor is not modelled", command);
    }
}

static int control_any(int fd, int command, long argument)
{
    OsFile *file = os_fd_file(fd);

    if (file) {
        return (int)os_result(control(file, fd, command, argument));
    }
    if (command == F_SETLKW || command == F_OFD_SETLKW) {
        sched_fail("unmodelled", "fcntl that waits for a file lock is not modelled");
    }
    return REAL(fcntl)(fd, command, argument);
}

#define ARGUMENT(last, value)       \
    do {                            \
        va_list list;               \
        va_start(list, last);       \
        value = va_arg(list, long); \
        va_end(list);               \
    } while (0)

int fcntl(int fd, int command, ...)
{
    long argument;

    ARGUMENT(command, argument);
    if (!sched_here()) {
        return REAL(fcntl)(fd, command, argument);
    }
    SCHED_POINT(SCHED_CALL_FCNTL, os_fd_object(fd));
    return control_any(fd, command, argument);
}

/* The name that programs with 64-bit offsets call, GLib among them. */
int fcntl64(int fd, int command, ...)
{
    long argument;

    ARGUMENT(command, argument);
    if (!sched_here()) {
        return REAL(fcntl)(fd, command, argument);
    }
    SCHED_POINT(SCHED_CALL_FCNTL, os_fd_object(fd));
    return control_any(fd, command, argument);
}

static int device_control(OsFile *file, unsigned long request, void *argument)
{
    int value;

    switch (request) {
    case FIONBIO:
        os_reads(argument, sizeof(value));
        memcpy(&value, argument, sizeof(value));
        file->flags = (file->flags & ~O_NONBLOCK) | (value ? O_NONBLOCK : 0);
        return 0;
    case FIONREAD:
        if (!file->kind->available) {
            return -ENOTTY;
        }
        value = (int)file->kind->available(file);
        os_writes(argument, sizeof(value));
        memcpy(argument, &value, sizeof(value));
        return 0;
    default:
        return -ENOTTY;
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    OsFile *file;
    long argument;

    ARGUMENT(request, argument);
    if (!sched_here()) {
        return REAL(ioctl)(fd, request, argument);
    }
    SCHED_POINT(SCHED_CALL_FCNTL, os_fd_object(fd));
    file = os_fd_file(fd);
    return file ? (int)os_result(device_control(file, request, (void *)argument)) : REAL(ioctl)(fd, request, argument);
}

/* ---- status */

static void fill_status(const OsFile *file, struct stat *status)
{
    if (file->kind == &os_regular_kind) {
        os_inode_status(file->regular.inode, status);
        return;
    }
    os_writes(status, sizeof(*status));
    *status = (struct stat){ .st_mode = file->kind->mode, .st_nlink = 1, .st_ino = file->serial, .st_blksize = 4096 };
}

int fstat(int fd, struct stat *status)
{
    OsFile *file = sched_here() ? os_fd_file(fd) : NULL;

    if (!file) {
        return REAL(fstat)(fd, status);
    }
    fill_status(file, status);
    return 0;
}

_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one layout");

int fstat64(int fd, struct stat64 *status)
{
    OsFile *file = sched_here() ? os_fd_file(fd) : NULL;

    if (!file) {
        return REAL(fstat64)(fd, status);
    }
    fill_status(file, (struct stat *)status);
    return 0;
}

FILE *fdopen(int fd, const char *mode)
{
    if (sched_here() && os_fd_file(fd)) {
        sched_fail("unmodelled", "fdopen of a simulated descriptor is not modelled");
    }
    return REAL(fdopen)(fd, mode);
}
