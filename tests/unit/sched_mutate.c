/*
 * Mutation and crossover: sizes, determinism, and that the two parts of an input stay what they are.
 *
 * Runs on the test's only thread; the one execution gives the mutator something to have learned from.
 */
#include "sched/learn.h"
#include "sched/mutate.h"
#include "sched_kit.h"

#define SEEDS 4000u /* eight kinds of mutation, six of plan changes: each combination some dozen times */

static size_t invert_bytes(uint8_t *data, size_t size, size_t max_size)
{
    size = size < max_size ? size : max_size;
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)~data[i];
    }
    return size;
}

static int shared_number;
static KitMutex shared_mutex;

static void *increment(void *unused)
{
    (void)unused;
    kit_lock(&shared_mutex);
    qatomic_set(&shared_number, qatomic_read(&shared_number) + 1);
    kit_unlock(&shared_mutex);
    return NULL;
}

static void body(void *unused)
{
    SchedThread *threads[3];

    (void)unused;
    shared_number = 0;
    shared_mutex = (KitMutex){ 0 };
    for (unsigned i = 0; i < 3; i++) {
        threads[i] = kit_spawn(increment, NULL);
    }
    for (unsigned i = 0; i < 3; i++) {
        kit_join(threads[i]);
    }
}

static void learn(void)
{
    const SchedPlan plan = { .atomics = true };

    sched_set_learning(true);
    kit_run_done(body, NULL, &plan);
    sched_set_learning(false);
    g_assert_cmpuint(sched_learn_site_count(), >, 0);
}

static size_t make_input(SchedRandom *random, uint8_t *data, size_t scenario, size_t max_size)
{
    uint8_t bytes[SCHED_PLAN_BYTES_MAX];
    SchedPlan plan;
    size_t length;

    for (size_t i = 0; i < scenario; i++) {
        data[i] = (uint8_t)(0x80 | i);
    }
    sched_draw_plan(random, (SchedDraw){ SCHED_BASE_MIXED, true }, &plan);
    length = sched_plan_encode(&plan, bytes);
    g_assert_cmpuint(scenario + length, <=, max_size);
    memcpy(data + scenario, bytes, length);
    return scenario + length;
}

static void test_mutate_size(void)
{
    /* the small ones lie around the length of a plan's head, the last leaves room for everything */
    static const size_t limits[] = { 1, 2, 3, 15, 16, 17, 40, 100, 416, 417, 1000 };
    SchedRandom random;

    learn();
    sched_random_seed(&random, 3);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        size_t max_size = limits[seed % G_N_ELEMENTS(limits)];
        size_t size = sched_random_below(&random, (uint32_t)max_size + 1);
        uint8_t *data = g_malloc(max_size); /* exactly: ASan sees a byte too many */

        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)sched_random(&random);
        }
        g_assert_cmpuint(sched_mutate(data, size, max_size, seed, invert_bytes), <=, max_size);
        g_free(data);
    }
}

static void test_mutate_is_deterministic(void)
{
    SchedRandom random;
    unsigned different = 0;

    learn();
    sched_random_seed(&random, 4);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        uint8_t first[1000], second[1000], before[1000];
        size_t size = make_input(&random, first, seed % 50, sizeof(first)), a, b;

        memcpy(second, first, size);
        memcpy(before, first, size);
        a = sched_mutate(first, size, sizeof(first), seed, invert_bytes);
        b = sched_mutate(second, size, sizeof(second), seed, invert_bytes);
        g_assert_cmpmem(first, a, second, b);
        different += a != size || memcmp(first, before, size) != 0;
    }
    g_assert_cmpuint(different, >, SEEDS * 9 / 10);
}

/* A mutated input is a scenario (kept, changed by the engine's mutator, or short and random) and then one whole plan. */
static void test_mutate_keeps_structure(void)
{
    enum { SCENARIO = 20 };
    unsigned kept = 0, inverted = 0, constrained = 0, bases = 0;
    SchedRandom random;

    learn();
    sched_random_seed(&random, 5);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        uint8_t data[1000], before[1000];
        size_t size = make_input(&random, data, SCENARIO, sizeof(data)), left;
        SchedPlan plan;

        memcpy(before, data, size);
        size = sched_mutate(data, size, sizeof(data), seed, invert_bytes);
        left = size - sched_plan_decode(&plan, data, size);
        g_assert_cmpuint(left, <=, 32);
        constrained += plan.constraint_count != 0;
        bases |= 1u << plan.base;
        if (left == SCENARIO && memcmp(data, before, SCENARIO) == 0) {
            kept++;
        } else if (left == SCENARIO && data[0] + before[0] == 0xff) {
            inverted++;
        }
    }
    /* most mutations are of the plan alone; those of the scenario go three times in four through the engine's mutator */
    g_assert_cmpuint(kept, >, SEEDS / 3);
    g_assert_cmpuint(inverted, >, SEEDS / 10);
    g_assert_cmpuint(constrained, >, SEEDS / 2);
    for (SchedBase base = SCHED_BASE_WALK; base < SCHED_BASE_MIXED; base++) {
        g_assert_true(bases & 1u << base);
    }
}

