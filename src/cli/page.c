/*
 * See page.h. What comes from a program or an input is text, and is escaped: add() takes markup that stands in this file alone, text() all
 * else. The page's own policy (Content-Security-Policy) forbids it to load anything.
 */
#include "cli/page.h"

#include <stdarg.h>
#include <string.h>

#include "cli/picture.h"

enum { COLUMNS_MANY = 5, DECISIONS_SHOWN = 60 };

typedef struct Page {
    GString *html;
    JsonObject *facts;
    const PageSubject *subject;
} Page;

static void add(Page *page, const char *markup)
{
    g_string_append(page->html, markup);
}

G_GNUC_PRINTF(2, 3) static void text(Page *page, const char *format, ...)
{
    va_list arguments;
    char *plain, *escaped;

    va_start(arguments, format);
    plain = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    escaped = g_markup_escape_text(plain, -1);
    g_string_append(page->html, escaped);
    g_free(escaped);
    g_free(plain);
}

static void add_resource(Page *page, const char *path)
{
    GBytes *bytes = g_resources_lookup_data(path, G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);

    if (bytes) {
        g_string_append_len(page->html, g_bytes_get_data(bytes, NULL), (gssize)g_bytes_get_size(bytes));
        g_bytes_unref(bytes);
    }
}

static const char *plural(guint64 count)
{
    return count == 1 ? "" : "s";
}

static const char *name_of(const Page *page, guint64 thread)
{
    return facts_thread_name(page->facts, thread);
}

/* ---- stacks */

static void add_stack(Page *page, JsonArray *stack)
{
    for (guint i = 0; i < json_array_get_length(stack); i++) {
        JsonArray *frame = json_array_get_array_element(stack, i);
        JsonNode *file = json_array_get_element(frame, 1);

        text(page, "%2u  %s", i, json_array_get_string_element(frame, 0));
        if (!json_node_is_null(file)) {
            text(page, "  %s:%" G_GINT64_FORMAT, json_node_get_string(file), json_array_get_int_element(frame, 2));
        }
        add(page, "\n");
    }
    if (json_array_get_length(stack) == 0) {
        add(page, "the clock has no stack\n");
    }
}

/* ---- the head */

static void add_head(Page *page)
{
    const char *summary = facts_of_finding(page->facts, "summary");

    add(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
              "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
              "script-src 'unsafe-inline'; img-src data:\">\n"
              "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
              "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>");
    text(page, "%s", summary);
    add(page, "</title>\n<style>\n");
    add_resource(page, "/wakefuzz/page.css");
    add(page, "</style>\n</head>\n<body>\n");
}

static void add_fact(Page *page, const char *name, const char *value)
{
    if (value[0]) {
        add(page, "<span>");
        text(page, "%s %s", name, value);
        add(page, "</span>\n");
    }
}

static void add_count(Page *page, const char *name, guint64 count)
{
    add(page, "<span>");
    text(page, "%" G_GUINT64_FORMAT " %s%s", count, name, plural(count));
    add(page, "</span>\n");
}

static void add_header(Page *page)
{
    const char *verdict = facts_of_finding(page->facts, "verdict"), *summary = facts_of_finding(page->facts, "summary");
    bool cut = facts_flag(page->facts, "cut");

    if (g_str_has_prefix(summary, verdict) && summary[strlen(verdict)] == ':') {
        summary += strlen(verdict) + 1;
    }
    add(page, "<header>\n<p class=\"verdict\">");
    text(page, "%s", verdict);
    add(page, "</p>\n<h1>");
    text(page, "%s", summary + strspn(summary, " "));
    add(page, "</h1>\n<p class=\"facts\">\n");
    add_fact(page, "program", page->subject->program);
    add_fact(page, "flavour", page->subject->flavour);
    add_fact(page, "input", page->subject->file);
    add_count(page, "byte", facts_number(page->facts, "bytes"));
    add_count(page, "preemption", facts_number(page->facts, "preemptions"));
    add_count(page, "step", facts_number(page->facts, cut ? "cut_steps" : "steps"));
    add_fact(page, "trace hash", facts_of_finding(page->facts, "hash"));
    add(page, "</p>\n</header>\n<main>\n");
}

