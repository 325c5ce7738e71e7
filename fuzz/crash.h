/*
 * The signals by which a crash ends a process. SIGABRT comes first: libc's abort() is the one of which a sanitizer's runtime does not tell.
 */
#ifndef FUZZ_CRASH_H
#define FUZZ_CRASH_H

#include <signal.h>

#define FUZZ_CRASH_SIGNALS                                 \
    {                                                      \
        SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, \
    }

#endif
