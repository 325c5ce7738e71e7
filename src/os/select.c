/* select and pselect, on top of the poll model. A set bit is one request; what the kernel's select takes for
 * readable, writable and exceptional differs from poll's in that an error or a hangup alone is none of its business. */
#include <string.h>
#include <sys/select.h>
#include <sys/time.h>

#include "os/clock.h"
#include "os/fd.h"
#include "os/poll.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(select)
REAL_SYMBOL(pselect)

#define READS_AS  (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define WRITES_AS (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define EXCEPTS   POLLPRI

typedef struct Sets {
    fd_set *reads, *writes, *excepts;
} Sets;

static bool in(int fd, fd_set *set)
{
    return set && FD_ISSET(fd, set);
}

static short wanted(const Sets *sets, int fd)
{
    return (short)((in(fd, sets->reads) ? READS_AS : 0) | (in(fd, sets->writes) ? WRITES_AS : 0) |
                   (in(fd, sets->excepts) ? EXCEPTS : 0));
}

static unsigned requests(const Sets *sets, int end, struct pollfd *fds)
{
    unsigned count = 0;

    for (int fd = 0; fd < end; fd++) {
        short events = wanted(sets, fd);

        if (events) {
            fds[count++] = (struct pollfd){ .fd = fd, .events = events };
        }
    }
    return count;
}

/* Leave only what is ready in one of the sets. How many. */
static int keep(fd_set *set, int end, const struct pollfd *fds, unsigned count, short mask)
{
    fd_set ready;
    int kept = 0;

    if (!set) {
        return 0;
    }
    FD_ZERO(&ready);
    for (unsigned i = 0; i < count; i++) {
        if (FD_ISSET(fds[i].fd, set) && (fds[i].revents & mask)) {
            FD_SET(fds[i].fd, &ready);
            kept++;
        }
    }
    memcpy(set, &ready, ((size_t)end + 63) / 64 * 8);
    return kept;
}

static uintptr_t object_of(const Sets *sets, int end)
{
    for (int fd = 0; fd < end && fd < FD_SETSIZE; fd++) {
        if (wanted(sets, fd)) {
            return os_fd_object(fd);
        }
    }
    return 0;
}

static int select_until(const Sets *sets, int end, uint64_t deadline_ns)
{
    struct pollfd fds[FD_SETSIZE];
    unsigned count;
    int result;

    if (end < 0 || end > FD_SETSIZE) {
        return -EINVAL;
    }
    count = requests(sets, end, fds);
    result = os_poll(fds, count, POLLNVAL, SCHED_CALL_SELECT, deadline_ns);
    if (result < 0) {
        return result;
    }
    for (unsigned i = 0; i < count; i++) {
        if (fds[i].revents & POLLNVAL) {
            return -EBADF;
        }
    }
    return keep(sets->reads, end, fds, count, READS_AS) + keep(sets->writes, end, fds, count, WRITES_AS) +
           keep(sets->excepts, end, fds, count, EXCEPTS);
}

int select(int end, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts, struct timeval *restrict timeout)
{
    const Sets sets = { reads, writes, excepts };
    uint64_t deadline_ns = SCHED_FOREVER, left_ns;
    int result;

    if (!sched_here()) {
        return REAL(select)(end, reads, writes, excepts, timeout);
    }
    SCHED_POINT(SCHED_CALL_SELECT, object_of(&sets, end));
    if (timeout) {
        if (timeout->tv_sec < 0 || timeout->tv_usec < 0) {
            return (int)os_result(-EINVAL);
        }
        deadline_ns = os_deadline_after((uint64_t)timeout->tv_sec * OS_SECOND_NS + (uint64_t)timeout->tv_usec * 1000);
    }
    result = select_until(&sets, end, deadline_ns);
    if (timeout) { /* Linux stores the time left */
        left_ns = deadline_ns > sched_now_ns() ? deadline_ns - sched_now_ns() : 0;
        *timeout = (struct timeval){ (time_t)(left_ns / OS_SECOND_NS), (suseconds_t)(left_ns % OS_SECOND_NS / 1000) };
    }
    return (int)os_result(result);
}

int pselect(int end, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
            const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
    const Sets sets = { reads, writes, excepts };
    uint64_t span_ns = 0;

    if (!sched_here()) {
        return REAL(pselect)(end, reads, writes, excepts, timeout, mask);
    }
    SCHED_POINT(SCHED_CALL_SELECT, object_of(&sets, end));
    if (timeout) {
        span_ns = os_span_ns(timeout);
        if (span_ns == UINT64_MAX) {
            return (int)os_result(-EINVAL);
        }
    }
    return (int)os_result(select_until(&sets, end, timeout ? os_deadline_after(span_ns) : SCHED_FOREVER));
}
