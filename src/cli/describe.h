/*
 * What an input is, as its program says (TARGET-replay --describe). One thread.
 */
#ifndef WAKEFUZZ_CLI_DESCRIBE_H
#define WAKEFUZZ_CLI_DESCRIBE_H

#include "cli/subject.h"

typedef struct Description {
    char *verdict;  /* "none" for no finding */
    char *bytes, *preemptions, *steps, *hash;
    char *key;      /* what makes findings the same */
    char *summary;  /* one line */
} Description;

/* Run the subject in a flavour in which it is built. False with a message where it could not be run. */
bool describe(const Subject *subject, const char *flavour, Description *description);
/* Run several inputs of one program; descriptions[i] of what could not be run is zero. */
void describe_many(const char *program, char *const *paths, Description *descriptions);
void description_free(Description *description);
bool description_is_finding(const Description *description);

/* A flavour in which the subject is a finding, and what it is there: the one that is known, or else the first that has it. NULL with a
 * message where there is none; action is what one cannot do then ("minimize"). Free it. */
char *describe_finding(const Subject *subject, const char *action, Description *description);
/* Plain, where the finding is the same there: that is the fastest. Else as describe_finding(), and where a flavour was asked for, that. */
char *describe_finding_fast(const Subject *subject, const char *action);

/* The whole report, as text; NULL with a message where there is none. Free it. */
char *describe_report(const Subject *subject, const char *flavour);

#endif
