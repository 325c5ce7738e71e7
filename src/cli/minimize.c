/*
 * wakefuzz minimize: chooses the program, lets it do the work (TARGET-replay --minimize), and puts the report beside the result.
 *
 * 1. The input is never written to; a result that is there already is not overwritten unless --force says so.
 * 2. It runs in flavour plain where the finding is the same there: that is the fastest one. A finding that only a sanitizer sees is
 *    minimized in the flavour where it was found. The result is run there, too, and where it is another one there, minimized there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/table.h"

typedef struct Settings {
    char *output;
    double seconds;
    gboolean json, force;
} Settings;

/* The value of a "name value" line; "" where there is none. Free it. */
static char *value_of(const char *text, const char *name)
{
    char **lines = g_strsplit(text, "\n", -1), *value = NULL;
    size_t length = strlen(name);

    for (unsigned i = 0; lines[i] && !value; i++) {
        if (strncmp(lines[i], name, length) == 0 && lines[i][length] == ' ') {
            value = g_strdup(lines[i] + length + 1);
        }
    }
    g_strfreev(lines);
    return value ? value : g_strdup("");
}

/* "32 4": what it was and what it is. */
static void split_pair(const char *text, const char *name, char **before, char **after)
{
    char *pair = value_of(text, name), **parts = g_strsplit(pair, " ", 2);

    *before = g_strdup(parts[0] ? parts[0] : "");
    *after = g_strdup(parts[0] && parts[1] ? parts[1] : "");
    g_strfreev(parts);
    g_free(pair);
}

static const char *plural(const char *number)
{
    return strcmp(number, "1") == 0 ? "" : "s";
}

static void print_others(const char *text)
{
    char **lines = g_strsplit(text, "\n", -1);

    for (unsigned i = 0; lines[i]; i++) {
        char **fields = g_strsplit(lines[i], "\t", -1);

        if (g_str_has_prefix(lines[i], "other ") && g_strv_length(fields) == 3) {
            printf("  met on the way and saved: %s (%s)\n", fields[1], fields[2]);
        } else if (g_str_has_prefix(lines[i], "unwritten-other ") && g_strv_length(fields) == 3) {
            printf("  met on the way, and not saved: %s cannot be written (%s)\n", fields[1], fields[2]);
        } else if (g_str_has_prefix(lines[i], "unsaved ") && g_strv_length(fields) == 2) {
            printf("  met on the way, and not saved: it takes more records than an input can hold (%s)\n", fields[1]);
        }
        g_strfreev(fields);
    }
    g_strfreev(lines);
}

static void print_result(const Settings *settings, const Subject *subject, const char *flavour, const char *text)
{
    char *bytes[2], *preemptions[2], *steps[2];
    char *summary = value_of(text, "summary"), *probes = value_of(text, "probes"), *seconds = value_of(text, "seconds");
    char *key = value_of(text, "key"), *stopped = value_of(text, "stopped"), *verdict = value_of(text, "verdict");
    char *cpu = value_of(text, "cpu_seconds"), *forks = value_of(text, "forks"), *unwritten = value_of(text, "unwritten");

    split_pair(text, "bytes", &bytes[0], &bytes[1]);
    split_pair(text, "preemptions", &preemptions[0], &preemptions[1]);
    split_pair(text, "steps", &steps[0], &steps[1]);
    if (settings->json) {
        char *n[] = { bytes[0], bytes[1], preemptions[0], preemptions[1], steps[0], steps[1], probes, forks,
                      seconds,  cpu,      unwritten };

        for (size_t i = 0; i < G_N_ELEMENTS(n); i++) {
            n[i] = g_strconcat("#", n[i], NULL);
        }
        table_print_object("file", subject->path, "output", settings->output, "flavour", flavour, "verdict", verdict, "key", key,
                           "summary", summary, "bytes_before", n[0], "bytes", n[1], "preemptions_before", n[2], "preemptions",
                           n[3], "steps_before", n[4], "steps", n[5], "probes", n[6], "forks", n[7], "seconds", n[8],
                           "cpu_seconds", n[9], "records_unwritten", n[10], "stopped", stopped, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(n); i++) {
            g_free(n[i]);
        }
    } else {
        printf("%s%s%s\n", cli_red(), summary, cli_plain());
        printf("  %s byte%s, %s preemption%s, %s steps -> %s%s byte%s, %s preemption%s, %s steps%s\n", bytes[0], plural(bytes[0]),
               preemptions[0], plural(preemptions[0]), steps[0], cli_bold(), bytes[1], plural(bytes[1]), preemptions[1],
               plural(preemptions[1]), steps[1], cli_plain());
        printf("  %s probes in %s s, flavour %s%s\n", probes, seconds, flavour,
               strcmp(stopped, "yes") == 0 ? "; stopped: this is the best so far" : "");
        if (strcmp(unwritten, "0") != 0) {
            printf("  the smallest schedule takes %s records, more than an input holds: it keeps the plan that it came with\n",
                   unwritten);
        }
        printf("  %s, its report in %s.txt\n", settings->output, settings->output);
        print_others(text);
    }
    for (unsigned i = 0; i < 2; i++) {
        g_free(bytes[i]);
        g_free(preemptions[i]);
        g_free(steps[i]);
    }
    g_free(summary);
    g_free(probes);
    g_free(seconds);
    g_free(key);
    g_free(stopped);
    g_free(verdict);
    g_free(cpu);
    g_free(forks);
    g_free(unwritten);
}

