/*
 * What llvm-cov says about a set of programs: how much of each file was run, and what of it never was. One thread.
 *
 * A branch is one side of a condition that the folder's own code decides. Two kinds of conditions are left out: those in assertions, for their
 * other side is a finding, and those in macros from elsewhere (GLib's).
 */
#ifndef WAKEFUZZ_CLI_COVERAGE_H
#define WAKEFUZZ_CLI_COVERAGE_H

#include <glib.h>
#include <stdbool.h>

typedef struct CoverageCount {
    gint64 all, reached;
} CoverageCount;

typedef struct CoverageFile {
    char *path; /* as one would type it in the folder of the sources */
    CoverageCount lines, branches, functions;
} CoverageFile;

/* Lines that nothing reached: of a function that was called, or, where "whole", a function that never was. */
typedef struct CoverageHole {
    char *path, *function;
    gint64 line, end;
    bool whole;
} CoverageHole;

/* The side of a condition that was never taken; both sides are there where the condition was never met. */
typedef struct CoverageSide {
    char *path, *function;
    gint64 line;
    bool side; /* which value it never had */
} CoverageSide;

typedef struct Coverage {
    GArray *files; /* CoverageFile, by path */
    GArray *holes; /* CoverageHole, by path and line; none lies in another one */
    GArray *sides; /* CoverageSide, by path and line */
} Coverage;

/* Read the JSON text of `llvm-cov export`, and of it what lies in a folder of the sources ("src/core"). False with a message where it is
 * none. */
bool coverage_read(const char *json, const char *folder, Coverage *coverage);
void coverage_free(Coverage *coverage);

/* Print a table of the files, what of them is unreached, and which files of the folder are not there at all; with json as one object, which has
 * the sides, too. */
void coverage_print(const Coverage *coverage, const char *folder, bool json);

CoverageFile coverage_total(const Coverage *coverage);

#endif
