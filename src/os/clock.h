/* Clocks of the program in terms of the virtual clock. Fibers only, unless said otherwise. */
#ifndef WAKEFUZZ_OS_CLOCK_H
#define WAKEFUZZ_OS_CLOCK_H

#include <stdint.h>
#include <time.h>

#define OS_SECOND_NS UINT64_C(1000000000)

/* What clock shows when the virtual clock shows 0; UINT64_MAX for a clock that does not exist. Any thread. */
uint64_t os_clock_base_ns(clockid_t clock);

/* Virtual time at which clock shows *time. 0, or EINVAL when the clock does not exist or tv_nsec is out of range.
 * What lies in the past gives a deadline in the past. */
int os_deadline(clockid_t clock, const struct timespec *time, uint64_t *deadline_ns);

/* A span of time in ns; UINT64_MAX when *time is not a valid one. What does not fit is SCHED_FOREVER - 1. */
uint64_t os_span_ns(const struct timespec *time);

/* now + span, at most SCHED_FOREVER - 1. */
uint64_t os_deadline_after(uint64_t span_ns);

struct timespec os_timespec(uint64_t ns);

#endif
