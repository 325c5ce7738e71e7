/* See minimizer.h. */
#include "fuzz/minimizer.h"

#include <string.h>
#include <time.h>

enum { OTHERS_MAX = 16, OTHERS_PATIENCE = 32 };
#define STEP_BOUND_MIN 1000u /* below, an execution that ends is soon taken for one that does not */

double minimizer_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double deadline_of(const Minimizer *m)
{
    return m->deadline - (m->cost.overflow ? m->kept_s : 0);
}

bool minimizer_stopped(const Minimizer *m)
{
    return probe_stopped() || minimizer_now() > deadline_of(m);
}

/* ---- cost */

static uint64_t varint_bytes(uint32_t value)
{
    return value < 0x80 ? 1 : value < 0x4000 ? 2 : 3;
}

static MinimizerCost cost_of(const Recipe *recipe, const ProbeResult *result)
{
    MinimizerCost cost = { .preemptions = result->preemptions, .steps = result->steps, .weight = recipe->plan.atomics };
    GBytes *bytes = recipe_to_bytes(recipe);

    if (bytes) {
        cost.bytes = g_bytes_get_size(bytes);
        g_bytes_unref(bytes);
    } else {
        cost.overflow = recipe->override_count;
        cost.bytes = recipe->scenario_size;
    }
    for (size_t i = 0; i < recipe->scenario_size; i++) {
        cost.weight += recipe->scenario[i];
    }
    for (uint32_t i = 0; i < recipe->override_count; i++) {
        const SchedOverride *o = &recipe->overrides[i];

        cost.bytes += bytes ? 0 : 1 + varint_bytes(o->decision);
        cost.weight += o->thread + (o->choice == SCHED_CHOICE_CLOCK ? 1u : o->choice);
    }
    return cost;
}

bool minimizer_cheaper(const MinimizerCost *a, const MinimizerCost *b)
{
    const uint64_t x[] = { a->overflow, a->preemptions, a->bytes, a->weight, a->steps };
    const uint64_t y[] = { b->overflow, b->preemptions, b->bytes, b->weight, b->steps };

    for (size_t i = 0; i < G_N_ELEMENTS(x); i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i];
        }
    }
    return false;
}

/* ---- the best */

/* The shortest way to write the execution: where all its deviations were kept, first-in-first-out order with them. */
static Recipe normal_form(const Minimizer *m, const Recipe *recipe, const ProbeResult *result)
{
    return m->as_written || !result->complete ? recipe_copy(recipe)
                                              : recipe_pure(recipe, result->deviations, result->deviation_count);
}

/* Take a recipe over whose execution is known. */
static void take(Minimizer *m, Recipe taken, const ProbeResult *result)
{
    recipe_free(&m->best);
    g_free(m->deviations);
    m->best = taken;
    m->deviations = g_memdup2(result->deviations, result->deviation_count * sizeof(SchedOverride));
    m->deviation_count = result->deviation_count;
    m->cost = cost_of(&taken, result);
    m->hash = result->hash;
    m->steps = result->steps;
    m->preemptions = result->preemptions;
    m->threads = result->threads;
    memcpy(m->decisions, result->decisions, sizeof(m->decisions));
    g_strlcpy(m->summary, result->summary, sizeof(m->summary));
    g_strlcpy(m->verdict, result->verdict, sizeof(m->verdict));
    if (m->improved) {
        m->improved(m);
    }
}

void minimizer_begin(Minimizer *m, const Recipe *recipe, const ProbeResult *result)
{
    g_strlcpy(m->key, result->key, sizeof(m->key));
    take(m, recipe_copy(recipe), result);
}

void minimizer_begin_trial(Minimizer *trial, const Minimizer *m, const Recipe *recipe, const ProbeResult *result)
{
    *trial = (Minimizer){
        .others = m->others,
        .random = m->random,
        .deadline = m->deadline,
        .as_written = m->as_written,
        .step_bound = m->step_bound,
    };
    minimizer_begin(trial, recipe, result);
}

void minimizer_end(Minimizer *m)
{
    recipe_free(&m->best);
    g_free(m->deviations);
    m->deviations = NULL;
}

void minimizer_adopt(Minimizer *m, Minimizer *trial)
{
    if (!minimizer_cheaper(&trial->cost, &m->cost)) {
        minimizer_end(trial);
        return;
    }
    trial->improved = m->improved;
    minimizer_end(m);
    *m = *trial;
    if (m->improved) {
        m->improved(m);
    }
}

/* ---- candidates */

static void clear_recipe(gpointer recipe)
{
    recipe_free(recipe);
}

GArray *minimizer_batch(void)
{
    GArray *batch = g_array_new(FALSE, FALSE, sizeof(Recipe));

    g_array_set_clear_func(batch, clear_recipe);
    return batch;
}

