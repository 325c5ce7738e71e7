/* See qmp_json.h. */
#include "core/qmp_json.h"

#include <stdbool.h>

GQuark qmp_error_quark(void)
{
    return g_quark_from_static_string("qmp-error");
}

static const char *class_name(int code)
{
    return code == QMP_ERROR_COMMAND_NOT_FOUND ? "CommandNotFound" : "GenericError";
}

JsonNode *qmp_json_parse(const char *text, GError **error)
{
    JsonParser *parser = json_parser_new();
    GError *reason = NULL;
    JsonNode *value = NULL;

    if (json_parser_load_from_data(parser, text, -1, &reason)) {
        value = json_parser_steal_root(parser);
    }
    if (!value) {
        /* What json-glib says names lines and columns of a text that the client did not write like this. */
        g_set_error_literal(error, QMP_ERROR, QMP_ERROR_GENERIC, "JSON parse error, invalid value");
        g_clear_error(&reason);
    }
    g_object_unref(parser);
    return value;
}

char *qmp_json_text(JsonNode *value)
{
    return json_to_string(value, FALSE);
}

JsonNode *qmp_json_object(JsonObject *object)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);

    json_node_take_object(node, object);
    return node;
}

JsonObject *qmp_error_response(GError *error)
{
    JsonObject *response = json_object_new();
    JsonObject *details = json_object_new();

    json_object_set_string_member(details, "class", class_name(error->code));
    json_object_set_string_member(details, "desc", error->message);
    json_object_set_object_member(response, "error", details);
    g_error_free(error);
    return response;
}

/* ---- what is built at first use */

static void parse_and_print(const char *text)
{
    GError *error = NULL;
    JsonNode *value = qmp_json_parse(text, &error);

    if (value) {
        g_free(qmp_json_text(value));
        json_node_unref(value);
    }
    g_clear_error(&error);
}

void qmp_json_init(void)
{
    static bool done;
    static const char *const samples[] = {
        "{ \"a\" : [ 1 , -2.5e3 , true , false , null , \"\\u00e9\\n\" , { } ] }",
        "[ ]",
        "1",
        "\"\"",
        "true",
        "null",
        "{ \"a\" }",
        "nope",
        "{ \"a\" : }",
        "{ \"a\" , 1 }",
        "[ 1 , ]",
        "]",
        "\"\xff\"",
        "",
    };

    if (done) {
        return;
    }
    done = true;

    /* Their classes stay, whoever else lets go of them. */
    g_type_class_ref(JSON_TYPE_PARSER);
    g_type_class_ref(JSON_TYPE_GENERATOR);
    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        parse_and_print(samples[i]);
    }
}
