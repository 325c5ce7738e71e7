/*
 * See picture.h. The axis is not to scale: the steps of the table, the ends of arrows and the decisions have places of their own, the steps
 * between them share what lies between.
 *
 *      name | ==co 1==o====o......................o-----     = runs   . asleep   - could run, and does not   o a step of the table
 *
 * All numbers are integers, so that the same finding gives the same picture.
 */
#include "cli/picture.h"

#include <stdlib.h>
#include <string.h>

#define CLOCK 65535u

enum {
    TOP = 34, /* of the first lane: above it stand the decisions */
    LANE = 52,
    BOTTOM = 26, /* the axis */
    BAR = 8, /* half of a run's height */
    DIGIT = 7, /* width of a letter of the axis */
    ROW_GAP = 26, /* around a step of the table; */
    OTHER_GAP = 12, /* between others; and more where many steps lie between */
    EXTRA_GAP_MAX = 20,
    LEFT = 26,
    RIGHT = 216, /* after the end: how each thread was left */
    WAKES_MAX = 60,
    KICKS_MAX = 40,
    STATE_LETTERS = 28,
};

typedef struct Moment {
    guint64 step;
    bool is_row;
    int x;
} Moment;

typedef struct Picture {
    GString *html;
    JsonObject *facts;
    JsonArray *rows, *runs, *sleeps, *wakes, *kicks, *decisions;
    guint64 from, end;
    GArray *moments; /* of Moment, in order of steps */
    GArray *lanes;   /* of guint64: thread ids */
    guint by_hand;   /* steps of the experiment */
    int end_x, width;
} Picture;

/* ---- the axis */

static void add_moment(Picture *picture, guint64 step, bool is_row)
{
    if (step >= picture->from && step < picture->end) {
        g_array_append_val(picture->moments, ((Moment){ .step = step, .is_row = is_row }));
    }
}

static gint compare_moments(gconstpointer a, gconstpointer b)
{
    const Moment *x = a, *y = b;

    return x->step != y->step ? (x->step > y->step) - (x->step < y->step) : y->is_row - x->is_row;
}

static guint first_of_last(JsonArray *array, guint most)
{
    guint count = json_array_get_length(array);

    return count > most ? count - most : 0;
}

static bool has_place(const Picture *picture, guint64 step)
{
    return step >= picture->from && step < picture->end;
}

static void collect_moments(Picture *picture)
{
    for (guint i = 0; i < json_array_get_length(picture->rows); i++) {
        JsonObject *row = facts_item(picture->rows, i);

        if (facts_flag(row, "by_hand")) {
            picture->by_hand++;
        } else {
            add_moment(picture, facts_number(row, "step"), true);
        }
    }
    for (guint i = 0; i < json_array_get_length(picture->decisions); i++) {
        if (facts_flag(facts_item(picture->decisions, i), "essential")) {
            add_moment(picture, facts_number(facts_item(picture->decisions, i), "step"), false);
        }
    }
    for (guint i = first_of_last(picture->wakes, WAKES_MAX); i < json_array_get_length(picture->wakes); i++) {
        add_moment(picture, facts_at(picture->wakes, i, 0), false);
        add_moment(picture, facts_at(picture->wakes, i, 3), false);
    }
    for (guint i = first_of_last(picture->kicks, KICKS_MAX); i < json_array_get_length(picture->kicks); i++) {
        add_moment(picture, facts_at(picture->kicks, i, 0), false);
        add_moment(picture, facts_at(picture->kicks, i, 3), false);
    }
    g_array_sort(picture->moments, compare_moments);
    for (guint i = 1; i < picture->moments->len;) {
        if (g_array_index(picture->moments, Moment, i).step == g_array_index(picture->moments, Moment, i - 1).step) {
            g_array_remove_index(picture->moments, i);
        } else {
            i++;
        }
    }
}

static int digits(guint64 number)
{
    int count = 1;

    for (; number >= 10; number /= 10) {
        count++;
    }
    return count;
}

