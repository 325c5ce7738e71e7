/*
 * Scheduling points at plain accesses: of lines that the program under test names, as of a data race whose consequences are asked for.
 *
 * The program defines wakefuzz_plain_lines, and its files with such lines are compiled by clang with debug information and, beside the words for
 * coverage (without which these do nothing), -fsanitize-coverage=trace-loads,trace-stores. A program without the table has no such points.
 *
 * The loads and stores of a named line become points, those that were inlined included; of another line none. No points are accesses that the
 * compiler keeps in a register or calls memcpy() or memset() for (an assignment of a structure), or has put on no line. Those of one line are one
 * site in a constraint: one for loads, one for stores. In the step table an access is "line 12", or what an atomic access calls that object.
 */
#ifndef FUZZ_PLAIN_ACCESS_H
#define FUZZ_PLAIN_ACCESS_H

#include <stdbool.h>

#include "report/lines.h"

typedef struct PlainLine {
    const char *file; /* the end of its path, of whole names: "block/io.c" */
    ReportLines lines;
} PlainLines;

/* Ends with a file that is NULL. */
extern const PlainLines wakefuzz_plain_lines[] __attribute__((weak));

/* Find the accesses. Ends the process, with a line that says why, where lines have none. Kernel thread, once, after sched_init(). */
void plain_access_init(void);

/* Are there any? */
bool plain_access_any(void);

#endif
