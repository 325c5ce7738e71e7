/*
 * eventfd: a counter that can be waited for.
 *
 * 1. Readable while the counter is above 0; writable while 1 more fits (its largest value is 2^64 - 2).
 * 2. A read takes all, or 1 from a semaphore. A write of what does not fit waits until it does.
 * 3. What a writer did before its write happens before what a reader does that took from the counter.
 */
#include <stdio.h>
#include <sys/eventfd.h>

#include "os/fd.h"
#include "os/os.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(eventfd)
REAL_SYMBOL(eventfd_read)
REAL_SYMBOL(eventfd_write)

static unsigned event_poll(OsFile *file)
{
    return (file->event.counter ? POLLIN : 0) | (file->event.counter < UINT64_MAX - 1 ? POLLOUT : 0);
}

/* 0: nothing to take. */
static uint64_t take(OsFile *file)
{
    uint64_t value = file->event.semaphore && file->event.counter ? 1 : file->event.counter;

    if (value) {
        file->event.counter -= value;
        os_acquire(file);
        os_file_notify(file, POLLOUT);
    }
    return value;
}

static ssize_t event_read(OsFile *file, OsSpan *span)
{
    uint64_t value;

    if (span->left < sizeof(value)) {
        return -EINVAL;
    }
    value = take(file);
    if (!value) {
        return -EAGAIN;
    }
    os_span_store(span, &value, sizeof(value));
    return sizeof(value);
}

static int add(OsFile *file, uint64_t value)
{
    if (value == UINT64_MAX) {
        return -EINVAL;
    }
    if (UINT64_MAX - file->event.counter <= value) {
        return -EAGAIN;
    }
    os_release(file);
    file->event.counter += value;
    os_file_notify(file, POLLIN);
    return 0;
}

/* As Linux does it: each piece of a vector is a write of its own, and one of more than 8 bytes, which are ignored, is
 * the last. */
static ssize_t event_write(OsFile *file, OsSpan *span)
{
    OsSpan copy = *span; /* a write that has to wait starts anew */
    size_t piece = os_span_piece(&copy);
    uint64_t value;
    int error;

    if (piece < sizeof(value)) {
        return -EINVAL;
    }
    os_span_fetch(&copy, &value, sizeof(value));
    error = add(file, value);
    if (error) {
        return error;
    }
    *span = copy;
    span->left = piece == sizeof(value) ? span->left : 0;
    return sizeof(value);
}

static void event_describe(OsFile *file, char *buffer, size_t size)
{
    snprintf(buffer, size, ", counter %llu", (unsigned long long)file->event.counter);
}

static const OsFileKind event_kind = {
    .name = "eventfd",
    .mode = 0600,
    .poll = event_poll,
    .read = event_read,
    .write = event_write,
    .describe = event_describe,
};

int eventfd(unsigned counter, int flags)
{
    OsFile *file;
    int fd;

    if (!sched_here()) {
        return REAL(eventfd)(counter, flags);
    }
    SCHED_POINT(SCHED_CALL_EVENTFD, 0);
    if (flags & ~(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK)) {
        errno = EINVAL;
        return -1;
    }
    file = os_file_new(&event_kind, O_RDWR | (flags & EFD_NONBLOCK));
    if (file) {
        file->event.counter = counter;
        file->event.semaphore = flags & EFD_SEMAPHORE;
    }
    fd = os_fd_open_new(file, flags & EFD_CLOEXEC);
    if (fd >= 0) {
        sched_step_value(os_fd_object(fd)); /* so that the report can say which reads and writes are an eventfd's */
    }
    return fd;
}

/* libc's own forms of these two would not be seen by read() and write() */
int eventfd_read(int fd, eventfd_t *value)
{
    struct iovec vector = { value, sizeof(*value) };
    OsSpan span = { .vector = &vector, .left = sizeof(*value) };
    OsFile *file;

    if (!sched_here()) {
        return REAL(eventfd_read)(fd, value);
    }
    SCHED_POINT(SCHED_CALL_READ, os_fd_object(fd));
    file = os_fd_file(fd);
    if (!file) {
        os_real_fd_wait(fd, POLLIN, SCHED_CALL_READ);
        return REAL(eventfd_read)(fd, value);
    }
    return os_result(os_file_read(file, &span, file->flags & O_NONBLOCK)) == sizeof(*value) ? 0 : -1;
}

int eventfd_write(int fd, eventfd_t value)
{
    struct iovec vector = { &value, sizeof(value) };
    OsSpan span = { .vector = &vector, .left = sizeof(value) };
    OsFile *file;
    int result;

    if (!sched_here()) {
        return REAL(eventfd_write)(fd, value);
    }
    SCHED_POINT(SCHED_CALL_WRITE, os_fd_object(fd));
    file = os_fd_file(fd);
    if (!file) {
        os_real_fd_wait(fd, POLLOUT, SCHED_CALL_WRITE);
        result = REAL(eventfd_write)(fd, value);
        os_real_fd_changed();
        return result;
    }
    return os_result(os_file_write(file, &span, file->flags & O_NONBLOCK)) == sizeof(value) ? 0 : -1;
}

bool os_file_is_eventfd(const OsFile *file)
{
    return file->kind == &event_kind;
}

void os_eventfd_complete(OsFile *file)
{
    if (add(file, 1)) {
        os_file_notify(file, POLLIN);
    }
}

int os_eventfd_signal(int fd, uint64_t count)
{
    OsFile *file = os_fd_file(fd);
    uint64_t room;

    if (!file || file->kind != &event_kind) {
        return -EBADF;
    }
    room = UINT64_MAX - 1 - file->event.counter;
    file->event.counter += count < room ? count : room;
    os_file_notify(file, POLLIN);
    return 0;
}
