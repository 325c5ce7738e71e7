/*
 * JSON values for QMP: text to value, value to text, and the replies. On json-glib.
 *
 * Any thread; a value belongs to one thread at a time. From QEMU: qapi/qmp-dispatch.c for the shape of replies.
 */
#ifndef WAKEFUZZ_CORE_QMP_JSON_H
#define WAKEFUZZ_CORE_QMP_JSON_H

#include <glib.h>
#include <json-glib/json-glib.h>

/* The errors of QMP: the domain of a GError whose code is the error's class. */
#define QMP_ERROR (qmp_error_quark())
GQuark qmp_error_quark(void);

typedef enum QmpErrorClass {
    QMP_ERROR_GENERIC,
    QMP_ERROR_COMMAND_NOT_FOUND,
} QmpErrorClass;

/*
 * Have GLib and json-glib build now what they build at first use (types, quarks, keys), so that the first execution of a
 * process takes the same steps as all others. Before the first thread; does nothing the second time.
 */
void qmp_json_init(void);

/* The one value in text, or NULL and an error of class GenericError. */
JsonNode *qmp_json_parse(const char *text, GError **error);
/* In one line, without the line's end. The caller frees it. */
char *qmp_json_text(JsonNode *value);

/* An object around members; takes the object. */
JsonNode *qmp_json_object(JsonObject *object);
/* {"error": {"class": ..., "desc": ...}}; frees the error. */
JsonObject *qmp_error_response(GError *error);

#endif
