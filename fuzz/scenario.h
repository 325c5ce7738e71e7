/*
 * What the targets on the core share: a main loop with some io threads around a scenario, coroutines in them, and a way to wait for
 * these that wakes nobody else. Main thread unless said otherwise.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_H
#define WAKEFUZZ_FUZZ_SCENARIO_H

#include "core/aio_wait.h"
#include "core/coroutine.h"
#include "core/iothread.h"
#include "core/main_loop.h"
#include "core/thread.h"

#define SCENARIO_THREADS_MAX 4u

typedef struct Scenario {
    IOThread *threads[SCENARIO_THREADS_MAX];
    unsigned thread_count;
    /* Coroutines under way in io threads. A mutex and a condition, not a kick: a kick would wake a main thread that missed its own,
     * and hide the bug that we hunt. */
    QemuMutex lock;
    QemuCond ended;
    unsigned running; /* under lock */
    unsigned running_main; /* those in the main context: main thread only */
    int ending; /* raw: the target has begun to end its world */
} Scenario;

/* Numbers that only invariants and windows need: raw atomics, no points and no part of the program (so not core/atomic.h). Any thread. */
static inline int scenario_get(const int *number)
{
    return __atomic_load_n(number, __ATOMIC_SEQ_CST);
}

static inline void scenario_set(int *number, int value)
{
    __atomic_store_n(number, value, __ATOMIC_SEQ_CST);
}

static inline void scenario_add(int *number, int value)
{
    __atomic_fetch_add(number, value, __ATOMIC_SEQ_CST);
}

static inline bool scenario_is_ending(const Scenario *scenario)
{
    return scenario_get(&scenario->ending);
}

/* Start the main loop and thread_count (0 to SCENARIO_THREADS_MAX) io threads. */
void scenario_begin(Scenario *scenario, unsigned thread_count);

/* Wait for the coroutines, stop the threads, and leave nothing behind. */
void scenario_end(Scenario *scenario);

/* The main context for 0, else that of an io thread. */
AioContext *scenario_context(Scenario *scenario, unsigned index);

/* Run function(opaque) as a coroutine in the context of this index (see scenario_context()). */
void scenario_start(Scenario *scenario, unsigned index, void (*function)(void *), void *opaque);

/* Wait until all coroutines of scenario_start() have ended. */
void scenario_wait(Scenario *scenario);

/* Something else is under way in an io thread, for which scenario_wait() waits; it has ended. Any thread. */
void scenario_enter(Scenario *scenario);
void scenario_leave(Scenario *scenario);

/* Let what is ready in the running coroutine's context have a turn. In a coroutine. */
void scenario_pause(void);

#endif
