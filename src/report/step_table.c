/*
 * Rendering of the step table.
 *
 *   step | main                                  | iothread0
 *   -----+---------------------------------------+------------------------------------
 *     33 | bdrv_graph_wrlock: has_writer 1 -> 0  |
 *   * 41 |                                       | [co 2] bdrv_graph_co_rdunlock: reader_count 1 -> 0
 *
 * 1. The function is named where it changes within a column, the coroutine likewise.
 * 2. Steps of the environment (the clock) stand in the first column.
 * 3. Threads beyond the columns' number share the last column, under the name of each row's thread.
 */
#include "report/step_table.h"

#include <stdlib.h>
#include <string.h>

enum { CELL_BYTES = 192, WIDTH_MIN = 16, HEAD_BYTES = 48 };

typedef struct Column {
    uint32_t thread;
    unsigned width;
    const char *function; /* of the row above */
    uint32_t strand;
} Column;

typedef struct Cell {
    unsigned column;
    size_t what; /* where in the text the step itself begins; before it stands where it was made */
    char text[CELL_BYTES];
} Cell;

typedef struct Table {
    CheckTrace trace;
    Column columns[REPORT_COLUMNS_MAX];
    unsigned column_count;
    bool shared; /* the last column serves several threads */
    Cell *cells; /* one per row */
} Table;

/* ------------------------------------------------------------------------------------------- columns */

static bool is_environment(uint32_t thread)
{
    return thread == CHECK_CLOCK;
}

static void add_column(Table *table, uint32_t thread)
{
    unsigned at = 0;

    if (is_environment(thread)) {
        return;
    }
    while (at < table->column_count && table->columns[at].thread < thread) {
        at++;
    }
    if (at < table->column_count && table->columns[at].thread == thread) {
        return;
    }
    if (table->column_count == REPORT_COLUMNS_MAX) {
        table->shared = true;
        if (at == REPORT_COLUMNS_MAX) {
            return;
        }
        table->column_count--;
    }
    memmove(&table->columns[at + 1], &table->columns[at], (table->column_count - at) * sizeof(Column));
    table->columns[at] = (Column){ .thread = thread };
    table->column_count++;
}

static unsigned column_of(const Table *table, uint32_t thread)
{
    for (unsigned i = 0; i < table->column_count; i++) {
        if (table->columns[i].thread == thread) {
            return i;
        }
    }
    return is_environment(thread) ? 0 : table->column_count - 1;
}

static bool in_shared_column(const Table *table, unsigned column)
{
    return table->shared && column == table->column_count - 1;
}

/* ------------------------------------------------------------------------------------------- cells */

static unsigned display_width(const char *text)
{
    unsigned width = 0;

    for (; *text; text++) {
        width += (*text & 0xc0) != 0x80; /* continuation bytes of UTF-8 take no room */
    }
    return width;
}

/* Bytes of the first `width` characters. */
static size_t bytes_of(const char *text, unsigned width)
{
    size_t i = 0;

    while (text[i] && (width > 0 || (text[i] & 0xc0) == 0x80)) {
        width -= (text[i] & 0xc0) != 0x80;
        i++;
    }
    return i;
}

static void print_cut(FILE *out, const char *text, unsigned width, bool pad)
{
    unsigned used = display_width(text);

    if (used > width) {
        fprintf(out, "%.*s…", (int)bytes_of(text, width - 1), text);
        return;
    }
    fprintf(out, "%s%*s", text, pad ? (int)(width - used) : 0, "");
}

/* Where it was made is cut before what was done. */
static void print_cell(FILE *out, const Cell *cell, unsigned width, bool pad)
{
    enum { WHERE_MIN = 6 }; /* "f…: " and a little more */
    const char *what = cell->text + cell->what;
    unsigned what_width = display_width(what);
    size_t where_bytes;

    if (display_width(cell->text) <= width || cell->what == 0 || what_width + WHERE_MIN > width) {
        print_cut(out, cell->text, width, pad);
        return;
    }
    where_bytes = bytes_of(cell->text, width - what_width - 3);
    fprintf(out, "%.*s…: %s", (int)where_bytes, cell->text, what);
}

static void add_where(Text *text, Column *column, const SchedStep *step, bool shared)
{
    const char *function = report_step_function(step);

    if (shared) {
        report_add_thread(text, step->thread);
        text_add(text, ": ");
    }
    if (step->strand && step->strand != column->strand) {
        text_add(text, "[co %u] ", step->strand);
    }
    if (strcmp(function, "??") != 0 && (shared || !column->function || strcmp(function, column->function) != 0)) {
        text_add(text, "%s: ", function);
    }
    column->function = function;
    column->strand = step->strand;
}

