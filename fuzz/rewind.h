/*
 * The process as it was: its private memory is remembered once, and put back after each execution, at the cost of copying the pages that
 * executions write to. What is put back is exact, as long as rewind_back() says so: what cannot be put back (a mapping, a descriptor or a
 * thread that an execution left) is found, and the process is to be given up.
 *
 * Not put back: shared mappings, and of the stack that rewind_mark() is called on all but the 64 KiB that begin two pages below its frames (this
 * file runs in between). The program may have one kernel thread and no sanitizer, which keeps memory of its own. A page is write-protected until it
 * is first written to; a system call that is handed such a page to write into fails with EFAULT. Of the system calls in an execution only getcwd(),
 * stat() and what reads the machine's files write anywhere; so what an execution shows counts as a finding only where a fresh process shows it, too.
 *
 * Kernel thread only, between executions.
 */
#ifndef WAKEFUZZ_FUZZ_REWIND_H
#define WAKEFUZZ_FUZZ_REWIND_H

#include <stdbool.h>
#include <stddef.h>

/* false: WAKEFUZZ_FORK is in the environment, and whoever runs executions is to fork for each. */
bool rewind_wanted(void);

/* Remember the memory as it is now. Once in a process; false: not with a sanitizer, or not on this machine (a limit, no /proc). */
bool rewind_mark(void);

/* In a child of the marked process: its memory is its own, and the marked process learns nothing of it. */
void rewind_leave(void);

/* Put it back. false: something is not as it was, or so many pages are copied that a new process is cheaper. */
bool rewind_back(void);

#endif
