/*
 * Recipes and sanitizers' reports: what the minimizer takes apart and puts together again. No executions.
 */
#include <glib.h>
#include <string.h>

#include "fuzz/probe_text.h"
#include "fuzz/recipe.h"
#include "sched/random.h"

#define INPUTS 20000 /* random ones: each field of a plan has its extremes in hundreds of them */

static GBytes *bytes_of(const Recipe *recipe)
{
    GBytes *bytes = recipe_to_bytes(recipe);

    g_assert_nonnull(bytes);
    return bytes;
}

/* Taken apart and put together, an input means what it meant. */
static void test_round_trip(void)
{
    SchedRandom random;

    sched_random_seed(&random, 1);
    for (unsigned n = 0; n < INPUTS; n++) {
        uint8_t data[64];
        size_t size = sched_random_below(&random, sizeof(data) + 1), again_size;
        Recipe recipe, again;
        GBytes *bytes;
        const uint8_t *again_data;

        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)(sched_random_below(&random, 3) ? sched_random(&random) : 0);
        }
        recipe = recipe_from_bytes(data, size);
        bytes = bytes_of(&recipe);
        again_data = g_bytes_get_data(bytes, &again_size);
        again = recipe_from_bytes(again_data, again_size);
        g_assert_true(recipe_equal(&recipe, &again));
        recipe_free(&again);
        recipe_free(&recipe);
        g_bytes_unref(bytes);
    }
}

static void test_empty_is_nothing(void)
{
    Recipe recipe = recipe_from_bytes((const uint8_t *)"\0\0\0", 3);
    Recipe pure;
    GBytes *bytes;

    g_assert_cmpuint(recipe.scenario_size, ==, 1);
    recipe.scenario_size = 0;
    pure = recipe_pure(&recipe, NULL, 0);
    bytes = bytes_of(&pure);
    g_assert_cmpuint(g_bytes_get_size(bytes), ==, 0);
    g_bytes_unref(bytes);
    recipe_free(&pure);
    recipe_free(&recipe);
}

/* A decision 0 is a zero in front of the plan: without a scenario it is not written. */
static void test_shortest_form(void)
{
    const SchedOverride first = { .decision = 0, .thread = 0, .choice = 2 };
    Recipe empty = recipe_from_bytes(NULL, 0), recipe = recipe_pure(&empty, &first, 1);
    GBytes *bytes = bytes_of(&recipe);

    g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), "\x20\x08\x00", 3);
    g_bytes_unref(bytes);
    recipe_free(&recipe);
    recipe_free(&empty);
}

static void test_pure_sorts_and_keeps_decisions(void)
{
    const SchedOverride records[] = { { 9, 1, 1 }, { 3, 0, 2 }, { 2, 1, 1 } };
    Recipe from = recipe_from_bytes((const uint8_t *)"\x01\x00\x08", 3), pure;

    from.plan.disturb = 5;
    pure = recipe_pure(&from, records, 3);
    g_assert_true(pure.plan.atomics);
    g_assert_cmpuint(pure.plan.disturb, ==, 5);
    g_assert_cmpuint(pure.scenario_size, ==, 1);
    g_assert_cmpuint(pure.overrides[0].decision, ==, 3);
    g_assert_cmpuint(pure.overrides[1].decision, ==, 2);
    g_assert_cmpuint(pure.overrides[2].decision, ==, 9);
    recipe_free(&pure);
    recipe_free(&from);
}

static void test_too_many_records(void)
{
    SchedOverride records[SCHED_OVERRIDES_MAX + 1];
    Recipe empty = recipe_from_bytes(NULL, 0), recipe;
    GBytes *bytes;

    for (unsigned i = 0; i < G_N_ELEMENTS(records); i++) {
        records[i] = (SchedOverride){ (uint16_t)i, 0, 2 };
    }
    recipe = recipe_pure(&empty, records, G_N_ELEMENTS(records));
    g_assert_null(recipe_to_bytes(&recipe));
    recipe.override_count--;
    bytes = bytes_of(&recipe);
    g_bytes_unref(bytes);
    recipe_free(&recipe);
    recipe_free(&empty);
}

/* ---- sanitizers */

static void test_address_sanitizer(void)
{
    ProbeResult result = { .verdict = "" };

    g_assert_true(probe_text_sanitizer("==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\n"
                                       "    #0 0x55 in use src/a.c:1:2\n    #1 0x55 in caller src/a.c:9:2\n"
                                       "    #2 0x55 in run /x/fuzz/drain.c:3:4\n\nfreed by thread T1 here:\n"
                                       "    #0 0x56 in free (/x+0x1)\n    #1 0x57 in release src/b.c:7:1\n\n"
                                       "SUMMARY: AddressSanitizer: heap-use-after-free src/a.c:1:2 in use\n",
                                       &result));
    g_assert_cmpstr(result.verdict, ==, "use-after-free");
    g_assert_cmpstr(result.key, ==, "use-after-free heap-use-after-free stack=use,caller stack=release");
    g_assert_cmpstr(result.summary, ==, "use-after-free: heap-use-after-free src/a.c:1:2 in use");
}

static void test_thread_sanitizer(void)
{
    ProbeResult result = { .verdict = "" };

    g_assert_true(probe_text_sanitizer("WARNING: ThreadSanitizer: data race (pid=1)\n  Write of size 4 at 0x1 by main thread:\n"
                                       "    #0 writer src/a.c:1:2 (x+0x1)\n\n  Previous read of size 4 at 0x1 by thread T1:\n"
                                       "    #0 reader src/a.c:5:2 (x+0x2)\n\n"
                                       "SUMMARY: ThreadSanitizer: data race src/a.c:1:2 in writer\n",
                                       &result));
    g_assert_cmpstr(result.verdict, ==, "data-race");
    g_assert_cmpstr(result.key, ==, "data-race data stack=writer stack=reader");
}

static void test_no_sanitizer(void)
{
    ProbeResult result = { .verdict = "none" };

    g_assert_false(probe_text_sanitizer("panic: missed-wakeup: main waits\n", &result));
    g_assert_false(probe_text_sanitizer("", &result));
    g_assert_cmpstr(result.verdict, ==, "none");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/round-trip", test_round_trip);
    g_test_add_func("/recipe/empty-is-nothing", test_empty_is_nothing);
    g_test_add_func("/recipe/shortest-form", test_shortest_form);
    g_test_add_func("/recipe/pure-sorts-and-keeps-decisions", test_pure_sorts_and_keeps_decisions);
    g_test_add_func("/recipe/too-many-records", test_too_many_records);
    g_test_add_func("/probe/address-sanitizer", test_address_sanitizer);
    g_test_add_func("/probe/thread-sanitizer", test_thread_sanitizer);
    g_test_add_func("/probe/no-sanitizer", test_no_sanitizer);
    return g_test_run();
}
