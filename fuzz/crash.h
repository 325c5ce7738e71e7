/*
 * The signals by which a crash ends a process. SIGABRT comes first: libc's abort() is the one of which a sanitizer's runtime does not tell.
 */
#ifndef FUZZ_CRASH_H
#define FUZZ_CRASH_H

#include <signal.h>
#include <stddef.h>

#define FUZZ_CRASH_SIGNALS                                 \
    {                                                      \
        SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, \
    }

/* Of a sanitizer's runtime, where there is one: what it calls before it ends the process; one function. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/*
 * Where a signal of a crash has the handler from, it gets the handler to; SIG_DFL may be either. Who has another one keeps it: a sanitizer tells of
 * such a signal itself, and calls back.
 */
static inline void crash_replace(void (*from)(int), void (*to)(int))
{
    static const int signals[] = FUZZ_CRASH_SIGNALS;
    const struct sigaction action = { .sa_handler = to, .sa_flags = SA_ONSTACK | SA_NODEFER };

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction before;

        sigaction(signals[i], NULL, &before);
        if (!(before.sa_flags & SA_SIGINFO) && before.sa_handler == from) {
            sigaction(signals[i], &action, NULL);
        }
    }
}

#endif
