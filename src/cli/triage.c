/*
 * wakefuzz triage: the findings in a folder, by what makes them the same, with the smallest of each as its representative.
 *
 * 1. Nothing is moved or deleted.
 * 2. A file that cannot be run is told, and so is one that is no finding any more: no file is left out in silence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/table.h"

/* Heaviest first: what corrupts memory, what stops for ever, what only leaves something behind. */
static const char *const weights[] = {
    "use-after-free",  "undefined",     "crash",      "data-race",      "stack-overflow", "double-entry",
    "lost-completion", "missed-wakeup", "deadlock",   "livelock",       "assertion",      "timeout",
    "late-wakeup",     "leak",          "unmodelled", "nondeterminism",
};

typedef struct Finding {
    Subject subject;
    char *program, *flavour;
    Description description;
} Finding;

typedef struct Group {
    const Finding *best;
    unsigned count;
} Group;

static void clear_finding(gpointer data)
{
    Finding *finding = data;

    subject_free(&finding->subject);
    g_free(finding->program);
    g_free(finding->flavour);
    description_free(&finding->description);
}

/* ---- the files of a folder */

static gint compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static GPtrArray *input_files(const char *folder)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    GError *error = NULL;
    GDir *dir = g_dir_open(folder, 0, &error);
    const char *name;

    if (!dir) {
        cli_fail("%s", error->message);
        g_error_free(error);
        g_ptr_array_free(paths, TRUE);
        return NULL;
    }
    while ((name = g_dir_read_name(dir))) {
        char *path = g_build_filename(folder, name, NULL);

        if (g_str_has_suffix(name, ".txt") || name[0] == '.' || g_file_test(path, G_FILE_TEST_IS_DIR)) {
            g_free(path);
        } else {
            g_ptr_array_add(paths, path);
        }
    }
    g_dir_close(dir);
    g_ptr_array_sort(paths, compare_strings);
    return paths;
}

static gint compare_programs(gconstpointer a, gconstpointer b)
{
    int order = strcmp(((const Finding *)a)->program, ((const Finding *)b)->program);

    return order ? order : strcmp(((const Finding *)a)->subject.path, ((const Finding *)b)->subject.path);
}

/* Returns how many files could not be told whose they are, or not be run; each with a message. */
static unsigned find_programs(GPtrArray *paths, const SubjectOptions *options, GArray *findings)
{
    unsigned bad = 0;

    for (guint i = 0; i < paths->len; i++) {
        Finding finding = { .program = NULL };

        if (subject_find(paths->pdata[i], options, &finding.subject) && (finding.flavour = subject_flavour(&finding.subject))) {
            finding.program = subject_replay(&finding.subject, finding.flavour);
            g_array_append_val(findings, finding);
        } else {
            clear_finding(&finding);
            bad++;
        }
    }
    g_array_sort(findings, compare_programs);
    return bad;
}

/* The findings from first on that have its program are run by one process. Returns where the next program's begin. */
static guint run_program(GArray *findings, guint first)
{
    const char *program = g_array_index(findings, Finding, first).program;
    guint end = first;
    GPtrArray *paths = g_ptr_array_new();
    Description *descriptions;

    cli_progress_step(program);
    for (; end < findings->len && strcmp(g_array_index(findings, Finding, end).program, program) == 0; end++) {
        g_ptr_array_add(paths, g_array_index(findings, Finding, end).subject.path);
    }
    g_ptr_array_add(paths, NULL);
    descriptions = g_new0(Description, end - first);
    describe_many(program, (char *const *)paths->pdata, descriptions);
    for (guint i = first; i < end; i++) {
        g_array_index(findings, Finding, i).description = descriptions[i - first];
    }
    g_free(descriptions);
    g_ptr_array_free(paths, TRUE);
    return end;
}

static unsigned count_programs(const GArray *findings)
{
    unsigned count = 0;

    for (guint i = 0; i < findings->len; i++) {
        count += i == 0 ||
                 strcmp(g_array_index(findings, Finding, i - 1).program, g_array_index(findings, Finding, i).program) != 0;
    }
    return count;
}

/* It is no finding where it was run, and nobody had said where: is it one in another flavour? Returns whether it could be run there. */
static bool look_elsewhere(Finding *finding)
{
    char **flavours = subject_flavours(&finding->subject);
    bool good = true;

    for (guint i = 1; good && flavours && flavours[0] && flavours[i] && !description_is_finding(&finding->description); i++) {
        description_free(&finding->description);
        g_free(finding->flavour);
        finding->flavour = g_strdup(flavours[i]);
        good = describe(&finding->subject, finding->flavour, &finding->description);
    }
    g_strfreev(flavours);
    return good;
}

/* ---- groups */

static unsigned weight_of(const char *verdict)
{
    unsigned i = 0;

    while (i < G_N_ELEMENTS(weights) && strcmp(weights[i], verdict) != 0) {
        i++;
    }
    return i;
}

