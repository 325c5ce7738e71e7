/*
 * Code by lines of the source. Kernel thread.
 */
#ifndef WAKEFUZZ_REPORT_LINES_H
#define WAKEFUZZ_REPORT_LINES_H

#include <stdbool.h>
#include <stdint.h>

/* Code of this line at [low, high). */
typedef void ReportVisitCode(unsigned line, uintptr_t low, uintptr_t high, void *opaque);

/*
 * Visit what was compiled of the lines from first to last, in the executable's objects of this source file; in ascending order of addresses within
 * an object. file is the end of a path, of whole names: "block/io.c". Returns whether there is such an object with debug information.
 */
bool report_each_code_of_lines(const char *file, unsigned first, unsigned last, ReportVisitCode *visit, void *opaque);

#endif
