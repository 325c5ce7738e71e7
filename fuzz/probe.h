/*
 * Probes: executions whose verdict is wanted and that must not disturb each other. A finding leaves the program's globals as they were
 * when it stopped, and a sanitizer ends the process; so probes run in a forked child, which goes on from one to the next until one is a
 * finding: a fork for each finding, and none for the many that are not. (Of a program that cannot begin twice, the memory is put back after
 * each where that can be, rewind.h; where not, each has a child.)
 *
 * 1. The parent never runs a finding: each child starts from the state after driver_init().
 * 2. A finding that others ran before in the same child is run again alone, where it is wanted; it counts only if it is the same execution.
 * 3. Children ignore SIGINT: on a terminal it is the parent's.
 *
 * Kernel thread, outside executions.
 */
#ifndef WAKEFUZZ_FUZZ_PROBE_H
#define WAKEFUZZ_FUZZ_PROBE_H

#include "fuzz/driver.h"
#include "fuzz/recipe.h"

#define PROBE_VERDICT_BYTES 32u
#define PROBE_SUMMARY_BYTES 768u
#define PROBE_THREADS_MAX   16u

typedef struct ProbeResult {
    char verdict[PROBE_VERDICT_BYTES]; /* of verdict.h, or "crash" for a signal; "none" */
    char key[REPORT_KEY_BYTES];        /* what makes findings the same */
    char summary[PROBE_SUMMARY_BYTES];
    uint64_t hash, steps, preemptions;
    uint32_t threads;
    uint32_t decisions[PROBE_THREADS_MAX]; /* of each of the first threads */
    bool complete;                     /* deviations are all there are */
    bool cut;                          /* a sanitizer or a signal ended the process in the middle */
    SchedOverride *deviations;         /* from first-in-first-out order; valid until the next probe */
    uint32_t deviation_count;
} ProbeResult;

/* First of all: starts the program anew where a sanitizer is in it, with run-time options that make probes fast. */
void probe_prepare(char **argv);

/* After driver_init() and sched_install_fault_handler(). Exits with status 2 and a message where the machine cannot. Once. */
void probe_init(void);

/* From now on executions reach the step bound before this step; 0: where the target says, as at first. */
void probe_set_step_bound(uint64_t steps);

/* Is the finding that one of the recipes is, by all that is known of it, worth to be run again alone? */
typedef enum ProbeAnswer { PROBE_GO_ON, PROBE_TAKE, PROBE_STOP } ProbeAnswer;
typedef ProbeAnswer ProbeWanted(const ProbeResult *result, unsigned index, void *opaque);

/* Run recipes in order until one is a finding that is wanted. Returns its index, or count: none is, or not so soon: none is begun after the
 * deadline (CLOCK_MONOTONIC, seconds; 0: none), and none after probe_stop(). */
unsigned probe_first(const Recipe *recipes, unsigned count, double deadline, ProbeWanted *wanted, void *opaque,
                     ProbeResult *result);

/* Run one; is it a finding? The figures of the result are those of the execution in either case. */
bool probe_one(const Recipe *recipe, ProbeResult *result);

/* From now on probe_first() begins no recipe; probe_one() is as before. After probe_init(). Any thread; a signal handler may call it. */
void probe_stop(void);
bool probe_stopped(void);

/* Executions and children so far. */
uint64_t probe_executions(void);
uint64_t probe_forks(void);

#endif
