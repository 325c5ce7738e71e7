/*
 * What the lane's targets share: io threads around a scenario, coroutines in them, and a way to wait for these that wakes nobody else.
 * Main thread unless said otherwise.
 */
#ifndef WAKEFUZZ_FUZZ_QEMU_SCENARIO_H
#define WAKEFUZZ_FUZZ_QEMU_SCENARIO_H

#include "qemu/osdep.h"

#include "block/aio-wait.h"
#include "block/block.h"
#include "fuzz/fuzz.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#if __has_include("qobject/qdict.h")
#include "qobject/qdict.h"
#else /* before QEMU 10.0 */
#include "qapi/qmp/qdict.h"
#endif
#if __has_include("system/iothread.h")
#include "system/block-backend.h"
#include "system/iothread.h"
#else /* before QEMU 10.0 */
#include "sysemu/block-backend.h"
#include "sysemu/iothread.h"
#endif

#define SCENARIO_THREADS_MAX 4u

/*
 * How long a sleep lasts that somebody is to end. A second of virtual time costs nothing, and each execution has a day of it; on real threads it is
 * as long as the caches' in QEMU by default, so that a wake which is lost shows itself as a hang.
 */
#ifdef LANE_NATIVE
#define SCENARIO_INTERVAL_S 600
#else
#define SCENARIO_INTERVAL_S 1
#endif

/* A counter for invariants: no scheduling point, and no order between threads that a sanitizer could take for the program's. Any thread. */
typedef _Atomic int ScenarioCounter;

/* Add to it; returns its new value. */
static inline int scenario_count(ScenarioCounter *counter, int change)
{
    return __c11_atomic_fetch_add(counter, change, __ATOMIC_RELAXED) + change;
}

typedef struct Scenario {
    IOThread *threads[SCENARIO_THREADS_MAX];
    unsigned thread_count;
    /* Coroutines under way. A mutex and a condition, not a kick: that would wake a main thread which missed its own, and hide the bug. */
    QemuMutex lock;
    QemuCond ended;
    unsigned running; /* under lock */
} Scenario;

/* What QEMU sets up once, without threads and descriptors: for the program that runs a target, before all others. */
void scenario_init_qemu(void);

/* Start thread_count (0 to SCENARIO_THREADS_MAX) io threads. */
void scenario_begin(Scenario *scenario, unsigned thread_count);

/* All of these bytes from a descriptor that blocks; false: its end, or an error, came first. */
bool scenario_read_all(int fd, void *buffer, size_t bytes);

/* Wait for the coroutines and stop the threads. */
void scenario_end(Scenario *scenario);

/* The main context for 0, else that of an io thread. */
AioContext *scenario_context(Scenario *scenario, unsigned index);

/* Run function(opaque) as a coroutine in the io thread of this index, from 1. */
void scenario_start(Scenario *scenario, unsigned index, void (*function)(void *), void *opaque);

/* Wait until all coroutines of scenario_start() have ended. */
void scenario_wait(Scenario *scenario);

/* Let what is ready in the running coroutine's context have a turn. In a coroutine. */
void coroutine_fn scenario_pause(void);

/* A node of the null-co driver, which completes at once, or with a latency by a timer; to be given back by bdrv_unref(). */
BlockDriverState *scenario_open_null(const char *name, int64_t bytes, int64_t latency_ns);

/* A backend in the context of this index (see scenario_context()) with this medium. */
BlockBackend *scenario_new_backend(Scenario *scenario, unsigned index, BlockDriverState *medium);

#endif
