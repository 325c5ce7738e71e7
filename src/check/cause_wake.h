/* The second half of a root cause: what became of the wakeup. See cause.h. */
#ifndef WAKEFUZZ_CHECK_CAUSE_WAKE_H
#define WAKEFUZZ_CHECK_CAUSE_WAKE_H

#include "check/cause.h"

/*
 * Fill in check_step, check_write_step, wake_step and take_step of a cause whose other members are known. Of a cause of
 * unknown kind it makes CHECK_CAUSE_TAKEN where a wakeup that was meant for the waiter has been taken by another thread.
 * Pure; any thread while no execution runs.
 */
void check_cause_find_wake(CheckTrace trace, const SchedProbe *probe, CheckCause *cause);

#endif
