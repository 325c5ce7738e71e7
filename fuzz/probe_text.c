/* See probe_text.h. */
#include "fuzz/probe_text.h"

#include <string.h>

#include "report/symbolize.h"

enum { STACK_FUNCTIONS = 3 };

/* How a sanitizer's words are called in the closed list of verdicts. */
static const char *const kinds[][2] = {
    { "data race", "data-race" },           { "use-after", "use-after-free" },     { "double-free", "use-after-free" },
    { "stack-overflow", "stack-overflow" }, { "undefined-behavior", "undefined" }, { "out-of-memory", "out-of-memory" },
};

/* ---- names */

/* "    #1 0x55": an address and nothing else. */
static bool bare_frame(const char *line, uintptr_t *pc)
{
    char *end;

    line += strspn(line, " ");
    if (line[0] != '#' || !g_ascii_isdigit(line[1])) {
        return false;
    }
    line += strcspn(line, " ");
    *pc = (uintptr_t)g_ascii_strtoull(line, &end, 16);
    return end > line && end[strspn(end, " ")] == '\0';
}

char *probe_text_with_names(const char *text)
{
    gchar **lines = g_strsplit(text, "\n", -1);
    GString *named = g_string_new(NULL);
    unsigned number = 0;

    for (unsigned i = 0; lines[i]; i++) {
        const ReportFrame *frames;
        uintptr_t pc;

        if (!bare_frame(lines[i], &pc)) {
            g_string_append_printf(named, "%s\n", lines[i]);
            continue;
        }
        number = strstr(lines[i], "#0 ") ? 0 : number;
        for (unsigned count = report_symbolize(pc, &frames); count; count--, frames++) {
            g_string_append_printf(named, "    #%u 0x%" G_GINTPTR_MODIFIER "x in %s ", number++, pc, frames->function);
            if (frames->file) {
                g_string_append_printf(named, "%s:%u\n", frames->file, frames->line);
            } else {
                g_string_append_printf(named, "(%s)\n", frames->module);
            }
        }
    }
    g_strfreev(lines);
    return g_string_free(named, FALSE);
}

/* ---- verdict and key */

/* "foo" of "    #1 0x55 in foo /x/foo.c:1:2", or of "    #1 foo /x/foo.c:1:2"; NULL for another line. */
static char *function_of_frame(const char *line)
{
    const char *in = strstr(line, " in ");

    line += strspn(line, " ");
    if (line[0] != '#' || !g_ascii_isdigit(line[1])) {
        return NULL;
    }
    line += strcspn(line, " ");
    in = in ? in + strlen(" in ") : line + strspn(line, " ");
    return g_strndup(in, strcspn(in, " "));
}

static bool is_plumbing(const char *function, const char *line)
{
    static const char *const prefixes[] = { "__", "free", "malloc", "calloc", "realloc", "mem", "g_", NULL };

    for (unsigned i = 0; prefixes[i]; i++) {
        if (g_str_has_prefix(function, prefixes[i])) {
            return true;
        }
    }
    return strstr(line, "/fuzz/") || strstr(line, " fuzz/"); /* by which scenario it was met does not make it another bug */
}

/* The innermost functions of each stack of the report: of the access, and of what it collides with. */
static void add_stacks(const char *text, GString *key)
{
    gchar **lines = g_strsplit(text, "\n", -1);
    unsigned taken = 0;
    bool creation = false; /* of a thread: says nothing of the bug, and how many there are differs */

    for (unsigned i = 0; lines[i]; i++) {
        char *function = function_of_frame(lines[i]);

        creation = (creation && function) || strstr(lines[i], " created by ");
        if (function && strstr(lines[i], "#0 ")) {
            taken = 0;
        }
        if (function && !creation && taken < STACK_FUNCTIONS && !is_plumbing(function, lines[i])) {
            g_string_append_printf(key, "%s%s", taken++ ? "," : " stack=", function);
        }
        g_free(function);
    }
    g_strfreev(lines);
}

/* "src/core/a.c:12 in f" of the first frame that is not plumbing; NULL where there is none. Free it. */
static char *place_of(const char *text)
{
    gchar **lines = g_strsplit(text, "\n", -1), *place = NULL;

    for (unsigned i = 0; lines[i] && !place; i++) {
        char *function = function_of_frame(lines[i]);

        if (function && !is_plumbing(function, lines[i])) {
            place = g_strdup_printf("%s in %s", strrchr(lines[i], ' ') + 1, function);
        }
        g_free(function);
    }
    g_strfreev(lines);
    return place;
}

/* The words of a summary, which without names are "heap-use-after-free (/a/program+0x12) (BuildId: ...)". */
static void say_summary(const char *text, const char *words, ProbeResult *result)
{
    size_t length = strcspn(words, "\n(");
    char *place = words[length] == '(' ? place_of(text) : NULL;

    snprintf(result->summary, sizeof(result->summary), "%s: %.*s%s", result->verdict, (int)length, words, place ? place : "");
    g_free(place);
}

bool probe_text_sanitizer(const char *text, ProbeResult *result)
{
    const char *summary = strstr(text, "SUMMARY: ");
    const char *words = summary ? strstr(summary, "Sanitizer: ") : NULL;
    const char *verdict = "crash";
    GString *key;
    size_t length;

    if (!words) {
        return false;
    }
    words += strlen("Sanitizer: ");
    length = strcspn(words, "\n");
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const char *found = strstr(words, kinds[i][0]);

        if (found && found < words + length) {
            verdict = kinds[i][1];
            break;
        }
    }
    g_strlcpy(result->verdict, verdict, sizeof(result->verdict));
    say_summary(text, words, result);
    key = g_string_new(NULL);
    g_string_printf(key, "%s %.*s", verdict, (int)strcspn(words, " \n"), words);
    add_stacks(text, key);
    g_strlcpy(result->key, key->str, sizeof(result->key));
    g_string_free(key, TRUE);
    return true;
}
