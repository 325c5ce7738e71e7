/*
 * wakefuzz doctor --strict FOLDER: would OSS-Fuzz take these targets, and would they be worth its time there?
 *
 * 1. OSS-Fuzz's own check counts all calls into a sanitizer, those of the sanitizer too, and lets a target pass that has no instrumentation
 *    of its own. Here the same limits hold for the calls in the program's own functions, and what watches the program has none.
 * 2. A target is started as it will be: copied to another folder with the libraries beside it, from any working directory, with no variable
 *    that would help it to find them.
 * 3. Nothing in the folder is changed.
 */
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/instrumentation.h"

#define EDGES_LEAST     100u /* as OSS-Fuzz */
#define FUNCTIONS_LEAST 100u
#define RUNS            "4"
#define NO_LIMIT        0xffffffffu

/* Calls into each runtime: OSS-Fuzz's own limits, and 1,000 for ThreadSanitizer, for which it has none. */
typedef struct Sanitizer {
    const char *name;
    unsigned least[RUNTIMES], most[RUNTIMES];
} Sanitizer;

static const Sanitizer sanitizers[] = {
    { "address", { [RUNTIME_ASAN] = 1000 }, { NO_LIMIT, 3, 0, 200 } },
    { "memory", { [RUNTIME_MSAN] = 1000 }, { 0, NO_LIMIT, 0, 200 } },
    { "thread", { [RUNTIME_TSAN] = 1000 }, { 0, 3, NO_LIMIT, 200 } },
    { "undefined", { [RUNTIME_UBSAN] = 168 }, { 0, 3, 0, NO_LIMIT } },
    { "coverage", { 0 }, { 0, 3, 0, 0 } },
};

static const Sanitizer *find_sanitizer(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(sanitizers); i++) {
        if (strcmp(sanitizers[i].name, name) == 0) {
            return &sanitizers[i];
        }
    }
    return NULL;
}

/* ---- instrumentation */

static void check_counts(Doctor *doctor, const char *check, const Sanitizer *sanitizer, const Instrumentation *found)
{
    for (unsigned i = 0; i < RUNTIMES; i++) {
        const char *runtime = instrumentation_runtimes[i];

        if (found->calls[i] < sanitizer->least[i]) {
            doctor_tell(doctor, check, DOCTOR_BAD, "%u calls into %s in its own functions, %u at least are needed for %s",
                        found->calls[i], runtime, sanitizer->least[i], sanitizer->name);
        } else if (found->calls[i] > sanitizer->most[i]) {
            doctor_tell(doctor, check, DOCTOR_BAD,
                        "%u calls into %s in its own functions: it was also built for another sanitizer", found->calls[i],
                        runtime);
        } else if (sanitizer->least[i]) {
            doctor_tell(doctor, check, DOCTOR_GOOD, "%u calls into %s in its own %u functions (%u with the runtime's own)",
                        found->calls[i], runtime, found->functions, found->all_calls[i]);
        }
        if (found->watching[i]) {
            doctor_tell(doctor, check, DOCTOR_BAD, "%u checks by %s in functions that watch the program: they must have none",
                        found->watching[i], runtime);
        }
    }
}

static void check_instrumentation(Doctor *doctor, const char *target, const Sanitizer *sanitizer, const char *program)
{
    char *check = g_strdup_printf("%s: instrumentation", target), *trouble;
    Instrumentation found;

    if (!instrumentation_read(program, &found, &trouble)) {
        doctor_tell(doctor, check, DOCTOR_BAD, "%s", trouble);
        g_free(trouble);
    } else if (found.functions < FUNCTIONS_LEAST) {
        doctor_tell(doctor, check, DOCTOR_BAD, "it has only %u functions of its own: the core is not in it", found.functions);
    } else {
        bool wants_profile = strcmp(sanitizer->name, "coverage") == 0;

        check_counts(doctor, check, sanitizer, &found);
        if (found.profiled != wants_profile) {
            doctor_tell(doctor, check, DOCTOR_BAD,
                        wants_profile ? "it does not count for a coverage report"
                                      : "it counts for a coverage report, which costs time");
        } else if (wants_profile) {
            doctor_tell(doctor, check, DOCTOR_GOOD, "it counts for a coverage report");
        }
    }
    g_free(check);
}

/* ---- a start from another place */

/* A line of shell with a path as "$1". */
static bool run_line(const char *line, const char *path, CliRun *run)
{
    const char *arguments[] = { "sh", "-c", line, "sh", path, NULL };

    return cli_run(arguments, run);
}