void minimizer_batch_add(GArray *batch, Recipe recipe)
{
    g_array_append_val(batch, recipe);
}

/* Another defect: the first recipe for each is kept. */
static bool is_new(const Minimizer *m, const ProbeResult *result)
{
    for (guint i = 0; i < m->others->len; i++) {
        if (strcmp(g_array_index(m->others, MinimizerOther, i).key, result->key) == 0) {
            return false;
        }
    }
    return m->others->len < OTHERS_MAX;
}

static void keep_other(Minimizer *m, const Recipe *recipe, const ProbeResult *result)
{
    MinimizerOther other = { .recipe = { .scenario = NULL } };

    other.recipe = recipe_copy(recipe);
    memcpy(other.verdict, result->verdict, sizeof(other.verdict));
    memcpy(other.key, result->key, sizeof(other.key));
    memcpy(other.summary, result->summary, sizeof(other.summary));
    other.proved = !m->step_bound || strcmp(result->verdict, m->verdict) != 0;
    g_array_append_val(m->others, other);
}

bool minimizer_lower_bound(Minimizer *m)
{
    uint64_t before = m->step_bound, bound = MAX(m->steps / 128, STEP_BOUND_MIN);
    ProbeResult result;

    if (strcmp(m->verdict, check_verdict_name(CHECK_LIVELOCK)) != 0) {
        return false;
    }
    for (m->step_bound = 0; bound < m->steps / 4 && !m->step_bound && !minimizer_stopped(m); bound *= 2) {
        probe_set_step_bound(bound);
        if (probe_one(&m->best, &result) && strcmp(result.key, m->key) == 0) {
            m->step_bound = bound * 2;
        }
    }
    return m->step_bound != before;
}

static bool acceptable(const Minimizer *m, MinimizerRule rule, const Recipe *recipe, const ProbeResult *result)
{
    if (rule == MINIMIZER_CHEAPER) {
        Recipe normal = normal_form(m, recipe, result);
        MinimizerCost cost = cost_of(&normal, result);

        recipe_free(&normal);
        return minimizer_cheaper(&cost, &m->cost);
    }
    return rule == MINIMIZER_SAME_KEY || (result->complete && result->deviation_count < m->deviation_count);
}

/* Take a candidate that is the finding up to step_bound, if it is one up to the target's own bound as well: with the deviations up to the
 * former, after which it goes round. */
static bool take_proved(Minimizer *m, MinimizerRule rule, const Recipe *recipe, ProbeResult *result)
{
    Recipe taken = normal_form(m, recipe, result);
    bool good = true;

    if (m->step_bound) {
        probe_set_step_bound(0);
        good = probe_one(&taken, result) && strcmp(result->key, m->key) == 0 && acceptable(m, rule, &taken, result);
    }
    if (good) {
        take(m, normal_form(m, &taken, result), result);
    }
    recipe_free(&taken);
    return good;
}

/* One call of minimizer_try(). */
typedef struct Attempt {
    const Minimizer *m;
    MinimizerRule rule;
    const Recipe *recipes;
    unsigned others;
} Attempt;

static ProbeAnswer wanted(const ProbeResult *result, unsigned index, void *opaque)
{
    Attempt *attempt = opaque;

    if (minimizer_stopped(attempt->m)) {
        return PROBE_STOP;
    }
    if (strcmp(result->key, attempt->m->key) == 0) {
        return acceptable(attempt->m, attempt->rule, &attempt->recipes[index], result) ? PROBE_TAKE : PROBE_GO_ON;
    }
    if (++attempt->others == OTHERS_PATIENCE) {
        return PROBE_STOP; /* each costs a fork: where others are that frequent, what comes after them is hardly ours */
    }
    return is_new(attempt->m, result) ? PROBE_TAKE : PROBE_GO_ON;
}

int minimizer_try(Minimizer *m, GArray *batch, MinimizerRule rule)
{
    const Recipe *recipes = &g_array_index(batch, Recipe, 0);
    unsigned from = 0, others = 0;
    int accepted = -1;

    while (from < batch->len && accepted < 0 && !minimizer_stopped(m)) {
        Attempt attempt = { m, rule, recipes + from, others };
        ProbeResult result;
        unsigned index;

        probe_set_step_bound(m->step_bound);
        index = from + probe_first(recipes + from, batch->len - from, deadline_of(m), wanted, &attempt, &result);
        others = attempt.others;
        if (index == batch->len) {
            break;
        }
        if (strcmp(result.key, m->key) != 0) {
            keep_other(m, &recipes[index], &result);
        } else if (take_proved(m, rule, &recipes[index], &result)) {
            accepted = (int)index;
        }
        from = index + 1;
    }
    g_array_free(batch, TRUE);
    return accepted;
}
