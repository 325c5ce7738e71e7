/*
 * poll, ppoll, g_poll.
 *
 *     step | who waits                                      | who makes it ready
 *     -----+------------------------------------------------+-----------------------------------------
 *        1 | point; asks each file: nothing is ready        |
 *        2 | joins each file's queue, sleeps (1-2: one step) |
 *        3 |                                                | point; changes a file, os_file_notify
 *        4 | runs, leaves all queues, asks each file again  |
 *
 * 1. Level-triggered: what counts is what the files say when the waiter runs, not who woke it. It sleeps again when
 *    nothing is ready.
 * 2. A file that somebody sleeps on stays open until the sleeper runs, though its last number may be closed meanwhile.
 * 3. After the deadline the files are asked once more.
 */
#include "os/poll.h"

#include <alloca.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/fd.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(poll)
REAL_SYMBOL(ppoll)
extern int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t bytes);
extern int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t bytes);
extern void __chk_fail(void) __attribute__((noreturn));
REAL_SYMBOL(__poll_chk)
REAL_SYMBOL(__ppoll_chk)

#define COUNT_MAX 4096u

typedef struct PollWait {
    SchedWaiter waiter;
    OsFile *file; /* NULL: real */
} PollWait;

static short poll_one(const struct pollfd *request, short always)
{
    OsFile *file;
    struct pollfd real = { .fd = request->fd, .events = request->events };

    if (request->fd < 0) {
        return 0;
    }
    file = os_fd_file(request->fd);
    if (file) {
        return (short)(file->kind->poll(file) & (unsigned short)(request->events | always));
    }
    REAL(poll)(&real, 1, 0);
    return real.revents & (short)(request->events | always);
}

static int scan(struct pollfd *fds, unsigned count, short always)
{
    int ready = 0;

    for (unsigned i = 0; i < count; i++) {
        fds[i].revents = poll_one(&fds[i], always);
        ready += fds[i].revents != 0;
    }
    return ready;
}

static void join(const struct pollfd *fds, unsigned count, PollWait *waits)
{
    for (unsigned i = 0; i < count; i++) {
        OsFile *file = os_fd_file(fds[i].fd);

        waits[i] = (PollWait){
            .file = file,
            .waiter.data = (uint64_t)(unsigned short)fds[i].events | POLLERR | POLLHUP,
        };
        if (file) {
            os_file_hold(file);
            sched_queue_add(&file->queue, &waits[i].waiter);
        } else if (fds[i].fd >= 0) {
            sched_queue_add(&os_real_fd_queue, &waits[i].waiter);
        }
    }
}

static void leave(unsigned count, PollWait *waits)
{
    for (unsigned i = 0; i < count; i++) {
        sched_queue_remove(&waits[i].waiter);
        if (waits[i].file) {
            os_file_drop(waits[i].file);
        }
    }
}

uintptr_t os_poll_object(const struct pollfd *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (fds[i].fd >= 0 && fds[i].events) {
            return os_fd_object(fds[i].fd);
        }
    }
    return 0;
}

int os_poll(struct pollfd *fds, unsigned count, short always, SchedCall call, uint64_t deadline_ns)
{
    SchedBlock block = {
        .call = call,
        .spurious_ok = true,
        .object = (const void *)os_poll_object(fds, count),
        .deadline_ns = deadline_ns,
    };
    PollWait *waits = NULL;
    int ready;

    if (count > COUNT_MAX) {
        return -EINVAL;
    }
    while ((ready = scan(fds, count, always)) == 0 && sched_now_ns() < deadline_ns) {
        SchedWake wake;

        if (sched_disturb(2)) {
            return -EINTR;
        }
        waits = waits ? waits : alloca(count * sizeof(*waits) + 1);
        join(fds, count, waits);
        wake = sched_block(&block);
        leave(count, waits);
        if (wake == SCHED_SPURIOUS) {
            return -EINTR;
        }
    }
    sched_step_value((uint64_t)ready);
    return ready;
}

static int poll_until(struct pollfd *fds, nfds_t count, uint64_t deadline_ns)
{
    if (count > COUNT_MAX) {
        return (int)os_result(-EINVAL);
    }
    os_writes(fds, count * sizeof(*fds));
    return (int)os_result(os_poll(fds, (unsigned)count, OS_POLL_ALWAYS, SCHED_CALL_POLL, deadline_ns));
}

static uint64_t deadline_of_ms(int timeout_ms)
{
    return timeout_ms < 0 ? SCHED_FOREVER : os_deadline_after((uint64_t)timeout_ms * 1000000);
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (!sched_here()) {
        return REAL(poll)(fds, count, timeout_ms);
    }
    SCHED_POINT(SCHED_CALL_POLL, os_poll_object(fds, (unsigned)count));
    return poll_until(fds, count, deadline_of_ms(timeout_ms));
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t bytes)
{
    if (!sched_here()) {
        return REAL(__poll_chk)(fds, count, timeout_ms, bytes);
    }
    if (bytes / sizeof(*fds) < count) {
        __chk_fail();
    }
    SCHED_POINT(SCHED_CALL_POLL, os_poll_object(fds, (unsigned)count));
    return poll_until(fds, count, deadline_of_ms(timeout_ms));
}

static int poll_span(struct pollfd *fds, nfds_t count, const struct timespec *timeout)
{
    uint64_t deadline_ns = SCHED_FOREVER, span_ns;

    if (timeout) {
        os_reads(timeout, sizeof(*timeout));
        span_ns = os_span_ns(timeout);
        if (span_ns == UINT64_MAX) {
            return (int)os_result(-EINVAL);
        }
        deadline_ns = os_deadline_after(span_ns);
    }
    return poll_until(fds, count, deadline_ns);
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    if (!sched_here()) {
        return REAL(ppoll)(fds, count, timeout, mask);
    }
    SCHED_POINT(SCHED_CALL_POLL, os_poll_object(fds, (unsigned)count));
    return poll_span(fds, count, timeout);
}

int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t bytes)
{
    if (!sched_here()) {
        return REAL(__ppoll_chk)(fds, count, timeout, mask, bytes);
    }
    if (bytes / sizeof(*fds) < count) {
        __chk_fail();
    }
    SCHED_POINT(SCHED_CALL_POLL, os_poll_object(fds, (unsigned)count));
    return poll_span(fds, count, timeout);
}

/* GLib's; its GPollFD is laid out as struct pollfd. Defined here so that a step's code address is the program's, not
 * GLib's. */
int g_poll(struct pollfd *fds, unsigned count, int timeout_ms);
int g_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
    if (!sched_here()) {
        return REAL(poll)(fds, count, timeout_ms);
    }
    SCHED_POINT(SCHED_CALL_POLL, os_poll_object(fds, count));
    return poll_until(fds, count, deadline_of_ms(timeout_ms));
}
