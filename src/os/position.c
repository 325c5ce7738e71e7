/*
 * Reading and writing at an offset, and the other calls that only files with a position answer: lseek, ftruncate, fsync.
 *
 * 1. What is not a regular file says so as Linux does: a pipe or socket has no position (ESPIPE), an eventfd or timerfd neither, but
 *    lets itself be moved.
 * 2. Data written is on the disk at once: fsync and fdatasync are points, and do nothing.
 */
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/fd.h"
#include "os/real.h"

REAL_SYMBOL(pread)
REAL_SYMBOL(pwrite)
REAL_SYMBOL(preadv)
REAL_SYMBOL(pwritev)
REAL_SYMBOL(preadv2)
REAL_SYMBOL(pwritev2)
REAL_SYMBOL(lseek)
REAL_SYMBOL(ftruncate)
REAL_SYMBOL(fsync)
REAL_SYMBOL(fdatasync)
REAL_SYMBOL(fallocate)
REAL_SYMBOL(posix_fallocate)

_Static_assert(sizeof(off_t) == sizeof(off64_t), "one calling convention");

static bool simulated(int fd)
{
    return sched_here() && os_fd_file(fd);
}

/* ---- at an offset */

static ssize_t read_at(int fd, const struct iovec *vector, int count, off_t offset)
{
    OsFile *file = os_fd_file(fd);
    OsSpan span;
    ssize_t result;

    if (offset < 0 || count < 0 || count > IOV_MAX) {
        return os_result(-EINVAL);
    }
    if (!file) {
        return os_result(-EBADF); /* closed while the caller was at its point */
    }
    if (!file->kind->read_at) {
        return os_result(-ESPIPE);
    }
    if ((file->flags & O_ACCMODE) == O_WRONLY) {
        return os_result(-EBADF);
    }
    span = os_span(vector, count);
    result = file->kind->read_at(file, &span, offset);
    sched_step_value((uint64_t)result);
    return os_result(result);
}

static ssize_t write_at(int fd, const struct iovec *vector, int count, off_t offset)
{
    OsFile *file = os_fd_file(fd);
    OsSpan span;
    ssize_t result;

    if (offset < 0 || count < 0 || count > IOV_MAX) {
        return os_result(-EINVAL);
    }
    if (!file) {
        return os_result(-EBADF);
    }
    if (!file->kind->write_at) {
        return os_result(-ESPIPE);
    }
    if ((file->flags & O_ACCMODE) == O_RDONLY) {
        return os_result(-EBADF);
    }
    span = os_span(vector, count);
    result = file->kind->write_at(file, &span, offset);
    sched_step_value((uint64_t)result);
    return os_result(result);
}

ssize_t pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    struct iovec vector = { buffer, bytes };

    if (!simulated(fd)) {
        return REAL(pread)(fd, buffer, bytes, offset);
    }
    SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));
    return read_at(fd, &vector, 1, offset);
}

ssize_t pread64(int fd, void *buffer, size_t bytes, off64_t offset)
{
    struct iovec vector = { buffer, bytes };

    if (!simulated(fd)) {
        return REAL(pread)(fd, buffer, bytes, offset);
    }
    SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));
    return read_at(fd, &vector, 1, offset);
}

ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    struct iovec vector = { (void *)(size_t)buffer, bytes };

    if (!simulated(fd)) {
        return REAL(pwrite)(fd, buffer, bytes, offset);
    }
    SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));
    return write_at(fd, &vector, 1, offset);
}

ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off64_t offset)
{
    struct iovec vector = { (void *)(size_t)buffer, bytes };

    if (!simulated(fd)) {
        return REAL(pwrite)(fd, buffer, bytes, offset);
    }
    SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));
    return write_at(fd, &vector, 1, offset);
}

#define READV(name)                                                           \
    ssize_t name(int fd, const struct iovec *vector, int count, off_t offset) \
    {                                                                         \
        if (!simulated(fd)) {                                                 \
            return REAL(preadv)(fd, vector, count, offset);                   \
        }                                                                     \
        SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));                       \
        return read_at(fd, vector, count, offset);                            \
    }
READV(preadv)
READV(preadv64)

#define WRITEV(name)                                                          \
    ssize_t name(int fd, const struct iovec *vector, int count, off_t offset) \
    {                                                                         \
        if (!simulated(fd)) {                                                 \
            return REAL(pwritev)(fd, vector, count, offset);                  \
        }                                                                     \
        SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));                      \
        return write_at(fd, vector, count, offset);                           \
    }
WRITEV(pwritev)
WRITEV(pwritev64)

