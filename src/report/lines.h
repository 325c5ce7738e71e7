/*
 * Code by lines of the source. Kernel thread.
 */
#ifndef WAKEFUZZ_REPORT_LINES_H
#define WAKEFUZZ_REPORT_LINES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ReportLines {
    unsigned first, last;
} ReportLines;

/* Code at [low, high) that was compiled of one line. */
typedef struct ReportCode {
    const char *function; /* that the line is in; "??" when unknown. Valid during the call */
    unsigned line;
    uintptr_t low, high;
} ReportCode;

typedef void ReportVisitCode(const ReportCode *code, void *opaque);

/*
 * Visit what was compiled of these lines, in the executable's objects of this source file; in ascending order of addresses within an object. file
 * is the end of a path, of whole names: "block/io.c". Returns whether there is such an object with debug information.
 */
bool report_each_code_of_lines(const char *file, ReportLines wanted, ReportVisitCode *visit, void *opaque);

#endif
