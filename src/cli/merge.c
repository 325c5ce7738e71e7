/*
 * wakefuzz merge: of many inputs the few that together reach all that the many reach, each under the name that it had.
 *
 * 1. The folders that are merged are only read. The output is a folder that is empty or not there yet.
 * 2. libFuzzer's -merge chooses, again from what it has chosen, until nothing more goes: what one round keeps may be needless beside what it
 *    kept later.
 * 3. Names: of equal inputs the first one's, the target's own corpus before all others. libFuzzer would name them by their hashes.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/subject.h"
#include "cli/table.h"

enum { ROUNDS_MAX = 10 };

typedef struct Source {
    char *folder;
    unsigned files, kept;
} Source;

typedef struct Original {
    char *name;
    Source *source;
} Original;

typedef struct Merge {
    const char *target, *output;
    char *program;
    GPtrArray *sources;    /* of Source */
    GHashTable *originals; /* SHA-1 -> Original */
    char *scratch;         /* holds a folder for each round */
} Merge;

static void free_source(gpointer data)
{
    g_free(((Source *)data)->folder);
    g_free(data);
}

static void free_original(gpointer data)
{
    g_free(((Original *)data)->name);
    g_free(data);
}

/* ---- folders */

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef bool Visit(Merge *merge, const char *path, const char *name, void *opaque);

/* Visit the files of a folder in order of their names. False with a message where it cannot be read, or where a visit says so. */
static bool each_file(Merge *merge, const char *folder, Visit *visit, void *opaque)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GError *error = NULL;
    GDir *dir = g_dir_open(folder, 0, &error);
    const char *name;
    bool good = dir;

    if (!dir) {
        cli_fail("%s", error->message);
        g_error_free(error);
    }
    while (dir && (name = g_dir_read_name(dir))) {
        g_ptr_array_add(names, g_strdup(name));
    }
    g_clear_pointer(&dir, g_dir_close);
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len && good; i++) {
        char *path = g_build_filename(folder, names->pdata[i], NULL);

        good = !g_file_test(path, G_FILE_TEST_IS_REGULAR) || visit(merge, path, names->pdata[i], opaque);
        g_free(path);
    }
    g_ptr_array_free(names, TRUE);
    return good;
}

static char *hash_of(const char *path)
{
    GError *error = NULL;
    char *data, *hash = NULL;
    gsize size;

    if (g_file_get_contents(path, &data, &size, &error)) {
        hash = g_compute_checksum_for_data(G_CHECKSUM_SHA1, (const guchar *)data, size);
        g_free(data);
    } else {
        cli_fail("%s", error->message);
        g_error_free(error);
    }
    return hash;
}

static bool remember(Merge *merge, const char *path, const char *name, void *source)
{
    char *hash = subject_check_file(path) ? hash_of(path) : NULL;

    if (!hash) {
        return false;
    }
    ((Source *)source)->files++;
    if (g_hash_table_contains(merge->originals, hash)) {
        g_free(hash);
    } else {
        Original *original = g_new(Original, 1);

        *original = (Original){ g_strdup(name), source };
        g_hash_table_insert(merge->originals, hash, original);
    }
    return true;
}

static bool count(Merge *merge, const char *path, const char *name, void *number)
{
    (void)merge;
    (void)path;
    (void)name;
    ++*(unsigned *)number;
    return true;
}

static bool remove_file(Merge *merge, const char *path, const char *name, void *unused)
{
    (void)merge;
    (void)name;
    (void)unused;
    return g_unlink(path) == 0;
}

/* ---- rounds */

