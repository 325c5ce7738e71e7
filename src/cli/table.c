/* See table.h. */
#include "cli/table.h"

#include <json-glib/json-glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

struct Table {
    const TableColumn *columns;
    unsigned column_count;
    GPtrArray *cells; /* row by row */
};

Table *table_new(const TableColumn *columns)
{
    Table *table = g_new0(Table, 1);

    table->columns = columns;
    while (columns[table->column_count].name) {
        table->column_count++;
    }
    table->cells = g_ptr_array_new_with_free_func(g_free);
    return table;
}

void table_add(Table *table, ...)
{
    va_list arguments;

    va_start(arguments, table);
    for (unsigned i = 0; i < table->column_count; i++) {
        const char *cell = va_arg(arguments, const char *);

        g_ptr_array_add(table->cells, g_strdup(cell ? cell : ""));
    }
    va_end(arguments);
}

/* ---- for people */

static const char *cell_at(const Table *table, unsigned row, unsigned column)
{
    return table->cells->pdata[row * table->column_count + column];
}

static glong column_width(const Table *table, unsigned column, unsigned rows)
{
    glong width = g_utf8_strlen(table->columns[column].name, -1);

    for (unsigned row = 0; row < rows; row++) {
        width = MAX(width, g_utf8_strlen(cell_at(table, row, column), -1));
    }
    return width;
}

static void print_cell(const Table *table, unsigned column, const char *text, glong width)
{
    glong fill = width - g_utf8_strlen(text, -1);
    bool last = column + 1 == table->column_count;

    if (table->columns[column].kind == TABLE_NUMBER) {
        printf("%*s%s", (int)fill, "", text);
    } else {
        printf("%s%*s", text, last ? 0 : (int)fill, "");
    }
    fputs(last ? "\n" : "  ", stdout);
}

static void print_columns(const Table *table, unsigned rows)
{
    glong *widths = g_new(glong, table->column_count);

    for (unsigned column = 0; column < table->column_count; column++) {
        widths[column] = column_width(table, column, rows);
    }
    fputs(cli_bold(), stdout);
    for (unsigned column = 0; column < table->column_count; column++) {
        print_cell(table, column, table->columns[column].name, widths[column]);
    }
    fputs(cli_plain(), stdout);
    for (unsigned row = 0; row < rows; row++) {
        for (unsigned column = 0; column < table->column_count; column++) {
            print_cell(table, column, cell_at(table, row, column), widths[column]);
        }
    }
    g_free(widths);
}

/* ---- for programs */

static void add_value(JsonBuilder *builder, TableKind kind, const char *text)
{
    if (kind == TABLE_TEXT) {
        json_builder_add_string_value(builder, text);
    } else if (!text[0]) {
        json_builder_add_null_value(builder);
    } else if (strchr(text, '.')) {
        json_builder_add_double_value(builder, g_ascii_strtod(text, NULL));
    } else {
        json_builder_add_int_value(builder, g_ascii_strtoll(text, NULL, 10));
    }
}

static void print_json(JsonBuilder *builder)
{
    JsonGenerator *generator = json_generator_new();
    JsonNode *root = json_builder_get_root(builder);
    char *text;

    json_generator_set_pretty(generator, TRUE);
    json_generator_set_root(generator, root);
    text = json_generator_to_data(generator, NULL);
    puts(text);
    g_free(text);
    json_node_unref(root);
    g_object_unref(generator);
    g_object_unref(builder);
}

static void add_array(JsonBuilder *builder, const Table *table)
{
    unsigned rows = table->cells->len / table->column_count;

    json_builder_begin_array(builder);
    for (unsigned row = 0; row < rows; row++) {
        json_builder_begin_object(builder);
        for (unsigned column = 0; column < table->column_count; column++) {
            char *key = g_strdelimit(g_strdup(table->columns[column].name), " ", '_');

            json_builder_set_member_name(builder, key);
            add_value(builder, table->columns[column].kind, cell_at(table, row, column));
            g_free(key);
        }
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
}

static void print_array(const Table *table)
{
    JsonBuilder *builder = json_builder_new();

    add_array(builder, table);
    print_json(builder);
}

static void free_table(Table *table)
{
    g_ptr_array_free(table->cells, TRUE);
    g_free(table);
}

void table_finish(Table *table, bool json)
{
    if (json) {
        print_array(table);
    } else {
        print_columns(table, table->cells->len / table->column_count);
    }
    free_table(table);
}

void table_finish_all(const char *name, ...)
{
    JsonBuilder *builder = json_builder_new();
    va_list arguments;

    json_builder_begin_object(builder);
    va_start(arguments, name);
    for (; name; name = va_arg(arguments, const char *)) {
        Table *table = va_arg(arguments, Table *);

        json_builder_set_member_name(builder, name);
        add_array(builder, table);
        free_table(table);
    }
    va_end(arguments);
    json_builder_end_object(builder);
    print_json(builder);
}

void table_print_object(const char *name, ...)
{
    JsonBuilder *builder = json_builder_new();
    va_list arguments;

    json_builder_begin_object(builder);
    va_start(arguments, name);
    for (; name; name = va_arg(arguments, const char *)) {
        const char *value = va_arg(arguments, const char *);

        json_builder_set_member_name(builder, name);
        add_value(builder, value[0] == '#' ? TABLE_NUMBER : TABLE_TEXT, value + (value[0] == '#'));
    }
    va_end(arguments);
    json_builder_end_object(builder);
    print_json(builder);
}