static void test_crossover(void)
{
    static const size_t limits[] = { 1, 3, 17, 60, 450, 1000 };
    unsigned of_second = 0;
    SchedRandom random;

    learn();
    sched_random_seed(&random, 6);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        uint8_t a[1000], b[1000], again[1000];
        size_t max_size = limits[seed % G_N_ELEMENTS(limits)], size, scenario;
        size_t size_a = make_input(&random, a, seed % 20, sizeof(a)), size_b = make_input(&random, b, seed % 30, sizeof(b));
        uint8_t *out = g_malloc(max_size);
        SchedPlan plan, plan_b;

        size = sched_crossover(a, size_a, b, size_b, out, max_size, seed);
        g_assert_cmpuint(size, <=, max_size);
        g_assert_cmpuint(sched_crossover(a, size_a, b, size_b, again, max_size, seed), ==, size);
        g_assert_cmpmem(out, size, again, size);
        if (max_size == 1000) {
            scenario = size - sched_plan_decode(&plan, out, size);
            g_assert_cmpmem(out, scenario, a, seed % 20);
            sched_plan_decode(&plan_b, b, size_b);
            of_second += memcmp(&plan, &plan_b, sizeof(plan)) == 0;
        }
        g_free(out);
    }
    g_assert_cmpuint(of_second, >, SEEDS / G_N_ELEMENTS(limits) / 3); /* expected: one half */
}

/* What a plan needs at replay is in the input: a drawn plan survives the way through bytes. */
static void test_drawn_plan_survives_encoding(void)
{
    SchedRandom random;

    learn();
    sched_random_seed(&random, 7);
    for (unsigned n = 0; n < SEEDS; n++) {
        uint8_t bytes[SCHED_PLAN_BYTES_MAX];
        SchedPlan plan, copy;
        SchedDraw draw = { (SchedBase)(n % SCHED_BASE_COUNT), n % 3 != 0 };

        sched_draw_plan(&random, draw, &plan);
        if (plan.base == SCHED_BASE_FIFO && !plan.clock_rate && !plan.constraint_count) {
            continue; /* its seed means nothing and is not written */
        }
        sched_plan_decode(&copy, bytes, sched_plan_encode(&plan, bytes));
        g_assert_cmpmem(&copy, sizeof(copy), &plan, sizeof(plan));
        g_assert_true(draw.base == SCHED_BASE_MIXED ? plan.base != SCHED_BASE_MIXED : plan.base == draw.base);
        g_assert_true(draw.constraints || plan.constraint_count == 0);
    }
}

/* Disturbances are drawn only for programs that cope with them; then half of the new plans have some. */
static void test_disturbances(void)
{
    SchedRandom random;

    learn();
    sched_random_seed(&random, 7);
    for (unsigned on = 0; on < 2; on++) {
        unsigned disturbed = 0;

        sched_mutate_disturbs(on);
        for (unsigned seed = 0; seed < SEEDS; seed++) {
            uint8_t data[1000];
            size_t size = make_input(&random, data, 20, sizeof(data));
            SchedPlan plan;

            size = sched_mutate(data, size, sizeof(data), seed, invert_bytes);
            sched_plan_decode(&plan, data, size);
            disturbed += plan.disturb != 0;
        }
        g_assert_true(on ? disturbed > SEEDS / 8 : disturbed == 0); /* five mutations of eight draw a new plan */
    }
    sched_mutate_disturbs(false);
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    g_test_add_func("/sched/mutate/size", test_mutate_size);
    g_test_add_func("/sched/mutate/deterministic", test_mutate_is_deterministic);
    g_test_add_func("/sched/mutate/keeps-structure", test_mutate_keeps_structure);
    g_test_add_func("/sched/mutate/crossover", test_crossover);
    g_test_add_func("/sched/mutate/drawn-plan-survives-encoding", test_drawn_plan_survives_encoding);
    g_test_add_func("/sched/mutate/disturbances", test_disturbances);
    return g_test_run();
}
