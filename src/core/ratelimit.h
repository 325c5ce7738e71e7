/*
 * A rate limit: so many units in a slice of time.
 *
 * What is sent beyond the quota of a slice is allowed, and makes that slice longer: the caller is told how long to wait
 * before it sends more. Any thread; does not block but for its own short lock. From QEMU: include/qemu/ratelimit.h.
 */
#ifndef WAKEFUZZ_CORE_RATELIMIT_H
#define WAKEFUZZ_CORE_RATELIMIT_H

#include <stdint.h>

#include "core/lockable.h"
#include "core/timer.h"

typedef struct RateLimit {
    QemuMutex lock; /* protects the rest */
    int64_t slice_start_ns, slice_end_ns;
    uint64_t slice_quota; /* units; 0: no limit */
    uint64_t slice_ns;
    uint64_t dispatched; /* units in this slice */
} RateLimit;

static inline void ratelimit_init(RateLimit *limit)
{
    *limit = (RateLimit){ 0 };
    qemu_mutex_init(&limit->lock);
}

static inline void ratelimit_destroy(RateLimit *limit)
{
    qemu_mutex_destroy(&limit->lock);
}

/* speed in units a second, at most 2^32; 0 lifts the limit. slice_ns: 1 ns to 1 s. */
static inline void ratelimit_set_speed(RateLimit *limit, uint64_t speed, uint64_t slice_ns)
{
    QEMU_LOCK_GUARD(&limit->lock);
    limit->slice_ns = slice_ns;
    limit->slice_quota = speed * slice_ns / NANOSECONDS_PER_SECOND;
    if (speed && !limit->slice_quota) {
        limit->slice_quota = 1;
    }
}

/* Account for n units; returns for how many ns not to send more, 0 for not at all. n may be 0, to ask. */
static inline int64_t ratelimit_calculate_delay(RateLimit *limit, uint64_t n)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    QEMU_LOCK_GUARD(&limit->lock);
    if (!limit->slice_quota) {
        return 0;
    }
    if (limit->slice_end_ns < now) {
        limit->slice_start_ns = now;
        limit->slice_end_ns = now + (int64_t)limit->slice_ns;
        limit->dispatched = 0;
    }
    limit->dispatched += n;
    if (limit->dispatched < limit->slice_quota) {
        return 0;
    }
    limit->slice_end_ns = limit->slice_start_ns + (int64_t)(limit->dispatched * limit->slice_ns / limit->slice_quota);
    return limit->slice_end_ns - now;
}

#endif
