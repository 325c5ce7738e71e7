/* What the parts of core_lower_test share. */
#ifndef WAKEFUZZ_TESTS_CORE_LOWER_H
#define WAKEFUZZ_TESTS_CORE_LOWER_H

#include <glib.h>
#include <setjmp.h>

#include "core/aio_context.h"
#include "core/fatal.h"

typedef struct CoreLowerTest {
    const char *path;
    void (*function)(void);
} CoreLowerTest;

/* Each ends with a path of NULL. */
extern const CoreLowerTest core_lower_threads_tests[];
extern const CoreLowerTest core_lower_bh_tests[];
extern const CoreLowerTest core_lower_loop_tests[];
extern const CoreLowerTest core_lower_coroutine_tests[];
extern const CoreLowerTest core_lower_iothread_tests[];

/* Before and after each test: the core and the main loop. */
void set_up(void);
void tear_down(void);

AioContext *main_ctx(void);
/* Adds 1 to an int. */
void count_cb(void *opaque);
/* Sets a QemuEvent. */
void set_event_bh(void *opaque);
/* Returns when everything that ctx, another thread's context, was given before has run. */
void wait_for_context(AioContext *ctx);

/* A coroutine that counts in an int how often it was entered; it ends the third time. */
void coroutine_fn yield_twice(void *opaque);

extern sigjmp_buf fatal_jump;
extern char fatal_verdict[32];
void catch_fatal(const char *verdict, const char *message);

/* Runs statement, which must end in core_fatal() with this verdict, on this thread's own stack. */
#define ASSERT_FATAL(verdict, statement)                \
    do {                                                \
        core_fatal_hook = catch_fatal;                  \
        if (sigsetjmp(fatal_jump, 0) == 0) {            \
            statement;                                  \
            g_error("no core_fatal(): %s", #statement); \
        }                                               \
        core_fatal_hook = NULL;                         \
        g_assert_cmpstr(fatal_verdict, ==, verdict);    \
    } while (0)

#endif
