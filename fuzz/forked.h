/*
 * Functions that run in a child of the process: for a program whose state cannot be set up twice. Children are forked by a server, a child
 * itself, which is as the process was when forked_start() was called: warmed up, and without all that the fuzzing engine piles up later.
 * What a child changes is gone with it, but for shared memory.
 *
 * Kernel thread only, between executions.
 */
#ifndef WAKEFUZZ_FUZZ_FORKED_H
#define WAKEFUZZ_FUZZ_FORKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that parent and children share, zero; exits with status 2 and a message where there is none. */
void *forked_alloc(size_t bytes);

/* How forked_run() goes about it. */
typedef enum ForkedHow {
    FORKED_FRESH,  /* a child of its own */
    FORKED_REWOUND /* a child that others were run in, and whose memory was put back after each (rewind.h); where that cannot be, FRESH */
} ForkedHow;

/*
 * What a child does when a sanitizer or a signal ends it (in the middle of anything: no memory, no locks, on any stack), and then the process,
 * before that ends too. Before forked_start(); static.
 */
void forked_on_death(void (*in_child)(void), void (*in_process)(void));

/* Start the server. Once, when all is warmed up; exits with status 2 and a message where the machine cannot. */
void forked_start(void);

/*
 * Run function in a child, and wait for its end. The coverage that the child saw counts as this process's. Where the child ends in the
 * middle, as a sanitizer, a signal or an exit() of the program ends it, this process ends too: by abort(), so that a fuzzing engine keeps the
 * input. Where no child can be made any more, or the server was killed, it ends with status 2 and a message.
 */
void forked_run(void (*function)(void), ForkedHow how);

/* Is this a child of the process, or the server? What a process does before it dies is not theirs to do. Any thread, signal handlers too. */
bool forked_is_child(void);

/* Children forked until now for forked_run(), of either kind. */
uint64_t forked_children(void);

/* For sched_set_namer(): in a child the parent is asked, which reads the debug information once for all children. */
uint32_t forked_namer(void *const *pcs, unsigned n);

#endif
