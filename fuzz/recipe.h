/*
 * A recipe: an input taken apart into pieces that can be changed one by one, the scenario's bytes and the plan with its overrides, of
 * which there may be more than an input can hold. Any thread; nothing here runs anything.
 */
#ifndef WAKEFUZZ_FUZZ_RECIPE_H
#define WAKEFUZZ_FUZZ_RECIPE_H

#include <glib.h>
#include <stdbool.h>

#include "sched/plan.h"

typedef struct Recipe {
    uint8_t *scenario;
    size_t scenario_size;
    SchedPlan plan;           /* its own overrides are not used */
    SchedOverride *overrides; /* sorted by (thread, decision), none twice */
    uint32_t override_count;
} Recipe;

/* Take an input apart: any bytes are one, and none may be NULL. They are copied: what this and the next two return owns its memory, until
 * recipe_free(). */
Recipe recipe_from_bytes(const uint8_t *data, size_t size);
Recipe recipe_copy(const Recipe *recipe);

/* The same scenario as a first-in-first-out execution with these overrides, in any order, and the same decisions to be taken: points at atomics,
 * and calls that may be disturbed, stay what they are. */
Recipe recipe_pure(const Recipe *recipe, const SchedOverride *overrides, uint32_t count);

/* Free what it owns: then it is the empty input's, and may be freed again. */
void recipe_free(Recipe *recipe);

/* The same scenario, byte by byte, and the same plan, overrides and all? Two that are not may mean the same execution. */
bool recipe_equal(const Recipe *a, const Recipe *b);

/* The shortest input that means this, to unref. NULL: there are more overrides than an input can hold. */
GBytes *recipe_to_bytes(const Recipe *recipe);

#endif
