/* The commands of wakefuzz: each parses its own options, prints, and returns the exit status (cli.h). One thread. */
#ifndef WAKEFUZZ_CLI_COMMANDS_H
#define WAKEFUZZ_CLI_COMMANDS_H

typedef struct Command {
    const char *name;      /* NULL: the end */
    const char *arguments; /* as --help shows them; complete.c knows the words in it */
    const char *does;
    int (*run)(int argc, char **argv);
} Command;

extern const Command commands[];

/* What a shell asks while somebody types: the words up to the cursor, the last of them may be a part of one or empty. */
int complete(int argc, char **argv);

int command_completion(int argc, char **argv);
int command_cover(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_faults(int argc, char **argv);
int command_list(int argc, char **argv);
int command_merge(int argc, char **argv);
int command_minimize(int argc, char **argv);
int command_promote(int argc, char **argv);
int command_repro(int argc, char **argv);
int command_run(int argc, char **argv);
int command_triage(int argc, char **argv);

#endif
