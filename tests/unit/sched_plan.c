/*
 * The bytes of a plan: every string is one, and writing what was read changes nothing.
 *
 * Runs on the test's only thread; no execution takes place.
 */
#include <glib.h>
#include <string.h>

#include "sched/plan.h"
#include "sched/random.h"

#define STRINGS 20000u /* each field of the head has at most 256 values: 20,000 strings meet every one of them dozens of times */

static size_t random_bytes(SchedRandom *random, uint8_t *bytes, size_t most)
{
    size_t size = sched_random_below(random, (uint32_t)most + 1);
    bool sparse = sched_random_below(random, 2); /* many zeros: small numbers, few records */

    for (size_t i = 0; i < size; i++) {
        bytes[i] = sparse && sched_random_below(random, 2) ? 0 : (uint8_t)sched_random(random);
    }
    return size;
}

static void assert_valid(const SchedPlan *plan)
{
    g_assert_cmpuint(plan->base, <, SCHED_BASE_COUNT);
    g_assert_cmpuint(plan->clock_rate, <, 16);
    g_assert_cmpuint(plan->count_count, <=, SCHED_COUNTS_MAX);
    g_assert_cmpuint(plan->constraint_count, <=, SCHED_CONSTRAINTS_MAX);
    g_assert_cmpuint(plan->override_count, <=, SCHED_OVERRIDES_MAX);
    for (unsigned i = 1; i < plan->override_count; i++) {
        const SchedOverride *a = &plan->overrides[i - 1], *b = &plan->overrides[i];

        g_assert_true(a->thread < b->thread || (a->thread == b->thread && a->decision < b->decision));
    }
}

static void test_every_string_decodes(void)
{
    uint8_t bytes[2 * SCHED_PLAN_BYTES_MAX];
    SchedRandom random;
    unsigned bases = 0;

    sched_random_seed(&random, 1);
    for (unsigned n = 0; n < STRINGS; n++) {
        size_t size = random_bytes(&random, bytes, sizeof(bytes));
        SchedPlan plan;
        size_t used;

        memset(&plan, 0xa5, sizeof(plan));
        used = sched_plan_decode(&plan, bytes, size);
        g_assert_cmpuint(used, <=, size);
        g_assert_cmpuint(used, <=, SCHED_PLAN_BYTES_MAX);
        assert_valid(&plan);
        bases |= 1u << plan.base;
    }
    g_assert_cmphex(bases, ==, (1u << SCHED_BASE_COUNT) - 1);
}

static void test_encode_then_decode(void)
{
    uint8_t bytes[SCHED_PLAN_BYTES_MAX], again[SCHED_PLAN_BYTES_MAX + 8];
    SchedRandom random;

    sched_random_seed(&random, 2);
    for (unsigned n = 0; n < STRINGS; n++) {
        size_t size = random_bytes(&random, bytes, sizeof(bytes)), length;
        SchedPlan plan, copy;

        sched_plan_decode(&plan, bytes, size);
        memset(again, 0xff, sizeof(again)); /* a scenario in front: none of the plan's business */
        length = sched_plan_encode(&plan, bytes);
        g_assert_cmpuint(length, <=, SCHED_PLAN_BYTES_MAX);
        memcpy(again + 8, bytes, length);
        g_assert_cmpuint(sched_plan_decode(&copy, again, 8 + length), ==, length);
        g_assert_cmpmem(&copy, sizeof(copy), &plan, sizeof(plan));
    }
}

static void test_zeros_are_fifo(void)
{
    uint8_t zeros[64] = { 0 };
    const SchedPlan fifo = { 0 };

    for (size_t size = 0; size <= sizeof(zeros); size++) {
        SchedPlan plan;

        memset(&plan, 0xa5, sizeof(plan));
        g_assert_cmpuint(sched_plan_decode(&plan, zeros, size), <=, size);
        g_assert_cmpmem(&plan, sizeof(plan), &fifo, sizeof(fifo));
    }
}

static SchedPlan full_plan(void)
{
    SchedPlan plan = {
        .disturb = 31,
        .base = SCHED_BASE_URW,
        .atomics = true,
        .clock_rate = 15,
        .parameter = 0xfe,
        .seed = 0x0123456789abcdef,
        .length = 0xffff,
        .object = 0xffff,
        .count_count = SCHED_COUNTS_MAX,
        .constraint_count = SCHED_CONSTRAINTS_MAX,
        .override_count = SCHED_OVERRIDES_MAX,
    };

    for (unsigned i = 0; i < SCHED_COUNTS_MAX; i++) {
        plan.counts[i] = (uint16_t)(0xffff - i);
    }
    for (unsigned i = 0; i < SCHED_CONSTRAINTS_MAX; i++) {
        plan.constraints[i] = (SchedConstraint){ (uint16_t)(0xff00 + i), (uint16_t)(0xfe00 + i), i % 2 };
    }
    for (unsigned i = 0; i < SCHED_OVERRIDES_MAX; i++) {
        plan.overrides[i] = (SchedOverride){ (uint16_t)(0xff00 + i), 0xfff0, (uint16_t)(i % 2 ? SCHED_CHOICE_CLOCK : 0xfff1) };
    }
    return plan;
}

/* Disturbances are asked for by a number of constraints that there cannot be, 7, and a byte that follows: whatever was
 * written before there were any still means the same. */
