/*
 * Completion of command lines: `wakefuzz completion SHELL` prints a function for the shell, and that asks `wakefuzz --complete WORD...` what
 * the last word may become.
 *
 * 1. Nothing is listed twice: commands are those of main.c, options those that a command's own --help prints, names those that the build knows.
 * 2. An answer is one candidate a line; ":files" says that the name of a file will do, too. Whatever goes wrong, there is no answer and no
 *    message: somebody is typing.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

static const char bash_function[] =
    "# Completion of wakefuzz for bash:  source <(tools/wakefuzz completion bash)\n"
    "_wakefuzz()\n"
    "{\n"
    "    local line\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        if [ \"$line\" = :files ]; then\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            while IFS= read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
    "        else\n"
    "            COMPREPLY+=(\"$line\")\n"
    "        fi\n"
    "    done < <(\"${COMP_WORDS[0]/#\\~/$HOME}\" --complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _wakefuzz wakefuzz\n";

static const char zsh_function[] =
    "#compdef wakefuzz\n"
    "# Completion of wakefuzz for zsh:  source <(tools/wakefuzz completion zsh)\n"
    "_wakefuzz()\n"
    "{\n"
    "    local line files\n"
    "    local -a candidates\n"
    "    for line in \"${(@f)$(${~words[1]} --complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\"; do\n"
    "        case $line in\n"
    "            (:files) files=yes ;;\n"
    "            (?*) candidates+=(\"$line\") ;;\n"
    "        esac\n"
    "    done\n"
    "    (( $#candidates )) && compadd -- $candidates\n"
    "    [[ -n $files ]] && _files\n"
    "    return 0\n"
    "}\n"
    "compdef _wakefuzz wakefuzz\n";

int command_completion(int argc, char **argv)
{
    static const struct {
        const char *name, *text;
    } shells[] = { { "bash", bash_function }, { "zsh", zsh_function } };
    char **rest;
    int status;

    if (!cli_parse(&argc, &argv, "completion bash|zsh",
                   "Print what makes this shell complete the words of this command: source <(tools/wakefuzz completion bash)",
                   NULL, &rest, &status)) {
        return status;
    }
    status = CLI_COULD_NOT;
    for (size_t i = 0; i < G_N_ELEMENTS(shells); i++) {
        if (rest[0] && !rest[1] && strcmp(rest[0], shells[i].name) == 0) {
            fputs(shells[i].text, stdout);
            status = CLI_DONE;
        }
    }
    if (status != CLI_DONE) {
        cli_fail("give one shell: bash or zsh");
    }
    g_strfreev(rest);
    return status;
}

/* ---- candidates */

static void offer(const char *candidate, const char *begun)
{
    if (g_str_has_prefix(candidate, begun)) {
        puts(candidate);
    }
}

static void offer_all(char **candidates, const char *begun)
{
    for (unsigned i = 0; candidates && candidates[i]; i++) {
        offer(candidates[i], begun);
    }
    g_strfreev(candidates);
}

/* The words in place of which a name or a file is typed. */
static void offer_for(const char *placeholder, const char *option, const char *begun)
{
    if (strcmp(placeholder, "TARGET") == 0 || g_strcmp0(option, "--target") == 0) {
        offer_all(cli_targets(), begun);
    } else if (strcmp(placeholder, "NAME") == 0 && (!option || strcmp(option, "--fault") == 0)) {
        offer_all(cli_faults(), begun);
    } else if (strcmp(placeholder, "F") == 0) {
        offer_all(cli_hunting_flavours(), begun);
    } else if (strcmp(placeholder, "FILE") == 0 || strcmp(placeholder, "FOLDER") == 0 || strcmp(placeholder, "DIR") == 0) {
        puts(":files");
    } else if (strchr(placeholder, '|')) {
        offer_all(g_strsplit(placeholder, "|", -1), begun);
    }
}

