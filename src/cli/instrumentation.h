/*
 * How a program was instrumented, read off its machine code: the calls into the sanitizers' runtimes that stand in its own functions. One
 * thread.
 *
 * The runtimes and the fuzzing engine are linked into the program, and call themselves by the thousand: a count of all calls, such as
 * OSS-Fuzz makes, is high in a program without any instrumentation.
 */
#ifndef WAKEFUZZ_CLI_INSTRUMENTATION_H
#define WAKEFUZZ_CLI_INSTRUMENTATION_H

#include <stdbool.h>

enum { RUNTIME_ASAN, RUNTIME_MSAN, RUNTIME_TSAN, RUNTIME_UBSAN, RUNTIMES };
extern const char *const instrumentation_runtimes[RUNTIMES]; /* prefixes of their functions: "__asan" */

typedef struct Instrumentation {
    unsigned functions;           /* of the program and of what watches it: not the runtimes', nor the engine's */
    unsigned calls[RUNTIMES];     /* in these functions */
    unsigned all_calls[RUNTIMES]; /* in all functions there are, the runtimes' too: what OSS-Fuzz counts */
    unsigned watching[RUNTIMES]; /* in functions of the scheduler, the simulated OS, the oracles and the report: none is right */
    bool profiled; /* it counts for a coverage report */
} Instrumentation;

/* False where the file is no program for x86-64 with a symbol table; *trouble says why. Free it. */
bool instrumentation_read(const char *path, Instrumentation *found, char **trouble);

#endif
