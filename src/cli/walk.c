/*
 * See walk.h. The program is linked with the very objects of TARGET-replay, so that it is the same execution: the command is ninja's for that
 * program, with another output, the generated file and its main() beside (fuzz/replay.c's is weak).
 */
#include "cli/walk.h"

#include <string.h>

enum { LINE_WIDTH = 130, BYTES_A_LINE = 16 };

/* ---- the command */

static char *link_command(const WalkSubject *subject, const char *folder)
{
    const char *arguments[] = { "ninja", "-C", folder, "-t", "commands", "-s", subject->goal, NULL };
    char *out = g_strdup_printf(" -o %s ", subject->goal), *command = NULL, *from;
    CliRun run;

    if (cli_run(arguments, &run)) {
        g_strchomp(run.out);
        from = strrchr(run.out, '\n') ? strrchr(run.out, '\n') + 1
                                      : run.out; /* before it, where ninja says that it enters the folder */
        if (run.status == CLI_DONE && strstr(from, out)) {
            command = g_strdup(from);
        } else {
            cli_fail("ninja does not say how %s is linked: %s", subject->goal, g_strstrip(run.err));
        }
        cli_run_free(&run);
    }
    g_free(out);
    return command;
}

/* "(cd FOLDER && COMPILER -g -o OUTPUT SOURCE ...)", in lines of the shell's. NULL with a message. */
static char *compile_command(const WalkSubject *subject)
{
    char *folder = g_build_filename(cli_build(), subject->flavour, NULL), *link = link_command(subject, folder);
    char *root, *source, *output, *place, *out, *whole, **parts, **words;
    GString *lines = g_string_new("   ");
    gsize column = 3;

    if (!link) {
        g_free(folder);
        g_string_free(lines, TRUE);
        return NULL;
    }
    root = g_shell_quote(cli_root());
    source = g_shell_quote(subject->source);
    output = g_shell_quote(subject->output);
    place = g_shell_quote(folder);
    out = g_strdup_printf(" -o %s ", subject->goal);
    parts = g_strsplit(link, out, 2);
    whole = g_strdup_printf("(cd %s && %s -g -I %s -o %s %s %s)", place, parts[0], root, output, source, parts[1]);
    words = g_strsplit(whole, " ", -1);
    for (guint i = 0; words[i]; i++) {
        if (words[i][0] && column + strlen(words[i]) + 3 > LINE_WIDTH) {
            g_string_append(lines, " \\\n       ");
            column = 7;
        }
        if (words[i][0]) {
            g_string_append_printf(lines, " %s", words[i]);
            column += strlen(words[i]) + 1;
        }
    }
    g_strfreev(words);
    g_strfreev(parts);
    g_free(whole);
    g_free(out);
    g_free(place);
    g_free(output);
    g_free(source);
    g_free(root);
    g_free(link);
    g_free(folder);
    return g_string_free(lines, FALSE);
}

/* ---- the tables */

static void add_string(GString *text, const char *value)
{
    char *escaped = g_strescape(value, NULL);

    g_string_append_printf(text, "\"%s\"", escaped);
    g_free(escaped);
}

static void add_input(GString *text, const WalkSubject *subject)
{
    g_string_append(text, "static const uint8_t input[] = {");
    for (gsize i = 0; i < subject->input_bytes; i++) {
        g_string_append_printf(text, "%s0x%02x,", i % BYTES_A_LINE ? " " : "\n    ", subject->input[i]);
    }
    g_string_append(text, subject->input_bytes ? "\n};\n\n" : "\n    0, /* none: the input is empty */\n};\n\n");
}

static bool is_marked(JsonObject *facts, guint64 step)
{
    JsonArray *rows = facts_array(facts, "rows");

    for (guint i = 0; i < json_array_get_length(rows); i++) {
        if (facts_number(facts_item(rows, i), "step") == step) {
            return facts_flag(facts_item(rows, i), "marked");
        }
    }
    return false;
}

/* Does a run of a thread begin there, and the one before it was another thread's? */
static bool is_switch(JsonObject *facts, guint64 step)
{
    JsonArray *runs = facts_array(facts, "runs");

    for (guint i = 0; i < json_array_get_length(runs); i++) {
        if (facts_at(runs, i, 1) == step) {
            return i > 0 && facts_at(runs, i - 1, 0) != facts_at(runs, i, 0);
        }
    }
    return false;
}

