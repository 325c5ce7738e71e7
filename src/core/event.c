/*
 * QemuEvent. Any thread.
 *
 * States of value
 *   EVENT_SET   the event is set, nobody waits
 *   EVENT_FREE  not set, nobody waits
 *   EVENT_BUSY  not set, somebody waits in the kernel or is about to
 *
 *          | set       reset      wait
 *   SET    | SET       FREE       returns
 *   FREE   | SET       FREE       BUSY, sleeps
 *   BUSY   | SET+wake  BUSY       sleeps
 *
 * The numbers are chosen so that reset is one OR: SET | FREE is FREE, and BUSY has all bits.
 *
 * How condition and event work together
 *        | waiter                            | setter
 *      1 | reset: value |= FREE; barrier     |
 *      2 | reads the condition: false        |
 *      3 |                                   | condition = true; barrier
 *      4 |                                   | value != SET: exchanges it for SET, wakes if it was BUSY
 *      5 | wait: FREE -> BUSY, or finds SET  |
 * If the setter reads SET at 4, it has not seen 1; then 2 comes after 3 and reads true.
 */
#include "core/event.h"

#include <limits.h>

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/futex.h"

#define EVENT_SET  0u
#define EVENT_FREE 1u
#define EVENT_BUSY (~0u)

void qemu_event_init(QemuEvent *event, bool init)
{
    event->value = init ? EVENT_SET : EVENT_FREE;
    event->initialized = true;
}

void qemu_event_destroy(QemuEvent *event)
{
    core_assert(event->initialized);
    core_assert(qatomic_read(&event->value) != EVENT_BUSY);
    event->initialized = false;
}

void qemu_event_set(QemuEvent *event)
{
    core_assert(event->initialized);

    /* ORDER: the caller's condition before reading value
     * PAIRS: qemu_event_reset(), qemu_event_wait()
     * ELSE:  value reads SET although the waiter has reset it and read the old condition: nobody wakes it; QEMU
     *        9586a1329f */
    smp_mb();
    if (qatomic_read(&event->value) != EVENT_SET) {
        unsigned old = qatomic_xchg(&event->value, EVENT_SET);

        /* ORDER: value before the kernel looks for sleepers
         * PAIRS: the kernel's barrier in futex wait
         * ELSE:  a waiter that read BUSY goes to sleep after the kernel looked */
        smp_mb__after_rmw();
        if (old == EVENT_BUSY) {
            qemu_futex_wake(&event->value, INT_MAX);
        }
    }
}

void qemu_event_reset(QemuEvent *event)
{
    core_assert(event->initialized);

    /* Unconditional: a look first would need a barrier of its own between that look and the caller's condition. */
    qatomic_or(&event->value, EVENT_FREE);

    /* ORDER: value before the caller reads its condition
     * PAIRS: qemu_event_set()
     * ELSE:  the condition is read as false, the setter finds SET and does not wake; QEMU 9586a1329f */
    smp_mb__after_rmw();
}

void qemu_event_wait(QemuEvent *event)
{
    unsigned value;

    core_assert(event->initialized);

    /* ORDER: value before what the setter wrote earlier
     * PAIRS: qemu_event_set()
     * ELSE:  the waiter goes on and reads the state of before the event */
    while ((value = qatomic_load_acquire(&event->value)) != EVENT_SET) {
        if (value == EVENT_FREE && qatomic_cmpxchg(&event->value, EVENT_FREE, EVENT_BUSY) == EVENT_SET) {
            return; /* the exchange is a full barrier */
        }
        qemu_futex_wait(&event->value, EVENT_BUSY);
    }
}