static bool says_all(const SchedStep *step)
{
    return step->operation == SCHED_CALL &&
           (step->call == SCHED_CALL_START || step->call == SCHED_CALL_EXIT || step->call == SCHED_CALL_CLOCK_ADVANCE);
}

static void fill_cell(Table *table, ReportValues *values, const ReportRow *row, Cell *cell)
{
    const SchedStep *step = &table->trace.steps[row->step];
    Text text = text_begin(cell->text, sizeof(cell->text));
    Column *column;

    cell->column = column_of(table, step->thread);
    column = &table->columns[cell->column];
    if (row->by_hand) {
        text_add(&text, "(by hand) ");
    }
    if (!says_all(step)) {
        add_where(&text, column, step, in_shared_column(table, cell->column));
    }
    cell->what = text.used;
    report_add_step(&text, values, table->trace, row->step);
    if (row->no_wakeup) {
        text_add(&text, ": no wakeup");
    }

    unsigned width = display_width(cell->text);

    column->width = width > column->width ? width : column->width;
}

static const char *head_of(const Column *column, char head[HEAD_BYTES])
{
    Text text = text_begin(head, HEAD_BYTES);

    report_add_thread(&text, column->thread);
    return head;
}

/* All columns within the table's width: the widest give way first, as short texts suffer nothing from it. */
static void fit_columns(Table *table)
{
    unsigned limit = (REPORT_TABLE_WIDTH - 8) / table->column_count - 3;

    limit = limit > REPORT_COLUMN_MAX ? REPORT_COLUMN_MAX : limit < WIDTH_MIN ? WIDTH_MIN : limit;
    for (unsigned i = 0; i < table->column_count; i++) {
        Column *column = &table->columns[i];
        char head[HEAD_BYTES];
        unsigned name = display_width(head_of(column, head));

        column->width = name > column->width ? name : column->width;
        column->width = column->width > limit ? limit : column->width;
    }
}

/* ------------------------------------------------------------------------------------------- printing */

static void print_head(FILE *out, const Table *table)
{
    fprintf(out, "  step");
    for (unsigned i = 0; i < table->column_count; i++) {
        bool last = i == table->column_count - 1;
        char head[HEAD_BYTES];

        fprintf(out, " | ");
        print_cut(out, in_shared_column(table, i) ? "others" : head_of(&table->columns[i], head), table->columns[i].width, !last);
    }
    fprintf(out, "\n  ----");
    for (unsigned i = 0; i < table->column_count; i++) {
        fprintf(out, "-+-");
        for (unsigned k = 0; k < table->columns[i].width; k++) {
            fputc('-', out);
        }
    }
    fputc('\n', out);
}

static void print_row(FILE *out, const Table *table, const ReportRow *row, unsigned index)
{
    static const Cell empty;
    char number[24];

    snprintf(number, sizeof(number), "%s%zu", row->marked ? "* " : "", row->step);
    fprintf(out, "%6s", number);
    for (unsigned i = 0; i < table->column_count; i++) {
        bool last = i == table->column_count - 1;
        bool here = table->cells[index].column == i;

        fprintf(out, last && !here ? " |" : " | ");
        if (here || !last) {
            print_cell(out, here ? &table->cells[index] : &empty, table->columns[i].width, !last);
        }
    }
    fputc('\n', out);
}

void report_step_table(FILE *out, CheckTrace trace, const ReportRow *rows, unsigned count, size_t hidden)
{
    Table table = { .trace = trace };
    ReportValues values = { .count = 0 };

    for (unsigned i = 0; i < count; i++) {
        add_column(&table, trace.steps[rows[i].step].thread);
    }
    if (table.column_count == 0) {
        return;
    }
    table.cells = calloc(count, sizeof(*table.cells));
    if (!table.cells) {
        abort();
    }
    for (unsigned i = 0; i < count; i++) {
        fill_cell(&table, &values, &rows[i], &table.cells[i]);
    }
    fit_columns(&table);
    print_head(out, &table);
    for (unsigned i = 0; i < count; i++) {
        print_row(out, &table, &rows[i], i);
    }
    if (hidden) {
        fprintf(out, "  ... %zu step%s not shown\n", hidden, hidden == 1 ? "" : "s");
    }
    free(table.cells);
}
