/*
 * A sanitizer that has found something reports it on the fiber where it was, and the fuzzing engine's death callback then writes the
 * input to a file: none of these calls is the program's, so from here on the simulated OS lets everything of this fiber through.
 *
 * The runtimes call these hooks at the start of a report; the process ends after it.
 */
#include <stddef.h>
#include <string.h>

#include "fuzz/driver.h"
#include "fuzz/race.h"
#include "sched/sched.h"

void (*driver_sanitizer_hook)(void);
void (*driver_sanitizer_text)(const char *text);

static void sanitizer_reports(void)
{
    sched_passthrough_begin();
    if (driver_sanitizer_hook) {
        driver_sanitizer_hook();
    }
}

void __asan_on_error(void);
void __ubsan_on_report(void);
void __tsan_on_report(void *report);
void __sanitizer_on_print(const char *text);

void __asan_on_error(void)
{
    sanitizer_reports();
}

void __ubsan_on_report(void)
{
    sanitizer_reports();
}

void __tsan_on_report(void *report)
{
    sanitizer_reports();
    race_note(report);
}

/* MemorySanitizer has no such hook; but what it prints passes here, and the head of a report comes first. */
void __sanitizer_on_print(const char *text)
{
    if (strstr(text, "WARNING: MemorySanitizer")) {
        sanitizer_reports();
    }
    if (driver_sanitizer_text) {
        driver_sanitizer_text(text);
    }
}
