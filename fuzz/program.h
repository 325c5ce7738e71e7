/*
 * The program under test as the driver sees it: the core, or a foreign program that brings the same few functions. One is linked.
 */
#ifndef WAKEFUZZ_FUZZ_PROGRAM_H
#define WAKEFUZZ_FUZZ_PROGRAM_H

#include "fuzz/fuzz.h"

typedef struct DriverProgram {
    /* Its state cannot be set up twice: each execution is a child of the warmed-up process (forked.h). */
    bool forks;
    /* Prepare what lives as long as the process, and register hooks and leak counters. Kernel thread, after the scheduler, the
     * simulated OS, the oracles and the report are ready; once. */
    void (*init)(void);
    /* Run fuzz_target on the input, from start-up to shutdown of the program. On thread 0 of an execution. */
    void (*run)(FuzzInput *in);
} DriverProgram;

extern const DriverProgram driver_program;

#endif
