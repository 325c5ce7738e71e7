/* See facts.h. */
#include "cli/facts.h"

#include <string.h>

#define CLOCK       65535u
#define WATCHED_MAX 512u /* src/report/watch.h */

static JsonObject *parse(const char *text, const char *program)
{
    JsonParser *parser = json_parser_new();
    JsonObject *object = NULL;
    GError *error = NULL;

    if (!json_parser_load_from_data(parser, text, -1, &error)) {
        cli_fail("cannot read what %s says: %s", program, error->message);
        g_error_free(error);
    } else if (JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        object = json_object_ref(json_node_get_object(json_parser_get_root(parser)));
    } else {
        cli_fail("cannot read what %s says", program);
    }
    g_object_unref(parser);
    return object;
}

/* at: numbers of steps, or NULL. */
static JsonObject *run(const Subject *subject, const char *flavour, const char *program, const char *at)
{
    const char *arguments[] = { program, "--facts", subject->path, at ? "--at" : NULL, at, NULL };
    JsonObject *facts = NULL;
    CliRun run;

    if (!cli_run(arguments, &run)) {
        return NULL;
    }
    if (run.status == CLI_DONE && !run.out[0]) {
        cli_fail("%s is no finding in flavour %s: nothing to explain", subject->path, flavour);
    } else if (run.out[0] != '{') {
        cli_fail("%s said nothing about %s: exit status %d: %s", program, subject->path, run.status, g_strstrip(run.err));
    } else {
        facts = parse(run.out, program);
    }
    cli_run_free(&run);
    return facts;
}

static gint compare_steps(gconstpointer a, gconstpointer b)
{
    guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;

    return (x > y) - (x < y);
}

/* Which steps matter is known after the first run. */
static GArray *steps_that_matter(JsonObject *facts, bool switches)
{
    GArray *steps = g_array_new(FALSE, FALSE, sizeof(guint64));
    JsonArray *rows = facts_array(facts, "rows"), *runs = facts_array(facts, "runs");
    guint count = json_array_get_length(runs), room = WATCHED_MAX - json_array_get_length(rows);

    for (guint i = 0; i < json_array_get_length(rows); i++) {
        g_array_append_val(steps, (guint64){ facts_number(facts_item(rows, i), "step") });
    }
    for (guint i = count > room ? count - room : 0; switches && i < count; i++) {
        g_array_append_val(steps, (guint64){ facts_at(runs, i, 1) });
    }
    g_array_sort(steps, compare_steps);
    return steps;
}

/* "181,183" */
static char *listed(GArray *steps)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < steps->len; i++) {
        guint64 step = g_array_index(steps, guint64, i);

        if (i == 0 || step != g_array_index(steps, guint64, i - 1)) {
            g_string_append_printf(text, "%s%" G_GUINT64_FORMAT, i ? "," : "", step);
        }
    }
    g_array_free(steps, TRUE);
    return g_string_free(text, FALSE);
}

JsonObject *facts_read(const Subject *subject, const char *flavour, bool switches)
{
    char *program = subject_replay(subject, flavour), *steps;
    JsonObject *facts = run(subject, flavour, program, NULL), *again;

    steps = facts ? listed(steps_that_matter(facts, switches)) : NULL;
    if (steps && steps[0] && (again = run(subject, flavour, program, steps))) {
        bool same = strcmp(facts_text(facts, "hash"), facts_text(again, "hash")) == 0;

        json_object_unref(same ? facts : again); /* stacks of another execution would say nothing */
        facts = same ? again : facts;
    }
    g_free(steps);
    g_free(program);
    return facts;
}

/* ---- members */

const char *facts_text(JsonObject *object, const char *name)
{
    return json_object_get_string_member_with_default(object, name, "");
}

guint64 facts_number(JsonObject *object, const char *name)
{
    return (guint64)json_object_get_int_member_with_default(object, name, 0);
}

bool facts_flag(JsonObject *object, const char *name)
{
    return json_object_get_boolean_member_with_default(object, name, FALSE);
}

JsonArray *facts_array(JsonObject *object, const char *name)
{
    static JsonArray *empty;

    if (!empty) {
        empty = json_array_new();
    }
    return json_object_has_member(object, name) ? json_object_get_array_member(object, name) : empty;
}

JsonObject *facts_item(JsonArray *array, guint i)
{
    return json_array_get_object_element(array, i);
}

guint64 facts_at(JsonArray *array, guint i, guint k)
{
    return (guint64)json_array_get_int_element(json_array_get_array_element(array, i), k);
}

const char *facts_of_finding(JsonObject *facts, const char *name)
{
    char *other = g_strconcat("cut_", name, NULL);
    const char *text = facts_text(facts, facts_flag(facts, "cut") ? other : name);

    g_free(other);
    return text;
}

const char *facts_thread_name(JsonObject *facts, guint64 id)
{
    JsonArray *threads = facts_array(facts, "threads");

    for (guint i = 0; i < json_array_get_length(threads); i++) {
        if (facts_number(facts_item(threads, i), "id") == id) {
            return facts_text(facts_item(threads, i), "name");
        }
    }
    return id == CLOCK ? "the clock" : "a thread";
}