static void add_cause(Page *page)
{
    const char *cause = facts_text(page->facts, "cause");

    if (cause[0]) {
        add(page, "<section id=\"cause\">\n<h2>Cause</h2>\n<p>");
        text(page, "%s", cause);
        add(page, "</p>\n</section>\n");
    }
    if (page->subject->report) {
        add(page, "<section id=\"said\">\n<h2>What ended the process</h2>\n<pre>");
        text(page, "%s", page->subject->report);
        add(page, "</pre>\n</section>\n");
    }
}

/* ---- the picture */

static void add_legend(Page *page)
{
    static const char *const entries[][2] = {
        { "<rect class=\"run\" width=\"26\" height=\"10\" y=\"3\"/>", "runs" },
        { "<rect class=\"run co\" width=\"26\" height=\"10\" y=\"3\"/>", "runs in a coroutine" },
        { "<path class=\"life\" d=\"M0 8H26\"/>", "could run" },
        { "<path class=\"life\" d=\"M0 8H26\"/><path class=\"asleep\" d=\"M0 8H26\"/>", "asleep" },
        { "<path class=\"wake\" d=\"M0 8H20\"/><path class=\"wake-head\" d=\"M18 4L26 8L18 12z\"/>", "wakes" },
        { "<path class=\"kick\" d=\"M0 8H20\"/><path class=\"kick-head\" d=\"M18 4L26 8L18 12z\"/>", "kicks who is awake" },
        { "<path class=\"skipped\" d=\"M8 3l10 10m0 -10l-10 10\"/>", "no wakeup" },
        { "<g class=\"step by-hand\"><circle cx=\"13\" cy=\"8\" r=\"5\"/></g>", "experiment" },
        { "<path class=\"decision essential\" d=\"M13 1l6 7l-6 7l-6 -7z\"/>", "essential decision" },
        { "<path class=\"decision\" d=\"M13 1l6 7l-6 7l-6 -7z\"/>", "other decision" },
    };

    add(page, "<p class=\"legend\">\n");
    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
        add(page, "<span><svg width=\"26\" height=\"16\" aria-hidden=\"true\">");
        add(page, entries[i][0]);
        add(page, "</svg>");
        add(page, entries[i][1]);
        add(page, "</span>\n");
    }
    add(page, "</p>\n");
}

static void add_picture(Page *page)
{
    if (json_array_get_length(facts_array(page->facts, "runs")) == 0) {
        return;
    }
    add(page, "<section id=\"picture\">\n<h2>Who ran when</h2>\n");
    picture_add(page->html, page->facts);
    add_legend(page);
    add(page,
        "<p class=\"note\">Numbers are steps; the axis is not to scale. Point at a step, or walk through them with Tab, for its stack; "
        "Escape puts the stack away.</p>\n</section>\n");
}

/* ---- the table */

static gint compare_ids(gconstpointer a, gconstpointer b)
{
    guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;

    return (x > y) - (x < y);
}

/* The threads of the rows, as columns. */
static GArray *columns_of(JsonArray *rows)
{
    GArray *columns = g_array_new(FALSE, FALSE, sizeof(guint64));

    for (guint i = 0; i < json_array_get_length(rows); i++) {
        guint64 thread = facts_number(facts_item(rows, i), "thread");
        guint k = 0;

        while (k < columns->len && g_array_index(columns, guint64, k) != thread) {
            k++;
        }
        if (k == columns->len) {
            g_array_append_val(columns, thread);
        }
    }
    g_array_sort(columns, compare_ids);
    return columns;
}

