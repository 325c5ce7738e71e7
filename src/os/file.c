/*
 * read and write in all their forms, on simulated and real descriptors.
 *
 * 1. The number is looked up after the scheduling point, as the kernel does when the call arrives there: before it
 *    the number only names the object of the step.
 * 2. Nothing is cut short unless the file has or takes no more.
 */
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/fd.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(read)
REAL_SYMBOL(readv)
REAL_SYMBOL(write)
REAL_SYMBOL(writev)
REAL_SYMBOL(recvfrom)
REAL_SYMBOL(sendto)
extern ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t size);
extern ssize_t __recv_chk(int fd, void *buffer, size_t bytes, size_t size, int flags);
extern void __chk_fail(void) __attribute__((noreturn));
REAL_SYMBOL(__read_chk)
REAL_SYMBOL(__recv_chk)

static ssize_t finish(ssize_t result)
{
    sched_step_value((uint64_t)result);
    return os_result(result);
}

static ssize_t read_simulated(OsFile *file, const struct iovec *vector, int count)
{
    OsSpan span = os_span(vector, count);

    return finish(os_file_read(file, &span, file->flags & O_NONBLOCK));
}

static ssize_t write_simulated(OsFile *file, const struct iovec *vector, int count)
{
    OsSpan span = os_span(vector, count);

    return finish(os_file_write(file, &span, file->flags & O_NONBLOCK));
}

static ssize_t read_one(int fd, void *buffer, size_t bytes)
{
    struct iovec vector = { buffer, bytes };
    OsFile *file = os_fd_file(fd);
    ssize_t result;

    if (file) {
        return read_simulated(file, &vector, 1);
    }
    os_real_fd_wait(fd, POLLIN, SCHED_CALL_READ);
    result = REAL(read)(fd, buffer, bytes);
    os_real_fd_changed();
    return result;
}

ssize_t read(int fd, void *buffer, size_t bytes)
{
    if (!sched_here()) {
        return REAL(read)(fd, buffer, bytes);
    }
    SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));
    return read_one(fd, buffer, bytes);
}

ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t size)
{
    if (!sched_here()) {
        return REAL(__read_chk)(fd, buffer, bytes, size);
    }
    if (bytes > size) {
        __chk_fail();
    }
    SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));
    return read_one(fd, buffer, bytes);
}

ssize_t __recv_chk(int fd, void *buffer, size_t bytes, size_t size, int flags)
{
    if (!sched_here()) {
        return REAL(__recv_chk)(fd, buffer, bytes, size, flags);
    }
    if (bytes > size) {
        __chk_fail();
    }
    return recv(fd, buffer, bytes, flags);
}

ssize_t readv(int fd, const struct iovec *vector, int count)
{
    OsFile *file;
    ssize_t result;

    if (!sched_here()) {
        return REAL(readv)(fd, vector, count);
    }
    SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));
    file = os_fd_file(fd);
    if (file) {
        return count < 0 || count > IOV_MAX ? os_result(-EINVAL) : read_simulated(file, vector, count);
    }
    os_real_fd_wait(fd, POLLIN, SCHED_CALL_READ);
    result = REAL(readv)(fd, vector, count);
    os_real_fd_changed();
    return result;
}

ssize_t write(int fd, const void *buffer, size_t bytes)
{
    struct iovec vector = { (void *)(size_t)buffer, bytes };
    OsFile *file;
    ssize_t result;

    if (!sched_here()) {
        return REAL(write)(fd, buffer, bytes);
    }
    SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));
    file = os_fd_file(fd);
    if (file) {
        return write_simulated(file, &vector, 1);
    }
    os_real_fd_wait(fd, POLLOUT, SCHED_CALL_WRITE);
    result = REAL(write)(fd, buffer, bytes);
    os_real_fd_changed();
    return result;
}

ssize_t writev(int fd, const struct iovec *vector, int count)
{
    OsFile *file;
    ssize_t result;

    if (!sched_here()) {
        return REAL(writev)(fd, vector, count);
    }
    SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));
    file = os_fd_file(fd);
    if (file) {
        return count < 0 || count > IOV_MAX ? os_result(-EINVAL) : write_simulated(file, vector, count);
    }
    os_real_fd_wait(fd, POLLOUT, SCHED_CALL_WRITE);
    result = REAL(writev)(fd, vector, count);
    os_real_fd_changed();
    return result;
}

/* ---- with an address: a simulated pair has none, real sockets are not modelled */

ssize_t recvfrom(int fd, void *restrict buffer, size_t bytes, int flags, struct sockaddr *restrict from,
                 socklen_t *restrict length)
{
    if (!sched_here()) {
        return REAL(recvfrom)(fd, buffer, bytes, flags, from, length);
    }
    if (!os_fd_file(fd)) {
        sched_fail("unmodelled", "recvfrom on a real descriptor is not modelled");
    }
    if (length) {
        *length = 0;
    }
    return recv(fd, buffer, bytes, flags);
}

ssize_t sendto(int fd, const void *buffer, size_t bytes, int flags, const struct sockaddr *to, socklen_t length)
{
    if (!sched_here()) {
        return REAL(sendto)(fd, buffer, bytes, flags, to, length);
    }
    if (!os_fd_file(fd)) {
        sched_fail("unmodelled", "sendto on a real descriptor is not modelled");
    }
    return to ? os_result(-EISCONN) : send(fd, buffer, bytes, flags);
}
