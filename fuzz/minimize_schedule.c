/*
 * Minimizing a schedule: leave records out, replace several by one, lower their numbers. See minimizer.h.
 *
 * The records of a schedule depend on each other: the n-th decision of a thread is another one when an earlier record is gone. So after
 * each success the list is read anew from the execution, and none of the passes assumes that what failed once fails for ever.
 */
#include "fuzz/minimizer.h"

#include <string.h>

enum { REPLACEMENTS_MAX = 2000, REPLACED_PAIRS_MAX = 6 };

/* The best recipe with its deviations, in order of time, less those in [first, first + count). */
static Recipe without(const Minimizer *m, uint32_t first, uint32_t count)
{
    SchedOverride *left = g_new(SchedOverride, m->deviation_count + 1);
    uint32_t kept = 0;
    Recipe recipe;

    for (uint32_t i = 0; i < m->deviation_count; i++) {
        if (i < first || i - first >= count) {
            left[kept++] = m->deviations[i];
        }
    }
    recipe = recipe_pure(&m->best, left, kept);
    g_free(left);
    return recipe;
}

/* Delta debugging: chunks from half of the records down to single ones. The last ones of an execution are the first to go: what comes
 * after the bug matters least, and to leave it out changes nothing before it. */
bool minimize_overrides(Minimizer *m)
{
    bool changed = false;
    uint32_t chunk = m->deviation_count;

    while (chunk > 0 && !m->as_written && !minimizer_stopped(m)) {
        GArray *batch = minimizer_batch();

        chunk = MIN(chunk, m->deviation_count);
        for (uint32_t end = m->deviation_count; end > 0; end -= MIN(end, chunk)) {
            minimizer_batch_add(batch, without(m, end - MIN(end, chunk), MIN(end, chunk)));
        }
        if (minimizer_try(m, batch, MINIMIZER_FEWER) >= 0) {
            changed = true;
        } else {
            chunk /= 2;
        }
    }
    return changed;
}

/* ---- fewer records that are not among those that there are */

static bool is_left_out(uint32_t i, const uint32_t *out, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        if (out[k] == i) {
            return true;
        }
    }
    return false;
}

/* Recipes in which one new record takes the place of those in out[]: all there are, or evenly chosen ones of too many. */
static GArray *replacements(const Minimizer *m, const uint32_t *out, uint32_t out_count)
{
    GArray *batch = minimizer_batch();
    SchedOverride *records = g_new(SchedOverride, m->deviation_count + 1);
    uint32_t kept = 0, decisions = 0, every, n = 0;

    for (uint32_t i = 0; i < m->deviation_count; i++) {
        if (!is_left_out(i, out, out_count)) {
            records[kept++] = m->deviations[i];
        }
    }
    for (uint32_t thread = 0; thread < m->threads; thread++) {
        decisions += m->decisions[thread];
    }
    every = 1 + decisions * m->threads / REPLACEMENTS_MAX;
    for (uint32_t thread = 0; thread < m->threads; thread++) {
        for (uint32_t decision = 0; decision < m->decisions[thread]; decision++) {
            for (uint32_t to = 0; to < m->threads; to++) {
                records[kept] = (SchedOverride){ (uint16_t)decision, (uint16_t)thread, (uint16_t)(to + 1) };
                if (to != thread && n++ % every == 0) {
                    minimizer_batch_add(batch, recipe_pure(&m->best, records, kept + 1));
                }
            }
        }
    }
    g_free(records);
    return batch;
}

static bool replace_all(Minimizer *m)
{
    uint32_t *all = g_new(uint32_t, m->deviation_count + 1);
    bool changed;

    for (uint32_t i = 0; i < m->deviation_count; i++) {
        all[i] = i;
    }
    changed = minimizer_try(m, replacements(m, all, m->deviation_count), MINIMIZER_CHEAPER) >= 0;
    g_free(all);
    return changed;
}

static bool replace_a_pair(Minimizer *m)
{
    unsigned tried = 0;

    for (uint32_t i = 0; i < m->deviation_count; i++) {
        for (uint32_t k = i + 1; k < m->deviation_count && tried < REPLACED_PAIRS_MAX; k++, tried++) {
            if (minimizer_try(m, replacements(m, (uint32_t[]){ i, k }, 2), MINIMIZER_CHEAPER) >= 0) {
                return true;
            }
        }
    }
    return false;
}

bool minimize_preemptions(Minimizer *m)
{
    bool changed = false;

    if (m->as_written || m->deviation_count < 2) {
        return false;
    }
    while (m->deviation_count >= 2 && !minimizer_stopped(m)) {
        if (replace_all(m)) {
            changed = true;
            break; /* one record is left */
        }
        if (m->deviation_count == 2 || !replace_a_pair(m)) {
            break;
        }
        changed = true;
        minimize_overrides(m);
    }
    return changed;
}

/* ---- lower numbers */

static void add_changed(GArray *batch, const Minimizer *m, uint32_t i, SchedOverride changed)
{
    SchedOverride *records = g_memdup2(m->deviations, m->deviation_count * sizeof(SchedOverride));

    records[i] = changed;
    minimizer_batch_add(batch, recipe_pure(&m->best, records, m->deviation_count));
    g_free(records);
}

static void add_lower_numbers(GArray *batch, const Minimizer *m, uint32_t i)
{
    SchedOverride o = m->deviations[i];

    for (uint32_t step = (o.decision + 1u) / 2; step > 0; step /= 2) {
        add_changed(batch, m, i, (SchedOverride){ (uint16_t)(o.decision - step), o.thread, o.choice });
    }
    for (uint16_t choice = 1; choice < o.choice && choice <= m->threads; choice++) {
        add_changed(batch, m, i, (SchedOverride){ o.decision, o.thread, choice });
    }
    for (uint16_t thread = 0; thread < o.thread; thread++) {
        add_changed(batch, m, i, (SchedOverride){ o.decision, thread, o.choice });
    }
}

static void add_with(GArray *batch, const Minimizer *m, bool atomics, uint8_t disturb)
{
    for (int keeps = 1; keeps >= 0; keeps--) {
        Recipe recipe = recipe_pure(&m->best, m->deviations, keeps ? m->deviation_count : 0);

        recipe.plan.atomics = atomics;
        recipe.plan.disturb = disturb;
        minimizer_batch_add(batch, recipe);
    }
}

/* Points at calls alone, and calls that nothing disturbs. The records then mean other decisions, so mostly this helps where there are none. */
static bool without_kinds(Minimizer *m)
{
    GArray *batch = minimizer_batch();
    bool atomics = m->best.plan.atomics;
    uint8_t disturb = m->best.plan.disturb;

    if (atomics && disturb) {
        add_with(batch, m, false, 0);
    }
    if (disturb) {
        add_with(batch, m, atomics, 0);
    }
    if (atomics) {
        add_with(batch, m, false, disturb);
    }
    return minimizer_try(m, batch, MINIMIZER_CHEAPER) >= 0;
}

bool minimize_numbers(Minimizer *m)
{
    bool changed = !m->as_written && without_kinds(m), again = true;

    while (again && !m->as_written && !minimizer_stopped(m)) {
        GArray *batch = minimizer_batch();

        for (uint32_t i = 0; i < m->deviation_count; i++) {
            add_lower_numbers(batch, m, i);
        }
        again = minimizer_try(m, batch, MINIMIZER_CHEAPER) >= 0;
        changed = changed || again;
    }
    return changed;
}
