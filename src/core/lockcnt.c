/*
 * QemuLockCnt. Any thread.
 *
 * The word is 4 * visitors + state:
 *   LOCKCNT_FREE     nobody holds the lock
 *   LOCKCNT_LOCKED   held, nobody sleeps
 *   LOCKCNT_WAITING  held, somebody may sleep
 *
 * Invariants
 * 1. Visitors go from 0 to 1 only while the state is FREE, or by the holder's hand in inc_and_unlock.
 * 2. Visitors above 0 rise and fall whatever the state.
 * 3. Whoever has slept does not know whether others still sleep: it takes the lock as WAITING, and where it does not
 *    take the lock at all, it hands the wakeup on to another sleeper.
 */
#include "core/lockcnt.h"

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/futex.h"

#define LOCKCNT_FREE    0u
#define LOCKCNT_LOCKED  1u
#define LOCKCNT_WAITING 2u
#define LOCKCNT_MASK    3u
#define LOCKCNT_STEP    4u

void qemu_lockcnt_init(QemuLockCnt *lockcnt)
{
    lockcnt->count = 0;
}

void qemu_lockcnt_destroy(QemuLockCnt *lockcnt)
{
    core_assert(qatomic_read(&lockcnt->count) == 0);
}

/* The lock is held: sleep until that may have changed. Returns the word as it is then. */
static unsigned wait_while_locked(QemuLockCnt *lockcnt, unsigned value, bool *waited)
{
    if ((value & LOCKCNT_MASK) == LOCKCNT_LOCKED) {
        unsigned sleeping = (value & ~LOCKCNT_MASK) | LOCKCNT_WAITING;
        unsigned found = qatomic_cmpxchg(&lockcnt->count, value, sleeping);

        if (found != value) {
            return found;
        }
        value = sleeping;
    }
    *waited = true;
    qemu_futex_wait(&lockcnt->count, value);
    return qatomic_read(&lockcnt->count);
}

/*
 * Change the word from *value to visitors and state, where the state must be FREE before. Returns whether that was
 * done; otherwise *value is the word as it is now, perhaps after a sleep.
 */
static bool change_when_free(QemuLockCnt *lockcnt, unsigned *value, unsigned visitors, unsigned state, bool *waited)
{
    unsigned found;

    if ((*value & LOCKCNT_MASK) != LOCKCNT_FREE) {
        *value = wait_while_locked(lockcnt, *value, waited);
        return false;
    }
    if (state == LOCKCNT_LOCKED && *waited) {
        state = LOCKCNT_WAITING;
    }
    found = qatomic_cmpxchg(&lockcnt->count, *value, visitors * LOCKCNT_STEP + state);
    if (found != *value) {
        *value = found;
        return false;
    }
    return true;
}

static void hand_wakeup_on(QemuLockCnt *lockcnt, bool waited)
{
    if (waited) {
        qemu_futex_wake(&lockcnt->count, 1);
    }
}

void qemu_lockcnt_inc(QemuLockCnt *lockcnt)
{
    unsigned value = qatomic_read(&lockcnt->count);
    bool waited = false;

    for (;;) {
        if (value >= LOCKCNT_STEP) {
            unsigned found = qatomic_cmpxchg(&lockcnt->count, value, value + LOCKCNT_STEP);

            if (found == value) {
                break;
            }
            value = found;
        } else if (change_when_free(lockcnt, &value, 1, LOCKCNT_FREE, &waited)) {
            break;
        }
    }
    hand_wakeup_on(lockcnt, waited);
}

void qemu_lockcnt_dec(QemuLockCnt *lockcnt)
{
    /* ORDER: the visitor's reads before the count
     * PAIRS: qemu_lockcnt_count()
     * ELSE:  see there */
    qatomic_sub(&lockcnt->count, LOCKCNT_STEP);
}

void qemu_lockcnt_lock(QemuLockCnt *lockcnt)
{
    unsigned value = qatomic_read(&lockcnt->count);
    bool waited = false;

    while (!change_when_free(lockcnt, &value, value / LOCKCNT_STEP, LOCKCNT_LOCKED, &waited)) {
        /* value has been read again */
    }
}

void qemu_lockcnt_unlock(QemuLockCnt *lockcnt)
{
    unsigned old = qatomic_fetch_and(&lockcnt->count, ~LOCKCNT_MASK);

    core_assert((old & LOCKCNT_MASK) != LOCKCNT_FREE);
    hand_wakeup_on(lockcnt, (old & LOCKCNT_MASK) == LOCKCNT_WAITING);
}

void qemu_lockcnt_inc_and_unlock(QemuLockCnt *lockcnt)
{
    unsigned value = qatomic_read(&lockcnt->count);
    unsigned found;

    while ((found = qatomic_cmpxchg(&lockcnt->count, value, (value & ~LOCKCNT_MASK) + LOCKCNT_STEP)) != value) {
        value = found;
    }
    core_assert((value & LOCKCNT_MASK) != LOCKCNT_FREE);
    hand_wakeup_on(lockcnt, (value & LOCKCNT_MASK) == LOCKCNT_WAITING);
}

bool qemu_lockcnt_dec_and_lock(QemuLockCnt *lockcnt)
{
    unsigned value = qatomic_read(&lockcnt->count);
    bool waited = false;

    for (;;) {
        if (value >= 2 * LOCKCNT_STEP) {
            unsigned found = qatomic_cmpxchg(&lockcnt->count, value, value - LOCKCNT_STEP);

            if (found == value) {
                hand_wakeup_on(lockcnt, waited);
                return false;
            }
            value = found;
        } else if (change_when_free(lockcnt, &value, 0, LOCKCNT_LOCKED, &waited)) {
            return true;
        }
    }
}

bool qemu_lockcnt_dec_if_lock(QemuLockCnt *lockcnt)
{
    unsigned value = qatomic_read(&lockcnt->count);
    bool waited = false;

    for (;;) {
        if (value >= 2 * LOCKCNT_STEP) {
            hand_wakeup_on(lockcnt, waited);
            return false;
        }
        if (change_when_free(lockcnt, &value, 0, LOCKCNT_LOCKED, &waited)) {
            return true;
        }
    }
}

unsigned qemu_lockcnt_count(QemuLockCnt *lockcnt)
{
    /* ORDER: the count before what a caller that holds the lock does to the list when it reads 0
     * PAIRS: qemu_lockcnt_dec()
     * ELSE:  an element is freed before the last visitor's reads of it: the lock may have been taken while there were
     *        still visitors, so taking it does not order them (TSan found this in a native run) */
    return qatomic_load_acquire(&lockcnt->count) / LOCKCNT_STEP;
}
