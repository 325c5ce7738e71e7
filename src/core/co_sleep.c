/*
 * Sleeping and waking, as co_sleep.h tells.
 *
 * Threads: a sleeper sleeps in the home thread of its context, where its timer runs too; any thread wakes. So the
 * timer's wake and somebody else's meet, and both meet the sleeper on its way in and out.
 */
#include "core/co_sleep.h"

#include "core/atomic.h"
#include "core/coroutine_int.h"
#include "core/fatal.h"

/* A wake that nobody has consumed. No coroutine has this address. */
#define QEMU_CO_SLEEP_PENDING ((Coroutine *)(uintptr_t)1)

CoSleepHooks co_sleep_hooks;

/* Whose claim it is: compared as an address, printed as a name. */
static const char *const qemu_co_sleep_ns__scheduled = "qemu_co_sleep_ns";

void qemu_co_sleep_init(QemuCoSleep *w)
{
    w->to_wake = NULL;
    if (co_sleep_hooks.init) {
        co_sleep_hooks.init(w);
    }
}

/* ---- waking ---- */

void qemu_co_sleep_wake(QemuCoSleep *w)
{
    const char *scheduled;
    Coroutine *co;

    if (co_sleep_hooks.wake) {
        co_sleep_hooks.wake(w);
    }

    /* ORDER: whatever the caller has changed before the look for a sleeper; one exchange claims and remembers
     * PAIRS: qemu_co_sleep()
     * ELSE:  a wake that finds nobody is lost, one that overwrites a sleeper loses it for ever, and two wakers find the
     *        same one; faults co-sleep-early-wake, co-sleep-clobber and co-sleep-double-claim */
    co = qatomic_xchg(&w->to_wake, QEMU_CO_SLEEP_PENDING);
    if (!co || co == QEMU_CO_SLEEP_PENDING) {
        return;
    }

    scheduled = qatomic_cmpxchg(&co->scheduled, qemu_co_sleep_ns__scheduled, NULL);
    if (scheduled != qemu_co_sleep_ns__scheduled) {
        core_fatal("double-entry", "%s: coroutine %u (%s) was woken twice from one sleep: its claim is '%s'", __func__, co->id,
                   co->name, scheduled ? scheduled : "taken back");
    }
    if (co_sleep_hooks.delivered) {
        co_sleep_hooks.delivered(w);
    }
    aio_co_wake(co);
}

static void co_sleep_cb(void *opaque)
{
    qemu_co_sleep_wake(opaque);
}

/* ---- sleeping ---- */

/* Claimed before it is published: whoever finds it in to_wake expects the claim. */
static void co_sleep_claim(Coroutine *co)
{
    const char *scheduled = qatomic_cmpxchg(&co->scheduled, NULL, qemu_co_sleep_ns__scheduled);

    if (scheduled) {
        core_fatal("double-entry", "%s: Co-routine was already scheduled in '%s': coroutine %u (%s)", __func__, scheduled, co->id,
                   co->name);
    }
}

/* What came up to here is consumed. */
static void co_sleep_end(QemuCoSleep *w)
{
    qatomic_set(&w->to_wake, NULL);
    if (co_sleep_hooks.end) {
        co_sleep_hooks.end(w);
    }
}

void coroutine_fn qemu_co_sleep(QemuCoSleep *w)
{
    Coroutine *co = qemu_coroutine_self();
    Coroutine *prev;

    core_assert(qemu_in_coroutine());
    if (co_sleep_hooks.begin) {
        co_sleep_hooks.begin(w);
    }
    co_sleep_claim(co);

    /* ORDER: what the caller has read before it decided to sleep, and the claim, before the coroutine can be found
     * PAIRS: qemu_co_sleep_wake()
     * ELSE:  the wake is for somebody who looks asleep and is not yet; the exchange is a full barrier */
    prev = qatomic_cmpxchg(&w->to_wake, NULL, co);
    if (prev == QEMU_CO_SLEEP_PENDING) {
        co_sleep_end(w);
        qatomic_set(&co->scheduled, NULL);
        return;
    }
    core_assert(prev == NULL);

    qemu_coroutine_yield();
    co_sleep_end(w);
}

void coroutine_fn qemu_co_sleep_ns_wakeable(QemuCoSleep *w, QEMUClockType type, int64_t ns)
{
    QEMUTimer timer;

    /* Armed before the sleeper is to be found; it can fire only when this thread's loop runs again. */
    aio_timer_init(qemu_get_current_aio_context(), &timer, type, SCALE_NS, co_sleep_cb, w);
    timer_mod(&timer, qemu_clock_get_ns(type) + ns);
    qemu_co_sleep(w);
    timer_del(&timer);
}

void coroutine_fn qemu_co_sleep_ns(QEMUClockType type, int64_t ns)
{
    QemuCoSleep w;

    qemu_co_sleep_init(&w);
    qemu_co_sleep_ns_wakeable(&w, type, ns);
}
