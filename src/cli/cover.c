/*
 * wakefuzz cover: how much of src/core the corpus runs, and what of it no input reaches.
 *
 * 1. Programs of flavour coverage are brought up to date first: counters of other sources would lie.
 * 2. A program writes its counters when it ends, which it does after its last input as after a finding. A finding leaves a program in the
 *    middle of something, so that what it runs afterwards may be another execution: where there was one, each input gets a process.
 * 3. Nothing is written but the page, into a folder that is new or empty, or that was made by this command.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/coverage.h"
#include "cli/subject.h"

#define FLAVOUR "coverage"
#define FOLDER  "src/core"
#define MARK    ".wakefuzz-cover" /* in a folder that is ours to overwrite */

typedef struct Cover {
    char **targets;
    GPtrArray *programs; /* replay programs, one a target */
    char **more;         /* folders with further inputs, or NULL */
    char *scratch, *profile, *html;
} Cover;

/* ---- inputs */

static bool add_inputs(const char *folder, GPtrArray *inputs)
{
    GError *error = NULL;
    GDir *dir = g_dir_open(folder, 0, &error);
    const char *name;
    bool good = true;

    if (!dir) {
        cli_fail("%s", error->message);
        g_error_free(error);
        return false;
    }
    while ((name = g_dir_read_name(dir))) {
        char *path = g_build_filename(folder, name, NULL);

        if (!g_file_test(path, G_FILE_TEST_IS_REGULAR) || g_str_has_suffix(name, ".txt")) {
            g_free(path);
        } else {
            good = subject_check_file(path) && good;
            g_ptr_array_add(inputs, path);
        }
    }
    g_dir_close(dir);
    return good;
}

/* The inputs of a target; NULL with a message where there are none. */
static GPtrArray *inputs_of(const Cover *cover, const char *target)
{
    GPtrArray *inputs = g_ptr_array_new_with_free_func(g_free);
    char *own = g_build_filename(cli_root(), "corpus", target, NULL);
    bool good = add_inputs(own, inputs);

    for (unsigned i = 0; good && cover->more && cover->more[i]; i++) {
        good = add_inputs(cover->more[i], inputs);
    }
    if (good && inputs->len == 0) {
        cli_fail("%s holds no inputs", own);
        good = false;
    }
    g_free(own);
    if (!good) {
        g_clear_pointer(&inputs, g_ptr_array_unref);
    }
    return inputs;
}

/* ---- runs */

/* Run some inputs in one process. Its exit status, CLI_COULD_NOT with a message. */
static int run_some(const Cover *cover, const char *program, char *const *inputs, guint count)
{
    GPtrArray *arguments = g_ptr_array_new();
    char *variable = g_strdup_printf("LLVM_PROFILE_FILE=%s/%%p.profraw", cover->scratch);
    CliRun run;
    int status = CLI_COULD_NOT;

    g_ptr_array_add(arguments, (gpointer) "env");
    g_ptr_array_add(arguments, variable);
    g_ptr_array_add(arguments, (gpointer)program);
    g_ptr_array_add(arguments, (gpointer) "--quiet");
    g_ptr_array_add(arguments, (gpointer) "--");
    for (guint i = 0; i < count; i++) {
        g_ptr_array_add(arguments, inputs[i]);
    }
    g_ptr_array_add(arguments, NULL);
    if (cli_run((const char *const *)arguments->pdata, &run)) {
        status = run.status;
        if (status != CLI_DONE && status != CLI_FINDING) {
            cli_fail("%s did not get through its inputs: exit status %d: %s", program, status, g_strstrip(run.err));
            status = CLI_COULD_NOT;
        }
        cli_run_free(&run);
    }
    g_ptr_array_free(arguments, TRUE);
    g_free(variable);
    return status;
}

/* The files of a folder whose names end so. */
static void remove_files(const char *folder, const char *suffix)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_suffix(name, suffix)) {
            char *path = g_build_filename(folder, name, NULL);

            g_unlink(path);
            g_free(path);
        }
    }
    g_clear_pointer(&dir, g_dir_close);
}