/* "Loaded 1 modules (3456 inline 8-bit counters)": how many; 0 where no such line is there. */
static unsigned edges_loaded(const char *text)
{
    GRegex *regex = g_regex_new("INFO: Loaded \\d+ modules?\\s+\\((\\d+) (?:inline 8-bit counters|guards)\\)", 0, 0, NULL);
    GMatchInfo *match = NULL;
    unsigned edges = 0;

    if (g_regex_match(regex, text, 0, &match)) {
        char *number = g_match_info_fetch(match, 1);

        edges = (unsigned)strtoul(number, NULL, 10);
        g_free(number);
    }
    g_match_info_free(match);
    g_regex_unref(regex);
    return edges;
}

/* What the loader takes from elsewhere than from beside the program and from the C library; NULL: nothing. Free it. */
static char *foreign_library(const char *ldd, const char *folder)
{
    char **lines = g_strsplit(ldd, "\n", -1), *foreign = NULL;

    for (unsigned i = 0; lines[i] && !foreign; i++) {
        const char *path = strstr(lines[i], "=> ");
        bool ours = path && g_str_has_prefix(path + 3, folder);
        bool libc = g_regex_match_simple("^\\s*(/[^ ]*/)?(linux-vdso|ld-linux|lib(c|m|dl|pthread|rt|resolv)\\.so)", lines[i], 0,
                                         0);

        if (strstr(lines[i], "not found") || (path && !ours && !libc)) {
            foreign = g_strdup(g_strstrip(lines[i]));
        }
    }
    g_strfreev(lines);
    return foreign;
}

static void check_libraries(Doctor *doctor, const char *check, const char *moved, const char *target)
{
    char *program = g_build_filename(moved, target, NULL);
    CliRun run;

    if (run_line("cd / && env -i ldd \"$1\"", program, &run)) {
        char *foreign = foreign_library(run.out, moved);

        if (run.status != 0 || foreign) {
            doctor_tell(doctor, check, DOCTOR_BAD, "it needs what is not beside it: %s", foreign ? foreign : g_strstrip(run.err));
        }
        g_free(foreign);
        cli_run_free(&run);
    } else {
        doctor->bad++;
    }
    g_free(program);
}

static void check_start(Doctor *doctor, const char *target, const char *moved, unsigned edges_least)
{
    char *check = g_strdup_printf("%s: start", target), *program = g_build_filename(moved, target, NULL);
    CliRun run;

    check_libraries(doctor, check, moved, target);
    if (run_line("cd / && env -i \"$1\" -seed=1337 -runs=" RUNS " 2>&1 </dev/null", program, &run)) {
        unsigned edges = edges_loaded(run.out);

        if (run.status != 0 || !strstr(run.out, "Done " RUNS " runs")) {
            char *end = g_strrstr(g_strchomp(run.out), "\n");

            doctor_tell(doctor, check, DOCTOR_BAD, "moved to another folder it did not do " RUNS " runs (status %d): %s",
                        run.status, end ? end + 1 : run.out);
        } else if (edges < edges_least) {
            doctor_tell(doctor, check, DOCTOR_BAD, "the engine was told of %u edges, %u at least are needed", edges, edges_least);
        } else {
            doctor_tell(doctor, check, DOCTOR_GOOD, "moved to another folder it did " RUNS " runs; %u edges", edges);
        }
        cli_run_free(&run);
    } else {
        doctor->bad++;
    }
    g_free(program);
    g_free(check);
}

/* ---- side files */

static bool is_dictionary_line(const char *line)
{
    return g_regex_match_simple(
        "^\\s*(#.*|([A-Za-z0-9_]+(@\\d+)?\\s*=\\s*)?\"([^\"\\\\]|\\\\[\\\\\"]|\\\\x[0-9A-Fa-f]{2})+\")?\\s*$", line, 0, 0);
}

static void check_dictionary(Doctor *doctor, const char *check, const char *path)
{
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        doctor_tell(doctor, check, DOCTOR_BAD, "the options name a dictionary that is not there: %s", path);
        return;
    }
    for (char **lines = g_strsplit(text, "\n", -1), **line = lines;; line++) {
        if (!*line) {
            g_strfreev(lines);
            break;
        }
        if (!is_dictionary_line(*line)) {
            doctor_tell(doctor, check, DOCTOR_BAD, "the dictionary has a line that is none: %s", *line);
        }
    }
    g_free(text);
}

