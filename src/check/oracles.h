/* The oracles, for judge.c alone: each fills in *verdict if it has something to say and returns whether it did. */
#ifndef WAKEFUZZ_CHECK_ORACLES_H
#define WAKEFUZZ_CHECK_ORACLES_H

#include "check/check.h"

bool check_quiescence(const SchedResult *result, CheckResult *verdict);
/* Does a thread wait for a lock that it, or one that waits for it, holds? Then nothing else needs to be said of it. */
bool check_lock_cycle(void);
bool check_late(const SchedResult *result, CheckResult *verdict);
bool check_livelock(const SchedResult *result, CheckResult *verdict);
bool check_stack_overflow(const SchedResult *result, CheckResult *verdict);
bool check_leak(const SchedResult *result, CheckResult *verdict);
bool check_lost_completion(const SchedResult *result, CheckResult *verdict);
bool check_double_entry(const SchedResult *result, CheckResult *verdict);

/* Append to verdict->message; what does not fit is cut. */
__attribute__((format(printf, 2, 3))) void check_say(CheckResult *verdict, const char *format, ...);

#endif