/* The result is the same finding in the flavour where it was found. */
static bool holds_where_found(const Subject *subject, const Settings *settings, const char *key)
{
    Subject result = { .path = settings->output, .target = subject->target, .fault = subject->fault };
    Description description;
    bool good = !subject->flavour || (describe(&result, subject->flavour, &description) && strcmp(description.key, key) == 0);

    if (subject->flavour) {
        description_free(&description);
    }
    return good;
}

static bool write_report(const Subject *subject, const Settings *settings, const char *flavour)
{
    Subject result = { .path = settings->output, .target = subject->target, .fault = subject->fault };
    char *report = describe_report(&result, flavour), *beside = g_strconcat(settings->output, ".txt", NULL);
    GError *error = NULL;
    bool good = report && g_file_set_contents(beside, report, -1, &error);

    if (error) {
        cli_fail("%s", error->message);
        g_error_free(error);
    }
    g_free(beside);
    g_free(report);
    return good;
}

/* ---- the whole */

static bool can_write(const Settings *settings)
{
    char *folder = g_path_get_dirname(settings->output);
    bool good = false;

    if (!settings->force && g_file_test(settings->output, G_FILE_TEST_EXISTS)) {
        cli_fail("%s is there already: --force overwrites it, --output names another", settings->output);
    } else if (access(folder, W_OK) != 0) {
        cli_fail("cannot write into %s: %s; --output names another place", folder, g_strerror(errno));
    } else {
        good = true;
    }
    g_free(folder);
    return good;
}

/* Returns what the program printed; NULL with a message. Free it. */
static char *minimize_in(const Subject *subject, const Settings *settings, const char *flavour, double at_most)
{
    char *program = subject_replay(subject, flavour), *seconds = g_strdup_printf("%.3f", at_most), *said = NULL;
    const char *arguments[] = { program, "--minimize", subject->path, "--output", settings->output, "--seconds", seconds, NULL };
    CliRun run = { .status = CLI_COULD_NOT };

    if (cli_run_visibly(arguments, &run) && run.status == CLI_DONE) {
        said = g_strdup(run.out);
    } else if (run.out) {
        cli_fail("%s was not minimized: %s ended with exit status %d", subject->path, program, run.status);
    }
    cli_run_free(&run);
    g_free(seconds);
    g_free(program);
    return said;
}

static int minimize(const Subject *subject, const Settings *settings)
{
    char *flavour = can_write(settings) ? describe_finding_fast(subject, "minimize") : NULL, *said = NULL, *key = NULL, *stopped;
    int status = CLI_COULD_NOT;

    if (flavour && (said = minimize_in(subject, settings, flavour, settings->seconds))) {
        key = value_of(said, "key");
    }
    if (key && !holds_where_found(subject, settings, key)) { /* the smaller one is none there any more: minimize it there, then */
        stopped = value_of(said, "stopped"); /* Ctrl-C, or the time is over: then the finding as it was stands */
        g_free(said);
        g_free(flavour);
        flavour = g_strdup(subject->flavour);
        said = minimize_in(subject, settings, flavour, strcmp(stopped, "yes") == 0 ? 0.001 : settings->seconds);
        g_free(stopped);
    }
    if (said && write_report(subject, settings, flavour)) {
        print_result(settings, subject, flavour, said);
        status = CLI_DONE;
    }
    g_free(key);
    g_free(said);
    g_free(flavour);
    return status;
}

int command_minimize(int argc, char **argv)
{
    SubjectOptions options = { NULL };
    Settings settings = { .seconds = 60 };
    const GOptionEntry entries[] = {
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &settings.output, "where to write (default: FILE.min)", "FILE" },
        { "time", 0, 0, G_OPTION_ARG_DOUBLE, &settings.seconds, "at most (default 60)", "SECONDS" },
        { "force", 0, 0, G_OPTION_ARG_NONE, &settings.force, "overwrite", NULL },
        SUBJECT_OPTIONS(options),
        { "json", 0, 0, G_OPTION_ARG_NONE, &settings.json, "print an object", NULL },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    char **rest;
    Subject subject;
    int status;

    if (!cli_parse(
            &argc, &argv, "minimize FILE",
            "Make a finding small: its scenario, its schedule, its preemptions; verdict and root cause stay. Ctrl-C keeps the best so far.",
            entries, &rest, &status)) {
        return status;
    }
    if (g_strv_length(rest) != 1 || !(settings.seconds > 0)) {
        status = settings.seconds > 0 ? cli_fail("give one FILE") : cli_fail("--time takes a number above 0");
    } else if (!subject_find(rest[0], &options, &subject)) {
        status = CLI_COULD_NOT;
    } else {
        settings.output = settings.output ? settings.output : g_strconcat(rest[0], ".min", NULL);
        status = minimize(&subject, &settings);
        subject_free(&subject);
    }
    g_free(settings.output);
    g_strfreev(rest);
    return status;
}
