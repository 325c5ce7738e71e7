/* The two futex calls of the core. Any thread. From the kernel's futex(2); QEMU has them in include/qemu/futex.h. */
#ifndef WAKEFUZZ_CORE_FUTEX_H
#define WAKEFUZZ_CORE_FUTEX_H

/* Blocks while *word is value and nobody wakes; may return at any time without a reason: call it in a loop. */
void qemu_futex_wait(unsigned *word, unsigned value);

/* Wakes up to n of the threads that wait on word. Never blocks. */
void qemu_futex_wake(unsigned *word, int n);

#endif
