/* Waiting for several descriptors: what poll and select share. Fibers only. */
#ifndef WAKEFUZZ_OS_POLL_H
#define WAKEFUZZ_OS_POLL_H

#include <poll.h>
#include <stdbool.h>

#include "sched/sched.h"

#define OS_POLL_ALWAYS (POLLERR | POLLHUP | POLLNVAL) /* what poll reports though nobody asked */

/*
 * Sleep until something is ready, or until deadline_ns; sets revents, cut down to events and `always`. Descriptors
 * may be simulated, real or negative (ignored). Returns how many have revents, -EINTR when the experiment resumed it,
 * -EINVAL for too many.
 */
int os_poll(struct pollfd *fds, unsigned count, short always, SchedCall call, uint64_t deadline_ns);

/* What names the set in scheduling points: its first descriptor. */
uintptr_t os_poll_object(const struct pollfd *fds, unsigned count);

#endif
