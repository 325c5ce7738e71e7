/*
 * How the core ends a program that broke one of its rules.
 *
 * Any thread may call these functions, also inside a coroutine. They do not allocate memory and take no lock.
 */
#ifndef WAKEFUZZ_CORE_FATAL_H
#define WAKEFUZZ_CORE_FATAL_H

/*
 * Takes over from abort() when set: the fuzz driver turns the message into a report. It must not return. NULL by
 * default; set it before the first thread starts.
 */
extern void (*core_fatal_hook)(const char *verdict, const char *message);

/*
 * Prints "panic: VERDICT: MESSAGE" in one line on stderr and aborts, or hands both to core_fatal_hook. verdict is a
 * word of the closed list of verdicts ("double-entry", "assertion", "leak", ...); the message names the culprit. Never
 * returns.
 */
__attribute__((noreturn, cold, format(printf, 2, 3))) void core_fatal(const char *verdict, const char *format, ...);

/* Like assert(), but never compiled out, and with the verdict "assertion". */
#define core_assert(condition)                                                                                   \
    do {                                                                                                         \
        if (__builtin_expect(!(condition), 0)) {                                                                 \
            core_fatal("assertion", "%s: '%s' does not hold (%s:%d)", __func__, #condition, __FILE__, __LINE__); \
        }                                                                                                        \
    } while (0)

#endif
