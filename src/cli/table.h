/*
 * A table that a command prints: for people, in columns; with --json for programs, as an array of objects. One thread.
 */
#ifndef WAKEFUZZ_CLI_TABLE_H
#define WAKEFUZZ_CLI_TABLE_H

#include <glib.h>
#include <stdbool.h>

typedef enum TableKind { TABLE_TEXT, TABLE_NUMBER } TableKind;

typedef struct TableColumn {
    const char *name; /* NULL: the end; also the key in JSON, spaces as underscores */
    TableKind kind;   /* numbers stand on the right, and are numbers in JSON; "" is null there */
} TableColumn;

typedef struct Table Table;

Table *table_new(const TableColumn *columns); /* static storage */
/* One string for each column, NULL as "". Copied. */
void table_add(Table *table, ...) G_GNUC_NULL_TERMINATED;
/* Print to stdout and free. */
void table_finish(Table *table, bool json);

/* Print several as one object of name, Table pairs, and NULL, and free them: with --json, where a command has more than one. */
void table_finish_all(const char *name, ...) G_GNUC_NULL_TERMINATED;

/* Print one object of name, value pairs, and NULL; values that begin with '#' are numbers without it. */
void table_print_object(const char *name, ...) G_GNUC_NULL_TERMINATED;

#endif
