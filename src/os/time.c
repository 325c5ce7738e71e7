/*
 * Clocks and sleeping, on virtual time (sched/clock.c moves it).
 *
 * 1. A look at a clock is a scheduling point and moves the virtual clock by the scheduler's fixed step; computing a
 *    deadline is not.
 * 2. A sleep ends exactly at its deadline: it is never interrupted, and the time left is 0.
 */
#include <errno.h>
#include <sched.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "sched/sched.h"

#define REALTIME_BASE_S  UINT64_C(1735689600) /* 2025-01-01 00:00:00 UTC */
#define MONOTONIC_BASE_S UINT64_C(1000)       /* not 0: programs take 0 for "never" */
#define TAI_AHEAD_S      UINT64_C(37)

REAL_SYMBOL(clock_gettime)
REAL_SYMBOL(clock_getres)
REAL_SYMBOL(clock)
REAL_SYMBOL(time)
REAL_SYMBOL(gettimeofday)
REAL_SYMBOL(timespec_get)
REAL_SYMBOL(nanosleep)
REAL_SYMBOL(clock_nanosleep)
REAL_SYMBOL(usleep)
REAL_SYMBOL(sleep)
REAL_SYMBOL(sched_yield)

uint64_t os_clock_base_ns(clockid_t clock)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
        return REALTIME_BASE_S * OS_SECOND_NS;
    case CLOCK_TAI:
        return (REALTIME_BASE_S + TAI_AHEAD_S) * OS_SECOND_NS;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        return MONOTONIC_BASE_S * OS_SECOND_NS;
    case CLOCK_PROCESS_CPUTIME_ID:
    case CLOCK_THREAD_CPUTIME_ID:
        return 0;
    default:
        return clock < 0 ? 0 : UINT64_MAX; /* negative: the CPU time of some thread */
    }
}

struct timespec os_timespec(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / OS_SECOND_NS), .tv_nsec = (long)(ns % OS_SECOND_NS) };
}

static bool valid_ns(const struct timespec *time)
{
    return time->tv_nsec >= 0 && time->tv_nsec < (long)OS_SECOND_NS;
}

uint64_t os_span_ns(const struct timespec *time)
{
    uint64_t ns;

    if (!valid_ns(time) || time->tv_sec < 0) {
        return UINT64_MAX;
    }
    if (__builtin_mul_overflow((uint64_t)time->tv_sec, OS_SECOND_NS, &ns) ||
        __builtin_add_overflow(ns, (uint64_t)time->tv_nsec, &ns) || ns == SCHED_FOREVER) {
        return SCHED_FOREVER - 1;
    }
    return ns;
}

int os_deadline(clockid_t clock, const struct timespec *time, uint64_t *deadline_ns)
{
    uint64_t base_ns = os_clock_base_ns(clock), ns;

    if (base_ns == UINT64_MAX || !valid_ns(time)) {
        return EINVAL;
    }
    ns = time->tv_sec < 0 ? 0 : os_span_ns(time);
    *deadline_ns = ns > base_ns ? ns - base_ns : 0;
    return 0;
}

uint64_t os_deadline_after(uint64_t span_ns)
{
    uint64_t deadline_ns;

    if (__builtin_add_overflow(sched_now_ns(), span_ns, &deadline_ns) || deadline_ns == SCHED_FOREVER) {
        return SCHED_FOREVER - 1;
    }
    return deadline_ns;
}

/* ---- looking */

int clock_gettime(clockid_t clock, struct timespec *time)
{
    uint64_t base_ns;

    if (!sched_here()) {
        return REAL(clock_gettime)(clock, time);
    }
    SCHED_POINT(SCHED_CALL_CLOCK, 0);
    base_ns = os_clock_base_ns(clock);
    if (base_ns == UINT64_MAX) {
        errno = EINVAL;
        return -1;
    }
    os_writes(time, sizeof(*time));
    *time = os_timespec(base_ns + sched_look_at_clock_ns());
    return 0;
}

