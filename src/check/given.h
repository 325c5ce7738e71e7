/*
 * Wakeups that the program says it has given to a sleeper that is no thread: a coroutine that sleeps in a place of its own.
 *
 * The experiment at quiescence wakes threads; a thread whose coroutine sleeps too long finds nothing to do and goes back to sleep.
 * So whoever implements such sleeps tells here what was promised: a wake in a place ends the sleep that is under way there, or the
 * next one. A wake is owed from the moment it is given until it is delivered or the sleep has ended.
 */
#ifndef WAKEFUZZ_CHECK_GIVEN_H
#define WAKEFUZZ_CHECK_GIVEN_H

#include "check/check.h"

/* All five on a fiber of an execution, before the step that they are about; none is a step itself. place is an address. */
void check_place_init(const void *place); /* nobody sleeps there, nothing is owed: what the memory was before does not count */
void check_wake_given(const void *place);
void check_wake_delivered(const void *place); /* the sleeper has been found and goes on: ends the execution if that is too late */
void check_sleep_begins(const void *place);
void check_sleep_ended(const void *place); /* likewise */

/*
 * Nobody can run. quiescent: for ever; is there somebody who sleeps although a wake is owed? Returns the sleeper's thread, or NULL.
 * Otherwise the clock is about to make a long jump: all of these will be late, when they are rescued. For check_examine().
 */
SchedThread *check_given_examine(bool quiescent);

/* Oracle: missed-wakeup or late-wakeup, where one of the above found it. */
bool check_given(const SchedResult *result, CheckResult *verdict);

/* Forget all; at the start of each execution. */
void check_given_reset(void);

#endif
