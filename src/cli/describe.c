/* See describe.h. One thread. */
#include "cli/describe.h"

#include <string.h>

enum { FIELDS = 8, PATHS_AT_ONCE = 64 };

/* "PATH verdict bytes preemptions steps hash key summary", tabs between them. */
static bool read_line(const char *line, const char *path, Description *description)
{
    char **fields;
    size_t length = strlen(path);

    if (strncmp(line, path, length) != 0 || line[length] != '\t') {
        return false;
    }
    fields = g_strsplit(line + length + 1, "\t", FIELDS - 1);
    if (g_strv_length(fields) == FIELDS - 1) {
        *description = (Description){
            .verdict = g_strdup(fields[0]),
            .bytes = g_strdup(fields[1]),
            .preemptions = g_strdup(fields[2]),
            .steps = g_strdup(fields[3]),
            .hash = g_strdup(fields[4]),
            .key = g_strdup(fields[5]),
            .summary = g_strdup(fields[6]),
        };
    }
    g_strfreev(fields);
    return description->verdict;
}

static void run_some(const char *program, char *const *paths, unsigned count, Description *descriptions)
{
    const char *arguments[PATHS_AT_ONCE + 4] = { program, "--describe", "--" };
    CliRun run;
    char **lines;

    for (unsigned i = 0; i < count; i++) {
        arguments[3 + i] = paths[i];
    }
    if (!cli_run(arguments, &run)) {
        return;
    }
    lines = g_strsplit(run.out, "\n", -1);
    for (unsigned line = 0; lines[line]; line++) {
        for (unsigned i = 0; i < count; i++) {
            if (!descriptions[i].verdict && read_line(lines[line], paths[i], &descriptions[i])) {
                break;
            }
        }
    }
    g_strfreev(lines);
    cli_run_free(&run);
}

void describe_many(const char *program, char *const *paths, Description *descriptions)
{
    unsigned count = g_strv_length((char **)paths);

    for (unsigned i = 0; i < count; i += PATHS_AT_ONCE) {
        run_some(program, paths + i, MIN(count - i, PATHS_AT_ONCE), descriptions + i);
    }
}

bool describe(const Subject *subject, const char *flavour, Description *description)
{
    char *program = subject_replay(subject, flavour);
    const char *arguments[] = { program, "--describe", "--", subject->path, NULL };
    CliRun run;
    char *line;

    *description = (Description){ .verdict = NULL };
    if (!program || !cli_run(arguments, &run)) {
        g_free(program);
        return false;
    }
    line = g_strndup(run.out, strcspn(run.out, "\n"));
    if (!read_line(line, subject->path, description)) {
        cli_fail("%s said nothing about %s: exit status %d: %s", program, subject->path, run.status, g_strstrip(run.err));
    }
    g_free(line);
    cli_run_free(&run);
    g_free(program);
    return description->verdict;
}

void description_free(Description *description)
{
    g_free(description->verdict);
    g_free(description->bytes);
    g_free(description->preemptions);
    g_free(description->steps);
    g_free(description->hash);
    g_free(description->key);
    g_free(description->summary);
    *description = (Description){ .verdict = NULL };
}

bool description_is_finding(const Description *description)
{
    return description->verdict && strcmp(description->verdict, "none") != 0;
}

char *describe_finding(const Subject *subject, const char *action, Description *description)
{
    char **flavours = subject_flavours(subject), *found = NULL, *tried;
    bool could = flavours;

    for (unsigned i = 0; could && flavours[i] && !found; i++) {
        could = describe(subject, flavours[i], description);
        if (description_is_finding(description)) {
            found = g_strdup(flavours[i]);
        } else {
            description_free(description);
        }
    }
    if (could && !found) {
        tried = g_strjoinv(" or ", flavours);
        cli_fail("%s is no finding in flavour %s: nothing to %s (is it the right target, fault and flavour?)", subject->path,
                 tried, action);
        g_free(tried);
    }
    g_strfreev(flavours);
    return found;
}

char *describe_finding_fast(const Subject *subject, const char *action)
{
    Description here, there;
    char *flavour = describe_finding(subject, action, &here), *plain = subject_replay(subject, "plain");

    if (flavour && plain && !subject->asked && strcmp(flavour, "plain") != 0 && describe(subject, "plain", &there)) {
        if (strcmp(here.key, there.key) == 0) {
            g_free(flavour);
            flavour = g_strdup("plain");
        }
        description_free(&there);
    }
    if (flavour) {
        description_free(&here);
    }
    g_free(plain);
    return flavour;
}

/* The command that replays it, as one would type it in the folder of the sources. */
static char *with_short_paths(const char *text, const char *program)
{
    char *shown = cli_relative(program), **parts = g_strsplit(text, program, -1), *result = g_strjoinv(shown, parts);

    g_strfreev(parts);
    g_free(shown);
    return result;
}

char *describe_report(const Subject *subject, const char *flavour)
{
    char *program = subject_replay(subject, flavour), *report = NULL;
    const char *arguments[] = { program, "--", subject->path, NULL };
    CliRun run;

    if (!program || !cli_run(arguments, &run)) {
        g_free(program);
        return NULL;
    }
    if (run.err[0]) {
        report = with_short_paths(run.err, program);
    } else {
        cli_fail("%s is no finding in flavour %s: nothing to explain", subject->path, flavour);
    }
    cli_run_free(&run);
    g_free(program);
    return report;
}
