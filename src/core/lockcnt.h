/*
 * QemuLockCnt: a counter of visitors and a lock in one word, on a futex.
 *
 * Visitors of a list raise the count and take no lock; whoever changes the list takes the lock; an element is freed
 * only by someone who holds the lock while the count is 0. Protocol: QEMU's docs/devel/lockcnt.rst and util/lockcnt.c.
 *
 * QEMU has this on Linux, and a mutex beside a counter elsewhere. The first is the one that runs where QEMU does, and the one
 * with a protocol of its own: who sleeps, who wakes whom, and who hands a wakeup on.
 */
#ifndef WAKEFUZZ_CORE_LOCKCNT_H
#define WAKEFUZZ_CORE_LOCKCNT_H

#include <stdbool.h>

typedef struct QemuLockCnt {
    unsigned count; /* bits 0-1: state of the lock; the rest: visitors; any thread reads and writes it */
} QemuLockCnt;

void qemu_lockcnt_init(QemuLockCnt *lockcnt);
/* The lock must be free and the count 0. */
void qemu_lockcnt_destroy(QemuLockCnt *lockcnt);

/* Raises the count. Blocks only while the count is 0 and the lock is held. */
void qemu_lockcnt_inc(QemuLockCnt *lockcnt);
/* Lowers the count; never blocks. */
void qemu_lockcnt_dec(QemuLockCnt *lockcnt);

/* Takes the lock, whatever the count; blocks. Not recursive. */
void qemu_lockcnt_lock(QemuLockCnt *lockcnt);
void qemu_lockcnt_unlock(QemuLockCnt *lockcnt);
/* Raises the count and releases the lock in one step. */
void qemu_lockcnt_inc_and_unlock(QemuLockCnt *lockcnt);

/* Lowers the count. If it becomes 0, returns true with the lock held (may block for it); else returns false without. */
bool qemu_lockcnt_dec_and_lock(QemuLockCnt *lockcnt);
/*
 * If the count is 1, makes it 0 and returns true with the lock held (may block for it); else changes nothing, returns
 * false.
 */
bool qemu_lockcnt_dec_if_lock(QemuLockCnt *lockcnt);

/* The number of visitors. A stable 0 only with the lock held. */
unsigned qemu_lockcnt_count(QemuLockCnt *lockcnt);

#endif
