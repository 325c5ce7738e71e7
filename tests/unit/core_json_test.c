/*
 * The streaming JSON parser and the values of QMP. Everything runs on the test's own thread.
 */
#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include "core/json_message.h"
#include "core/qmp_json.h"

/* What was emitted, one after the other: the text of a value, or "error"; with a '|' after each. */
static void note(void *opaque, JsonNode *value, GError *error)
{
    GString *notes = opaque;
    char *text = value ? qmp_json_text(value) : g_strdup("error");

    g_assert_true(!value != !error);
    g_string_append_printf(notes, "%s|", text);
    g_free(text);
    g_clear_pointer(&value, json_node_unref);
    g_clear_error(&error);
}

/* The bytes in pieces: the first, then the second, then the rest one by one where bytewise. */
static char *parse(const char *bytes, size_t size, size_t split, bool bytewise)
{
    JSONMessageParser parser;
    GString *notes = g_string_new(NULL);

    json_message_parser_init(&parser, note, notes);
    json_message_parser_feed(&parser, bytes, split);
    if (bytewise) {
        for (size_t i = split; i < size; i++) {
            json_message_parser_feed(&parser, bytes + i, 1);
        }
    } else {
        json_message_parser_feed(&parser, bytes + split, size - split);
    }
    json_message_parser_destroy(&parser);
    return g_string_free(notes, FALSE);
}

static void assert_parses(const char *bytes, const char *expected)
{
    char *whole = parse(bytes, strlen(bytes), 0, false);

    g_assert_cmpstr(whole, ==, expected);
    for (size_t split = 0; split <= strlen(bytes); split++) {
        char *halves = parse(bytes, strlen(bytes), split, false);
        char *crumbs = parse(bytes, strlen(bytes), split, true);

        g_assert_cmpstr(halves, ==, expected);
        g_assert_cmpstr(crumbs, ==, expected);
        g_free(halves);
        g_free(crumbs);
    }
    g_free(whole);
}

/* ---- */

static void values_end_by_structure(void)
{
    assert_parses("{\"a\":1}{\"b\":[2,{}]}", "{\"a\":1}|{\"b\":[2,{}]}|");
    assert_parses("{\n\"a\"\n:\n1\r\n}\n", "{\"a\":1}|");
    assert_parses("[1][[]]", "[1]|[[]]|");
    assert_parses("\"x\"true null 12 ", "\"x\"|true|null|12|");
    assert_parses("{\"}\":\"\\\"}{\"}", "{\"}\":\"\\\"}{\"}|");
    assert_parses("-1.5e+3 0 ", "-1500.0|0|");
}

static void incomplete_values_are_not_emitted(void)
{
    assert_parses("{\"a\":1", "");
    assert_parses("12", "");
    assert_parses("\"x", "");
    assert_parses(" \t\r\n", "");
}

static void errors_come_once_and_the_stream_goes_on(void)
{
    assert_parses("}{\"a\":1}", "error|{\"a\":1}|");
    assert_parses("{]{\"a\":1}", "error|{\"a\":1}|");
    assert_parses("{\"a\"}[1]", "error|[1]|");
    assert_parses("nope\n[1]", "error|[1]|");
    assert_parses("@rest of it\n[1]", "error|[1]|");
    assert_parses("{\"a\":\"\x01 rest\n[1]", "error|[1]|");
    assert_parses("01\n[1]", "error|[1]|");
    assert_parses("-x\n[1]", "error|[1]|");
    assert_parses("1.\n[1]", "error|[1]|"); /* the line's end is the bad byte, and the bracket the place to go on */
}

/* However lost: an impossible byte and a line's end bring the parser back. */
static void impossible_byte_resynchronizes(void)
{
    static const char *const lost[] = { "{\"a\":[", "\"x", "\"x\\", "12", "tr", "{\"a\":\"", "@@" };

    for (size_t i = 0; i < G_N_ELEMENTS(lost); i++) {
        char *bytes = g_strconcat(lost[i], "\xff\n[1]", NULL);
        char *notes = parse(bytes, strlen(bytes), 0, false);

        g_assert_true(g_str_has_suffix(notes, "error|[1]|"));
        g_free(notes);
        g_free(bytes);
    }
}

/* The byte that ends a number may be an error of its own: two results, and whoever takes them must be able to. */
static void one_byte_may_complete_two_values(void)
{
    assert_parses("1}", "1|error|");
    assert_parses("6\xff\n", "6|error|");
    assert_parses("true]", "true|error|");
}

static void nesting_is_limited(void)
{
    GString *bytes = g_string_new(NULL);
    char *notes;

    for (int i = 0; i < JSON_MESSAGE_NESTING_MAX; i++) {
        g_string_append_c(bytes, '[');
    }
    notes = parse(bytes->str, bytes->len, 0, false);
    g_assert_cmpstr(notes, ==, "");
    g_free(notes);
    g_string_append_c(bytes, '[');
    notes = parse(bytes->str, bytes->len, 0, false);
    g_assert_cmpstr(notes, ==, "error|");
    g_free(notes);
    g_string_free(bytes, TRUE);
}

static void error_has_the_shape_of_qmp(void)
{
    JsonNode *node = qmp_json_object(qmp_error_response(g_error_new(QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND, "no \"x\"")));
    char *text = qmp_json_text(node);

    g_assert_cmpstr(text, ==, "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"no \\\"x\\\"\"}}");
    g_free(text);
    json_node_unref(node);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qmp_json_init();
    g_test_add_func("/json/values-end-by-structure/split-at-every-byte", values_end_by_structure);
    g_test_add_func("/json/incomplete-values-are-not-emitted", incomplete_values_are_not_emitted);
    g_test_add_func("/json/errors-come-once-and-the-stream-goes-on", errors_come_once_and_the_stream_goes_on);
    g_test_add_func("/json/impossible-byte-resynchronizes", impossible_byte_resynchronizes);
    g_test_add_func("/json/one-byte-may-complete-two-values", one_byte_may_complete_two_values);
    g_test_add_func("/json/nesting-is-limited", nesting_is_limited);
    g_test_add_func("/qmp/error-has-the-shape-of-qmp", error_has_the_shape_of_qmp);
    return g_test_run();
}
