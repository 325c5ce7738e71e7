/* A failed assert() of a simulated program ends its execution with the verdict `assertion`; anywhere else it ends the process. */
#include <stdio.h>
#include <stdlib.h>

#include "sched/sched.h"

_Noreturn void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function);

/* libc's name: the macro assert() calls it. Any thread. */
_Noreturn void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    if (sched_here()) {
        sched_fail("assertion", "%s: %s (%s:%u)", function, assertion, file, line);
    }
    fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function, assertion);
    abort();
}
