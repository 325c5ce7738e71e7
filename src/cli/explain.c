/* wakefuzz explain: the report on a finding, as its program prints it. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/describe.h"

/* The first line in red, where that can be seen. */
static void print_report(const char *report)
{
    size_t first = strcspn(report, "\n");

    printf("%s%.*s%s%s", cli_red(), (int)first, report, cli_plain(), report + first);
}

int command_explain(int argc, char **argv)
{
    SubjectOptions options = { NULL };
    const GOptionEntry entries[] = { SUBJECT_OPTIONS(options), { NULL, 0, 0, 0, NULL, NULL, NULL } };
    char **rest, *flavour = NULL, *report = NULL;
    Subject subject;
    int status;

    if (!cli_parse(&argc, &argv, "explain FILE", "Print the report on a finding: stacks, root cause, step table.", entries, &rest,
                   &status)) {
        return status;
    }
    if (g_strv_length(rest) != 1) {
        status = cli_fail("give one FILE");
    } else if (!subject_find(rest[0], &options, &subject)) {
        status = CLI_COULD_NOT;
    } else {
        flavour = subject_flavour(&subject);
        report = flavour ? describe_report(&subject, flavour) : NULL;
        status = report ? CLI_DONE : CLI_COULD_NOT;
        if (report) {
            print_report(report);
        }
        subject_free(&subject);
    }
    g_free(report);
    g_free(flavour);
    g_strfreev(rest);
    return status;
}
