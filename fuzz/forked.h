/*
 * Functions that run in a child of the process: for a program whose state cannot be set up twice. The child starts from the memory that
 * the parent has warmed up, fibers included, and the parent's memory stays as it was.
 *
 * Kernel thread only, between executions.
 */
#ifndef WAKEFUZZ_FUZZ_FORKED_H
#define WAKEFUZZ_FUZZ_FORKED_H

#include <stddef.h>
#include <stdint.h>

/* Memory that parent and children share, zero; exits with status 2 and a message where there is none. */
void *forked_alloc(size_t bytes);

/*
 * Run function(argument) in a child, and wait for its end. The coverage that the child saw counts as this process's. Where the child ends in
 * the middle (a sanitizer has reported, a handler of the fuzzing engine has kept the input), this process ends the same way.
 */
void forked_run(void (*function)(void *), void *argument);

/* For sched_set_namer(): in a child the parent is asked, which reads the debug information once for all children. */
uint32_t forked_namer(void *const *pcs, unsigned n);

#endif
