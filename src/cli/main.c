/*
 * wakefuzz COMMAND [OPTION...] [ARGUMENT...]: what one does with findings and with what finds them. docs/cli.md tells it all.
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

const Command commands[] = {
    { "run", "[TARGET...]", "hunt: fuzz the targets, or a fault, and keep what is found", command_run },
    { "repro", "FILE", "run an input in every flavour, several times: verdict, how often, trace hash", command_repro },
    { "explain", "FILE", "print the report on a finding: stacks, step table, root cause; or a page", command_explain },
    { "minimize", "FILE", "make a finding small: few bytes, few preemptions, the same root cause", command_minimize },
    { "promote", "FILE", "make a finding a named corpus file, a test and a program to step through", command_promote },
    { "triage", "DIR", "group a folder of findings, with one representative each", command_triage },
    { "merge", "TARGET DIR...", "choose the inputs that reach all that all of them reach", command_merge },
    { "cover", "[TARGET...]", "how much of the core the corpus runs, and what no input reaches", command_cover },
    { "faults", "[NAME...]", "the detection table: how soon each historical bug is found", command_faults },
    { "list", "[targets|faults|flavours]", "what there is, and in which flavours it is built", command_list },
    { "doctor", "", "is this machine, and is what was built on it, fit for the hunt?", command_doctor },
    { "completion", "bash|zsh", "print what makes this shell complete the words of this command", command_completion },
    { NULL, NULL, NULL, NULL },
};

static void print_help(FILE *out)
{
    fputs("usage: wakefuzz COMMAND [OPTION...] [ARGUMENT...]\n\n", out);
    for (const Command *command = commands; command->name; command++) {
        char *call = g_strdup_printf("%s %s", command->name, command->arguments);

        fprintf(out, "  %-30s %s\n", call, command->does);
        g_free(call);
    }
    fputs("\nwakefuzz COMMAND --help lists the options. Exit status: 0 done, 1 a finding, 2 it could not.\n", out);
}

/* What was printed may not have arrived: the disk behind "> FILE" is full. */
static int finish(int status)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return cli_fail("cannot write what was to be printed%s%s", errno ? ": " : "", errno ? g_strerror(errno) : "");
    }
    return status;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    g_set_prgname("wakefuzz");
    if (argc < 2) {
        print_help(stderr);
        return CLI_COULD_NOT;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return finish(CLI_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("wakefuzz " WAKEFUZZ_VERSION);
        return finish(CLI_DONE);
    }
    if (strcmp(argv[1], "--complete") == 0) {
        return complete(argc - 2, argv + 2);
    }
    for (const Command *command = commands; command->name; command++) {
        if (strcmp(argv[1], command->name) == 0) {
            cli_set_command(argv[1]);
            return finish(command->run(argc - 1, argv + 1));
        }
    }
    return cli_fail("there is no command '%s' (wakefuzz --help lists them)", argv[1]);
}
