/* See recipe.h. */
#include "fuzz/recipe.h"

#include <string.h>

static int compare_overrides(const void *a, const void *b)
{
    const SchedOverride *x = a, *y = b;

    if (x->thread != y->thread) {
        return x->thread < y->thread ? -1 : 1;
    }
    return (x->decision > y->decision) - (x->decision < y->decision);
}

Recipe recipe_from_bytes(const uint8_t *data, size_t size)
{
    Recipe recipe = { .scenario = NULL };

    recipe.scenario_size = size - sched_plan_decode(&recipe.plan, data, size);
    recipe.scenario = g_memdup2(data, recipe.scenario_size);
    recipe.override_count = recipe.plan.override_count;
    recipe.overrides = g_memdup2(recipe.plan.overrides, recipe.override_count * sizeof(SchedOverride));
    return recipe;
}

Recipe recipe_copy(const Recipe *recipe)
{
    Recipe copy = *recipe;

    copy.scenario = g_memdup2(recipe->scenario, recipe->scenario_size);
    copy.overrides = g_memdup2(recipe->overrides, recipe->override_count * sizeof(SchedOverride));
    return copy;
}

void recipe_free(Recipe *recipe)
{
    g_free(recipe->scenario);
    g_free(recipe->overrides);
    *recipe = (Recipe){ .scenario = NULL };
}

Recipe recipe_pure(const Recipe *recipe, const SchedOverride *overrides, uint32_t count)
{
    Recipe pure = {
        .scenario = g_memdup2(recipe->scenario, recipe->scenario_size),
        .scenario_size = recipe->scenario_size,
        .plan = { .base = SCHED_BASE_FIFO, .atomics = recipe->plan.atomics, .disturb = recipe->plan.disturb },
        .overrides = g_memdup2(overrides, count * sizeof(*overrides)),
        .override_count = count,
    };

    if (count) {
        qsort(pure.overrides, count, sizeof(*overrides), compare_overrides);
    }
    return pure;
}

static size_t encode_rest(const Recipe *recipe, uint8_t bytes[SCHED_PLAN_BYTES_MAX])
{
    SchedPlan plan = recipe->plan;

    plan.override_count = 0;
    return sched_plan_encode(&plan, bytes);
}

bool recipe_equal(const Recipe *a, const Recipe *b)
{
    uint8_t x[SCHED_PLAN_BYTES_MAX], y[SCHED_PLAN_BYTES_MAX];
    size_t size = encode_rest(a, x);

    return a->scenario_size == b->scenario_size && a->override_count == b->override_count && size == encode_rest(b, y) &&
           memcmp(x, y, size) == 0 && (!a->scenario_size || memcmp(a->scenario, b->scenario, a->scenario_size) == 0) &&
           (!a->override_count || memcmp(a->overrides, b->overrides, a->override_count * sizeof(SchedOverride)) == 0);
}

/* Without a scenario, zeros in front of the plan are not needed: what is missing reads as zero. */
static size_t needless_zeros(const uint8_t *data, size_t size)
{
    uint8_t encoded[SCHED_PLAN_BYTES_MAX];
    SchedPlan shorter;
    size_t skip = 0;

    while (skip < size && data[skip] == 0) {
        size_t left = size - skip - 1;

        if (sched_plan_decode(&shorter, data + skip + 1, left) != left || sched_plan_encode(&shorter, encoded) != size ||
            memcmp(encoded, data, size) != 0) {
            break;
        }
        skip++;
    }
    return skip;
}

GBytes *recipe_to_bytes(const Recipe *recipe)
{
    uint8_t encoded[SCHED_PLAN_BYTES_MAX];
    SchedPlan plan = recipe->plan;
    size_t size, skip = 0;
    GByteArray *bytes;

    if (recipe->override_count > SCHED_OVERRIDES_MAX) {
        return NULL;
    }
    plan.override_count = (uint8_t)recipe->override_count;
    for (uint32_t i = 0; i < recipe->override_count; i++) {
        plan.overrides[i] = recipe->overrides[i];
    }
    size = sched_plan_encode(&plan, encoded);
    if (recipe->scenario_size == 0) {
        skip = needless_zeros(encoded, size);
    }
    bytes = g_byte_array_new();
    if (recipe->scenario_size) {
        g_byte_array_append(bytes, recipe->scenario, (guint)recipe->scenario_size);
    }
    g_byte_array_append(bytes, encoded + skip, (guint)(size - skip));
    return g_byte_array_free_to_bytes(bytes);
}