static int gap_between(const Moment *a, const Moment *b)
{
    int gap = a->is_row || b->is_row ? ROW_GAP : OTHER_GAP;
    int extra = 0;

    for (guint64 between = b->step - a->step; between > 1; between /= 2) {
        extra += 4;
    }
    gap += MIN(extra, EXTRA_GAP_MAX);
    if (a->is_row && b->is_row) {
        gap = MAX(gap, DIGIT * (digits(a->step) + digits(b->step)) / 2 + DIGIT);
    }
    return gap;
}

static void place_moments(Picture *picture)
{
    int x = LEFT;

    for (guint i = 0; i < picture->moments->len; i++) {
        Moment *moment = &g_array_index(picture->moments, Moment, i);

        if (i) {
            x += gap_between(moment - 1, moment);
        }
        moment->x = x;
    }
    picture->end_x = x + ROW_GAP;
    picture->width = picture->end_x + RIGHT + (int)picture->by_hand * (DIGIT * digits(picture->end + 1000) + ROW_GAP);
}

/* Between two moments in proportion. */
static int x_of(const Picture *picture, guint64 step)
{
    const Moment *before = NULL;

    for (guint i = 0; i < picture->moments->len; i++) {
        const Moment *moment = &g_array_index(picture->moments, Moment, i);

        if (moment->step == step) {
            return moment->x;
        }
        if (moment->step > step) {
            int left = before ? before->x : LEFT / 2;
            guint64 first = before ? before->step : picture->from;

            return step <= first ? left : left + (int)((guint64)(moment->x - left) * (step - first) / (moment->step - first));
        }
        before = moment;
    }
    if (!before) {
        return LEFT;
    }
    return step >= picture->end
               ? picture->end_x
               : before->x + (int)((guint64)(picture->end_x - before->x) * (step - before->step) / (picture->end - before->step));
}

/* ---- lanes */

static gint compare_ids(gconstpointer a, gconstpointer b)
{
    guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;

    return (x > y) - (x < y);
}

static int lane_of(const Picture *picture, guint64 thread)
{
    for (guint i = 0; i < picture->lanes->len; i++) {
        if (g_array_index(picture->lanes, guint64, i) == thread) {
            return (int)i;
        }
    }
    return -1;
}

static int y_of(const Picture *picture, guint64 thread)
{
    return TOP + LANE * lane_of(picture, thread) + LANE / 2;
}

static void add_lane(Picture *picture, guint64 thread)
{
    if (thread != CLOCK && lane_of(picture, thread) < 0) {
        g_array_append_val(picture->lanes, thread);
        g_array_sort(picture->lanes, compare_ids);
    }
}

/* Threads that ran in what is shown, or are of the table, or have not ended. */
static void collect_lanes(Picture *picture)
{
    JsonArray *threads = facts_array(picture->facts, "threads");

    for (guint i = 0; i < json_array_get_length(picture->runs); i++) {
        add_lane(picture, facts_at(picture->runs, i, 0));
    }
    for (guint i = 0; i < json_array_get_length(picture->rows); i++) {
        add_lane(picture, facts_number(facts_item(picture->rows, i), "thread"));
    }
    for (guint i = 0; i < json_array_get_length(threads); i++) {
        JsonObject *thread = facts_item(threads, i);

        if (facts_flag(thread, "culprit")) {
            add_lane(picture, facts_number(thread, "id"));
        }
    }
}

static JsonObject *thread_of(const Picture *picture, guint64 id)
{
    JsonArray *threads = facts_array(picture->facts, "threads");

    for (guint i = 0; i < json_array_get_length(threads); i++) {
        if (facts_number(facts_item(threads, i), "id") == id) {
            return facts_item(threads, i);
        }
    }
    return NULL;
}

/* ---- drawing */

static void add_escaped(GString *html, const char *text)
{
    char *escaped = g_markup_escape_text(text, -1);

    g_string_append(html, escaped);
    g_free(escaped);
}