static void add_cell(Page *page, JsonObject *row)
{
    const char *function = facts_text(row, "function");
    guint64 coroutine = facts_number(row, "coroutine");

    add(page, "<td><span class=\"who\">");
    text(page, "%s: ", name_of(page, facts_number(row, "thread")));
    add(page, "</span>");
    if (facts_flag(row, "by_hand")) {
        add(page, "(by hand) ");
    }
    if (coroutine) {
        add(page, "<span class=\"co\">");
        text(page, "[co %" G_GUINT64_FORMAT "] ", coroutine);
        add(page, "</span>");
    }
    if (strcmp(function, "??") != 0) {
        add(page, "<span class=\"where mono\">");
        text(page, "%s: ", function);
        add(page, "</span>");
    }
    add(page, "<span class=\"what mono\">");
    text(page, "%s", facts_text(row, "text"));
    add(page, "</span>");
    if (facts_flag(row, "no_wakeup")) {
        add(page, " <span class=\"skip\">no wakeup</span>");
    }
    add(page, "</td>");
}

static void add_row(Page *page, JsonObject *row, const GArray *columns)
{
    guint64 step = facts_number(row, "step");
    bool marked = facts_flag(row, "marked");

    add(page, marked ? "<tr class=\"marked\"" : facts_flag(row, "by_hand") ? "<tr class=\"by-hand\"" : "<tr");
    add(page, " tabindex=\"0\" data-step=\"");
    text(page, "%" G_GUINT64_FORMAT, step);
    add(page, "\"><td class=\"number\">");
    text(page, "%s%" G_GUINT64_FORMAT, marked ? "* " : "", step);
    add(page, "</td>");
    for (guint i = 0; i < columns->len; i++) {
        if (g_array_index(columns, guint64, i) == facts_number(row, "thread")) {
            add_cell(page, row);
        } else {
            add(page, "<td class=\"empty\"></td>");
        }
    }
    add(page, "</tr>\n");
}

static void add_table(Page *page)
{
    JsonArray *rows = facts_array(page->facts, "rows");
    GArray *columns = columns_of(rows);
    guint64 hidden = facts_number(page->facts, "hidden");
    bool marked = false;

    add(page, "<section id=\"steps\">\n<h2>Steps</h2>\n");
    add(page, columns->len >= COLUMNS_MANY ? "<table class=\"many\">" : "<table>");
    add(page, "<thead><tr><th class=\"number\" scope=\"col\">step</th>");
    for (guint i = 0; i < columns->len; i++) {
        add(page, "<th scope=\"col\">");
        text(page, "%s", name_of(page, g_array_index(columns, guint64, i)));
        add(page, "</th>");
    }
    add(page, "</tr></thead>\n<tbody>\n");
    for (guint i = 0; i < json_array_get_length(rows); i++) {
        add_row(page, facts_item(rows, i), columns);
        marked |= facts_flag(facts_item(rows, i), "marked");
    }
    add(page, "</tbody></table>\n<p class=\"note\">");
    if (hidden) {
        text(page, "%" G_GUINT64_FORMAT " step%s of less weight not shown; ", hidden, plural(hidden));
    }
    if (facts_flag(page->facts, "cut")) {
        add(page, "the last steps before the process was ended.");
    } else {
        text(page, marked ? "%s. * marks the steps that are the bug." : "%s.", facts_text(page->facts, "ending"));
    }
    add(page, "</p>\n</section>\n");
    g_array_free(columns, TRUE);
}

/* ---- decisions */

