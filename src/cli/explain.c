/* wakefuzz explain: the report on a finding, as its program prints it, or as a page. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/page.h"

typedef struct Settings {
    char *html; /* NULL: text */
    gboolean force;
} Settings;

/* The first line in red, where that can be seen. */
static void print_report(const char *report)
{
    size_t first = strcspn(report, "\n");

    printf("%s%.*s%s%s", cli_red(), (int)first, report, cli_plain(), report + first);
}

static int explain_as_text(const Subject *subject, const char *flavour)
{
    char *report = describe_report(subject, flavour);

    if (!report) {
        return CLI_COULD_NOT;
    }
    print_report(report);
    g_free(report);
    return CLI_DONE;
}

/* ---- the page */

static char *replaced(char *text, const char *pattern, const char *by)
{
    GRegex *regex = g_regex_new(pattern, G_REGEX_DEFAULT, G_REGEX_MATCH_DEFAULT, NULL);
    char *result = g_regex_replace_literal(regex, text, -1, 0, by, G_REGEX_MATCH_DEFAULT, NULL);

    g_regex_unref(regex);
    g_free(text);
    return result;
}

/* A sanitizer's report without what is another in each process. */
static char *what_was_said(const Subject *subject, const char *flavour)
{
    char *report = describe_report(subject, flavour);

    if (report) {
        report = replaced(report, "\\b0x[0-9a-f]+", "0x…");
        report = replaced(report, "==[0-9]+==|pid=[0-9]+|tid=[0-9]+", "…");
        report = replaced(report, "(?m)^[0-9.]+ s after the first execution\\n", "");
    }
    return report;
}

static bool can_write(const Settings *settings)
{
    char *folder = g_path_get_dirname(settings->html);
    bool good = false;

    if (g_file_test(settings->html, G_FILE_TEST_IS_DIR)) {
        cli_fail("%s is a folder: --html takes the name of a file", settings->html);
    } else if (!settings->force && g_file_test(settings->html, G_FILE_TEST_EXISTS)) {
        cli_fail("%s is there already: --force overwrites it", settings->html);
    } else if (access(folder, W_OK) != 0) {
        cli_fail("cannot write into %s: %s", folder, g_strerror(errno));
    } else {
        good = true;
    }
    g_free(folder);
    return good;
}

static int write_page(const Settings *settings, const char *page)
{
    GError *error = NULL;
    int status = CLI_DONE;

    if (!g_file_set_contents(settings->html, page, -1, &error)) { /* beside, and renamed: whole or not there */
        status = cli_fail("cannot write %s: %s", settings->html, error->message);
        g_error_free(error);
    } else {
        printf("%s\n", settings->html);
    }
    return status;
}

static int explain_as_page(const Subject *subject, const char *flavour, const Settings *settings)
{
    JsonObject *facts = can_write(settings) ? facts_read(subject, flavour, false) : NULL;
    char *program, *shown, *replay, *file, *said, *page;
    int status;

    if (!facts) {
        return CLI_COULD_NOT;
    }
    program = subject_replay(subject, flavour);
    shown = cli_relative(program);
    file = g_path_get_basename(subject->path);
    replay = g_strdup_printf("%s %s", shown, subject->path);
    said = facts_flag(facts, "cut") ? what_was_said(subject, flavour) : NULL;
    page = page_make(&(PageSubject){ .program = subject->fault ? subject->fault : subject->target,
                                     .flavour = flavour,
                                     .replay = replay,
                                     .file = file,
                                     .report = said },
                     facts);
    status = write_page(settings, page);
    g_free(page);
    g_free(said);
    g_free(replay);
    g_free(file);
    g_free(shown);
    g_free(program);
    json_object_unref(facts);
    return status;
}

/* The one that is known, or else the first in which it is a finding. */
static char *flavour_of(const Subject *subject)
{
    Description description;
    char *flavour;

    if (subject->flavour) {
        return subject_flavour(subject);
    }
    flavour = describe_finding(subject, "explain", &description);
    if (flavour) {
        description_free(&description);
    }
    return flavour;
}

int command_explain(int argc, char **argv)
{
    SubjectOptions options = { NULL };
    Settings settings = { NULL };
    const GOptionEntry entries[] = {
        { "html", 0, 0, G_OPTION_ARG_FILENAME, &settings.html, "write a page instead: one file, with a picture", "FILE" },
        { "force", 0, 0, G_OPTION_ARG_NONE, &settings.force, "overwrite it", NULL },
        SUBJECT_OPTIONS(options),
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    char **rest, *flavour;
    Subject subject;
    int status;

    if (!cli_parse(&argc, &argv, "explain FILE",
                   "Print the report on a finding: stacks, root cause, step table; or make a page of it.", entries, &rest,
                   &status)) {
        return status;
    }
    if (g_strv_length(rest) != 1) {
        status = cli_fail("give one FILE");
    } else if (!subject_find(rest[0], &options, &subject)) {
        status = CLI_COULD_NOT;
    } else {
        flavour = flavour_of(&subject);
        status = !flavour        ? CLI_COULD_NOT
                 : settings.html ? explain_as_page(&subject, flavour, &settings)
                                 : explain_as_text(&subject, flavour);
        subject_free(&subject);
        g_free(flavour);
    }
    g_free(settings.html);
    g_strfreev(rest);
    return status;
}
