/*
 * The schedule of a finding, step by step in a debugger: for the programs that wakefuzz promote generates, which bring main(), the input and
 * the table of stops, and are linked with what TARGET-replay is made of. Kernel thread, once in a process.
 */
#ifndef WAKEFUZZ_FUZZ_STEP_H
#define WAKEFUZZ_FUZZ_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A step before which the program stops. */
typedef struct WakefuzzStop {
    size_t step;
    unsigned thread;      /* its number; 65535: the clock */
    bool marked;          /* it is a step of the bug */
    bool switched;        /* another thread ran before it */
    const char *who;      /* "iothread0", "iothread0 [co 1]" */
    const char *function; /* in which it is made */
    const char *place;    /* "src/core/graph_lock.c:236" */
    const char *what;     /* it is about to do: "reader_count 1 -> 0" */
} WakefuzzStop;

typedef struct WakefuzzSchedule {
    const uint8_t *input;
    size_t input_bytes;
    const WakefuzzStop *stops; /* in order of steps */
    size_t stop_count;
    const char *verdict; /* what it showed when this was generated, */
    const char *hash;    /* and the trace hash */
    bool empty;          /* the empty input is the finding: it happens as the program starts */
} WakefuzzSchedule;

/* The generated program's: called at each stop, on the stack of the thread whose step comes next. */
void wakefuzz_step(const WakefuzzStop *stop);

/*
 * Run the schedule: at each stop print a line and call wakefuzz_step(), and print the report at the end. Returns the exit status: 1 the same
 * execution showed the same verdict, 0 no finding (any more), 2 it has become another execution, and a line on stderr says so.
 */
int wakefuzz_walk(const WakefuzzSchedule *schedule);

#endif
