/*
 * The state of minimizing one finding: the best recipe so far, and the one way in which a candidate takes its place.
 *
 * 1. The best recipe always has the finding's key: a candidate with another finding is kept aside, never taken.
 * 2. The best recipe is base FIFO with exactly the deviations of its execution as overrides: what matched nothing is gone. (Not the one that it
 *    begins with; unless as_written, or where there were more deviations than the scheduler writes down.)
 * 3. Where step_bound is set probes end there, and what looks like the finding then is run to the target's own bound before it is taken.
 * 4. When minimizer_stopped() is true no candidate is begun, in a child neither, and the best so far stands.
 *
 * Kernel thread, outside executions.
 */
#ifndef WAKEFUZZ_FUZZ_MINIMIZER_H
#define WAKEFUZZ_FUZZ_MINIMIZER_H

#include <glib.h>

#include "fuzz/probe.h"
#include "sched/random.h"

/* What is lower is better; compared in this order. */
typedef struct MinimizerCost {
    uint64_t overflow; /* overrides beyond those that an input can hold */
    uint64_t preemptions, bytes;
    uint64_t weight; /* sum of the scenario's bytes and of thread and choice of each override; 1 for points at atomics */
    uint64_t steps;
} MinimizerCost;

typedef struct MinimizerOther {
    Recipe recipe;
    bool proved; /* verdict, key and summary are of an execution up to the target's own bound */
    char verdict[PROBE_VERDICT_BYTES], key[REPORT_KEY_BYTES], summary[PROBE_SUMMARY_BYTES];
} MinimizerOther;

typedef struct Minimizer {
    char key[REPORT_KEY_BYTES];
    Recipe best;
    uint64_t step_bound; /* of probes: a livelock is known by far fewer steps than the target allows. 0: the target's own */
    bool as_written; /* recipes keep the plan that they came with: the finding is lost when it is written otherwise */
    SchedOverride *deviations; /* of best, in order of time */
    uint32_t deviation_count;
    MinimizerCost cost;
    char summary[PROBE_SUMMARY_BYTES], verdict[PROBE_VERDICT_BYTES];
    uint64_t hash, steps, preemptions;
    uint32_t threads, decisions[PROBE_THREADS_MAX];
    GArray *others; /* of MinimizerOther, one a key; shared with trials */
    SchedRandom *random;
    double deadline; /* CLOCK_MONOTONIC, seconds */
    double kept_s;   /* it ends by so much earlier while the best one cannot be written: the time is for another way */
    void (*improved)(const struct Minimizer *); /* called with each new best; may be NULL */
} Minimizer;

/*
 * Set step_bound to the lowest at which the best recipe, a livelock, still has its key, and twice that: what ends a little later than the best
 * one is no livelock. Returns whether it has changed; nothing for other verdicts.
 */
bool minimizer_lower_bound(Minimizer *m);

/* probe_stop() was called, or the time is over. */
bool minimizer_stopped(const Minimizer *m);
/* Seconds of CLOCK_MONOTONIC. */
double minimizer_now(void);

/* Begin with a recipe that is a finding, whose execution result is: as it is written, until a candidate takes its place. */
void minimizer_begin(Minimizer *m, const Recipe *recipe, const ProbeResult *result);
/* A second one for the same finding that begins elsewhere; others and random are the first one's. */
void minimizer_begin_trial(Minimizer *trial, const Minimizer *m, const Recipe *recipe, const ProbeResult *result);
void minimizer_end(Minimizer *m); /* frees what it owns */
void minimizer_adopt(Minimizer *m, Minimizer *trial); /* m takes the trial's best where that costs less; ends the trial */

bool minimizer_cheaper(const MinimizerCost *a, const MinimizerCost *b);

/* ---- candidates */

/* An array of Recipe that it owns. */
GArray *minimizer_batch(void);
void minimizer_batch_add(GArray *batch, Recipe recipe); /* takes it over */

typedef enum MinimizerRule {
    MINIMIZER_CHEAPER, /* take the first candidate that has the key and costs less */
    MINIMIZER_FEWER, /* the first that has the key and fewer deviations */
    MINIMIZER_SAME_KEY, /* the first that has the key */
} MinimizerRule;

/* Run the candidates in order until one takes the best one's place. Returns its index, or -1. Frees the batch. */
int minimizer_try(Minimizer *m, GArray *batch, MinimizerRule rule);

/* ---- the passes; each returns whether the best has changed */

bool minimize_overrides(Minimizer *m); /* minimize_schedule.c: leave records out */
bool minimize_preemptions(Minimizer *m); /* minimize_schedule.c: other records, fewer of them */
bool minimize_numbers(Minimizer *m); /* minimize_schedule.c: lower numbers in them */
bool minimize_scenario(Minimizer *m); /* minimize_scenario.c: delete, zero, lower bytes */
bool minimize_search(Minimizer *m); /* minimize_search.c: look for the finding in simpler scenarios */

#endif
