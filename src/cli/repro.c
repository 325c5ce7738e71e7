/*
 * wakefuzz repro: the same file, a process of its own each time, in every flavour that is built. One line where all runs were the
 * same, more where they were not.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/table.h"

static const TableColumn columns[] = {
    { "flavour", TABLE_TEXT },    { "verdict", TABLE_TEXT }, { "runs", TABLE_NUMBER },
    { "of", TABLE_NUMBER },       { "steps", TABLE_NUMBER }, { "preemptions", TABLE_NUMBER },
    { "trace hash", TABLE_TEXT }, { "summary", TABLE_TEXT }, { NULL, TABLE_TEXT },
};

typedef struct Outcome {
    Description description;
    unsigned times;
} Outcome;

static void clear_outcome(gpointer outcome)
{
    description_free(&((Outcome *)outcome)->description);
}

static void count(GArray *outcomes, Description description)
{
    for (guint i = 0; i < outcomes->len; i++) {
        Outcome *known = &g_array_index(outcomes, Outcome, i);

        if (strcmp(known->description.hash, description.hash) == 0 &&
            strcmp(known->description.verdict, description.verdict) == 0) {
            known->times++;
            description_free(&description);
            return;
        }
    }
    g_array_append_val(outcomes, ((Outcome){ description, 1 }));
}

/* Returns whether all runs could be made; *finding is set where one was a finding. */
static bool run_flavour(Table *table, const Subject *subject, const char *flavour, unsigned runs, bool *finding)
{
    GArray *outcomes = g_array_new(FALSE, TRUE, sizeof(Outcome));
    char *of = g_strdup_printf("%u", runs);
    bool good = true;

    g_array_set_clear_func(outcomes, clear_outcome);
    for (unsigned i = 0; i < runs && good; i++) {
        Description description;

        cli_progress_step(flavour);
        good = describe(subject, flavour, &description);
        if (good) {
            count(outcomes, description);
        }
    }
    for (guint i = 0; i < outcomes->len; i++) {
        const Outcome *outcome = &g_array_index(outcomes, Outcome, i);
        char *times = g_strdup_printf("%u", outcome->times);

        table_add(table, flavour, outcome->description.verdict, times, of, outcome->description.steps,
                  outcome->description.preemptions, outcome->description.hash, outcome->description.summary, NULL);
        *finding = *finding || description_is_finding(&outcome->description);
        g_free(times);
    }
    g_array_free(outcomes, TRUE);
    g_free(of);
    return good;
}

static unsigned count_built(const Subject *subject, char *const *flavours, const char *only)
{
    unsigned built = 0;

    for (unsigned i = 0; flavours && flavours[i]; i++) {
        char *program = subject_replay(subject, flavours[i]);

        built += program && (!only || strcmp(only, flavours[i]) == 0);
        g_free(program);
    }
    return built;
}

static int repro(const Subject *subject, const char *only, unsigned runs, bool json)
{
    char **flavours = cli_hunting_flavours();
    Table *table = table_new(columns);
    bool finding = false, good = true;
    unsigned built = 0;

    cli_progress_begin(count_built(subject, flavours, only) * runs);
    for (unsigned i = 0; flavours && flavours[i]; i++) {
        char *program = subject_replay(subject, flavours[i]);

        if (program && (!only || strcmp(only, flavours[i]) == 0)) {
            built++;
            good = run_flavour(table, subject, flavours[i], runs, &finding) && good;
        }
        g_free(program);
    }
    cli_progress_end();
    g_strfreev(flavours);
    if (built) {
        table_finish(table, json);
        return !good ? CLI_COULD_NOT : finding ? CLI_FINDING : CLI_DONE;
    }
    g_free(subject_flavour(subject)); /* says how to build one */
    return CLI_COULD_NOT;
}

int command_repro(int argc, char **argv)
{
    SubjectOptions options = { NULL };
    gboolean json = FALSE;
    gint runs = 3;
    const GOptionEntry entries[] = {
        { "runs", 'n', 0, G_OPTION_ARG_INT, &runs, "in each flavour (default 3)", "N" },
        SUBJECT_OPTIONS(options),
        { "json", 0, 0, G_OPTION_ARG_NONE, &json, "print an array of objects", NULL },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    char **rest;
    Subject subject;
    int status;

    if (!cli_parse(&argc, &argv, "repro FILE", "Run an input in every flavour that is built, a process each time.", entries,
                   &rest, &status)) {
        return status;
    }
    if (g_strv_length(rest) != 1 || runs < 1 || runs > 100000) {
        status = runs < 1 || runs > 100000 ? cli_fail("-n takes a number from 1 to 100000") : cli_fail("give one FILE");
    } else if (!subject_find(rest[0], &options, &subject)) {
        status = CLI_COULD_NOT;
    } else {
        status = repro(&subject, options.flavour, (unsigned)runs, json);
        subject_free(&subject);
    }
    g_strfreev(rest);
    return status;
}
