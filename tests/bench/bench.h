/*
 * What the benchmarks share: a clock, medians, one scheduler, and --quick.
 *
 * A benchmark prints a table. With --quick it does everything once at a small size and checks what it can: that the numbers are there
 * and the work was done. It compares no times with a limit, as machines differ; so the benchmarks never rot and never flicker.
 *
 * 1. An execution runs on one kernel thread, so its processor time is its cost, and other load on the machine does not enter it.
 */
#ifndef WAKEFUZZ_TESTS_BENCH_BENCH_H
#define WAKEFUZZ_TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sched/sched.h"

#define BENCH_ROUNDS 9u /* odd: the median is one of them */

/* The system call and not the function, so that a fiber too gets the machine's time and not the virtual one. */
static inline double bench_clock_ns(clockid_t clock)
{
    struct timespec now;

    sched_passthrough_begin();
    syscall(SYS_clock_gettime, clock, &now);
    sched_passthrough_end();
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline double bench_now_ns(void)
{
    return bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static inline double bench_median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), bench_compare);
    return values[count / 2];
}

/* Run the body; it must end well, or the benchmark fails. */
static inline const SchedResult *bench_run(void (*body)(void *), void *argument, const SchedPlan *plan, const SchedLimits *limits)
{
    const SchedResult *result = sched_run(body, argument, plan, limits);

    if (result->outcome != SCHED_DONE) {
        fprintf(stderr, "bench: an execution ended with outcome %d: %s\n", (int)result->outcome,
                result->message ? result->message : "");
        exit(1);
    }
    return result;
}

static inline void bench_check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench: %s\n", what);
        exit(1);
    }
}

/* Prepare the scheduler; returns whether --quick was given. */
static inline bool bench_init(int argc, char **argv)
{
    bool quick = argc == 2 && strcmp(argv[1], "--quick") == 0;

    if (argc > 1 && !quick) {
        fprintf(stderr, "usage: %s [--quick]\n", argv[0]);
        exit(2);
    }
    bench_check(sched_init() == 0, "the scheduler cannot be prepared");
    return quick;
}

#endif
