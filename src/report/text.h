/*
 * A growing line of text in a fixed buffer: what does not fit is cut, never an error. Any thread.
 */
#ifndef WAKEFUZZ_REPORT_TEXT_H
#define WAKEFUZZ_REPORT_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Text {
    char *at;    /* always ends in 0 */
    size_t size; /* of the whole buffer, > 0 */
    size_t used;
} Text;

static inline Text text_begin(char *buffer, size_t size)
{
    buffer[0] = '\0';
    return (Text){ .at = buffer, .size = size };
}

__attribute__((format(printf, 2, 3))) static inline void text_add(Text *text, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text->at + text->used, text->size - text->used, format, arguments);
    va_end(arguments);
    if (length > 0) {
        text->used += (size_t)length < text->size - text->used ? (size_t)length : text->size - text->used - 1;
    }
}

/* "600 s", "1.5 s", "20 ms", "40 us", "12 ns". */
static inline void text_add_duration(Text *text, uint64_t ns)
{
    static const struct {
        uint64_t ns;
        const char *name;
    } units[] = { { 1000000000u, "s" }, { 1000000u, "ms" }, { 1000u, "us" }, { 1u, "ns" } };
    unsigned i = 0;

    while (i < 3 && ns < units[i].ns) {
        i++;
    }

    uint64_t tenths = ns / (units[i].ns / 10 ? units[i].ns / 10 : 1) % 10;

    if (i < 3 && tenths && ns < 100 * units[i].ns) {
        text_add(text, "%llu.%llu %s", (unsigned long long)(ns / units[i].ns), (unsigned long long)tenths, units[i].name);
    } else {
        text_add(text, "%llu %s", (unsigned long long)(ns / units[i].ns), units[i].name);
    }
}

#endif