static void say_decision(Page *page, JsonObject *decision)
{
    const char *kind = facts_text(decision, "kind"), *who = name_of(page, facts_number(decision, "thread"));
    const char *to = name_of(page, facts_number(decision, "to"));
    guint64 step = facts_number(decision, "step");

    if (strcmp(kind, "preemption") == 0) {
        text(page, "Before step %" G_GUINT64_FORMAT " %s could have gone on, and %s ran instead.", step, who, to);
    } else if (strcmp(kind, "next") == 0) {
        text(page,
             "Before step %" G_GUINT64_FORMAT
             " %s had gone to sleep, or ended, and %s ran, though another thread had waited longer.",
             step, who, to);
    } else if (strcmp(kind, "clock") == 0) {
        text(page, "Before step %" G_GUINT64_FORMAT " the clock went on to the next timer, though a thread could run.", step);
    } else if (strcmp(kind, "choice") == 0) {
        text(page,
             "Before step %" G_GUINT64_FORMAT " a call of %s chose number %" G_GUINT64_FORMAT
             " of those possible, instead of the first.",
             step, who, facts_number(decision, "choice"));
    } else {
        text(page, "Before step %" G_GUINT64_FORMAT " a call of %s was disturbed, as the kernel may do it.", step, who);
    }
}

static void add_decision(Page *page, JsonObject *decision)
{
    bool tested = json_object_has_member(decision, "essential"), essential = facts_flag(decision, "essential");
    const char *without = facts_text(decision, "without");

    add(page, essential ? "<li class=\"essential\"><strong>Essential.</strong> "
              : tested  ? "<li>Not needed. "
                        : "<li>Not tested. ");
    say_decision(page, decision);
    if (tested && strcmp(without, "none") == 0) {
        add(page, " Flipped: no finding.");
    } else if (tested) {
        text(page, " Flipped: %s%s.", essential ? "another finding, " : "the same finding, ", without);
    }
    add(page, "</li>\n");
}

static void add_decision_list(Page *page, JsonArray *decisions, bool essential)
{
    guint shown = 0, more = 0;

    for (guint i = 0; i < json_array_get_length(decisions); i++) {
        JsonObject *decision = facts_item(decisions, i);

        if (facts_flag(decision, "essential") != essential) {
            continue;
        }
        if (shown < DECISIONS_SHOWN) {
            add_decision(page, decision);
            shown++;
        } else {
            more++;
        }
    }
    if (more) {
        add(page, "<li>");
        text(page, "%u more not shown", more);
        add(page, "</li>\n");
    }
}

static void add_decisions(Page *page)
{
    JsonArray *decisions = facts_array(page->facts, "decisions");
    guint count = json_array_get_length(decisions), essential = 0;
    guint64 tested = facts_number(page->facts, "tested");

    for (guint i = 0; i < count; i++) {
        essential += facts_flag(facts_item(decisions, i), "essential");
    }
    add(page, "<section id=\"decisions\">\n<h2>Decisions of the schedule</h2>\n<p>");
    if (facts_flag(page->facts, "empty")) {
        add(page, "The empty input is this finding: the schedule is first in, first out, and needs no decision.");
    } else if (count == 0) {
        add(page, "The schedule is first in, first out: it needs no decision.");
    } else if (!facts_flag(page->facts, "exact")) {
        text(
            page,
            "%u decision%s differ%s from first-in-first-out order. None was flipped: the execution could not be written as that order "
            "with these decisions alone.",
            count, plural(count), count == 1 ? "s" : "");
    } else {
        text(page,
             "%u decision%s differ%s from first-in-first-out order. %" G_GUINT64_FORMAT
             " %s flipped, each alone with all the others kept, and the whole run again. ",
             count, plural(count), count == 1 ? "s" : "", tested, tested == 1 ? "was" : "were");
        text(page,
             essential == 0   ? "%u of them are essential: with any one flipped, the finding stays."
             : essential == 1 ? "%u is essential: flip it, and this finding is gone."
                              : "%u are essential: flip any one of them, and this finding is gone.",
             essential);
        if (tested < count || count > 3 * essential + 3) {
            add(page, " wakefuzz minimize makes them few.");
        }
    }
    add(page, "</p>\n<ol>\n");
    add_decision_list(page, decisions, true);
    add(page, "</ol>\n");
    if (essential < count) {
        add(page, "<details><summary>");
        text(page, "The other %u", count - essential);
        add(page, "</summary>\n<ul>\n");
        add_decision_list(page, decisions, false);
        add(page, "</ul></details>\n");
    }
    add(page, "</section>\n");
}

