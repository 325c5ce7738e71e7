/*
 * The real functions behind the simulated ones: the sanitizer's interceptor where there is one, else libc's.
 *
 * REAL_SYMBOL(name) at the top of a file declares it, REAL(name)(...) calls it. Any thread, at any time: sanitizer
 * runtimes and constructors of shared objects call simulated functions before the first line of ours has run.
 */
#ifndef WAKEFUZZ_OS_REAL_H
#define WAKEFUZZ_OS_REAL_H

#include <stddef.h>

/* libc's own function, never an interceptor; aborts with its name when libc has none. */
void *os_libc(const char *name);
void *os_libc_or_null(const char *name);

/* Two threads may resolve at once: both store the same address. */
#define REAL_SYMBOL(name)                                                                              \
    extern __typeof__(name) __interceptor_##name __attribute__((weak));                                \
    static inline __typeof__(&name) real_##name(void)                                                  \
    {                                                                                                  \
        static void *cached;                                                                           \
        void *function = __atomic_load_n(&cached, __ATOMIC_RELAXED);                                   \
        if (__builtin_expect(function == NULL, 0)) {                                                   \
            function = &__interceptor_##name != NULL ? (void *)&__interceptor_##name : os_libc(#name); \
            __atomic_store_n(&cached, function, __ATOMIC_RELAXED);                                     \
        }                                                                                              \
        return (__typeof__(&name))function;                                                            \
    }
#define REAL(name) real_##name()

#endif
