/*
 * Real descriptors in an execution: files, and what was made before it began or by a library past the simulated OS.
 *
 * 1. No call on one blocks the kernel thread: it is asked with poll(0) first, and where it would block, the fiber
 *    sleeps.
 * 2. Sleepers look again whenever a fiber has read, written or closed any real descriptor. What the world outside
 *    does is not waited for: a program that waits for it is quiescent.
 * 3. The standard streams are not asked: whoever reads our output may be slow, but comes from outside.
 */
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "os/fd.h"
#include "os/real.h"

REAL_SYMBOL(poll)
REAL_SYMBOL(fcntl)

SchedQueue os_real_fd_queue;

void os_real_fd_reset(void)
{
    os_real_fd_queue = (SchedQueue){ 0 };
}

void os_real_fd_changed(void)
{
    sched_queue_wake_all(&os_real_fd_queue);
}

void os_real_fd_wait(int fd, short events, SchedCall call)
{
    SchedBlock block = { .call = call, .object = (const void *)os_fd_object(fd), .deadline_ns = SCHED_FOREVER };
    struct pollfd request = { .fd = fd, .events = events };
    int flags;

    if (fd <= STDERR_FILENO) {
        return;
    }
    flags = REAL(fcntl)(fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK)) {
        return;
    }
    while (REAL(poll)(&request, 1, 0) == 0) {
        SchedWaiter waiter = { 0 };

        sched_queue_add(&os_real_fd_queue, &waiter);
        sched_block(&block);
        sched_queue_remove(&waiter);
    }
}
