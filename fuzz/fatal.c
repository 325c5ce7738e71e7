/*
 * abort() and assert() of the program under test: inside an execution they end it as `assertion`, so that the report has the step
 * table and the stacks. Anywhere else they are libc's.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "sched/sched.h"

__attribute__((noreturn)) void abort(void)
{
    void (*real)(void);

    if (sched_here()) {
        sched_fail("assertion", "abort() was called");
    }
    *(void **)&real = dlsym(RTLD_NEXT, "abort");
    if (real) {
        real();
    }
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    _exit(134);
}

__attribute__((noreturn)) void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function);

void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    void (*real)(const char *, const char *, unsigned, const char *);

    if (sched_here()) {
        sched_fail("assertion", "%s: '%s' does not hold (%s:%u)", function, assertion, file, line);
    }
    *(void **)&real = dlsym(RTLD_NEXT, "__assert_fail");
    if (real) {
        real(assertion, file, line, function);
    }
    abort();
}
