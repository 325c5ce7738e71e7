/*
 * The streaming parser; see json_message.h. In the thread that feeds it.
 *
 * A state machine takes bytes and completes tokens; a counter of braces and brackets takes tokens and completes values; the
 * text of a complete value goes to json-glib.
 *
 * Invariants
 * 1. tokens holds what brace_count and bracket_count count.
 * 2. A byte is consumed once, or it ends a token and is then looked at again as the first of the next.
 */
#include "core/json_message.h"

#include <stdbool.h>
#include <string.h>

#include "core/qmp_json.h"

enum {
    JSON_START,          /* between tokens */
    JSON_RECOVERY,       /* after an error: skip */
    JSON_STRING,         /* "... */
    JSON_STRING_ESCAPE,  /* "...\ */
    JSON_SIGN,           /* - */
    JSON_ZERO,           /* 0 */
    JSON_DIGITS,         /* 12 */
    JSON_POINT,          /* 12. */
    JSON_FRACTION,       /* 12.3 */
    JSON_EXPONENT,       /* 12e */
    JSON_EXPONENT_SIGN,  /* 12e- */
    JSON_EXPONENT_DIGITS, /* 12e-3 */
    JSON_KEYWORD,        /* tr */
};

/* ---- values ---- */

static void start_value(JSONMessageParser *parser)
{
    parser->brace_count = 0;
    parser->bracket_count = 0;
    parser->token_count = 0;
    g_string_truncate(parser->tokens, 0);
}

static void emit_error(JSONMessageParser *parser, const char *format, const char *argument)
{
    GError *error = g_error_new(QMP_ERROR, QMP_ERROR_GENERIC, format, argument);

    start_value(parser);
    parser->emit(parser->opaque, NULL, error);
}

static void complete_value(JSONMessageParser *parser)
{
    GError *error = NULL;
    JsonNode *value = qmp_json_parse(parser->tokens->str, &error);

    start_value(parser);
    parser->emit(parser->opaque, value, error);
}

static void count_structure(JSONMessageParser *parser, char c)
{
    parser->brace_count += (c == '{') - (c == '}');
    parser->bracket_count += (c == '[') - (c == ']');
}

/* The token at hand is complete. */
static void process_token(JSONMessageParser *parser)
{
    if (parser->token->len == 1) {
        count_structure(parser, parser->token->str[0]);
    }
    if (parser->tokens->len + parser->token->len + 1 > JSON_MESSAGE_BYTES_MAX) {
        emit_error(parser, "%s", "JSON token size limit exceeded");
        return;
    }
    if (++parser->token_count > JSON_MESSAGE_TOKENS_MAX) {
        emit_error(parser, "%s", "JSON token count limit exceeded");
        return;
    }
    if (parser->brace_count + parser->bracket_count > JSON_MESSAGE_NESTING_MAX) {
        emit_error(parser, "%s", "JSON nesting depth limit exceeded");
        return;
    }
    g_string_append_len(parser->tokens, parser->token->str, (gssize)parser->token->len);
    g_string_append_c(parser->tokens, ' ');
    if ((parser->brace_count > 0 || parser->bracket_count > 0) && parser->brace_count >= 0 && parser->bracket_count >= 0) {
        return;
    }
    complete_value(parser);
}

/* ---- tokens ---- */

/* What a byte does to the token at hand. */
typedef enum TokenStep {
    TOKEN_MORE,    /* it belongs to the token, in the state returned */
    TOKEN_LAST,    /* it is the token's last */
    TOKEN_PAST,    /* the token was complete before it */
    TOKEN_BAD,     /* no token goes on like this */
} TokenStep;

static TokenStep start_token(int *state, unsigned char c)
{
    switch (c) {
    case '{':
    case '}':
    case '[':
    case ']':
    case ':':
    case ',':
        return TOKEN_LAST;
    case '"':
        *state = JSON_STRING;
        return TOKEN_MORE;
    case '-':
        *state = JSON_SIGN;
        return TOKEN_MORE;
    case '0':
        *state = JSON_ZERO;
        return TOKEN_MORE;
    default:
        *state = g_ascii_isdigit(c) ? JSON_DIGITS : JSON_KEYWORD;
        return g_ascii_isdigit(c) || g_ascii_islower(c) ? TOKEN_MORE : TOKEN_BAD;
    }
}