/* With flags: those that say how soon the data must be on the disk change nothing. Offset -1 is the file's own position. */
static void check_flags(int fd, int flags)
{
    if (flags & ~(RWF_DSYNC | RWF_SYNC | RWF_HIPRI)) {
        sched_fail("unmodelled", "preadv2 or pwritev2 with flags %#x on descriptor %d is not modelled", flags, fd);
    }
}

#define READV2(name)                                                                     \
    ssize_t name(int fd, const struct iovec *vector, int count, off_t offset, int flags) \
    {                                                                                    \
        if (!simulated(fd)) {                                                            \
            return REAL(preadv2)(fd, vector, count, offset, flags);                      \
        }                                                                                \
        check_flags(fd, flags);                                                          \
        if (offset == -1) {                                                              \
            return readv(fd, vector, count);                                             \
        }                                                                                \
        SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));                                  \
        return read_at(fd, vector, count, offset);                                       \
    }
READV2(preadv2)
READV2(preadv64v2)

#define WRITEV2(name)                                                                    \
    ssize_t name(int fd, const struct iovec *vector, int count, off_t offset, int flags) \
    {                                                                                    \
        if (!simulated(fd)) {                                                            \
            return REAL(pwritev2)(fd, vector, count, offset, flags);                     \
        }                                                                                \
        check_flags(fd, flags);                                                          \
        if (offset == -1) {                                                              \
            return writev(fd, vector, count);                                            \
        }                                                                                \
        SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));                                 \
        return write_at(fd, vector, count, offset);                                      \
    }
WRITEV2(pwritev2)
WRITEV2(pwritev64v2)

/* ---- the position itself */

static off_t seek_simulated(int fd, off_t offset, int whence)
{
    OsFile *file = os_fd_file(fd);
    mode_t mode = file->kind->mode;

    if (file->kind->seek) {
        return os_result(file->kind->seek(file, offset, whence));
    }
    return S_ISFIFO(mode) || S_ISSOCK(mode) ? os_result(-ESPIPE) : 0;
}

off_t lseek(int fd, off_t offset, int whence)
{
    return simulated(fd) ? seek_simulated(fd, offset, whence) : REAL(lseek)(fd, offset, whence);
}

off64_t lseek64(int fd, off64_t offset, int whence)
{
    return simulated(fd) ? seek_simulated(fd, offset, whence) : REAL(lseek)(fd, offset, whence);
}

/* ---- size and disk */

static int truncate_simulated(int fd, off_t size)
{
    OsFile *file = os_fd_file(fd);

    if (!file) {
        return (int)os_result(-EBADF);
    }
    return (int)os_result(file->kind->truncate ? file->kind->truncate(file, size) : -EINVAL);
}

int ftruncate(int fd, off_t size)
{
    if (!simulated(fd)) {
        return REAL(ftruncate)(fd, size);
    }
    SCHED_POINT(SCHED_CALL_FILE, os_fd_object(fd));
    return truncate_simulated(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    if (!simulated(fd)) {
        return REAL(ftruncate)(fd, size);
    }
    SCHED_POINT(SCHED_CALL_FILE, os_fd_object(fd));
    return truncate_simulated(fd, size);
}

static int sync_simulated(int fd)
{
    OsFile *file = os_fd_file(fd);

    if (!file) {
        return (int)os_result(-EBADF);
    }
    return S_ISREG(file->kind->mode) ? 0 : (int)os_result(-EINVAL);
}

int fsync(int fd)
{
    if (!simulated(fd)) {
        return REAL(fsync)(fd);
    }
    SCHED_POINT(SCHED_CALL_FILE, os_fd_object(fd));
    return sync_simulated(fd);
}

int fdatasync(int fd)
{
    if (!simulated(fd)) {
        return REAL(fdatasync)(fd);
    }
    SCHED_POINT(SCHED_CALL_FILE, os_fd_object(fd));
    return sync_simulated(fd);
}

/* The real kernel would say EBADF to a number that is not its own. */
static void refuse(const char *call, int fd)
{
    if (simulated(fd)) {
        sched_fail("unmodelled", "%s on a simulated descriptor is not modelled", call);
    }
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    refuse("fallocate", fd);
    return REAL(fallocate)(fd, mode, offset, bytes);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t bytes)
{
    refuse("fallocate", fd);
    return REAL(fallocate)(fd, mode, offset, bytes);
}

int posix_fallocate(int fd, off_t offset, off_t bytes)
{
    refuse("posix_fallocate", fd);
    return REAL(posix_fallocate)(fd, offset, bytes);
}

int posix_fallocate64(int fd, off64_t offset, off64_t bytes)
{
    refuse("posix_fallocate", fd);
    return REAL(posix_fallocate)(fd, offset, bytes);
}
