/*
 * Looking for the finding in scenarios that are simpler than the best one's, under other schedules than its: with a byte gone from the
 * scenario every record of the schedule may mean another decision, so that a smaller crasher is rarely the old one with something cut
 * off. See minimizer.h.
 *
 * A schedule is the old one with its decisions moved a little, or drawn as a hunt draws it. What is found is shrunk by itself and takes
 * the best one's place where it costs less.
 */
#include "fuzz/minimizer.h"

#include <string.h>

enum { SHIFTED = 60, DRAWN = 200, SHIFT_MAX = 6, SIMPLER_MAX = 48, WITHIN_REACH = 1 };

typedef struct Simpler {
    uint8_t *scenario;
    size_t size;
    uint8_t disturb; /* of the plan */
} Simpler;

static void add_simpler(GArray *list, const uint8_t *scenario, size_t size, uint8_t disturb)
{
    Simpler simpler = { g_memdup2(scenario, size), size, disturb };

    for (guint i = 0; i < list->len; i++) {
        const Simpler *known = &g_array_index(list, Simpler, i);

        if (known->size == size && known->disturb == disturb && (size == 0 || memcmp(known->scenario, scenario, size) == 0)) {
            g_free(simpler.scenario);
            return;
        }
    }
    if (list->len == SIMPLER_MAX) {
        g_free(simpler.scenario);
        return;
    }
    g_array_append_val(list, simpler);
}

/* From the simplest on: what there is without disturbances, nothing at all, beginnings of what there is, it with a byte deleted, with a byte zero. */
static GArray *simpler_scenarios(const Minimizer *m)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(Simpler));
    size_t size = m->best.scenario_size;
    uint8_t *changed = g_malloc(size + 1);

    if (m->best.plan.disturb) {
        add_simpler(list, m->best.scenario, size, 0);
    }
    for (size_t length = 0; length < size; length = length ? length * 2 : 1) {
        add_simpler(list, m->best.scenario, length, m->best.plan.disturb);
    }
    for (size_t i = size; i-- > 0;) {
        memcpy(changed, m->best.scenario, size);
        memmove(changed + i, changed + i + 1, size - i - 1);
        add_simpler(list, changed, size - 1, m->best.plan.disturb);
        if (m->best.scenario[i]) {
            memcpy(changed, m->best.scenario, size);
            changed[i] = 0;
            add_simpler(list, changed, size, m->best.plan.disturb);
        }
    }
    g_free(changed);
    return list;
}

static Recipe shifted(const Minimizer *m, const Recipe *from)
{
    SchedOverride *records = g_memdup2(m->deviations, m->deviation_count * sizeof(SchedOverride));
    Recipe recipe;

    for (uint32_t i = 0; i < m->deviation_count; i++) {
        int decision = records[i].decision + (int)sched_random_below(m->random, 2 * SHIFT_MAX + 1) - SHIFT_MAX;

        records[i].decision = (uint16_t)MAX(decision, 0);
    }
    recipe = recipe_pure(from, records, m->deviation_count);
    g_free(records);
    return recipe;
}

static Recipe drawn(const Minimizer *m, const Recipe *from)
{
    Recipe recipe = recipe_pure(from, NULL, 0);

    recipe.plan.base = (SchedBase)(SCHED_BASE_WALK + sched_random_below(m->random, 3));
    recipe.plan.seed = sched_random(m->random);
    recipe.plan.parameter = (uint8_t)sched_random(m->random);
    return recipe;
}

static GArray *schedules(const Minimizer *m, const Simpler *simpler)
{
    GArray *batch = minimizer_batch();
    Recipe from = m->best;

    from.scenario = simpler->scenario;
    from.scenario_size = simpler->size;
    from.plan.disturb = simpler->disturb;
    minimizer_batch_add(batch, recipe_pure(&from, NULL, 0));
    for (unsigned i = 0; i < SHIFTED && m->deviation_count; i++) {
        minimizer_batch_add(batch, shifted(m, &from));
    }
    for (unsigned i = 0; i < DRAWN; i++) {
        minimizer_batch_add(batch, drawn(m, &from));
    }
    return batch;
}

/* Is the finding among these? Then shrink it by itself. */
static bool search(Minimizer *m, const Simpler *simpler)
{
    MinimizerCost before = m->cost;
    Minimizer trial = *m;

    trial.best = recipe_copy(&m->best);
    trial.deviations = g_memdup2(m->deviations, m->deviation_count * sizeof(SchedOverride));
    trial.improved = NULL;
    if (minimizer_try(&trial, schedules(m, simpler), MINIMIZER_SAME_KEY) >= 0) {
        minimize_overrides(&trial);
        if (trial.preemptions <= m->preemptions + WITHIN_REACH) {
            minimize_preemptions(&trial);
        }
    }
    minimizer_adopt(m, &trial);
    return minimizer_cheaper(&m->cost, &before);
}

bool minimize_search(Minimizer *m)
{
    GArray *list;
    bool changed = false;

    if (m->as_written) {
        return false;
    }
    list = simpler_scenarios(m);
    for (guint i = 0; i < list->len && !changed && !minimizer_stopped(m); i++) {
        changed = search(m, &g_array_index(list, Simpler, i));
    }
    for (guint i = 0; i < list->len; i++) {
        g_free(g_array_index(list, Simpler, i).scenario);
    }
    g_array_free(list, TRUE);
    return changed;
}