static void offer_arguments(const Command *command, const char *begun)
{
    char *bare = g_strdelimit(g_strdup(command->arguments), "[].", ' '), **words = g_strsplit(bare, " ", -1);

    for (unsigned i = 0; words[i]; i++) {
        offer_for(words[i], NULL, begun);
    }
    g_strfreev(words);
    g_free(bare);
}

/* ---- options: "  -n, --runs=N" and "  --time SECONDS" of a command's own help */

typedef struct Option {
    char *letter, *name, *value; /* letter: "-n" or ""; value: the placeholder, "" where it takes none */
} Option;

static void clear_option(gpointer data)
{
    Option *option = data;

    g_free(option->letter);
    g_free(option->name);
    g_free(option->value);
}

static GArray *options_of(const Command *command)
{
    GArray *options = g_array_new(FALSE, TRUE, sizeof(Option));
    GRegex *line = g_regex_new("^ +(?:(-\\w)(?: [A-Z]+)?, )?(--[a-z][a-z-]*)(?:[= ]([A-Z]+))?(?= |$)", G_REGEX_MULTILINE, 0,
                               NULL);
    char *self = g_file_read_link("/proc/self/exe", NULL);
    const char *arguments[] = { self, command->name, "--help", NULL };
    GMatchInfo *match = NULL;
    CliRun run;

    g_array_set_clear_func(options, clear_option);
    if (self && cli_run(arguments, &run)) {
        g_regex_match(line, run.out, 0, &match);
        for (; g_match_info_matches(match); g_match_info_next(match, NULL)) {
            Option option = { g_match_info_fetch(match, 1), g_match_info_fetch(match, 2), g_match_info_fetch(match, 3) };

            option.value = option.value ? option.value : g_strdup("");
            if (strcmp(option.name, "--help") == 0) {
                clear_option(&option); /* only some list it, and all have it */
            } else {
                g_array_append_val(options, option);
            }
        }
        g_match_info_free(match);
        cli_run_free(&run);
    }
    g_regex_unref(line);
    g_free(self);
    return options;
}

/* The value of the option before the cursor. False where that is none. */
static bool offer_value(GArray *options, const char *before, const char *begun)
{
    for (guint i = 0; i < options->len; i++) {
        const Option *option = &g_array_index(options, Option, i);

        if (option->value[0] && before[0] && (strcmp(option->name, before) == 0 || strcmp(option->letter, before) == 0)) {
            offer_for(option->value, option->name, begun);
            return true;
        }
    }
    return false;
}

static void offer_options(GArray *options, const char *begun)
{
    for (guint i = 0; i < options->len; i++) {
        const Option *option = &g_array_index(options, Option, i);

        if (option->letter[0]) {
            offer(option->letter, begun);
        }
        offer(option->name, begun);
    }
    offer("--help", begun);
}

static void offer_to(const Command *command, const char *before, const char *begun)
{
    GArray *options = options_of(command);

    if (!offer_value(options, before, begun)) {
        if (begun[0] == '-') {
            offer_options(options, begun);
        } else {
            offer_arguments(command, begun);
        }
    }
    g_array_free(options, TRUE);
}

int complete(int argc, char **argv)
{
    const char *begun = argc ? argv[argc - 1] : "", *before = argc > 2 ? argv[argc - 2] : "";

    if (argc <= 1) {
        for (const Command *command = commands; command->name; command++) {
            offer(command->name, begun);
        }
        offer("--help", begun);
        offer("--version", begun);
        return CLI_DONE;
    }
    /* bash takes "--fault=x" for three words */
    if (strcmp(begun, "=") == 0) {
        begun = "";
    } else if (strcmp(before, "=") == 0 && argc > 3) {
        before = argv[argc - 3];
    }
    for (const Command *command = commands; command->name; command++) {
        if (strcmp(argv[0], command->name) == 0) {
            offer_to(command, before, begun);
        }
    }
    return CLI_DONE;
}
