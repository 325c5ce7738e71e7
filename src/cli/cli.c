/* Messages, options and other programs; see cli.h. One thread. */
#include "cli/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *command = "";

void cli_set_command(const char *name)
{
    command = name;
}

int cli_fail(const char *format, ...)
{
    va_list arguments;
    char *message;

    va_start(arguments, format);
    message = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    cli_progress_end();
    fflush(stdout);
    fprintf(stderr, "wakefuzz%s%s: %s\n", command[0] ? " " : "", command, g_strdelimit(message, "\n", ' '));
    g_free(message);
    return CLI_COULD_NOT;
}

/* ---- colours */

static bool has_colours(void)
{
    const char *no_colour = g_getenv("NO_COLOR");

    return isatty(STDOUT_FILENO) && !(no_colour && no_colour[0]);
}

const char *cli_bold(void)
{
    return has_colours() ? "\033[1m" : "";
}

const char *cli_red(void)
{
    return has_colours() ? "\033[1;31m" : "";
}

const char *cli_plain(void)
{
    return has_colours() ? "\033[0m" : "";
}

/* ---- other programs */

static GSubprocess *start(const char *const *arguments, GSubprocessFlags flags)
{
    GError *error = NULL;
    GSubprocess *process = g_subprocess_newv(arguments, flags, &error);

    if (!process) {
        cli_fail("cannot run %s: %s", arguments[0], error->message);
        g_error_free(error);
    }
    return process;
}

static int exit_status(GSubprocess *process)
{
    return g_subprocess_get_if_exited(process) ? g_subprocess_get_exit_status(process) : 128 + g_subprocess_get_term_sig(process);
}

/* What a program prints is text; bytes that are none are shown as such. */
static char *take_text(GBytes *bytes)
{
    gsize size = 0;
    const char *data = bytes ? g_bytes_get_data(bytes, &size) : NULL;
    char *text = data ? g_utf8_make_valid(data, (gssize)size) : g_strdup("");

    if (bytes) {
        g_bytes_unref(bytes);
    }
    return text;
}

static bool run_and_keep(const char *const *arguments, GSubprocessFlags flags, CliRun *run)
{
    GSubprocess *process = start(arguments, flags);
    GBytes *out = NULL, *err = NULL;
    GError *error = NULL;

    *run = (CliRun){ .status = CLI_COULD_NOT };
    if (!process) {
        return false;
    }
    if (!g_subprocess_communicate(process, NULL, NULL, &out, &err, &error)) {
        cli_fail("cannot read what %s prints: %s", arguments[0], error->message);
        g_error_free(error);
        g_object_unref(process);
        return false;
    }
    run->status = exit_status(process);
    run->out = take_text(out);
    run->err = take_text(err);
    g_object_unref(process);
    return true;
}

bool cli_run(const char *const *arguments, CliRun *run)
{
    return run_and_keep(arguments, G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE, run);
}

/* A signal that is ignored would be ignored in a child, too, until it says otherwise: a handler is not inherited. */
static void ignore(int number)
{
    (void)number;
}

static void leave_interrupts_to_child(struct sigaction *old)
{
    struct sigaction action = { .sa_handler = ignore, .sa_flags = SA_RESTART };

    fflush(NULL);
    sigaction(SIGINT, &action, old);
}

bool cli_run_visibly(const char *const *arguments, CliRun *run)
{
    struct sigaction old;
    bool good;

    leave_interrupts_to_child(&old);
    good = run_and_keep(arguments, G_SUBPROCESS_FLAGS_STDOUT_PIPE, run);
    sigaction(SIGINT, &old, NULL);
    return good;
}

void cli_run_free(CliRun *run)
{
    g_free(run->out);
    g_free(run->err);
    *run = (CliRun){ .status = CLI_COULD_NOT };
}

int cli_run_through(const char *const *arguments)
{
    struct sigaction old;
    GSubprocess *process;
    int status = CLI_COULD_NOT;

    leave_interrupts_to_child(&old);
    process = start(arguments, G_SUBPROCESS_FLAGS_STDIN_INHERIT);
    if (process && g_subprocess_wait(process, NULL, NULL)) {
        status = exit_status(process);
    }
    sigaction(SIGINT, &old, NULL);
    g_clear_object(&process);
    return status;
}

/* ---- options */

bool cli_parse(int *argc, char ***argv, const char *usage, const char *summary, const GOptionEntry *entries, char ***rest,
               int *status)
{
    GOptionContext *context = g_option_context_new(usage);
    GError *error = NULL;
    bool good;

    g_option_context_set_summary(context, summary);
    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_set_strict_posix(context, FALSE);
    if (entries) {
        g_option_context_add_main_entries(context, entries, NULL);
    }
    for (int i = 1; i < *argc && strcmp((*argv)[i], "--") != 0; i++) {
        if (strcmp((*argv)[i], "--help") == 0 || strcmp((*argv)[i], "-h") == 0) {
            char *help = g_option_context_get_help(context, TRUE, NULL);

            fputs(help, stdout);
            g_free(help);
            g_option_context_free(context);
            *status = CLI_DONE;
            return false;
        }
    }
    good = g_option_context_parse(context, argc, argv, &error);
    g_option_context_free(context);
    if (!good) {
        *status = cli_fail("%s (wakefuzz %s --help lists the options)", error->message, command);
        g_error_free(error);
        return false;
    }
    if (*argc > 1 && strcmp((*argv)[1], "--") == 0) {
        (*argv)++;
        (*argc)--;
    }
    *rest = g_strdupv(*argv + 1);
    return true;
}
