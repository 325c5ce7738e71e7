/*
 * Which locks each thread holds, for TSan alone: a fiber of a failed execution never lets go of its locks, and the next execution, which
 * makes the same static lock anew, would be told of a double lock. Fibers only; nothing is done in a build without TSan.
 */
#ifndef WAKEFUZZ_OS_HELD_H
#define WAKEFUZZ_OS_HELD_H

/* The running fiber has taken the lock: once more where it is recursive. */
void os_held_add(const volatile void *lock);
/* ... and has let go of it. Nothing where it was taken for reading, which TSan keeps no owner of. */
void os_held_remove(const volatile void *lock);
void os_held_reset(void);

/* For sched_on_abandon(): the running fiber will never go on, and TSan is told that its locks are free. */
void os_held_abandon(void);

#endif
