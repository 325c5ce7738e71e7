/*
 * Fibers: stacks that can be switched to, and what the sanitizers keep for each. A coroutine borrows one for its life;
 * a thread's own stack is one, too. For coroutine.c only.
 */
#ifndef WAKEFUZZ_CORE_COROUTINE_FIBER_H
#define WAKEFUZZ_CORE_COROUTINE_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/coroutine_switch.h"
#include "core/queue.h"

typedef struct CoroutineFiber CoroutineFiber;

struct CoroutineFiber {
    CoroutineContext context;   /* valid while suspended */
    bool suspended;             /* not on a processor now */
    const void *stack_low;      /* of a thread's own stack: known only to ASan, and only after the first switch */
    size_t stack_bytes;
    CoroutineFiber *came_from;  /* whose switch brought us here */
    void (*run)(void *);        /* what to do with the next borrower */
    void *run_argument;
    void *asan_fake_stack;
    void *tsan_fiber;
    SLIST_ENTRY(CoroutineFiber) pool_next;
};

/*
 * A fiber from the pool, or a new one, that will call run(argument) when it is switched to. Any thread; not a
 * scheduling point.
 */
CoroutineFiber *coroutine_fiber_get(void (*run)(void *), void *argument);
/* Back to the pool. run() must have switched away for the last time, by coroutine_fiber_switch(). Any thread. */
void coroutine_fiber_put(CoroutineFiber *fiber);
/* Go on with another fiber; returns when somebody switches back. */
void coroutine_fiber_switch(CoroutineFiber *from, CoroutineFiber *to);

/*
 * A lock that is no scheduling point and that no sanitizer reports: held for a few instructions around the pool and
 * the list of coroutines, which must be invisible to the schedule.
 */
void coroutine_spin_lock(void);
void coroutine_spin_unlock(void);

#endif
