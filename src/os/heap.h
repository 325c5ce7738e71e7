/* malloc(), calloc(), realloc() and free() of all simulated programs, where no sanitizer has its own; src/os/heap.c. Any thread. */
#ifndef WAKEFUZZ_OS_HEAP_H
#define WAKEFUZZ_OS_HEAP_H

/* Bytes: what O_DIRECT asks of a buffer. A block of as many or more has no such alignment by chance; smaller ones are as libc gives them. */
#define OS_HEAP_UNALIGNED_TO 512u

/*
 * From now on, for good: blocks come from a place apart, of OS_HEAP_APART_BYTES, and free() does nothing. For what tells of a crash, or of an
 * execution that a signal has ended in the middle of libc: that may be its malloc(), holding the lock that the next malloc() would wait for, for ever.
 * The promise above does not hold from then on. Blocks with an alignment of
 * their own (posix_memalign()) still come from libc. Async-signal-safe. Does nothing where a sanitizer has an allocator.
 */
#define OS_HEAP_APART_BYTES (256u << 20) /* taken page by page; a report of a target of the core takes 14 MiB */
void os_heap_leave(void);

#endif