/* The counters of what the runs into the scratch folder have left go into a profile, and are no longer there by themselves. */
static bool gather(const Cover *cover, const char *profile, const char *suffix)
{
    GPtrArray *arguments = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = g_dir_open(cover->scratch, 0, NULL);
    const char *const fixed[] = { "llvm-profdata-19", "merge", "-sparse", "-o", profile };
    const char *name;
    CliRun run;
    bool good;

    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++) {
        g_ptr_array_add(arguments, g_strdup(fixed[i]));
    }
    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_suffix(name, suffix)) {
            g_ptr_array_add(arguments, g_build_filename(cover->scratch, name, NULL));
        }
    }
    g_clear_pointer(&dir, g_dir_close);
    if (arguments->len == G_N_ELEMENTS(fixed)) {
        g_ptr_array_free(arguments, TRUE);
        cli_fail("the programs left no counters in %s (disk full?)", cover->scratch);
        return false;
    }
    g_ptr_array_add(arguments, NULL);
    good = cli_run((const char *const *)arguments->pdata, &run);
    if (good && run.status != 0) {
        cli_fail("llvm-profdata-19 ended with exit status %d: %s", run.status, g_strstrip(run.err));
        good = false;
    }
    for (guint i = G_N_ELEMENTS(fixed); arguments->pdata[i]; i++) {
        g_unlink(arguments->pdata[i]);
    }
    if (run.out) {
        cli_run_free(&run);
    }
    g_ptr_array_free(arguments, TRUE);
    return good;
}

static bool run_target(const Cover *cover, const char *target, const char *program)
{
    GPtrArray *inputs = inputs_of(cover, target);
    char *profile = g_strdup_printf("%s/%s.profdata", cover->scratch, target);
    int status = inputs ? run_some(cover, program, (char *const *)inputs->pdata, inputs->len) : CLI_COULD_NOT;

    if (status == CLI_FINDING) {
        remove_files(cover->scratch, ".profraw");
        for (guint i = 0; i < inputs->len && status != CLI_COULD_NOT; i++) {
            status = run_some(cover, program, (char *const *)&inputs->pdata[i], 1);
            if (status == CLI_FINDING) {
                cli_progress_end();
                fprintf(stderr, "%s: a finding; what it ran up to there counts\n", (char *)inputs->pdata[i]);
            }
        }
    }
    status = status != CLI_COULD_NOT && gather(cover, profile, ".profraw") ? CLI_DONE : CLI_COULD_NOT;
    g_free(profile);
    if (inputs) {
        g_ptr_array_unref(inputs);
    }
    return status == CLI_DONE;
}

/* ---- what llvm-cov makes of it */

/* llvm-cov WHAT, of all programs and the sources of the core. The output is freed by the caller; NULL with a message. */
static char *llvm_cov(const Cover *cover, const char *const *what)
{
    GPtrArray *arguments = g_ptr_array_new_with_free_func(g_free);
    CliRun run = { .status = CLI_COULD_NOT };
    char *output = NULL;

    g_ptr_array_add(arguments, g_strdup("llvm-cov-19"));
    for (; *what; what++) {
        g_ptr_array_add(arguments, g_strdup(*what));
    }
    g_ptr_array_add(arguments, g_strdup_printf("-instr-profile=%s", cover->profile));
    for (guint i = 0; i < cover->programs->len; i++) {
        g_ptr_array_add(arguments, g_strdup_printf("%s%s", i ? "-object=" : "", (char *)cover->programs->pdata[i]));
    }
    g_ptr_array_add(arguments, g_build_filename(cli_root(), FOLDER, NULL));
    g_ptr_array_add(arguments, NULL);
    if (cli_run((const char *const *)arguments->pdata, &run)) {
        if (run.status == 0) {
            output = g_steal_pointer(&run.out);
        } else {
            cli_fail("llvm-cov-19 %s ended with exit status %d: %s", (char *)arguments->pdata[1], run.status,
                     g_strstrip(run.err));
        }
        cli_run_free(&run);
    }
    g_ptr_array_free(arguments, TRUE);
    return output;
}

static bool write_page(const Cover *cover)
{
    char *folder = g_strdup_printf("-output-dir=%s", cover->html), *mark = g_build_filename(cover->html, MARK, NULL);
    char *names = g_strjoinv(", ", cover->targets),
         *title = g_strdup_printf("-project-title=the core, by the corpus of %s", names);
    const char *what[] = { "show", "-format=html", "-show-branches=count", title, folder, NULL };
    char *output = llvm_cov(cover, what);
    bool good = output && g_file_set_contents(mark, "", 0, NULL);

    g_free(output);
    g_free(title);
    g_free(names);
    g_free(mark);
    g_free(folder);
    return good;
}

/* ---- what is printed */

static bool print(const Cover *cover, bool json)
{
    static const char *const what[] = { "export", "-format=text", NULL };
    char *text = llvm_cov(cover, what), *shown = cli_relative(cover->html);
    Coverage coverage = { NULL };
    bool good = text && coverage_read(text, FOLDER, &coverage);

    if (good) {
        coverage_print(&coverage, FOLDER, json);
    }
    if (good && !json) {
        printf("\n%s/index.html: the sources, with counts\n", shown);
    }
    coverage_free(&coverage);
    g_free(shown);
    g_free(text);
    return good;
}

