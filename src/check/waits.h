/*
 * Who waits for whom, at the end of an execution.
 */
#ifndef WAKEFUZZ_CHECK_WAITS_H
#define WAKEFUZZ_CHECK_WAITS_H

#include "check/trace.h"

typedef struct CheckWait {
    uint32_t waiter;
    uint32_t holder;   /* of what it waits for, or the thread that it joins; CHECK_NO_THREAD: nobody in particular */
    SchedCall call;
    bool in_cycle;     /* following the holders leads back to the waiter */
    size_t sleep_step; /* where it went to sleep, or CHECK_NO_STEP */
    size_t taken_step; /* where the holder took the lock, or CHECK_NO_STEP */
} CheckWait;

/* Fill waits[] with the blocked threads, in order of their ids; returns how many there are (at most max). Kernel
 * thread, after an execution; never blocks. */
unsigned check_waits(CheckTrace trace, CheckWait *waits, unsigned max);

#endif
