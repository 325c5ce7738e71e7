/*
 * Writing JSON: one value after the other, with the commas between them. Any thread.
 */
#ifndef WAKEFUZZ_REPORT_JSON_H
#define WAKEFUZZ_REPORT_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Json {
    FILE *out;
    bool more; /* a value stands before the next one */
} Json;

/* key: of a member of an object; NULL in an array. Brackets are '{' and '[', or '}' and ']'. */
void json_open(Json *json, const char *key, char bracket);
void json_close(Json *json, char bracket);
void json_string(Json *json, const char *key,
                 const char *text); /* NULL: null. Bytes go out as they are, but for what JSON escapes. */
void json_number(Json *json, const char *key, uint64_t number);
void json_bool(Json *json, const char *key, bool value);

#endif