int clock_getres(clockid_t clock, struct timespec *resolution)
{
    if (!sched_here()) {
        return REAL(clock_getres)(clock, resolution);
    }
    if (os_clock_base_ns(clock) == UINT64_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (resolution) {
        os_writes(resolution, sizeof(*resolution));
        *resolution = os_timespec(1);
    }
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;

    if (!sched_here()) {
        return REAL(gettimeofday)(time, zone);
    }
    SCHED_POINT(SCHED_CALL_CLOCK, 0);
    if (zone) {
        os_writes(zone, sizeof(struct timezone));
        *(struct timezone *)zone = (struct timezone){ 0 };
    }
    now = os_timespec(os_clock_base_ns(CLOCK_REALTIME) + sched_look_at_clock_ns());
    os_writes(time, sizeof(*time));
    *time = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *result)
{
    time_t now;

    if (!sched_here()) {
        return REAL(time)(result);
    }
    SCHED_POINT(SCHED_CALL_CLOCK, 0);
    now = os_timespec(os_clock_base_ns(CLOCK_REALTIME) + sched_look_at_clock_ns()).tv_sec;
    if (result) {
        os_writes(result, sizeof(*result));
        *result = now;
    }
    return now;
}

int timespec_get(struct timespec *time, int base)
{
    if (!sched_here()) {
        return REAL(timespec_get)(time, base);
    }
    SCHED_POINT(SCHED_CALL_CLOCK, 0);
    if (base != TIME_UTC) {
        return 0;
    }
    os_writes(time, sizeof(*time));
    *time = os_timespec(os_clock_base_ns(CLOCK_REALTIME) + sched_look_at_clock_ns());
    return base;
}

clock_t clock(void)
{
    if (!sched_here()) {
        return REAL(clock)();
    }
    SCHED_POINT(SCHED_CALL_CLOCK, 0);
    return (clock_t)(sched_look_at_clock_ns() / (OS_SECOND_NS / CLOCKS_PER_SEC));
}

/* ---- sleeping */

static void sleep_until(uint64_t deadline_ns)
{
    SchedBlock block = { .call = SCHED_CALL_SLEEP, .sleeping = true, .deadline_ns = deadline_ns };

    while (sched_now_ns() < deadline_ns) {
        sched_block(&block);
    }
}

int nanosleep(const struct timespec *span, struct timespec *left)
{
    uint64_t ns;

    if (!sched_here()) {
        return REAL(nanosleep)(span, left);
    }
    SCHED_POINT(SCHED_CALL_SLEEP, 0);
    os_reads(span, sizeof(*span));
    ns = os_span_ns(span);
    if (ns == UINT64_MAX) {
        errno = EINVAL;
        return -1;
    }
    sleep_until(os_deadline_after(ns));
    return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    uint64_t deadline_ns, span_ns;

    if (!sched_here()) {
        return REAL(clock_nanosleep)(clock, flags, time, left);
    }
    SCHED_POINT(SCHED_CALL_SLEEP, 0);
    os_reads(time, sizeof(*time));
    span_ns = os_span_ns(time);
    if (span_ns == UINT64_MAX || clock == CLOCK_THREAD_CPUTIME_ID || os_deadline(clock, time, &deadline_ns) != 0) {
        return EINVAL;
    }
    sleep_until(flags & TIMER_ABSTIME ? deadline_ns : os_deadline_after(span_ns));
    return 0;
}

int usleep(useconds_t span_us)
{
    if (!sched_here()) {
        return REAL(usleep)(span_us);
    }
    SCHED_POINT(SCHED_CALL_SLEEP, 0);
    sleep_until(os_deadline_after((uint64_t)span_us * 1000));
    return 0;
}

unsigned sleep(unsigned span_s)
{
    if (!sched_here()) {
        return REAL(sleep)(span_s);
    }
    SCHED_POINT(SCHED_CALL_SLEEP, 0);
    sleep_until(os_deadline_after(span_s * OS_SECOND_NS));
    return 0;
}

int sched_yield(void)
{
    if (!sched_here()) {
        return REAL(sched_yield)();
    }
    sched_yield_point(__builtin_return_address(0), __builtin_frame_address(0));
    return 0;
}

int pthread_yield(void) __asm__("pthread_yield");
int pthread_yield(void)
{
    if (!sched_here()) {
        return REAL(sched_yield)();
    }
    sched_yield_point(__builtin_return_address(0), __builtin_frame_address(0));
    return 0;
}
