/*
 * What executions teach the mutator: which sites touch the same objects from several threads, how long an execution is, how many
 * events each thread has. It enters inputs through mutate.h and is never read at replay.
 *
 * Kernel thread only, outside executions; sched_learn_decisions() and sched_learn_threads() also right after sched_result_so_far().
 */
#ifndef WAKEFUZZ_SCHED_LEARN_H
#define WAKEFUZZ_SCHED_LEARN_H

#include "sched/plan.h"
#include "sched/random.h"

/* Draw a constraint from the conflicting sites seen so far. False: none were seen. */
bool sched_learn_draw_constraint(SchedRandom *random, SchedConstraint *constraint);

/* Set length, object and counts of the plan from the last execution, as the plan's base needs them. */
void sched_learn_measure(SchedRandom *random, SchedPlan *plan);

/* Threads of the last execution, and decisions of one of them. */
uint32_t sched_learn_threads(void);
uint32_t sched_learn_decisions(uint32_t thread);

/* Forget all sites and pairs, as a new process would: for measuring fresh starts. */
void sched_learn_forget(void);

/* How many sites and how many (site before, site) pairs on one object were seen: shows saturation. */
uint32_t sched_learn_site_count(void);
uint32_t sched_learn_pair_count(void);

#endif
