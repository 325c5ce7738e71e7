/*
 * The program under test in flavour native: real threads, the real kernel. Its part of native.c: the core, or a foreign program. One is linked.
 */
#ifndef WAKEFUZZ_FUZZ_NATIVE_H
#define WAKEFUZZ_FUZZ_NATIVE_H

#include "fuzz/fuzz.h"

#define NATIVE_HANG (-1) /* no status of waitpid() */

typedef struct NativeProgram {
    /* Prepare what lives as long as the process. Main thread, once. */
    void (*init)(void);
    /* Run fuzz_target on the input, from start-up to shutdown of the program. Main thread. */
    void (*run)(FuzzInput *in);
    /*
     * NULL: run() may be called again and again. Else its state cannot be set up twice, and this runs function(opaque) in a child, for so many
     * seconds at most. Returns how it ended: a status of waitpid(), or NATIVE_HANG after its stacks were printed and it was killed.
     */
    int (*in_child)(void (*function)(void *), void *opaque, int seconds);
} NativeProgram;

extern const NativeProgram native_program;

/* For .in_child; exits with status 2 and a message where the machine cannot. The child's folder is a new one below the process's own, and is
 * gone at exit(). Main thread. */
int native_in_child(void (*function)(void *), void *opaque, int seconds);

#endif
