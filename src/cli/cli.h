/*
 * What the commands of wakefuzz share: messages, places, other programs, tables. One thread.
 *
 * Exit status of every command: 0 done, 1 a finding, 2 it could not, and one line on stderr says why.
 */
#ifndef WAKEFUZZ_CLI_CLI_H
#define WAKEFUZZ_CLI_CLI_H

#include <gio/gio.h>
#include <stdbool.h>

enum { CLI_DONE = 0, CLI_FINDING = 1, CLI_COULD_NOT = 2 };

#define CLI_INPUT_BYTES_MAX (1u << 20) /* no input is longer: a file that is was never one */

/* ---- messages */

/* "wakefuzz COMMAND: ..." on stderr. Returns CLI_COULD_NOT. */
__attribute__((format(printf, 1, 2))) int cli_fail(const char *format, ...);
void cli_set_command(const char *name);

/* Escape sequences where stdout is a terminal and NO_COLOR is not set, else "". */
const char *cli_bold(void);
const char *cli_red(void);
const char *cli_plain(void);

/* ---- places */

const char *cli_root(void);  /* of the sources: WAKEFUZZ_ROOT, else as built */
const char *cli_build(void); /* WAKEFUZZ_BUILD, else build/ in the sources */

/* The path as one would type it in the folder of the sources. Free it. */
char *cli_relative(const char *path);

/* Names, in order; free with g_strfreev(). NULL with a message where the sources cannot be read. */
char **cli_targets(void);
char **cli_faults(void);
char **cli_flavours(void);         /* all of them */
char **cli_hunting_flavours(void); /* those in which one looks for bugs: not native, that has no schedules, and not coverage */
char **cli_sorted(GPtrArray *names); /* takes the array, which need not end with NULL */
bool cli_is_in(char *const *names, const char *name);

/* A field of a fault's header ("Target"); NULL where there is none. Free it. */
char *cli_fault_field(const char *fault, const char *field);

/* Path of a program: the target's, or the fault's where that is not NULL. Free it. */
char *cli_program(const char *flavour, const char *target, const char *fault, bool replay);
bool cli_is_built(const char *program);

/* ---- other programs */

typedef struct CliRun {
    int status;     /* exit status; 128 + the signal that ended it */
    char *out, *err;
} CliRun;

/* Run a program, its input empty, and keep what it prints. False with a message where it cannot be started. */
bool cli_run(const char *const *arguments, CliRun *run);
/* The same, but errors and progress go where ours go, and SIGINT is the program's: we wait for what it has to say about it. */
bool cli_run_visibly(const char *const *arguments, CliRun *run);
void cli_run_free(CliRun *run);

/* Run a program in our place: all it prints goes where ours goes. Returns its exit status, CLI_COULD_NOT with a message where it cannot
 * be started. */
int cli_run_through(const char *const *arguments);

/* Bring programs of a flavour up to date (paths of cli_program()), and configure the flavour where it is not. False with a message. */
bool cli_make(const char *flavour, char *const *programs);

/* ---- progress: a bar on stderr where that is a terminal, and nothing elsewhere */

void cli_progress_begin(unsigned steps);
void cli_progress_step(const char *next); /* what is begun now */
void cli_progress_end(void); /* the bar goes away. cli_fail() does that, too */

/* ---- options */

/* Parse a command's options; what is left stands in *rest (free with g_strfreev). Where that fails, or --help was asked for, returns false
 * with the exit status in *status. */
bool cli_parse(int *argc, char ***argv, const char *usage, const char *summary, const GOptionEntry *entries, char ***rest,
               int *status);

#endif
