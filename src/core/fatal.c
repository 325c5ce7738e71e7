/*
 * How the core ends a program that broke one of its rules. Any thread; no allocation, no lock.
 */
#include "core/fatal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void (*core_fatal_hook)(const char *verdict, const char *message);

/* One write, so that lines of two threads do not mix. */
static void print_line(const char *verdict, const char *message)
{
    char line[640];
    int length = snprintf(line, sizeof(line), "panic: %s: %s\n", verdict, message);

    if (length >= (int)sizeof(line)) {
        length = sizeof(line) - 1;
        line[length - 1] = '\n';
    }
    if (write(STDERR_FILENO, line, (size_t)length) < 0) {
        return; /* nowhere left to say it */
    }
}

void core_fatal(const char *verdict, const char *format, ...)
{
    char message[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);

    if (core_fatal_hook) {
        core_fatal_hook(verdict, message);
    }
    print_line(verdict, message);
    abort();
}
