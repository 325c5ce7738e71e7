/*
 * The custom mutator. Most mutations draw a new plan, since a schedule that failed to show anything says little about its neighbours;
 * the others change one thing of the plan, or the scenario.
 */
#include "sched/mutate.h"

#include <string.h>

#include "sched/learn.h"

#define SCENARIO_GROWTH 32u /* bytes that a random scenario gets at most */

static bool disturbs;

void sched_mutate_disturbs(bool on)
{
    disturbs = on;
}

/* Half of the plans disturb nothing: what breaks without is found sooner, and is the simpler finding. */
static void draw_disturbances(SchedRandom *random, SchedPlan *plan)
{
    plan->disturb = (uint8_t)(sched_random_below(random, 2) ? 1 + sched_random_below(random, 6) : 0);
}

static void draw_constraints(SchedRandom *random, SchedPlan *plan)
{
    unsigned wanted = sched_random_below(random, SCHED_CONSTRAINTS_MAX + 1);

    plan->constraint_count = 0;
    while (plan->constraint_count < wanted && sched_learn_draw_constraint(random, &plan->constraints[plan->constraint_count])) {
        plan->constraint_count++;
    }
}

void sched_draw_plan(SchedRandom *random, SchedDraw draw, SchedPlan *plan)
{
    memset(plan, 0, sizeof(*plan));
    plan->base = draw.base;
    if (draw.base == SCHED_BASE_MIXED) {
        plan->base = (SchedBase)(SCHED_BASE_WALK + sched_random_below(random, SCHED_BASE_MIXED - SCHED_BASE_WALK));
    }
    plan->atomics = sched_random_below(random, 2);
    plan->clock_rate = (uint8_t)(sched_random_below(random, 2) ? 0 : 1 + sched_random_below(random, 8));
    plan->parameter = (uint8_t)sched_random_below(random, 256);
    plan->seed = sched_random(random) >> 32;
    sched_learn_measure(random, plan);
    if (draw.constraints) {
        draw_constraints(random, plan);
    }
}

static void change_override(SchedRandom *random, SchedPlan *plan)
{
    uint32_t threads = sched_learn_threads();
    SchedOverride *o;

    if (!threads) {
        return;
    }
    if (plan->override_count && sched_random_below(random, 3) == 0) {
        plan->override_count--; /* the order does not matter: decoding sorts */
        return;
    }
    o = plan->override_count < SCHED_OVERRIDES_MAX ? &plan->overrides[plan->override_count++]
                                                   : &plan->overrides[sched_random_below(random, SCHED_OVERRIDES_MAX)];
    o->thread = (uint16_t)sched_random_below(random, threads);
    o->decision = (uint16_t)sched_random_below(random, sched_learn_decisions(o->thread) + 1);
    o->choice = (uint16_t)(sched_random_below(random, 8) ? 1 + sched_random_below(random, threads) : SCHED_CHOICE_CLOCK);
}

static void change_plan(SchedRandom *random, SchedPlan *plan)
{
    switch (sched_random_below(random, 6)) {
    case 0:
        plan->seed = sched_random(random) >> 32;
        break;
    case 1:
        plan->atomics = !plan->atomics;
        break;
    case 2:
        plan->clock_rate = (uint8_t)sched_random_below(random, 10);
        break;
    case 3:
        draw_constraints(random, plan);
        break;
    case 4:
        if (plan->constraint_count) {
            sched_learn_draw_constraint(random, &plan->constraints[sched_random_below(random, plan->constraint_count)]);
        }
        break;
    default:
        change_override(random, plan);
        break;
    }
}

static size_t change_scenario(SchedRandom *random, uint8_t *data, size_t size, size_t max_size, SchedMutateBytes mutate_bytes)
{
    if (sched_random_below(random, 4) == 0) {
        size = sched_random_below(random, SCENARIO_GROWTH) + 1;
        size = size < max_size ? size : max_size;
        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)sched_random(random);
        }
        return size;
    }
    return max_size ? mutate_bytes(data, size, max_size) : 0;
}

/* Scenario and plan into one input. A plan that does not fit loses its constraints, then its measurements, then itself. */
static size_t join(uint8_t *data, size_t scenario, size_t max_size, const SchedPlan *plan)
{
    uint8_t bytes[SCHED_PLAN_BYTES_MAX];
    SchedPlan smaller = *plan;
    size_t length = sched_plan_encode(&smaller, bytes);

    if (length > max_size) {
        smaller.constraint_count = 0;
        smaller.count_count = 0;
        length = sched_plan_encode(&smaller, bytes);
    }
    if (length > max_size) {
        smaller = (SchedPlan){ .atomics = plan->atomics };
        length = sched_plan_encode(&smaller, bytes);
    }
    length = length <= max_size ? length : 0;
    scenario = scenario + length <= max_size ? scenario : max_size - length;
    memcpy(data + scenario, bytes, length);
    return scenario + length;
}

size_t sched_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, SchedMutateBytes mutate_bytes)
{
    SchedRandom random;
    SchedPlan plan;
    size_t scenario = size - sched_plan_decode(&plan, data, size);
    unsigned kind;

    sched_random_seed(&random, seed);
    kind = sched_random_below(&random, 8);
    if (kind < 5 || size == 0) {
        sched_draw_plan(&random, (SchedDraw){ SCHED_BASE_MIXED, true }, &plan);
        if (disturbs) {
            draw_disturbances(&random, &plan);
        }
    } else if (kind < 7) {
        change_plan(&random, &plan);
    }
    if (kind == 7 || sched_random_below(&random, 3) == 0) {
        size_t room = max_size > SCHED_PLAN_BYTES_MAX ? max_size - SCHED_PLAN_BYTES_MAX : max_size / 2;

        scenario = change_scenario(&random, data, scenario < room ? scenario : room, room, mutate_bytes);
    }
    return join(data, scenario, max_size, &plan);
}

size_t sched_crossover(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out, size_t max_size,
                       unsigned seed)
{
    SchedRandom random;
    SchedPlan plan, other;
    size_t scenario = size1 - sched_plan_decode(&plan, data1, size1);

    sched_plan_decode(&other, data2, size2);
    sched_random_seed(&random, seed);
    if (sched_random_below(&random, 2)) {
        plan = other; /* this scenario under that schedule */
    } else if (other.constraint_count) {
        plan.constraint_count = other.constraint_count; /* this schedule under those constraints */
        memcpy(plan.constraints, other.constraints, sizeof(plan.constraints));
    }
    scenario = scenario < max_size ? scenario : max_size;
    memcpy(out, data1, scenario);
    return join(out, scenario, max_size, &plan);
}
