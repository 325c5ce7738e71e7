/* Arguments of commands; see qmp_arguments.h. */
#include "core/qmp_arguments.h"

#include <string.h>

static bool is_string(JsonNode *node)
{
    return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING;
}

static bool is_string_array(JsonNode *node)
{
    JsonArray *array;

    if (!JSON_NODE_HOLDS_ARRAY(node)) {
        return false;
    }
    array = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(array); i++) {
        if (!is_string(json_array_get_element(array, i))) {
            return false;
        }
    }
    return true;
}

static bool has_type(JsonNode *node, QmpType type)
{
    switch (type) {
    case QMP_STRINGS:
        return is_string_array(node);
    case QMP_STRING:
        return is_string(node);
    default:
        return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
    }
}

static bool has_value(const QmpArgument *argument, const char *text)
{
    for (const char *const *value = argument->values; *value; value++) {
        if (strcmp(*value, text) == 0) {
            return true;
        }
    }
    return false;
}

static bool check_one(JsonObject *args, const QmpArgument *argument, GError **error)
{
    static const char *const types[] = { [QMP_INTEGER] = "integer", [QMP_STRING] = "string", [QMP_STRINGS] = "array" };
    JsonNode *node = json_object_get_member(args, argument->name);

    if (!node) {
        if (argument->required) {
            g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Parameter '%s' is missing", argument->name);
        }
        return !argument->required;
    }
    if (!has_type(node, argument->type)) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Invalid parameter type for '%s', expected: %s", argument->name,
                    types[argument->type]);
        return false;
    }
    if (argument->values && !has_value(argument, json_node_get_string(node))) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Parameter '%s' does not accept value '%s'", argument->name,
                    json_node_get_string(node));
        return false;
    }
    return true;
}

static bool is_accepted(const QmpArgument *accepted, const char *name)
{
    for (; accepted && accepted->name; accepted++) {
        if (strcmp(accepted->name, name) == 0) {
            return true;
        }
    }
    return false;
}

bool qmp_check_arguments(JsonObject *args, const QmpArgument *accepted, GError **error)
{
    JsonObjectIter iter;
    const char *name = NULL;

    for (const QmpArgument *argument = accepted; argument && argument->name; argument++) {
        if (!check_one(args, argument, error)) {
            return false;
        }
    }
    json_object_iter_init(&iter, args);
    while (json_object_iter_next(&iter, &name, NULL)) {
        if (!is_accepted(accepted, name)) {
            g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Parameter '%s' is unexpected", name);
            return false;
        }
    }
    return true;
}

const char *qmp_string_argument(JsonObject *args, const char *name)
{
    return json_object_has_member(args, name) ? json_object_get_string_member(args, name) : NULL;
}
