/*
 * What a command is about: an input's file, and the program whose input it is. One thread.
 *
 * Where it was not said on the command line, it is read from
 *  1. the report beside it: the "replay: PROGRAM FILE" in FILE.txt;
 *  2. its name: FLAVOUR-NAME-VERDICT-N, as tools/hunt calls its findings;
 *  3. its folder: corpus/TARGET.
 */
#ifndef WAKEFUZZ_CLI_SUBJECT_H
#define WAKEFUZZ_CLI_SUBJECT_H

#include "cli/cli.h"

typedef struct Subject {
    char *path;
    char *target;  /* never NULL */
    char *fault;   /* NULL: the core as it is */
    char *flavour; /* in which it was found or is wanted; NULL: not known */
    bool asked;    /* that flavour was asked for on the command line */
} Subject;

/* What was said on the command line; NULL where it was not. */
typedef struct SubjectOptions {
    char *target, *fault, *flavour;
} SubjectOptions;

#define SUBJECT_OPTIONS(o)                                                                                                     \
    { "target", 't', 0, G_OPTION_ARG_STRING, &(o).target, "whose input it is (default: as the file beside it says)", "NAME" }, \
        { "fault", 0, 0, G_OPTION_ARG_STRING, &(o).fault, "it is an input of this fault's program", "NAME" },                  \
        { "flavour", 0, 0, G_OPTION_ARG_STRING, &(o).flavour, "in which to run it (default: where it was found)", "F" }

/* False with a message where this cannot be an input: it is no regular file that can be read, or too large. */
bool subject_check_file(const char *path);

/* False with a message where the file is no input, or nobody knows whose. */
bool subject_find(const char *path, const SubjectOptions *options, Subject *subject);
void subject_free(Subject *subject);

/* The replay program for a flavour; NULL where it is not built. Free it. */
char *subject_replay(const Subject *subject, const char *flavour);

/*
 * The flavour to run it in: the one wanted, found in, or else the first one built of plain, asan, tsan. NULL with a message that says how
 * to build it. Free it.
 */
char *subject_flavour(const Subject *subject);

/* Those in which to look for a finding, ended by NULL: the one that is known; else all that hunt and are built, that one first. NULL with a
 * message where none is. Free with g_strfreev(). */
char **subject_flavours(const Subject *subject);

#endif
