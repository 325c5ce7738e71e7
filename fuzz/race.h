/*
 * A data race that ThreadSanitizer reports in a child of the process: which lines of the program its accesses are, for who wants to see what
 * comes of it (plain_access.h).
 */
#ifndef WAKEFUZZ_FUZZ_RACE_H
#define WAKEFUZZ_FUZZ_RACE_H

#include <stdio.h>

/* Before forked_start(). Kernel thread, once. */
void race_init(void);

/* From ThreadSanitizer's hook, with its report. Any thread; allocates nothing. */
void race_note(void *report);

/* Print how the accesses that were noted become points, a line; nothing where there are none, or none in a source file that --points can name.
 * Kernel thread, in the process that forks. */
void race_tell(FILE *stream);

#endif
