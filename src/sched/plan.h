/*
 * The plan: what the scheduler reads from the back of an input. The layout is described in docs/input-format.md.
 *
 * Every byte string decodes to a plan. An empty one is the first-in-first-out execution with points at calls only.
 */
#ifndef WAKEFUZZ_SCHED_PLAN_H
#define WAKEFUZZ_SCHED_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The base policy that decides where no override and no constraint does. Part of the input: append only. */
typedef enum SchedBase {
    SCHED_BASE_FIFO,  /* keep running; when blocked, the thread that has waited longest */
    SCHED_BASE_WALK,  /* leave the running thread with a drawn probability, for any other */
    SCHED_BASE_POS,   /* partial order sampling: random priority per pending event, drawn anew when events race */
    SCHED_BASE_URW,   /* a thread with probability proportional to its remaining events */
    SCHED_BASE_PCT,   /* random priorities, lowered at d drawn steps */
    SCHED_BASE_SURW,  /* URW that counts the accesses to one shared object only */
    SCHED_BASE_MIXED, /* one of the above, WALK to SURW, drawn from the seed */
    SCHED_BASE_COUNT
} SchedBase;

#define SCHED_CONSTRAINTS_MAX 6u
#define SCHED_OVERRIDES_MAX   31u
#define SCHED_COUNTS_MAX      16u
#define SCHED_SITE_INITIAL    0u /* as a write site: the value that nobody wrote in this execution */

/* "The read at site R must, or must not, see the write at site W." */
typedef struct SchedConstraint {
    uint16_t write_site; /* low 16 bits of the site's id, never 0; or SCHED_SITE_INITIAL */
    uint16_t read_site;
    bool must_not;
} SchedConstraint;

/* "At the n-th decision of thread T take choice c." */
typedef struct SchedOverride {
    uint16_t decision; /* counted from 0, for each thread apart */
    uint16_t thread;
    uint16_t
        choice; /* at a point: 0 first in, first out; SCHED_CHOICE_CLOCK; else thread choice - 1. At sched_choose(): itself */
} SchedOverride;

#define SCHED_CHOICE_CLOCK 0xffffu /* the clock advances to the next timer */

typedef struct SchedPlan {
    SchedBase base;
    bool atomics;        /* points at atomic accesses too */
    uint8_t clock_rate;  /* 0: the clock moves when nobody can run; k: also at one of 2^(k+1) decisions, 256 times at most */
    uint8_t disturb;     /* 0: calls are not disturbed; k: with probability 1/2^k, see sched_disturb(); at most 31 */
    uint8_t parameter;   /* WALK: rate 1/2^(1 + parameter % 8); PCT: depth 1 + parameter % 5; else unused */
    uint64_t seed;       /* hashed before use */
    uint32_t length;     /* PCT: steps of an execution, as measured */
    uint16_t object;     /* SURW: ordinal of the object */
    uint8_t count_count; /* URW, SURW: events per thread, as measured */
    uint8_t constraint_count;
    uint8_t override_count;
    uint16_t counts[SCHED_COUNTS_MAX];
    SchedConstraint constraints[SCHED_CONSTRAINTS_MAX];
    SchedOverride overrides[SCHED_OVERRIDES_MAX]; /* sorted by (thread, decision) */
} SchedPlan;

#define SCHED_PLAN_BYTES_MAX 416u /* no plan is longer */

/* Read a plan from the back of data. Returns how many bytes at the end belong to it (at most size); what is missing reads as 0. */
size_t sched_plan_decode(SchedPlan *plan, const uint8_t *data, size_t size);

/* Write a plan; returns its length. The last byte of the plan is bytes[length - 1]. */
size_t sched_plan_encode(const SchedPlan *plan, uint8_t bytes[SCHED_PLAN_BYTES_MAX]);

#endif
