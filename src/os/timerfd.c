/*
 * timerfd: expirations on virtual time.
 *
 * 1. Readable while an expiration was not read. The kernel starts a periodic timer again only when it is read or set,
 *    and so do we: one that nobody reads does not keep the clock going for ever.
 * 2. A read returns how many periods have passed, those since the first expiration included.
 */
#include <stdio.h>
#include <sys/timerfd.h>

#include "os/clock.h"
#include "os/fd.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(timerfd_create)
REAL_SYMBOL(timerfd_settime)
REAL_SYMBOL(timerfd_gettime)

static void expired(SchedTimer *timer)
{
    OsFile *file = (OsFile *)((char *)timer - offsetof(OsFile, timer.timer));

    file->timer.ticks++;
    os_file_notify(file, POLLIN);
}

static unsigned timer_poll(OsFile *file)
{
    return file->timer.ticks ? POLLIN : 0;
}

/* Count the periods that have passed since the expiration, and start the next. */
static void forward(OsFile *file)
{
    uint64_t passed;

    if (!file->timer.ticks || !file->timer.interval_ns || file->timer.timer.deadline_ns != SCHED_FOREVER) {
        return;
    }
    passed = (sched_now_ns() - file->timer.due_ns) / file->timer.interval_ns;
    file->timer.ticks += passed;
    file->timer.due_ns += (passed + 1) * file->timer.interval_ns;
    sched_timer_arm(&file->timer.timer, file->timer.due_ns);
}

static ssize_t timer_read(OsFile *file, OsSpan *span)
{
    uint64_t ticks;

    if (span->left < sizeof(ticks)) {
        return -EINVAL;
    }
    if (!file->timer.ticks) {
        return -EAGAIN;
    }
    forward(file);
    ticks = file->timer.ticks;
    file->timer.ticks = 0;
    os_span_store(span, &ticks, sizeof(ticks));
    return sizeof(ticks);
}

static void timer_release(OsFile *file)
{
    sched_timer_disarm(&file->timer.timer);
}

static void timer_describe(OsFile *file, char *buffer, size_t size)
{
    snprintf(buffer, size, file->timer.timer.deadline_ns == SCHED_FOREVER ? ", not armed" : ", armed");
}

static const OsFileKind timer_kind = {
    .name = "timerfd",
    .mode = 0600,
    .poll = timer_poll,
    .read = timer_read,
    .release = timer_release,
    .describe = timer_describe,
};

int timerfd_create(clockid_t clock, int flags)
{
    OsFile *file;

    if (!sched_here()) {
        return REAL(timerfd_create)(clock, flags);
    }
    SCHED_POINT(SCHED_CALL_TIMERFD, 0);
    if ((flags & ~(TFD_CLOEXEC | TFD_NONBLOCK)) ||
        (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)) {
        errno = EINVAL;
        return -1;
    }
    file = os_file_new(&timer_kind, O_RDWR | (flags & TFD_NONBLOCK));
    if (file) {
        file->timer.clock = clock;
        file->timer.timer = (SchedTimer){ .deadline_ns = SCHED_FOREVER, .expired = expired };
    }
    return os_fd_open_new(file, flags & TFD_CLOEXEC);
}

static struct itimerspec setting(OsFile *file)
{
    struct itimerspec value = { .it_interval = os_timespec(file->timer.interval_ns) };
    uint64_t now_ns = sched_now_ns();

    forward(file);
    if (file->timer.timer.deadline_ns != SCHED_FOREVER) { /* armed, so not yet due */
        value.it_value = os_timespec(file->timer.timer.deadline_ns - now_ns);
    }
    return value;
}

static int settime(OsFile *file, int flags, const struct itimerspec *value, struct itimerspec *old)
{
    uint64_t span_ns = os_span_ns(&value->it_value), interval_ns = os_span_ns(&value->it_interval);
    uint64_t deadline_ns = SCHED_FOREVER;

    if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) || span_ns == UINT64_MAX || interval_ns == UINT64_MAX) {
        return -EINVAL;
    }
    if (old) {
        os_writes(old, sizeof(*old));
        *old = setting(file);
    }
    if (span_ns) {
        if (flags & TFD_TIMER_ABSTIME) {
            os_deadline(file->timer.clock, &value->it_value, &deadline_ns);
        } else {
            deadline_ns = os_deadline_after(span_ns);
        }
    }
    file->timer.ticks = 0;
    file->timer.interval_ns = interval_ns;
    file->timer.due_ns = deadline_ns;
    sched_timer_disarm(&file->timer.timer);
    if (deadline_ns <= sched_now_ns()) {
        expired(&file->timer.timer);
    } else {
        sched_timer_arm(&file->timer.timer, deadline_ns);
    }
    return 0;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
    OsFile *file;

    if (!sched_here()) {
        return REAL(timerfd_settime)(fd, flags, value, old);
    }
    SCHED_POINT(SCHED_CALL_TIMERFD, os_fd_object(fd));
    file = os_fd_file(fd);
    if (!file) {
        return REAL(timerfd_settime)(fd, flags, value, old);
    }
    os_reads(value, sizeof(*value));
    return (int)os_result(file->kind == &timer_kind ? settime(file, flags, value, old) : -EINVAL);
}

int timerfd_gettime(int fd, struct itimerspec *value)
{
    OsFile *file;

    if (!sched_here()) {
        return REAL(timerfd_gettime)(fd, value);
    }
    SCHED_POINT(SCHED_CALL_TIMERFD, os_fd_object(fd));
    file = os_fd_file(fd);
    if (!file) {
        return REAL(timerfd_gettime)(fd, value);
    }
    if (file->kind != &timer_kind) {
        errno = EINVAL;
        return -1;
    }
    os_writes(value, sizeof(*value));
    *value = setting(file);
    return 0;
}