static void check_options(Doctor *doctor, const char *check, const char *folder, const char *target)
{
    char *name = g_strdup_printf("%s.options", target), *path = g_build_filename(folder, name, NULL);
    GKeyFile *options = g_key_file_new();
    GError *error = NULL;

    if (!g_key_file_load_from_file(options, path, G_KEY_FILE_NONE, &error)) {
        doctor_tell(doctor, check, DOCTOR_BAD, "%s: %s", name, error->message);
        g_error_free(error);
    } else {
        char *dictionary = g_key_file_get_string(options, "libfuzzer", "dict", NULL);

        if (dictionary) {
            char *file = g_build_filename(folder, dictionary, NULL);

            check_dictionary(doctor, check, file);
            g_free(file);
        }
        g_free(dictionary);
    }
    g_key_file_free(options);
    g_free(path);
    g_free(name);
}

static unsigned count_files(const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    unsigned count = 0;

    while (dir && g_dir_read_name(dir)) {
        count++;
    }
    g_clear_pointer(&dir, g_dir_close);
    return count;
}

static void check_seeds(Doctor *doctor, const char *check, const char *folder, const char *target)
{
    char *zip = g_strdup_printf("%s/%s_seed_corpus.zip", folder, target);
    char *seeds = g_build_filename(cli_root(), "corpus", target, NULL);
    unsigned wanted = count_files(seeds), count = 0;
    CliRun run;

    if (!run_line("unzip -Z1 \"$1\"", zip, &run)) {
        doctor->bad++;
    } else {
        for (const char *c = run.out; *c; c++) {
            count += *c == '\n';
        }
        if (run.status != 0) {
            doctor_tell(doctor, check, DOCTOR_BAD, "no seed corpus: %s", g_strstrip(run.err[0] ? run.err : run.out));
        } else if (count != wanted || strchr(run.out, '/')) {
            doctor_tell(doctor, check, DOCTOR_BAD, "its seed corpus has %u files%s, corpus/%s has %u", count,
                        strchr(run.out, '/') ? ", some in folders" : "", target, wanted);
        } else {
            doctor_tell(doctor, check, DOCTOR_GOOD, "options, and %u seeds", count);
        }
        cli_run_free(&run);
    }
    g_free(seeds);
    g_free(zip);
}

/* ---- all of it */

static char *move_away(const char *folder)
{
    GError *error = NULL;
    char *moved = g_dir_make_tmp("wakefuzz-XXXXXX", &error);
    const char *arguments[] = { "cp", "-r", "--", NULL, moved, NULL };
    char *all = g_build_filename(folder, ".", NULL);
    CliRun run = { .status = CLI_COULD_NOT };

    arguments[3] = all;
    if (!moved) {
        cli_fail("no temporary folder: %s", error->message);
        g_error_free(error);
    } else if (cli_run(arguments, &run) && run.status != 0) {
        cli_fail("cannot copy %s: %s", folder, g_strstrip(run.err));
    }
    if (run.status != 0) {
        g_clear_pointer(&moved, g_free);
    }
    cli_run_free(&run);
    g_free(all);
    return moved;
}

static void remove_folder(const char *folder)
{
    const char *arguments[] = { "rm", "-rf", "--", folder, NULL };
    CliRun run;

    if (cli_run(arguments, &run)) {
        cli_run_free(&run);
    }
}

bool doctor_check_folder(Doctor *doctor, const char *folder, const char *sanitizer_name)
{
    const Sanitizer *sanitizer = find_sanitizer(sanitizer_name);
    char **targets = cli_targets(), *moved = NULL;
    bool good;

    if (!sanitizer) {
        cli_fail("--sanitizer takes address, undefined, memory, thread or coverage, not '%s'", sanitizer_name);
    } else if (!g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        cli_fail("--strict takes a folder of targets, and '%s' is none", folder);
    } else if (targets) {
        moved = move_away(folder);
    }
    for (unsigned i = 0; moved && targets[i]; i++) {
        char *program = g_build_filename(folder, targets[i], NULL), *check = g_strdup_printf("%s: side files", targets[i]);

        if (!g_file_test(program, G_FILE_TEST_IS_EXECUTABLE)) {
            doctor_tell(doctor, targets[i], DOCTOR_BAD, "it is not in %s", folder);
        } else {
            check_instrumentation(doctor, targets[i], sanitizer, program);
            check_start(doctor, targets[i], moved, strcmp(sanitizer->name, "coverage") == 0 ? 0 : EDGES_LEAST);
            check_options(doctor, check, folder, targets[i]);
            check_seeds(doctor, check, folder, targets[i]);
        }
        g_free(check);
        g_free(program);
    }
    good = moved != NULL;
    if (moved) {
        remove_folder(moved);
    }
    g_strfreev(targets);
    g_free(moved);
    return good;
}