static void add_stop(GString *text, JsonObject *facts, JsonObject *step)
{
    guint64 number = facts_number(step, "step"), coroutine = facts_number(step, "coroutine"), line = facts_number(step, "line");
    char *who = coroutine ? g_strdup_printf("%s [co %" G_GUINT64_FORMAT "]",
                                            facts_thread_name(facts, facts_number(step, "thread")), coroutine)
                          : g_strdup(facts_thread_name(facts, facts_number(step, "thread")));
    char *place = line ? g_strdup_printf("%s:%" G_GUINT64_FORMAT, facts_text(step, "file"), line) : g_strdup("??");

    g_string_append_printf(text, "    { %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT ", %s, %s, ", number,
                           facts_number(step, "thread"), is_marked(facts, number) ? "true" : "false",
                           is_switch(facts, number) ? "true" : "false");
    add_string(text, who);
    g_string_append(text, ", ");
    add_string(text, facts_text(step, "function"));
    g_string_append(text, ", ");
    add_string(text, place);
    g_string_append(text, ", ");
    add_string(text, facts_text(step, "text"));
    g_string_append(text, " },\n");
    g_free(place);
    g_free(who);
}

static void add_stops(GString *text, JsonObject *facts)
{
    JsonArray *watched = facts_array(facts, "watched");

    g_string_append(text,
                    "/* step, thread, a step of the bug, another thread ran before, who, in which function, where, what */\n"
                    "static const WakefuzzStop stops[] = {\n");
    for (guint i = 0; i < json_array_get_length(watched); i++) {
        add_stop(text, facts, facts_item(watched, i));
    }
    g_string_append(text, "};\n\n");
}

/* ---- the whole */

/* Text within a comment: neither its end nor a line's. */
static void add_comment(GString *text, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void add_comment(GString *text, const char *format, ...)
{
    va_list arguments;
    char *plain, **parts, *safe;

    va_start(arguments, format);
    plain = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    parts = g_strsplit(plain, "*/", -1);
    safe = g_strjoinv("* /", parts);
    g_string_append(text, safe);
    g_free(safe);
    g_strfreev(parts);
    g_free(plain);
}

static void add_head(GString *text, const WalkSubject *subject, JsonObject *facts, const char *command)
{
    char *output = g_shell_quote(subject->output), *build = g_build_filename(cli_build(), subject->flavour, NULL);
    char *quoted_build = g_shell_quote(build);

    g_string_append(text, WALK_MARK);
    add_comment(text, "%s, step by step in a debugger.\n\n%s\n", subject->name, facts_of_finding(facts, "summary"));
    if (facts_text(facts, "cause")[0]) {
        add_comment(text, "%s\n", facts_text(facts, "cause"));
    }
    g_string_append(text, "\nCompile it, once what it is linked with is built:\n\n");
    add_comment(text, "    ninja -C %s %s\n%s\n", quoted_build, subject->goal, command);
    g_string_append(
        text,
        "\nAnd walk, from each stop to the next with \"continue\". \"frame function NAME\", with the function of the line that was\n"
        "printed, leads from wakefuzz_step() to where the program is; \"print *stop\" says what it is about to do there:\n\n");
    add_comment(text, "    gdb -q -ex 'break wakefuzz_step' -ex run %s\n", output);
    g_string_append(
        text,
        "\nWithout a debugger it prints the stops (> another thread than before, * a step of the bug) and the report. Exit status: 1 the\n"
        "same execution and verdict, 0 no finding any more, 2 another execution: the code has changed.\n*/\n");
    g_free(quoted_build);
    g_free(build);
    g_free(output);
}

char *walk_make(const WalkSubject *subject, JsonObject *facts)
{
    char *command = compile_command(subject);
    GString *text;

    if (!command) {
        return NULL;
    }
    text = g_string_new(NULL);
    add_head(text, subject, facts, command);
    g_string_append(text, "#include \"fuzz/step.h\"\n\n");
    add_input(text, subject);
    add_stops(text, facts);
    g_string_append(text, "/* Break here. */\n__attribute__((noinline)) void wakefuzz_step(const WakefuzzStop *stop)\n{\n"
                          "    __asm__ volatile(\"\" : : \"r\"(stop) : \"memory\");\n}\n\n");
    g_string_append_printf(text,
                           "int main(void)\n{\n    static const WakefuzzSchedule schedule = {\n        .input = input,\n"
                           "        .input_bytes = %" G_GSIZE_FORMAT ",\n        .stops = stops,\n"
                           "        .stop_count = sizeof(stops) / sizeof(stops[0]),\n        .verdict = ",
                           subject->input_bytes);
    add_string(text, facts_of_finding(facts, "verdict"));
    g_string_append(text, ",\n        .hash = ");
    add_string(text, facts_of_finding(facts, "hash"));
    g_string_append_printf(text, ",\n        .empty = %s,\n    };\n\n    return wakefuzz_walk(&schedule);\n}\n",
                           facts_flag(facts, "empty") ? "true" : "false");
    g_free(command);
    return g_string_free(text, FALSE);
}
