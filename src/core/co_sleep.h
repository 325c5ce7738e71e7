/*
 * Sleeping coroutines that a timer or anybody else may wake, from any thread.
 *
 * A QemuCoSleep is a place for one sleeper at a time. A wake is sticky: with nobody asleep
 * it is remembered, and the next sleep returns at once. So a waker need not know whether the sleeper is on its way into
 * its sleep, in it, or on its way out:
 *
 *     sleeper (thread of its context)                 waker (any thread), or the timer
 *     1  reads what it sleeps for                     a  changes what the sleeper reads in 1
 *     2  arms the timer; scheduled = claimed          b  to_wake: exchange with PENDING
 *     3  to_wake: NULL -> itself                      c  found NULL or PENDING: done, the sleeper will see it
 *     4  found PENDING: to_wake = NULL, return        d  found a coroutine: scheduled = NULL, aio_co_wake()
 *     5  yield
 *     6  to_wake = NULL, disarms the timer, back to 1
 *
 * b before 3: the sleeper finds PENDING in 4. b after 3: b finds the sleeper, and exactly one of several wakers does.
 *
 * Invariants
 *  1. to_wake is NULL, PENDING, or a coroutine that sleeps here or is about to yield.
 *  2. Who takes a coroutine out of to_wake wakes it; nobody else does.
 *  3. Wakes coalesce: one sleep consumes all that came before it returned.
 *  4. A sleep may be shorter than was asked for: look again at what you sleep for.
 *
 * From QEMU: util/qemu-coroutine-sleep.c and include/qemu/coroutine.h, with the sticky wake.
 */
#ifndef WAKEFUZZ_CORE_CO_SLEEP_H
#define WAKEFUZZ_CORE_CO_SLEEP_H

#include "core/aio_context.h"
#include "core/coroutine.h"
#include "core/timer.h"

typedef struct QemuCoSleep {
    Coroutine *to_wake; /* atomic; see invariant 1 */
} QemuCoSleep;

/* Make a place where nobody sleeps. Any thread, before the first use. A zeroed one is one too, but a watcher does not
 * know that what was in this memory before is gone. */
void qemu_co_sleep_init(QemuCoSleep *w);

/* Sleep until qemu_co_sleep_wake(w). Coroutines only; yields, or returns at once where a wake is remembered. */
void coroutine_fn qemu_co_sleep(QemuCoSleep *w);

/* The same, but ns nanoseconds (0 or more) at most. The timer is one of the running context. */
void coroutine_fn qemu_co_sleep_ns_wakeable(QemuCoSleep *w, QEMUClockType type, int64_t ns);

/* Sleep that long; nobody can wake the coroutine earlier. Coroutines only; yields. */
void coroutine_fn qemu_co_sleep_ns(QEMUClockType type, int64_t ns);

/*
 * End the sleep on w, or shorten the next one to nothing. Any thread, also inside coroutines; never blocks. A sleeper
 * whose home is this thread runs at once where no coroutine runs, else when that one yields. w must stay until the
 * call returns.
 */
void qemu_co_sleep_wake(QemuCoSleep *w);

/*
 * Run entry(opaque) as a coroutine and wait for it, timeout_ns nanoseconds at most (0: as long as it takes, on the
 * caller's own stack). entry ends in the context in which it begins, the caller's. Returns 0, or -ETIMEDOUT: then entry
 * goes on, and clean(opaque) is called when it has ended; clean may be NULL. Coroutines only; yields. From QEMU:
 * util/qemu-co-timeout.c.
 */
typedef void CleanupFunc(void *opaque);
int coroutine_fn qemu_co_timeout(CoroutineEntry *entry, void *opaque, uint64_t timeout_ns, CleanupFunc *clean);

/*
 * What a watcher may put in: all NULL by default. Set them while nobody sleeps. They are told by the thread that does
 * it: a new place; a wake is called for; the sleeper was found and will go on; a sleep begins; it has ended, and with it
 * all wakes that came before are consumed. The functions take no step of the program.
 */
typedef struct CoSleepHooks {
    void (*init)(const void *w);
    void (*wake)(const void *w);
    void (*delivered)(const void *w);
    void (*begin)(const void *w);
    void (*end)(const void *w);
} CoSleepHooks;

extern CoSleepHooks co_sleep_hooks;

#endif
