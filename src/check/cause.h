/*
 * The root cause of a missed wakeup, read off the trace of the experiment: which write made the waiter's condition
 * true, and what became of the wakeup: what the writer looked at before it decided to wake nobody, or who took the
 * wakeup away that it did send.
 */
#ifndef WAKEFUZZ_CHECK_CAUSE_H
#define WAKEFUZZ_CHECK_CAUSE_H

#include "check/trace.h"

/*
 *   step | waiter                         | waker
 *   -----+--------------------------------+------------------------------------------------
 *      1 | reads OBJECT, finds it wanting |                                     look_step
 *      2 | goes to sleep                  |                                     sleep_step
 *      3 |                                | changes OBJECT                      write_step
 *      4 |                                | reads CHECKED, wakes nobody         check_step
 *     4a |                                | or wakes somebody,                  wake_step
 *     4b |                                | a third thread takes that wakeup    take_step
 *      5 | is resumed by the experiment   |
 *      6 | reads OBJECT again and leaves  |                                     probe_step
 *
 * Steps 2 and 3 come in either order: a waiter that looked before the write and slept after it lost its wakeup just so.
 * The waker may be the waiter itself, which has left itself work where it does not look before it sleeps.
 */
typedef enum CheckCauseKind {
    CHECK_CAUSE_UNKNOWN, /* only waiter, sleep_step are set */
    CHECK_CAUSE_WRITE,   /* an atomic object of the condition was written */
    CHECK_CAUSE_GIVEN,   /* write_step is the wakeup itself: given by waker, and lost (given.h) */
    CHECK_CAUSE_GUARD,   /* the condition is plain data: write_step is where another thread last let its mutex go */
    CHECK_CAUSE_TAKEN,   /* what changed is not known, but a wakeup for the waiter was taken: wake_step, take_step */
    CHECK_CAUSE_EARLY,   /* nor is it, but a wakeup for the waiter came after its look and before its sleep: wake_step */
} CheckCauseKind;

typedef struct CheckCause {
    CheckCauseKind kind;
    uint32_t waiter, waker;    /* thread ids; waker is CHECK_NO_THREAD when unknown */
    uint64_t object;           /* of the condition, as check_step_object() names it; 0: unknown */
    size_t sleep_step;         /* these are indices into the trace, or CHECK_NO_STEP */
    size_t look_step;          /* of a guard: where the waiter took, or gave back, the mutex; CHECK_NO_STEP: it is a guess */
    size_t write_step;
    size_t probe_step;
    size_t check_step;
    size_t check_write_step;   /* who wrote what check_step read; CHECK_NO_STEP: nobody in this execution */
    size_t wake_step;          /* a wakeup by the waker, that did not reach the waiter */
    size_t take_step;          /* where a thread that is not the waiter used that wakeup up; CHECK_NO_STEP: nobody did */
} CheckCause;

/*
 * Find the cause of waiter's being asleep though its successful probe shows that it should not be. Pure; any thread
 * while no execution runs. Always fills *cause; cause->kind says how much was found.
 */
void check_cause_find(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, CheckCause *cause);

#endif
