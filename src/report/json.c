/* See json.h. */
#include "report/json.h"

static void quote(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < ' ') {
            fprintf(out, "\\u%04x", c);
        } else {
            fputc(c, out);
        }
    }
    fputc('"', out);
}

static void begin(Json *json, const char *key)
{
    if (json->more) {
        fputs(key ? ",\n" : ",", json->out);
    }
    if (key) {
        quote(json->out, key);
        fputc(':', json->out);
    }
    json->more = true;
}

void json_open(Json *json, const char *key, char bracket)
{
    begin(json, key);
    fputc(bracket, json->out);
    json->more = false;
}

void json_close(Json *json, char bracket)
{
    fputc(bracket, json->out);
    json->more = true;
}

void json_string(Json *json, const char *key, const char *text)
{
    begin(json, key);
    if (text) {
        quote(json->out, text);
    } else {
        fputs("null", json->out);
    }
}

void json_number(Json *json, const char *key, uint64_t number)
{
    begin(json, key);
    fprintf(json->out, "%llu", (unsigned long long)number);
}

void json_bool(Json *json, const char *key, bool value)
{
    begin(json, key);
    fputs(value ? "true" : "false", json->out);
}
