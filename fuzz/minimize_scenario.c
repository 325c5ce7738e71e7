/*
 * Minimizing a scenario: delete bytes, set them to zero, lower them, under the schedule as it is. See minimizer.h.
 *
 * Zero is the plainest choice wherever a target reads, and a byte counts modulo the number of choices: so besides smaller values its
 * remainders are tried, which mean the same where the target has so many choices.
 */
#include "fuzz/minimizer.h"

#include <string.h>

enum { CHOICES_MAX = 16 };

static Recipe with_scenario(const Minimizer *m, uint8_t *scenario, size_t size)
{
    Recipe recipe = recipe_copy(&m->best);

    g_free(recipe.scenario);
    recipe.scenario = scenario;
    recipe.scenario_size = size;
    return recipe;
}

static Recipe cut(const Minimizer *m, size_t first, size_t count)
{
    size_t size = m->best.scenario_size;
    uint8_t *scenario = g_malloc(size + 1);

    memcpy(scenario, m->best.scenario, first);
    memcpy(scenario + first, m->best.scenario + first + count, size - first - count);
    return with_scenario(m, scenario, size - count);
}

static Recipe zeroed(const Minimizer *m, size_t first, size_t count)
{
    uint8_t *scenario = g_memdup2(m->best.scenario, m->best.scenario_size);

    memset(scenario + first, 0, count);
    return with_scenario(m, scenario, m->best.scenario_size);
}

/* Chunks from all of it down to single bytes, the end first. */
static bool by_chunks(Minimizer *m, Recipe (*change)(const Minimizer *, size_t, size_t))
{
    bool changed = false;
    size_t chunk = m->best.scenario_size;

    while (chunk > 0 && !minimizer_stopped(m)) {
        GArray *batch = minimizer_batch();
        size_t end;

        chunk = MIN(chunk, m->best.scenario_size);
        for (end = m->best.scenario_size; end > 0; end -= MIN(end, chunk)) {
            minimizer_batch_add(batch, change(m, end - MIN(end, chunk), MIN(end, chunk)));
        }
        if (minimizer_try(m, batch, MINIMIZER_CHEAPER) >= 0) {
            changed = true;
        } else {
            chunk /= 2;
        }
    }
    return changed;
}

static void add_value(GArray *batch, const Minimizer *m, size_t i, uint8_t value)
{
    uint8_t *scenario;

    if (value < m->best.scenario[i]) {
        scenario = g_memdup2(m->best.scenario, m->best.scenario_size);
        scenario[i] = value;
        minimizer_batch_add(batch, with_scenario(m, scenario, m->best.scenario_size));
    }
}

static void add_lower_values(GArray *batch, const Minimizer *m, size_t i)
{
    uint8_t value = m->best.scenario[i];

    for (unsigned n = 2; n <= CHOICES_MAX; n++) {
        add_value(batch, m, i, (uint8_t)(value % n));
    }
    for (unsigned bit = 0; bit < 8; bit++) {
        add_value(batch, m, i, (uint8_t)(value & ~(1u << bit)));
    }
    add_value(batch, m, i, value / 2);
    add_value(batch, m, i, (uint8_t)(value - 1));
}

static bool lower_bytes(Minimizer *m)
{
    bool changed = false, again = true;

    while (again && !minimizer_stopped(m)) {
        GArray *batch = minimizer_batch();

        for (size_t i = 0; i < m->best.scenario_size; i++) {
            add_lower_values(batch, m, i);
        }
        again = minimizer_try(m, batch, MINIMIZER_CHEAPER) >= 0;
        changed = changed || again;
    }
    return changed;
}

bool minimize_scenario(Minimizer *m)
{
    bool deleted = by_chunks(m, cut);
    bool set_to_zero = by_chunks(m, zeroed);
    bool lowered = lower_bytes(m);

    return deleted || set_to_zero || lowered;
}
