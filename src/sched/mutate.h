/*
 * Mutation and crossover that keep an input's structure: a scenario in front, a plan at the back. Plain mutation of the bytes
 * works too; these only find faster. Kernel thread only, between executions.
 */
#ifndef WAKEFUZZ_SCHED_MUTATE_H
#define WAKEFUZZ_SCHED_MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/plan.h"
#include "sched/random.h"

/* Mutates bytes in place; returns the new size, at most max_size (LLVMFuzzerMutate has this type). */
typedef size_t (*SchedMutateBytes)(uint8_t *data, size_t size, size_t max_size);

/* Whether sched_mutate() draws disturbances (plan.h) too: for programs that cope with them. The default is not to. */
void sched_mutate_disturbs(bool on);

/* The signature of LLVMFuzzerCustomMutator, with the engine's byte mutator for the scenario. */
size_t sched_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, SchedMutateBytes mutate_bytes);

/* The signature of LLVMFuzzerCustomCrossOver. */
size_t sched_crossover(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out, size_t max_size,
                       unsigned seed);

/* How sched_draw_plan() draws; the default is {SCHED_BASE_MIXED, true}. */
typedef struct SchedDraw {
    SchedBase base;    /* MIXED: any of WALK, POS, URW, PCT, SURW */
    bool constraints;  /* 0 to 6 of them */
} SchedDraw;

/* A plan as the default policy draws it, from what was learned so far. */
void sched_draw_plan(SchedRandom *random, SchedDraw draw, SchedPlan *plan);

#endif