static TokenStep step_string(int *state, unsigned char c)
{
    if (c < 0x20 || c > 0xFD) {
        return TOKEN_BAD;
    }
    if (*state == JSON_STRING && c == '"') {
        return TOKEN_LAST;
    }
    *state = *state == JSON_STRING && c == '\\' ? JSON_STRING_ESCAPE : JSON_STRING;
    return TOKEN_MORE;
}

static TokenStep go_to(int *state, int next)
{
    *state = next;
    return TOKEN_MORE;
}

static TokenStep step_number(int *state, unsigned char c)
{
    bool digit = g_ascii_isdigit(c);

    switch (*state) {
    case JSON_SIGN:
        return digit ? go_to(state, c == '0' ? JSON_ZERO : JSON_DIGITS) : TOKEN_BAD;
    case JSON_ZERO:
        return digit ? TOKEN_BAD : c == '.' ? go_to(state, JSON_POINT) : TOKEN_PAST;
    case JSON_DIGITS:
        if (c == '.') {
            return go_to(state, JSON_POINT);
        }
        return digit ? TOKEN_MORE : c == 'e' || c == 'E' ? go_to(state, JSON_EXPONENT) : TOKEN_PAST;
    case JSON_POINT:
        return digit ? go_to(state, JSON_FRACTION) : TOKEN_BAD;
    case JSON_FRACTION:
        return digit ? TOKEN_MORE : c == 'e' || c == 'E' ? go_to(state, JSON_EXPONENT) : TOKEN_PAST;
    case JSON_EXPONENT:
        if (c == '+' || c == '-') {
            return go_to(state, JSON_EXPONENT_SIGN);
        }
        return digit ? go_to(state, JSON_EXPONENT_DIGITS) : TOKEN_BAD;
    case JSON_EXPONENT_SIGN:
        return digit ? go_to(state, JSON_EXPONENT_DIGITS) : TOKEN_BAD;
    default:
        return digit ? TOKEN_MORE : TOKEN_PAST;
    }
}

static TokenStep step_token(int *state, unsigned char c)
{
    switch (*state) {
    case JSON_START:
        return start_token(state, c);
    case JSON_STRING:
    case JSON_STRING_ESCAPE:
        return step_string(state, c);
    case JSON_KEYWORD:
        return g_ascii_islower(c) ? TOKEN_MORE : TOKEN_PAST;
    default:
        return step_number(state, c);
    }
}

/* Bytes at which a parser that has lost its place starts anew. */
static bool resynchronizes(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c > 0xFD || (c && strchr("[]{}:,", c));
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Returns whether the byte is consumed. */
static bool feed_byte(JSONMessageParser *parser, unsigned char c)
{
    if (parser->state == JSON_RECOVERY) {
        if (!resynchronizes(c)) {
            return true;
        }
        parser->state = JSON_START;
        return false;
    }
    if (parser->state == JSON_START && is_blank(c)) {
        return true;
    }

    TokenStep step = step_token(&parser->state, c);
    if (step != TOKEN_PAST) {
        g_string_append_c(parser->token, (char)c);
    }
    if (step == TOKEN_MORE) {
        return true;
    }
    if (step == TOKEN_BAD) {
        char *stray = g_strescape(parser->token->str, NULL);

        emit_error(parser, "JSON parse error, stray '%s'", stray);
        g_free(stray);
        g_string_truncate(parser->token, 0);
        parser->state = JSON_RECOVERY;
        return true;
    }
    process_token(parser);
    g_string_truncate(parser->token, 0);
    parser->state = JSON_START;
    return step == TOKEN_LAST;
}

/* ---- public ---- */

void json_message_parser_init(JSONMessageParser *parser, JSONMessageEmit *emit, void *opaque)
{
    *parser = (JSONMessageParser){ .emit = emit, .opaque = opaque, .state = JSON_START };
    parser->token = g_string_new(NULL);
    parser->tokens = g_string_new(NULL);
}

void json_message_parser_feed(JSONMessageParser *parser, const char *buffer, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        while (!feed_byte(parser, (unsigned char)buffer[i])) {
            /* it ended a token, and begins the next */
        }
    }
}

void json_message_parser_destroy(JSONMessageParser *parser)
{
    g_string_free(parser->token, TRUE);
    g_string_free(parser->tokens, TRUE);
}