static void add_title(Picture *picture, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void add_title(Picture *picture, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_string_append(picture->html, "<title>");
    add_escaped(picture->html, text);
    g_string_append(picture->html, "</title>");
    g_free(text);
}

static void draw_lane(Picture *picture, guint64 id)
{
    JsonObject *thread = thread_of(picture, id);
    int y = y_of(picture, id);
    guint64 last = picture->end;

    if (thread && facts_flag(thread, "ended")) {
        for (guint i = 0; i < json_array_get_length(picture->runs); i++) {
            last = facts_at(picture->runs, i, 0) == id ? facts_at(picture->runs, i, 2) : last;
        }
    }
    g_string_append_printf(picture->html, "<line class=\"life\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n",
                           x_of(picture, thread ? MAX(facts_number(thread, "first"), picture->from) : picture->from), y,
                           x_of(picture, last), y);
}

static void draw_sleeps(Picture *picture)
{
    for (guint i = 0; i < json_array_get_length(picture->sleeps); i++) {
        guint64 thread = facts_at(picture->sleeps, i, 0), from = facts_at(picture->sleeps, i, 1),
                to = facts_at(picture->sleeps, i, 2);
        int y = y_of(picture, thread), x = x_of(picture, MAX(from, picture->from));

        if (lane_of(picture, thread) < 0) {
            continue;
        }
        g_string_append_printf(picture->html, "<path class=\"asleep\" d=\"M%d %dH%d\">", x, y, x_of(picture, to));
        add_title(picture, "%s sleeps from step %" G_GUINT64_FORMAT "%s", facts_thread_name(picture->facts, thread), from,
                  to < picture->end ? "" : " until the end");
        g_string_append(picture->html, "</path>\n");
    }
}

/* The coroutine's name above its first run that has room for it. */
static void draw_runs(Picture *picture)
{
    int *label_end = g_new0(int, picture->lanes->len + 1);

    for (guint i = 0; i < json_array_get_length(picture->runs); i++) {
        guint64 thread = facts_at(picture->runs, i, 0), first = facts_at(picture->runs, i, 1),
                last = facts_at(picture->runs, i, 2);
        guint64 coroutine = facts_at(picture->runs, i, 3);
        int lane = lane_of(picture, thread), y = y_of(picture, thread);
        int x = x_of(picture, first), width = MAX(x_of(picture, last) - x, 2);
        int letters = 3 + digits(coroutine);

        g_string_append_printf(picture->html, "<rect class=\"run%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\">",
                               coroutine ? " co" : "", x - 1, y - BAR, width + 2, 2 * BAR);
        add_title(picture, "steps %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT ": %s runs%s", first, last,
                  facts_thread_name(picture->facts, thread), coroutine ? ", in a coroutine" : "");
        g_string_append(picture->html, "</rect>\n");
        if (coroutine && x >= label_end[lane] && x + letters * DIGIT < picture->end_x) {
            g_string_append_printf(picture->html, "<text class=\"name\" x=\"%d\" y=\"%d\">co %" G_GUINT64_FORMAT "</text>\n", x,
                                   y - BAR - 4, coroutine);
            label_end[lane] = x + letters * DIGIT + DIGIT;
        }
    }
    g_free(label_end);
}

static void draw_arrow(Picture *picture, JsonArray *arrows, guint i, const char *what)
{
    guint64 step = facts_at(arrows, i, 0), by = facts_at(arrows, i, 1), to = facts_at(arrows, i, 2),
            then = facts_at(arrows, i, 3);
    int y1, y2, side;

    if (!has_place(picture, step) || lane_of(picture, to) < 0 || by == to || (by != CLOCK && lane_of(picture, by) < 0)) {
        return;
    }
    y2 = y_of(picture, to);
    y1 = by == CLOCK ? TOP - 4 : y_of(picture, by);
    side = y1 < y2 ? BAR : -BAR;
    g_string_append_printf(picture->html, "<path class=\"%s\" marker-end=\"url(#%s-head)\" d=\"M%d %dL%d %d\">", what, what,
                           x_of(picture, step), by == CLOCK ? y1 : y1 + side, x_of(picture, then), y2 - side);
    add_title(picture,
              strcmp(what, "wake") == 0 ? "step %" G_GUINT64_FORMAT ": %s wakes %s"
                                        : "step %" G_GUINT64_FORMAT ": %s tells %s, which is awake",
              step, facts_thread_name(picture->facts, by), facts_thread_name(picture->facts, to));
    g_string_append(picture->html, "</path>\n");
}

/* An arrow that is not there. */
static void draw_skipped(Picture *picture, JsonObject *row)
{
    guint64 waker = facts_number(row, "thread"), waiter = facts_number(picture->facts, "waiter");
    int x = x_of(picture, facts_number(row, "step")), y1 = y_of(picture, waker), y2;

    if (lane_of(picture, waiter) < 0) {
        return;
    }
    y2 = y_of(picture, waiter);
    y2 = waker == waiter || y2 < y1 ? y1 - LANE / 2 - 2 : y1 + LANE / 2 + 2;
    g_string_append_printf(picture->html, "<path class=\"skipped\" d=\"M%d %dV%dM%d %dl10 10m0 -10l-10 10\">", x,
                           y2 < y1 ? y1 - BAR : y1 + BAR, y2 < y1 ? y2 + 5 : y2 - 5, x - 5, y2 - 5);
    add_title(picture, "step %" G_GUINT64_FORMAT ": %s does not wake %s", facts_number(row, "step"),
              facts_thread_name(picture->facts, waker), facts_thread_name(picture->facts, waiter));
    g_string_append(picture->html, "</path>\n");
}

static void draw_decisions(Picture *picture)
{
    int bottom = TOP + LANE * (int)picture->lanes->len;

    for (guint i = 0; i < json_array_get_length(picture->decisions); i++) {
        JsonObject *decision = facts_item(picture->decisions, i);
        guint64 step = facts_number(decision, "step");
        bool essential = facts_flag(decision, "essential");
        int x = x_of(picture, step);

        if (!has_place(picture, step)) {
            continue;
        }
        g_string_append_printf(picture->html, "<path class=\"decision%s\" d=\"M%d 8l6 7l-6 7l-6 -7z\">",
                               essential ? " essential" : "", x);
        add_title(picture, "decision before step %" G_GUINT64_FORMAT ": %s", step,
                  essential                                       ? "essential"
                  : json_object_has_member(decision, "essential") ? "not needed"
                                                                  : "not tested");
        g_string_append(picture->html, "</path>\n");
        if (essential) {
            g_string_append_printf(picture->html, "<line class=\"cut\" x1=\"%d\" y1=\"22\" x2=\"%d\" y2=\"%d\"/>\n", x, x,
                                   bottom);
        }
    }
}

static void draw_row(Picture *picture, JsonObject *row, int x)
{
    guint64 thread = facts_number(row, "thread"), step = facts_number(row, "step");
    int y = thread == CLOCK ? TOP - 4 : y_of(picture, thread);
    bool marked = facts_flag(row, "marked");

    g_string_append_printf(picture->html,
                           "<g class=\"step%s%s\" data-step=\"%" G_GUINT64_FORMAT
                           "\" tabindex=\"0\" role=\"img\" aria-label=\"step %" G_GUINT64_FORMAT ", ",
                           marked ? " marked" : "", facts_flag(row, "by_hand") ? " by-hand" : "", step, step);
    add_escaped(picture->html, facts_thread_name(picture->facts, thread));
    g_string_append(picture->html, ": ");
    add_escaped(picture->html, facts_text(row, "text"));
    g_string_append_printf(picture->html,
                           "\"><circle cx=\"%d\" cy=\"%d\" r=\"%d\"/><text x=\"%d\" y=\"%d\">%" G_GUINT64_FORMAT "</text></g>\n",
                           x, y, marked ? 7 : 5, x, TOP + LANE * (int)picture->lanes->len + 18, step);
}

static void draw_rows(Picture *picture)
{
    int x = picture->end_x + RIGHT;

    for (guint i = 0; i < json_array_get_length(picture->rows); i++) {
        JsonObject *row = facts_item(picture->rows, i);

        if (facts_flag(row, "no_wakeup")) {
            draw_skipped(picture, row);
        }
    }
    for (guint i = 0; i < json_array_get_length(picture->rows); i++) {
        JsonObject *row = facts_item(picture->rows, i);

        if (facts_flag(row, "by_hand")) {
            draw_row(picture, row, x);
            x += DIGIT * digits(picture->end + 1000) + ROW_GAP;
        } else {
            draw_row(picture, row, x_of(picture, facts_number(row, "step")));
        }
    }
}

/* How each thread was left. */
static void draw_end(Picture *picture)
{
    g_string_append_printf(picture->html, "<line class=\"end\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", picture->end_x,
                           TOP - 10, picture->end_x, TOP + LANE * (int)picture->lanes->len);
    for (guint i = 0; i < picture->lanes->len; i++) {
        guint64 id = g_array_index(picture->lanes, guint64, i);
        JsonObject *thread = thread_of(picture, id);
        const char *state = thread ? facts_text(thread, "state") : "";
        char *shown = g_utf8_substring(state, 0, MIN(g_utf8_strlen(state, -1), STATE_LETTERS));

        g_string_append_printf(picture->html, "<text class=\"state\" x=\"%d\" y=\"%d\">", picture->end_x + 8,
                               y_of(picture, id) + 4);
        add_title(picture, "at the end: %s", state);
        add_escaped(picture->html, shown);
        g_string_append_printf(picture->html, "%s</text>\n", g_utf8_strlen(state, -1) > STATE_LETTERS ? "…" : "");
        g_free(shown);
    }
}

static void draw(Picture *picture)
{
    int height = TOP + LANE * (int)picture->lanes->len + BOTTOM;

    g_string_append(picture->html, "<div class=\"picture\"><div class=\"lanes\" aria-hidden=\"true\">\n");
    for (guint i = 0; i < picture->lanes->len; i++) {
        g_string_append(picture->html, "<div>");
        add_escaped(picture->html, facts_thread_name(picture->facts, g_array_index(picture->lanes, guint64, i)));
        g_string_append(picture->html, "</div>\n");
    }
    g_string_append_printf(
        picture->html,
        "</div><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"timeline\">"
        "<svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"group\" aria-label=\"timeline of the threads\">\n"
        "<defs><marker id=\"wake-head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" "
        "orient=\"auto\"><path class=\"wake-head\" d=\"M0 0L8 4L0 8z\"/></marker>"
        "<marker id=\"kick-head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" "
        "orient=\"auto\"><path class=\"kick-head\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n",
        picture->width, height, picture->width, height);
    for (guint i = 0; i < picture->lanes->len; i++) {
        draw_lane(picture, g_array_index(picture->lanes, guint64, i));
    }
    draw_sleeps(picture);
    draw_runs(picture);
    draw_decisions(picture);
    for (guint i = first_of_last(picture->wakes, WAKES_MAX); i < json_array_get_length(picture->wakes); i++) {
        draw_arrow(picture, picture->wakes, i, "wake");
    }
    for (guint i = first_of_last(picture->kicks, KICKS_MAX); i < json_array_get_length(picture->kicks); i++) {
        draw_arrow(picture, picture->kicks, i, "kick");
    }
    draw_end(picture);
    draw_rows(picture);
    g_string_append(picture->html, "</svg></div></div>\n");
}

void picture_add(GString *html, JsonObject *facts)
{
    Picture picture = {
        .html = html,
        .facts = facts,
        .rows = facts_array(facts, "rows"),
        .runs = facts_array(facts, "runs"),
        .sleeps = facts_array(facts, "sleeps"),
        .wakes = facts_array(facts, "wakes"),
        .kicks = facts_array(facts, "kicks"),
        .decisions = facts_array(facts, "decisions"),
        .from = facts_number(facts, "from"),
        .end = facts_number(facts, "end"),
        .moments = g_array_new(FALSE, FALSE, sizeof(Moment)),
        .lanes = g_array_new(FALSE, FALSE, sizeof(guint64)),
    };

    collect_moments(&picture);
    place_moments(&picture);
    collect_lanes(&picture);
    draw(&picture);
    g_array_free(picture.moments, TRUE);
    g_array_free(picture.lanes, TRUE);
}
