/*
 * See facts.h.
 *
 * 1. The flips come first, in children: the execution that is reported on is the last thing that this process runs.
 * 2. A flip is judged by the finding's key, so that "gone" is said of this bug and not of any. Nothing is assumed: what was not run has no
 *    verdict.
 */
#include "fuzz/facts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/probe.h"
#include "fuzz/program.h"
#include "report/data.h"
#include "report/watch.h"

enum { FLIPS_MAX = 200 };

typedef struct Flip {
    bool essential;
    char without[PROBE_SUMMARY_BYTES]; /* "none", or what else was found, or the same again */
} Flip;

/* Without GLib: what that sets up at its first use would be missing from the first execution, which may be the one that counts. */
bool facts_watch(const char *program, const char *text)
{
    size_t steps[REPORT_WATCHED_MAX], count = 0;
    bool good = true;

    for (const char *at = text; good; at++) {
        char *end = NULL;
        unsigned long long step = strtoull(at, &end, 10);

        good = *at >= '0' && *at <= '9' && step <= UINT32_MAX && count < REPORT_WATCHED_MAX &&
               (!count || step > steps[count - 1]) && (*end == ',' || *end == '\0');
        if (good) {
            steps[count++] = step;
            at = end;
        }
        if (good && *end == '\0') {
            break;
        }
    }
    if (!good || !report_watch(steps, count)) {
        fprintf(stderr, "%s: --at takes at most %d numbers of steps with commas between them, in order\n", program,
                REPORT_WATCHED_MAX);
        return false;
    }
    return true;
}

/* ---- flips */

static Recipe without(const Recipe *pure, const SchedOverride *deviations, uint32_t count, uint32_t left_out)
{
    SchedOverride *kept = g_new(SchedOverride, count);
    Recipe recipe;

    memcpy(kept, deviations, left_out * sizeof(*kept));
    memcpy(kept + left_out, deviations + left_out + 1, (count - left_out - 1) * sizeof(*kept));
    recipe = recipe_pure(pure, kept, count - 1);
    g_free(kept);
    return recipe;
}

static void flip(Flip *flip, const Recipe *recipe, const char *key)
{
    ProbeResult result;
    bool finding = probe_one(recipe, &result);

    flip->essential = strcmp(result.key, key) != 0;
    g_strlcpy(flip->without, finding ? result.summary : "none", sizeof(flip->without));
}

/* Is first-in-first-out order with these decisions the same execution? */
static bool is_exact(const Recipe *pure, const ProbeResult *original)
{
    uint64_t hash = original->hash;
    ProbeResult result;

    return probe_one(pure, &result) && result.hash == hash;
}

static void write_decision(Json *json, const SchedOverride *decision, const SchedPlace *place, const Flip *flip)
{
    static const char *const kinds[] = {
        [SCHED_PLACE_PREEMPTION] = "preemption",   [SCHED_PLACE_NEXT] = "next",     [SCHED_PLACE_CLOCK] = "clock",
        [SCHED_PLACE_DISTURBANCE] = "disturbance", [SCHED_PLACE_CHOICE] = "choice",
    };

    json_open(json, NULL, '{');
    json_number(json, "step", place->step);
    json_string(json, "kind", kinds[place->kind]);
    json_number(json, "thread", decision->thread);
    json_number(json, "decision", decision->decision);
    if (place->kind == SCHED_PLACE_PREEMPTION || place->kind == SCHED_PLACE_NEXT) {
        json_number(json, "to", decision->choice - 1u);
    } else {
        json_number(json, "choice", decision->choice);
    }
    if (flip) {
        json_bool(json, "essential", flip->essential);
        json_string(json, "without", flip->without);
    }
    json_close(json, '}');
}

static void write_decisions(Json *json, const SchedResult *result, const Flip *flips, uint32_t flipped)
{
    uint32_t count = result->deviation_count;

    json_open(json, "decisions", '[');
    for (uint32_t i = 0; i < count; i++) {
        write_decision(json, &result->deviations[i], &result->deviation_places[i], i < flipped ? &flips[i] : NULL);
    }
    json_close(json, ']');
    json_number(json, "tested", flipped);
}

/* ---- the execution */

/* The last steps before a sanitizer or a signal ends the process: the execution is stopped right before it does. */
static void write_cut(Json *json, const uint8_t *data, size_t size, const ProbeResult *result)
{
    char hash[17];

    snprintf(hash, sizeof(hash), "%016" PRIx64, result->hash);
    json_string(json, "cut_verdict", result->verdict);
    json_string(json, "cut_summary", result->summary);
    json_string(json, "cut_key", result->key);
    json_string(json, "cut_hash", hash);
    json_number(json, "cut_steps", result->steps);
    if (result->steps > 1) {
        driver_stop_before(result->steps - 1);
        driver_execute(data, size);

        CheckResult cut = driver_cut();

        driver_write_data(json, &cut);
    }
}

static int facts_of(const Recipe *original, const uint8_t *data, size_t size)
{
    Json json = { .out = stdout };
    ProbeResult result, found;
    Recipe pure = { .scenario = NULL };
    SchedOverride *deviations;
    uint32_t count, flipped = 0;
    Flip *flips;
    bool exact;

    if (!probe_one(original, &result)) {
        return 0;
    }
    found = result;
    count = found.deviation_count;
    deviations = g_memdup2(found.deviations, count * sizeof(*deviations));
    flips = g_new0(Flip, FLIPS_MAX);
    pure = recipe_pure(original, deviations, count);
    exact = found.complete && !driver_warm_up_failed() && is_exact(&pure, &found);
    for (; exact && flipped < MIN(count, FLIPS_MAX); flipped++) {
        Recipe recipe = without(&pure, deviations, count, flipped);

        flip(&flips[flipped], &recipe, found.key);
        recipe_free(&recipe);
    }
    json_open(&json, NULL, '{');
    json_bool(&json, "exact", exact);
    json_number(&json, "scenario_bytes", original->scenario_size);
    json_bool(&json, "empty", driver_warm_up_failed());
    json_bool(&json, "cut", found.cut);
    if (found.cut) {
        write_cut(&json, data, size, &found);
    } else {
        driver_write_data(&json, driver_execute(data, size));
    }
    write_decisions(&json, driver_result(), flips, MIN(flipped, driver_result()->deviation_count));
    json_close(&json, '}');
    putchar('\n');
    recipe_free(&pure);
    g_free(flips);
    g_free(deviations);
    return 1;
}

int facts_file(const char *program, const char *path)
{
    GError *error = NULL;
    Recipe recipe;
    gchar *data;
    gsize size;
    int status;

    if (driver_program.forks) {
        fprintf(stderr, "%s: --facts is not for programs that run each execution in a child\n", program);
        return 2;
    }
    if (!g_file_get_contents(path, &data, &size, &error)) {
        fprintf(stderr, "%s: %s\n", program, error->message);
        g_error_free(error);
        return 2;
    }
    recipe = recipe_from_bytes((const uint8_t *)data, size);
    status = facts_of(&recipe, (const uint8_t *)data, size);
    recipe_free(&recipe);
    g_free(data);
    return status;
}
