/*
 * Small racy programs, each with one defect of a known kind. They are ordinary pthread programs: each can be run natively too, where
 * its defect shows now and then.
 *
 * 1. A program sets its state at the start of its body: it is run thousands of times in one process.
 * 2. Its first-in-first-out execution is a good one, so that a find is the scheduler's merit.
 */
#ifndef WAKEFUZZ_TESTS_SCHED_PROGRAMS_H
#define WAKEFUZZ_TESTS_SCHED_PROGRAMS_H

#include <stdint.h>

typedef struct RacyProgram {
    const char *name;
    void (*body)(void *parameter);
    uintptr_t parameter; /* number of threads, where the body takes it */
    const char *verdict; /* the only right one: a name of check/verdict.h */
    const char *description;
} RacyProgram;

/* A list of programs that the policy table measures. */
typedef struct RacySuite {
    const RacyProgram *programs;
    unsigned count;
} RacySuite;

extern const RacySuite racy_programs;

/* One a file; thread 0 of an execution runs them. */
void aba_stack(void *unused);
void abba_deadlock(void *unused);
void lost_update(void *unused);
void lost_wakeup_flag(void *unused);
void order_violation(void *setters);
void philosophers(void *seats);
void shared_condition(void *unused);
void signal_before_wait(void *unused);
void two_stage(void *threads);

#endif
