/* How coverage is printed: for people and as JSON. See coverage.h. One thread. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/coverage.h"
#include "cli/table.h"

static char *percent(CoverageCount count)
{
    return count.all ? g_strdup_printf("%.1f", 100.0 * (double)count.reached / (double)count.all) : g_strdup("");
}

static char *number(gint64 value)
{
    return g_strdup_printf("%" G_GINT64_FORMAT, value);
}

static void add_file(Table *table, const char *name, const CoverageFile *file)
{
    char *cells[] = { number(file->lines.all),     number(file->lines.reached),    percent(file->lines),
                      number(file->branches.all),  number(file->branches.reached), percent(file->branches),
                      number(file->functions.all), number(file->functions.reached) };

    table_add(table, name, cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6], cells[7], NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
        g_free(cells[i]);
    }
}

static Table *file_table(const Coverage *coverage, bool total)
{
    static const TableColumn columns[] = {
        { "file", TABLE_TEXT },
        { "lines", TABLE_NUMBER },
        { "lines reached", TABLE_NUMBER },
        { "lines percent", TABLE_NUMBER },
        { "branches", TABLE_NUMBER },
        { "branches reached", TABLE_NUMBER },
        { "branches percent", TABLE_NUMBER },
        { "functions", TABLE_NUMBER },
        { "functions reached", TABLE_NUMBER },
        { NULL, TABLE_TEXT },
    };
    Table *table = table_new(columns);

    for (guint i = 0; i < coverage->files->len; i++) {
        const CoverageFile *file = &g_array_index(coverage->files, CoverageFile, i);

        add_file(table, file->path, file);
    }
    if (total) {
        CoverageFile all = coverage_total(coverage);

        add_file(table, "all of it", &all);
    }
    return table;
}

static Table *hole_table(const Coverage *coverage)
{
    static const TableColumn columns[] = { { "file", TABLE_TEXT },     { "line", TABLE_NUMBER }, { "end", TABLE_NUMBER },
                                           { "function", TABLE_TEXT }, { "what", TABLE_TEXT },   { NULL, TABLE_TEXT } };
    Table *table = table_new(columns);

    for (guint i = 0; i < coverage->holes->len; i++) {
        const CoverageHole *hole = &g_array_index(coverage->holes, CoverageHole, i);
        char *line = number(hole->line), *end = number(hole->end);

        table_add(table, hole->path, line, end, hole->function, hole->whole ? "function" : "block", NULL);
        g_free(line);
        g_free(end);
    }
    return table;
}

static Table *side_table(const Coverage *coverage)
{
    static const TableColumn columns[] = { { "file", TABLE_TEXT },
                                           { "line", TABLE_NUMBER },
                                           { "function", TABLE_TEXT },
                                           { "never", TABLE_TEXT },
                                           { NULL, TABLE_TEXT } };
    Table *table = table_new(columns);

    for (guint i = 0; i < coverage->sides->len; i++) {
        const CoverageSide *side = &g_array_index(coverage->sides, CoverageSide, i);
        char *line = number(side->line);

        table_add(table, side->path, line, side->function, side->side ? "true" : "false", NULL);
        g_free(line);
    }
    return table;
}

static bool has_file(const Coverage *coverage, const char *path)
{
    bool has = false;

    for (guint i = 0; i < coverage->files->len && !has; i++) {
        has = strcmp(g_array_index(coverage->files, CoverageFile, i).path, path) == 0;
    }
    return has;
}

/* The sources of which the linker took nothing into the programs: no input can reach them. Free it. */
static char **absent_files(const Coverage *coverage, const char *below)
{
    char *folder = g_build_filename(cli_root(), below, NULL);
    GPtrArray *absent = g_ptr_array_new();
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        char *path = g_build_filename(below, name, NULL);

        if (g_str_has_suffix(name, ".c") && !has_file(coverage, path)) {
            g_ptr_array_add(absent, g_steal_pointer(&path));
        }
        g_free(path);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_free(folder);
    return cli_sorted(absent);
}

static Table *absent_table(char *const *absent)
{
    static const TableColumn columns[] = { { "file", TABLE_TEXT }, { NULL, TABLE_TEXT } };
    Table *table = table_new(columns);

    for (; *absent; absent++) {
        table_add(table, *absent, NULL);
    }
    return table;
}

static void print_holes(const Coverage *coverage, char *const *absent)
{
    printf("\n%sno input reaches%s\n", cli_bold(), cli_plain());
    for (guint i = 0; i < coverage->holes->len; i++) {
        const CoverageHole *hole = &g_array_index(coverage->holes, CoverageHole, i);

        printf("%s:%" G_GINT64_FORMAT ": ", hole->path, hole->line);
        if (hole->whole) {
            printf("all of %s\n", hole->function);
        } else if (hole->end > hole->line) {
            printf("to line %" G_GINT64_FORMAT " in %s\n", hole->end, hole->function);
        } else {
            printf("in %s\n", hole->function);
        }
    }
    for (; *absent; absent++) {
        printf("%s: no part of it is in the program\n", *absent);
    }
}

void coverage_print(const Coverage *coverage, const char *folder, bool json)
{
    char **absent = absent_files(coverage, folder);

    if (json) {
        table_finish_all("files", file_table(coverage, false), "unreached", hole_table(coverage), "sides", side_table(coverage),
                         "absent", absent_table(absent), NULL);
    } else {
        table_finish(file_table(coverage, true), false);
        print_holes(coverage, absent);
    }
    g_strfreev(absent);
}
