/*
 * TARGET-replay --minimize: a finding's input made small, and TARGET-replay --describe: what an input is. Kernel thread, outside
 * executions; after probe_init().
 */
#ifndef WAKEFUZZ_FUZZ_MINIMIZE_H
#define WAKEFUZZ_FUZZ_MINIMIZE_H

#include "fuzz/probe.h"

/* Minimize the input in path into output, which is written anew with each improvement, until nothing helps or the seconds are over; on
 * SIGINT the best so far stands. Where an improvement cannot be written, which is said on stderr, what was written before it stands. Prints
 * "name value" lines. Returns the exit status: 0 done, 2 could not. */
int minimize_file(const char *program, const char *path, const char *output, double seconds);

/* Print a line of fields with tabs between them: path, verdict, bytes, preemptions, steps, trace hash, key, summary. Returns 0 for no
 * finding, 1 for a finding, 2 where the file cannot be read. */
int describe_file(const char *program, const char *path);
/* That line for a result that is known. */
void describe_result(const char *path, size_t size, const ProbeResult *result);

#endif
