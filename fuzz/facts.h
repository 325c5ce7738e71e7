/*
 * TARGET-replay --facts: all that is known about a finding, as JSON on stdout, for the page that wakefuzz makes of it. Kernel thread, outside
 * executions.
 */
#ifndef WAKEFUZZ_FUZZ_FACTS_H
#define WAKEFUZZ_FUZZ_FACTS_H

#include <stdbool.h>

/* Take the stacks at these steps ("181,183"), sorted, too. Before driver_init(): where the empty input is the finding, it happens there. False
 * with a message where they are none. */
bool facts_watch(const char *program, const char *steps);

/*
 * Print the object: report/data.h's members, and
 *
 *   decisions  in order of time, those in which the schedule differs from first-in-first-out order. Each was flipped, that is, left to that
 *              order with all the others kept, and the whole run again: without is what that showed, essential that the finding was gone.
 *   tested     how many of them: the rest has no "essential"
 *   scenario_bytes  how many bytes of the input the scenario could read: the rest is the schedule's
 *   exact      false: the execution could not be written as first-in-first-out order with these decisions, and none was flipped
 *   empty      true: the empty input is this finding, and no other input gets further
 *   cut        true: a sanitizer or a signal ended the process; the rows are the last steps before that
 *
 * After probe_init(). Returns the exit status: 1 a finding, 0 none (and prints nothing), 2 could not.
 */
int facts_file(const char *program, const char *path);

#endif