/* ---- the whole */

static bool folder_is_empty(const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    bool empty = dir && !g_dir_read_name(dir);

    g_clear_pointer(&dir, g_dir_close);
    return empty;
}

static bool page_folder(const Cover *cover)
{
    char *mark = g_build_filename(cover->html, MARK, NULL);
    bool good = false;

    if (g_mkdir_with_parents(cover->html, 0777) != 0) {
        cli_fail("cannot make the folder %s: %s; --html names another", cover->html, g_strerror(errno));
    } else if (g_access(cover->html, W_OK) != 0) {
        cli_fail("cannot write into %s: %s; --html names another folder", cover->html, g_strerror(errno));
    } else if (!folder_is_empty(cover->html) && !g_file_test(mark, G_FILE_TEST_EXISTS)) {
        cli_fail("%s holds files that are no earlier page; --html names another folder", cover->html);
    } else {
        good = true;
    }
    g_free(mark);
    return good;
}

static bool run_targets(const Cover *cover)
{
    bool good = true;

    cli_progress_begin(g_strv_length(cover->targets) + 3);
    cli_progress_step("build");
    good = cli_make(FLAVOUR, (char *const *)cover->programs->pdata);
    for (unsigned i = 0; cover->targets[i] && good; i++) {
        cli_progress_step(cover->targets[i]);
        good = run_target(cover, cover->targets[i], cover->programs->pdata[i]);
    }
    if (good) {
        cli_progress_step("counters");
        good = gather(cover, cover->profile, ".profdata");
    }
    if (good) {
        cli_progress_step("page");
        good = write_page(cover);
    }
    cli_progress_end();
    return good;
}

static int cover_targets(Cover *cover, bool json)
{
    GError *error = NULL;
    bool good = page_folder(cover);

    cover->programs = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; cover->targets[i]; i++) {
        g_ptr_array_add(cover->programs, cli_program(FLAVOUR, cover->targets[i], NULL, true));
    }
    g_ptr_array_set_size(cover->programs, (gint)cover->programs->len + 1); /* ends with NULL */
    cover->programs->len--;
    if (good && !(cover->scratch = g_dir_make_tmp("wakefuzz-cover-XXXXXX", &error))) {
        cli_fail("%s", error->message);
        g_error_free(error);
        good = false;
    }
    if (good) {
        cover->profile = g_build_filename(cover->scratch, "all.profile", NULL);
        good = run_targets(cover) && print(cover, json);
        remove_files(cover->scratch, "");
        g_rmdir(cover->scratch);
    }
    g_ptr_array_unref(cover->programs);
    g_free(cover->profile);
    g_free(cover->scratch);
    return good ? CLI_DONE : CLI_COULD_NOT;
}

/* The targets named, or all of them. NULL with a message. Free it. */
static char **chosen(char *const *names)
{
    char **targets = cli_targets();

    for (unsigned i = 0; targets && names[i]; i++) {
        if (!cli_is_in(targets, names[i])) {
            char *all = g_strjoinv(", ", targets);

            cli_fail("unknown target '%s'; there are: %s", names[i], all);
            g_free(all);
            g_clear_pointer(&targets, g_strfreev);
        }
    }
    if (targets && names[0]) {
        g_strfreev(targets);
        targets = g_strdupv((char **)names);
    }
    return targets;
}

int command_cover(int argc, char **argv)
{
    Cover cover = { NULL };
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        { "html", 0, 0, G_OPTION_ARG_FILENAME, &cover.html, "where the page goes (default: build/cover/TARGET)", "FOLDER" },
        { "corpus", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &cover.more, "its inputs count, too, for one TARGET; may be repeated",
          "FOLDER" },
        { "json", 0, 0, G_OPTION_ARG_NONE, &json, "print an object: files, and what is unreached", NULL },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    char **rest;
    int status;

    if (!cli_parse(&argc, &argv, "cover [TARGET...]",
                   "How much of src/core the corpus of these targets (default: all) runs, and what of it no input reaches.",
                   entries, &rest, &status)) {
        return status;
    }
    if (cover.more && g_strv_length(rest) != 1) {
        status = cli_fail("--corpus holds inputs of one TARGET: give one");
    } else if (!(cover.targets = chosen(rest))) {
        status = CLI_COULD_NOT;
    } else {
        if (!cover.html) {
            cover.html = g_build_filename(cli_build(), "cover", rest[0] && !rest[1] ? rest[0] : "all", NULL);
        }
        status = cover_targets(&cover, json);
    }
    g_strfreev(cover.targets);
    g_strfreev(cover.more);
    g_free(cover.html);
    g_strfreev(rest);
    return status;
}