static void test_disturbances(void)
{
    const uint8_t asked[] = { 3 << 3 | 2, 7, 0 }, not_asked[] = { 3 << 3 | 2, 6, 0 };
    SchedPlan plan;

    sched_plan_decode(&plan, asked, sizeof(asked));
    g_assert_cmpuint(plan.disturb, ==, 3);
    g_assert_cmpuint(plan.constraint_count, ==, 2);
    sched_plan_decode(&plan, not_asked, sizeof(not_asked));
    g_assert_cmpuint(plan.disturb, ==, 0);
    g_assert_cmpuint(plan.constraint_count, ==, 6);
}

/* The greatest plan fits into SCHED_PLAN_BYTES_MAX: each field has its greatest value. */
static void test_greatest_plan(void)
{
    SchedPlan plan = full_plan(), copy;
    uint8_t bytes[SCHED_PLAN_BYTES_MAX];
    size_t length = sched_plan_encode(&plan, bytes);

    g_assert_cmpuint(length, <=, SCHED_PLAN_BYTES_MAX);
    g_assert_cmpuint(sched_plan_decode(&copy, bytes, length), ==, length);
    g_assert_cmpmem(&copy.overrides, sizeof(copy.overrides), &plan.overrides, sizeof(plan.overrides));
    g_assert_cmpmem(&copy.constraints, sizeof(copy.constraints), &plan.constraints, sizeof(plan.constraints));
    g_assert_cmpmem(&copy.counts, sizeof(copy.counts), &plan.counts, sizeof(plan.counts));
    g_assert_cmpuint(copy.seed, ==, plan.seed);
}

/* Cutting bytes off the front keeps the base and the first records; what is missing reads as zero. */
static void test_cut_from_the_front(void)
{
    SchedPlan whole = full_plan();
    uint8_t bytes[SCHED_PLAN_BYTES_MAX];
    size_t length = sched_plan_encode(&whole, bytes);

    for (size_t cut = 0; cut <= length; cut++) {
        uint8_t padded[SCHED_PLAN_BYTES_MAX] = { 0 };
        SchedPlan plan, with_zeros;

        g_assert_cmpuint(sched_plan_decode(&plan, bytes + cut, length - cut), <=, length - cut);
        assert_valid(&plan);
        memcpy(padded + cut, bytes + cut, length - cut);
        sched_plan_decode(&with_zeros, padded, length);
        g_assert_cmpmem(&plan, sizeof(plan), &with_zeros, sizeof(with_zeros));
        if (length - cut >= 2) {
            g_assert_cmpuint(plan.base, ==, whole.base);
        }
    }
}

/* Zeroing any one byte leaves a valid plan, and the last byte zeroed leaves base FIFO. */
static void test_zeroed_byte(void)
{
    SchedPlan whole = full_plan();
    uint8_t bytes[SCHED_PLAN_BYTES_MAX];
    size_t length = sched_plan_encode(&whole, bytes);

    for (size_t i = 0; i < length; i++) {
        uint8_t kept = bytes[i];
        SchedPlan plan;

        bytes[i] = 0;
        g_assert_cmpuint(sched_plan_decode(&plan, bytes, length), <=, length);
        assert_valid(&plan);
        g_assert_true(i != length - 1 || plan.base == SCHED_BASE_FIFO);
        bytes[i] = kept;
    }
}

/* Of two overrides for one decision the first in byte order (from the back) counts, however they are mixed with others. */
static void test_first_of_equal_overrides_counts(void)
{
    SchedPlan plan = { .override_count = 4 }, copy;
    uint8_t bytes[SCHED_PLAN_BYTES_MAX];

    plan.overrides[0] = (SchedOverride){ .thread = 2, .decision = 7, .choice = 3 };
    plan.overrides[1] = (SchedOverride){ .thread = 1, .decision = 9, .choice = 1 };
    plan.overrides[2] = (SchedOverride){ .thread = 2, .decision = 7, .choice = 5 };
    plan.overrides[3] = (SchedOverride){ .thread = 1, .decision = 8, .choice = SCHED_CHOICE_CLOCK };
    sched_plan_decode(&copy, bytes, sched_plan_encode(&plan, bytes));
    g_assert_cmpuint(copy.override_count, ==, 3);
    g_assert_cmpuint(copy.overrides[0].decision, ==, 8);
    g_assert_cmpuint(copy.overrides[0].choice, ==, SCHED_CHOICE_CLOCK);
    g_assert_cmpuint(copy.overrides[1].decision, ==, 9);
    g_assert_cmpuint(copy.overrides[2].choice, ==, 3);
}

/* A crasher with two preemptions is a few bytes long. */
static void test_small_plans_are_short(void)
{
    SchedPlan plan = { .override_count = 2 };
    uint8_t bytes[SCHED_PLAN_BYTES_MAX];

    plan.overrides[0] = (SchedOverride){ .thread = 0, .decision = 3, .choice = 2 };
    plan.overrides[1] = (SchedOverride){ .thread = 1, .decision = 12, .choice = 1 };
    g_assert_cmpuint(sched_plan_encode(&plan, bytes), ==, 2 + 2 * 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/plan/every-string-decodes", test_every_string_decodes);
    g_test_add_func("/sched/plan/encode-then-decode", test_encode_then_decode);
    g_test_add_func("/sched/plan/zeros-are-fifo", test_zeros_are_fifo);
    g_test_add_func("/sched/plan/greatest-plan", test_greatest_plan);
    g_test_add_func("/sched/plan/disturbances", test_disturbances);
    g_test_add_func("/sched/plan/cut-from-the-front", test_cut_from_the_front);
    g_test_add_func("/sched/plan/zeroed-byte", test_zeroed_byte);
    g_test_add_func("/sched/plan/first-of-equal-overrides-counts", test_first_of_equal_overrides_counts);
    g_test_add_func("/sched/plan/small-plans-are-short", test_small_plans_are_short);
    return g_test_run();
}