/* ---- threads and coroutines */

static void add_threads(Page *page)
{
    JsonArray *threads = facts_array(page->facts, "threads"), *coroutines = facts_array(page->facts, "coroutines");

    add(page, "<section id=\"threads\">\n<h2>Stacks at the end</h2>\n");
    for (guint i = 0; i < json_array_get_length(threads); i++) {
        JsonObject *thread = facts_item(threads, i);

        if (json_array_get_length(facts_array(thread, "stack")) == 0) {
            continue;
        }
        add(page, facts_flag(thread, "culprit") ? "<details open><summary>" : "<details><summary>");
        text(page, "%s, %s", facts_text(thread, "name"), facts_text(thread, "state"));
        add(page, "</summary>\n<pre>");
        add_stack(page, facts_array(thread, "stack"));
        add(page, "</pre></details>\n");
    }
    for (guint i = 0; i < json_array_get_length(coroutines); i++) {
        JsonObject *coroutine = facts_item(coroutines, i);

        add(page, "<details><summary>");
        text(page, "coroutine %" G_GUINT64_FORMAT ", %s%s%s%s, %s", facts_number(coroutine, "number"),
             facts_text(coroutine, "name"), facts_text(coroutine, "where")[0] ? " (" : "", facts_text(coroutine, "where"),
             facts_text(coroutine, "where")[0] ? ")" : "", facts_text(coroutine, "state"));
        add(page, "</summary>\n<pre>");
        add_stack(page, facts_array(coroutine, "stack"));
        add(page, "</pre></details>\n");
    }
    add(page, "</section>\n");
}

/* ---- the end */

static void add_replay(Page *page)
{
    add(page, "<section id=\"replay\">\n<h2>Again</h2>\n<pre>");
    text(page, "%s", page->subject->replay);
    add(page, "</pre>\n</section>\n</main>\n");
}

/* Where the script takes them from; without scripts they stand at the end of the page. */
static void add_stacks(Page *page)
{
    JsonArray *rows = facts_array(page->facts, "rows");

    add(page,
        "<noscript><style>#stacks { display: block; } #panel { display: none; }</style></noscript>\n<section id=\"stacks\">\n"
        "<h2>Stacks at the steps</h2>\n");
    for (guint i = 0; i < json_array_get_length(rows); i++) {
        JsonObject *row = facts_item(rows, i);
        guint64 step = facts_number(row, "step"), line = facts_number(row, "line");

        text(page, "step %" G_GUINT64_FORMAT, step);
        add(page, "<pre id=\"stack-");
        text(page, "%" G_GUINT64_FORMAT, step);
        add(page, "\" data-title=\"");
        text(page, "step %" G_GUINT64_FORMAT ", %s: %s", step, name_of(page, facts_number(row, "thread")),
             facts_text(row, "text"));
        if (line) {
            text(page, "  (%s:%" G_GUINT64_FORMAT ")", facts_text(row, "file"), line);
        }
        add(page, "\">");
        add_stack(page, facts_array(row, "stack"));
        add(page, "</pre>\n");
    }
    add(page,
        "</section>\n<aside id=\"panel\" aria-live=\"polite\" aria-label=\"stack at the step\" hidden><p></p><pre></pre></aside>\n<script>\n");
    add_resource(page, "/wakefuzz/page.js");
    add(page, "</script>\n</body>\n</html>\n");
}

char *page_make(const PageSubject *subject, JsonObject *facts)
{
    Page page = { .html = g_string_new(NULL), .facts = facts, .subject = subject };

    add_head(&page);
    add_header(&page);
    add_cause(&page);
    add_picture(&page);
    add_table(&page);
    add_decisions(&page);
    add_threads(&page);
    add_replay(&page);
    add_stacks(&page);
    return g_string_free(page.html, FALSE);
}
