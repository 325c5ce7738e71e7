/* Pseudo-random numbers: splitmix64 over a hashed seed. Unhashed neighbouring seeds would give overlapping streams. */
#ifndef WAKEFUZZ_SCHED_RANDOM_H
#define WAKEFUZZ_SCHED_RANDOM_H

#include <stdint.h>

typedef struct SchedRandom {
    uint64_t state;
} SchedRandom;

static inline uint64_t sched_mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline void sched_random_seed(SchedRandom *random, uint64_t seed)
{
    random->state = sched_mix64(sched_mix64(seed + 0x9e3779b97f4a7c15u) ^ 0xd1b54a32d192ed03u);
}

static inline uint64_t sched_random(SchedRandom *random)
{
    return sched_mix64(random->state += 0x9e3779b97f4a7c15u);
}

/* Uniform in [0, n), n > 0. */
static inline uint32_t sched_random_below(SchedRandom *random, uint32_t n)
{
    return (uint32_t)(((sched_random(random) >> 32) * n) >> 32);
}

#endif
