/*
 * The arguments of a QMP command, held against what it accepts. Any thread; nothing blocks.
 *
 * From QEMU: qapi/qobject-input-visitor.c, qapi/qapi-visit-core.c.
 */
#ifndef WAKEFUZZ_CORE_QMP_ARGUMENTS_H
#define WAKEFUZZ_CORE_QMP_ARGUMENTS_H

#include <stdbool.h>

#include "core/qmp_json.h"

typedef enum QmpType {
    QMP_INTEGER,
    QMP_STRING,
    QMP_STRINGS, /* an array of them */
} QmpType;

typedef struct QmpArgument {
    const char *name;
    QmpType type;
    bool required;
    const char *const *values; /* what a string may be, NULL at the end; NULL: anything */
} QmpArgument;

/* accepted: all that the command takes, up to one without a name; NULL: none. Returns whether nothing is missing or unknown and all have
 * their type; else sets the error. */
bool qmp_check_arguments(JsonObject *args, const QmpArgument *accepted, GError **error);

/* An argument that was checked to be a string; NULL: it is not there. Belongs to args. */
const char *qmp_string_argument(JsonObject *args, const char *name);

#endif