/* libFuzzer puts what it chooses of the folders into a new one. How many, or -1 with a message. */
static int choose(Merge *merge, const char *into, char *const *from)
{
    GPtrArray *arguments = g_ptr_array_new();
    CliRun run;
    unsigned kept = 0;
    bool good;

    g_ptr_array_add(arguments, merge->program);
    g_ptr_array_add(arguments, (gpointer) "-merge=1");
    g_ptr_array_add(arguments, (gpointer)into);
    for (; *from; from++) {
        g_ptr_array_add(arguments, *from);
    }
    g_ptr_array_add(arguments, NULL);
    good = g_mkdir(into, 0777) == 0 && cli_run((const char *const *)arguments->pdata, &run);
    g_ptr_array_free(arguments, TRUE);
    if (!good) {
        return -1;
    }
    if (run.status != 0) {
        char *line = strrchr(g_strchomp(run.err), '\n');

        cli_fail("%s -merge=1 ended with exit status %d: %s", merge->program, run.status, line ? line + 1 : run.err);
        good = false;
    }
    cli_run_free(&run);
    return good && each_file(merge, into, count, &kept) ? (int)kept : -1;
}

/* The folder with what was chosen last; NULL with a message. Free it. */
static char *to_fixpoint(Merge *merge, unsigned *rounds)
{
    GPtrArray *first = g_ptr_array_new();
    char *into = g_build_filename(merge->scratch, "0", NULL);
    int kept, before;

    for (guint i = 0; i < merge->sources->len; i++) {
        g_ptr_array_add(first, ((Source *)merge->sources->pdata[i])->folder);
    }
    g_ptr_array_add(first, NULL);
    cli_progress_begin(ROUNDS_MAX);
    cli_progress_step("first round");
    kept = choose(merge, into, (char *const *)first->pdata);
    g_ptr_array_free(first, TRUE);
    *rounds = 1;
    do {
        char *from[] = { into, NULL }, *name = g_strdup_printf("%u", *rounds),
             *next = g_build_filename(merge->scratch, name, NULL);

        before = kept;
        cli_progress_step("again, of what was chosen");
        kept = kept < 0 ? kept : choose(merge, next, from);
        g_free(name);
        g_free(into);
        into = next;
        ++*rounds;
    } while (kept >= 0 && kept < before && *rounds < ROUNDS_MAX);
    cli_progress_end();
    if (kept < 0) {
        g_clear_pointer(&into, g_free);
    }
    return into;
}

/* ---- the result */

static bool keep(Merge *merge, const char *path, const char *name, void *unused)
{
    char *hash = hash_of(path);
    const Original *original = hash ? g_hash_table_lookup(merge->originals, hash) : NULL;
    char *place = g_build_filename(merge->output, original ? original->name : name, NULL), *data;
    GError *error = NULL;
    gsize size;
    bool good = hash;

    (void)unused;
    for (unsigned n = 2; g_file_test(place, G_FILE_TEST_EXISTS); n++) { /* the same name in two folders */
        g_free(place);
        place = g_strdup_printf("%s/%s-%u", merge->output, original ? original->name : name, n);
    }
    if (good && g_file_get_contents(path, &data, &size, &error)) {
        good = g_file_set_contents(place, data, (gssize)size, &error);
        g_free(data);
    }
    if (error) {
        cli_fail("%s", error->message);
        g_error_free(error);
        good = false;
    }
    if (good && original) {
        original->source->kept++;
    }
    g_free(place);
    g_free(hash);
    return good;
}

static void print_sources(const Merge *merge, unsigned rounds, bool json)
{
    static const TableColumn columns[] = {
        { "folder", TABLE_TEXT }, { "files", TABLE_NUMBER }, { "kept", TABLE_NUMBER }, { NULL, TABLE_TEXT }
    };
    Table *table = table_new(columns);

    for (guint i = 0; i < merge->sources->len; i++) {
        const Source *source = merge->sources->pdata[i];
        char *files = g_strdup_printf("%u", source->files), *kept = g_strdup_printf("%u", source->kept);

        table_add(table, source->folder, files, kept, NULL);
        g_free(files);
        g_free(kept);
    }
    table_finish(table, json);
    if (!json) {
        printf("%s: what is left after %u rounds\n", merge->output, rounds);
    }
}

static void remove_scratch(Merge *merge, unsigned rounds)
{
    for (unsigned i = 0; i <= rounds; i++) {
        char *name = g_strdup_printf("%u", i), *folder = g_build_filename(merge->scratch, name, NULL);

        if (g_file_test(folder, G_FILE_TEST_IS_DIR)) {
            each_file(merge, folder, remove_file, NULL);
            g_rmdir(folder);
        }
        g_free(folder);
        g_free(name);
    }
    g_rmdir(merge->scratch);
}

