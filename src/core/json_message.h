/*
 * A stream of bytes cut into JSON values: by their structure, not by lines, and however the bytes arrive.
 *
 * The parser hands each complete value to emit(), or the error that stands in its place, and goes on. After an error it
 * starts anew: inside of a bad token at the next structural character, line end or control character; a client that does
 * not know where it is sends 0xFF or a line end.
 *
 * One thread at a time. emit() is called inside json_message_parser_feed().
 *
 * From QEMU: include/qobject/json-parser.h, qobject/json-lexer.c, json-streamer.c.
 */
#ifndef WAKEFUZZ_CORE_JSON_MESSAGE_H
#define WAKEFUZZ_CORE_JSON_MESSAGE_H

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stddef.h>

/* Exactly one of value and error is not NULL; both are the receiver's. */
typedef void JSONMessageEmit(void *opaque, JsonNode *value, GError *error);

typedef struct JSONMessageParser {
    JSONMessageEmit *emit;
    void *opaque;
    int state;            /* of the token at hand */
    GString *token;       /* the token at hand */
    GString *tokens;      /* those of the value at hand, with a blank after each */
    unsigned token_count;
    int brace_count, bracket_count; /* opened and not closed */
} JSONMessageParser;

/* More of either in one value is an error. */
#define JSON_MESSAGE_TOKENS_MAX  (1u << 21)
#define JSON_MESSAGE_BYTES_MAX   ((size_t)64 << 20)
#define JSON_MESSAGE_NESTING_MAX 1024

void json_message_parser_init(JSONMessageParser *parser, JSONMessageEmit *emit, void *opaque);
/* Any number of bytes, of any value. */
void json_message_parser_feed(JSONMessageParser *parser, const char *buffer, size_t size);
/* What is incomplete is dropped. */
void json_message_parser_destroy(JSONMessageParser *parser);

#endif
