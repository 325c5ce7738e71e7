/*
 * Comparing the simulated OS with the real one: the same program runs natively, on real threads and the real kernel,
 * and simulated under several plans. Whatever it says must be the same, line by line.
 *
 * A program says only what does not depend on the order of its threads, or orders them itself (joins, barriers,
 * predicates under a lock). It never sleeps to wait for something; time-outs that it lets pass are 20 ms at most.
 */
#ifndef WAKEFUZZ_TESTS_UNIT_OS_TEST_H
#define WAKEFUZZ_TESTS_UNIT_OS_TEST_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "sched/sched.h"

typedef struct OsProgram {
    const char *path; /* "/os/mutex/relock": the property */
    void (*run)(void);
} OsProgram;

/* Add a line to the transcript. Callers order themselves. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_call(const char *text, long result, bool returns_error);

/* Say a call's text and its result; of a system call with errno where it is negative, of a pthread call by the name
 * of the error. */
#define SYS(call)                        \
    ({                                   \
        errno = 0;                       \
        long result_ = (long)(call);     \
        say_call(#call, result_, false); \
        result_;                         \
    })
#define PTH(call)                       \
    ({                                  \
        long result_ = (long)(call);    \
        say_call(#call, result_, true); \
        result_;                        \
    })

/* A misuse that glibc answers with an error, and the sanitizer runtimes with the end of the process: natively nobody
 * asks there. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define OS_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define OS_TEST_SANITIZED 1
#endif
#endif
#ifdef OS_TEST_SANITIZED
#define PTH_MISUSE(call) ((void)0)
#else
#define PTH_MISUSE(call) PTH(call)
#endif

/* What TSan cannot see natively, as it has no interceptors for it, it reports as races or dies of. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OS_TEST_TSAN 1
#endif
#endif
#ifndef OS_TEST_TSAN
#define OS_TEST_TSAN 0
#endif

/* Threads of a program; failures abort. */
pthread_t start(void *(*function)(void *), void *argument);
void *finish(pthread_t thread);

/* clock's time in so many ms; negative: in the past. */
struct timespec in_ms(clockid_t clock, long ms);

/* Run every program natively and simulated, as GLib tests. For main(). */
int os_test_run(int argc, char **argv, const OsProgram *programs, size_t count);

/* The same in two steps, for a main() with tests of its own between them. */
void os_test_init(int *argc, char ***argv);
int os_test_run_programs(const OsProgram *programs, size_t count);

/* Say that this build cannot run these programs natively, and why. For main(). */
int os_test_skip(const char *why);

/* Run body simulated and first-in-first-out, whatever its outcome. */
const SchedResult *os_test_simulate(void (*body)(void *), void *argument);

/* The same of one that must end as unmodelled; and as a test for g_test_add_data_func(). */
const SchedResult *os_test_expect_unmodelled(void (*body)(void *));
void os_test_unmodelled(const void *body);

#endif
