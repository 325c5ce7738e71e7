/*
 * What the sanitizers are told about operations that no real call shows them. All of it does nothing in a build
 * without them.
 *
 * TSan learns which thread's past is visible to whom (os_release, os_acquire); TSan, ASan and MSan learn which memory
 * a simulated call reads and writes on behalf of the program, so that a short buffer or a racing one is reported like
 * the program's own access.
 */
#ifndef WAKEFUZZ_OS_SANITIZER_H
#define WAKEFUZZ_OS_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));
extern void __tsan_read_range(void *address, unsigned long bytes) __attribute__((weak));
extern void __tsan_write_range(void *address, unsigned long bytes) __attribute__((weak));
extern void *__tsan_get_current_fiber(void) __attribute__((weak));
extern void __tsan_switch_to_fiber(void *fiber, unsigned flags) __attribute__((weak));
extern void __tsan_mutex_pre_unlock(void *address, unsigned flags) __attribute__((weak));
extern void __tsan_mutex_post_unlock(void *address, unsigned flags) __attribute__((weak));
extern void __asan_load4(uintptr_t address) __attribute__((weak)); /* aligned; a look at one byte of shadow */
extern void __asan_loadN(uintptr_t address, uintptr_t bytes) __attribute__((weak));
extern void __asan_storeN(uintptr_t address, uintptr_t bytes) __attribute__((weak));
extern void __msan_unpoison(const volatile void *address, size_t bytes) __attribute__((weak));

/* What the caller did so far happens before what follows an os_acquire() of the same object. */
static inline void os_release(const volatile void *object)
{
    if (__tsan_release) {
        __tsan_release((void *)(uintptr_t)object);
    }
}

static inline void os_acquire(const volatile void *object)
{
    if (__tsan_acquire) {
        __tsan_acquire((void *)(uintptr_t)object);
    }
}

/* memcpy that no sanitizer sees: one side is memory of the simulated OS, whose users no edge orders. */
static inline void os_copy(void *to, const void *from, size_t bytes)
{
    if (bytes == 8) { /* an eventfd's counter; short string moves are slow */
        __builtin_memcpy(to, from, 8);
        return;
    }
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

/* Likewise memset() to 0, and strcmp() == 0. */
static inline void os_clear(void *to, size_t bytes)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory");
}

static inline bool os_same_text(const char *a, const char *b)
{
    for (; *a == *b; a++, b++) {
        if (!*a) {
            return true;
        }
    }
    return false;
}

/* The simulated call is about to read the program's memory. */
static inline void os_reads(const void *address, size_t bytes)
{
    if (__tsan_read_range) {
        __tsan_read_range((void *)(uintptr_t)address, bytes);
    }
    if (__asan_loadN) {
        __asan_loadN((uintptr_t)address, bytes);
    }
}

/* The simulated OS itself fills this. It is not instrumented, so MSan would go by what an instrumented function has left on the same stack,
 * and blame whichever libc function gets to read it. */
static inline void os_fills(const void *address, size_t bytes)
{
    if (__msan_unpoison) {
        __msan_unpoison(address, bytes);
    }
}

/* The simulated call is about to write the program's memory. */
static inline void os_writes(void *address, size_t bytes)
{
    if (__tsan_write_range) {
        __tsan_write_range(address, bytes);
    }
    if (__asan_storeN) {
        __asan_storeN((uintptr_t)address, bytes);
    }
    os_fills(address, bytes);
}

/* A lock, condition variable or semaphore is used: a freed one is reported by ASan, which natively nobody would notice.
 */
static inline void os_touch(const void *object)
{
    if (__asan_load4) {
        __asan_load4((uintptr_t)object);
    }
}

#endif