static bool output_is_new(Merge *merge)
{
    unsigned files = 0;

    if (g_file_test(merge->output, G_FILE_TEST_EXISTS) && (!each_file(merge, merge->output, count, &files) || files)) {
        if (files) {
            cli_fail("%s holds files already; --output names another folder", merge->output);
        }
        return false;
    }
    if (g_mkdir_with_parents(merge->output, 0777) != 0) {
        cli_fail("cannot make the folder %s: %s", merge->output, g_strerror(errno));
        return false;
    }
    return true;
}

static bool add_source(Merge *merge, const char *folder)
{
    Source *source = g_new0(Source, 1);

    source->folder = g_strdup(folder);
    g_ptr_array_add(merge->sources, source);
    return each_file(merge, folder, remember, source);
}

static int merge_all(Merge *merge, char *const *folders, bool json)
{
    char *own = g_build_filename(cli_root(), "corpus", merge->target, NULL), *chosen = NULL;
    GError *error = NULL;
    unsigned rounds = 0;
    bool good = add_source(merge, own);

    for (unsigned i = 0; folders[i] && good; i++) {
        good = add_source(merge, folders[i]);
    }
    good = good && output_is_new(merge);
    if (good && !(merge->scratch = g_dir_make_tmp("wakefuzz-merge-XXXXXX", &error))) {
        cli_fail("%s", error->message);
        g_error_free(error);
        good = false;
    }
    if (good) {
        chosen = to_fixpoint(merge, &rounds);
        good = chosen && each_file(merge, chosen, keep, NULL);
        remove_scratch(merge, rounds);
    }
    if (good) {
        print_sources(merge, rounds, json);
    }
    g_free(chosen);
    g_free(own);
    return good ? CLI_DONE : CLI_COULD_NOT;
}

static int merge_target(char *const *arguments, const char *flavour, const char *output, bool json)
{
    char **targets = cli_targets(), *all = targets ? g_strjoinv(", ", targets) : NULL, *place = NULL;
    Merge merge = { .target = arguments[0] };
    int status = CLI_COULD_NOT;

    merge.program = cli_program(flavour, merge.target, NULL, false);
    if (targets && !cli_is_in(targets, merge.target)) {
        cli_fail("unknown target '%s'; there are: %s", merge.target, all);
    } else if (targets && !cli_is_built(merge.program)) {
        cli_fail("%s is not built: ninja -C %s/%s fuzz/%s", merge.program, cli_build(), flavour, merge.target);
    } else if (targets) {
        place = output ? g_strdup(output) : g_build_filename(cli_build(), "merged", merge.target, NULL);
        merge.output = place;
        merge.sources = g_ptr_array_new_with_free_func(free_source);
        merge.originals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_original);
        status = merge_all(&merge, arguments + 1, json);
        g_hash_table_unref(merge.originals);
        g_ptr_array_free(merge.sources, TRUE);
        g_free(merge.scratch);
    }
    g_free(place);
    g_free(merge.program);
    g_free(all);
    g_strfreev(targets);
    return status;
}

int command_merge(int argc, char **argv)
{
    char *output = NULL, *flavour = NULL;
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "where to write (default: build/merged/TARGET)", "FOLDER" },
        { "flavour", 0, 0, G_OPTION_ARG_STRING, &flavour, "whose program chooses (default plain)", "F" },
        { "json", 0, 0, G_OPTION_ARG_NONE, &json, "print an array of objects", NULL },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    char **rest;
    int status;

    if (!cli_parse(&argc, &argv, "merge TARGET DIR...",
                   "Choose, of a target's corpus and of what these folders hold, the inputs that reach all that they all reach.",
                   entries, &rest, &status)) {
        return status;
    }
    status = g_strv_length(rest) >= 1 ? merge_target(rest, flavour ? flavour : "plain", output, json)
                                      : cli_fail("give one TARGET");
    g_free(flavour);
    g_free(output);
    g_strfreev(rest);
    return status;
}