static bool is_smaller(const Description *a, const Description *b)
{
    gint64 x = g_ascii_strtoll(a->bytes, NULL, 10), y = g_ascii_strtoll(b->bytes, NULL, 10);

    return x != y ? x < y : g_ascii_strtoll(a->preemptions, NULL, 10) < g_ascii_strtoll(b->preemptions, NULL, 10);
}

static const char *name_of(const Subject *subject)
{
    return subject->fault ? subject->fault : subject->target;
}

static void add_to_group(GArray *groups, const Finding *finding)
{
    for (guint i = 0; i < groups->len; i++) {
        Group *group = &g_array_index(groups, Group, i);

        if (strcmp(group->best->description.key, finding->description.key) == 0 &&
            strcmp(name_of(&group->best->subject), name_of(&finding->subject)) == 0) {
            group->count++;
            group->best = is_smaller(&finding->description, &group->best->description) ? finding : group->best;
            return;
        }
    }
    g_array_append_val(groups, ((Group){ finding, 1 }));
}

static gint compare_groups(gconstpointer a, gconstpointer b)
{
    const Group *x = a, *y = b;
    unsigned wx = weight_of(x->best->description.verdict), wy = weight_of(y->best->description.verdict);

    if (wx != wy) {
        return wx < wy ? -1 : 1;
    }
    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }
    return strcmp(x->best->subject.path, y->best->subject.path);
}

static void print_groups(GArray *groups, bool json)
{
    static const TableColumn columns[] = {
        { "verdict", TABLE_TEXT },  { "files", TABLE_NUMBER }, { "program", TABLE_TEXT },
        { "flavour", TABLE_TEXT },  { "bytes", TABLE_NUMBER }, { "preemptions", TABLE_NUMBER },
        { "smallest", TABLE_TEXT }, { "summary", TABLE_TEXT }, { NULL, TABLE_TEXT },
    };
    Table *table = table_new(columns);

    g_array_sort(groups, compare_groups);
    for (guint i = 0; i < groups->len; i++) {
        const Group *group = &g_array_index(groups, Group, i);
        const Description *description = &group->best->description;
        char *count = g_strdup_printf("%u", group->count);

        table_add(table, description->verdict, count, name_of(&group->best->subject), group->best->flavour, description->bytes,
                  description->preemptions, group->best->subject.path, description->summary, NULL);
        g_free(count);
    }
    table_finish(table, json);
}

static int triage(const char *folder, const SubjectOptions *options, bool json)
{
    GPtrArray *paths = input_files(folder);
    GArray *findings = g_array_new(FALSE, TRUE, sizeof(Finding)), *groups = g_array_new(FALSE, TRUE, sizeof(Group));
    unsigned bad = 0;

    g_array_set_clear_func(findings, clear_finding);
    if (paths) {
        bad = find_programs(paths, options, findings);
        cli_progress_begin(count_programs(findings));
        for (guint i = 0; i < findings->len;) {
            i = run_program(findings, i);
        }
        cli_progress_end();
    }
    for (guint i = 0; i < findings->len; i++) {
        Finding *finding = &g_array_index(findings, Finding, i);

        if (finding->description.verdict && !description_is_finding(&finding->description) && !look_elsewhere(finding)) {
            bad++;
        } else if (!finding->description.verdict) {
            cli_fail("%s: %s did not get through it", finding->subject.path, finding->program);
            bad++;
        } else if (!description_is_finding(&finding->description)) {
            fprintf(stderr, "%s: no finding%s%s (any more)\n", finding->subject.path,
                    finding->subject.flavour ? " in flavour " : " in any flavour that is built",
                    finding->subject.flavour ? finding->subject.flavour : "");
        } else {
            add_to_group(groups, finding);
        }
    }
    bad += !paths || (paths->len == 0 && cli_fail("%s holds no inputs", folder));
    if (groups->len || (json && !bad)) {
        print_groups(groups, json);
    }
    bad = bad ? CLI_COULD_NOT : groups->len ? CLI_FINDING : CLI_DONE;
    g_array_free(groups, TRUE);
    g_array_free(findings, TRUE);
    if (paths) {
        g_ptr_array_free(paths, TRUE);
    }
    return (int)bad;
}

int command_triage(int argc, char **argv)
{
    SubjectOptions options = { NULL };
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        SUBJECT_OPTIONS(options),
        { "json", 0, 0, G_OPTION_ARG_NONE, &json, "print an array of objects", NULL },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    char **rest;
    int status;

    if (!cli_parse(&argc, &argv, "triage DIR",
                   "Group the findings in a folder by verdict and root cause, with the smallest of each.", entries, &rest,
                   &status)) {
        return status;
    }
    status = g_strv_length(rest) == 1 ? triage(rest[0], &options, json) : cli_fail("give one DIR");
    g_strfreev(rest);
    return status;
}
