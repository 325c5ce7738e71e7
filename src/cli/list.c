/* wakefuzz list: what there is. Each kind is a table; one kind alone can be asked for. */
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/cli.h"
#include "cli/table.h"

static const TableColumn target_columns[] = {
    { "target", TABLE_TEXT }, { "corpus", TABLE_NUMBER }, { "bytes", TABLE_NUMBER }, { "built", TABLE_TEXT }, { NULL, TABLE_TEXT }
};
static const TableColumn fault_columns[] = { { "fault", TABLE_TEXT },   { "target", TABLE_TEXT },
                                             { "verdict", TABLE_TEXT }, { "memory model", TABLE_TEXT },
                                             { "built", TABLE_TEXT },   { "title", TABLE_TEXT },
                                             { NULL, TABLE_TEXT } };
static const TableColumn flavour_columns[] = { { "flavour", TABLE_TEXT }, { "built", TABLE_TEXT }, { NULL, TABLE_TEXT } };

/* "asan, plain": the flavours in which it is built. */
static char *built_in(const char *target, const char *fault)
{
    char **flavours = cli_flavours();
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; flavours && flavours[i]; i++) {
        char *program = cli_program(flavours[i], target, fault, true);

        if (cli_is_built(program)) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "", flavours[i]);
        }
        g_free(program);
    }
    g_strfreev(flavours);
    return g_string_free(text, FALSE);
}

static void count_corpus(const char *target, char **files, char **bytes)
{
    char *folder = g_build_filename(cli_root(), "corpus", target, NULL);
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    unsigned count = 0;
    goffset size = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        char *path = g_build_filename(folder, name, NULL);
        GStatBuf status;

        if (g_stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
            count++;
            size += status.st_size;
        }
        g_free(path);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_free(folder);
    *files = g_strdup_printf("%u", count);
    *bytes = g_strdup_printf("%" G_GOFFSET_FORMAT, size);
}

static bool list_targets(bool json)
{
    char **targets = cli_targets();
    Table *table;

    if (!targets) {
        return false;
    }
    table = table_new(target_columns);
    for (unsigned i = 0; targets[i]; i++) {
        char *files, *bytes, *built = built_in(targets[i], NULL);

        count_corpus(targets[i], &files, &bytes);
        table_add(table, targets[i], files, bytes, built, NULL);
        g_free(files);
        g_free(bytes);
        g_free(built);
    }
    table_finish(table, json);
    g_strfreev(targets);
    return true;
}

static bool list_faults(bool json)
{
    char **faults = cli_faults();
    Table *table;

    if (!faults) {
        return false;
    }
    table = table_new(fault_columns);
    for (unsigned i = 0; faults[i]; i++) {
        char *target = cli_fault_field(faults[i], "Target"), *verdict = cli_fault_field(faults[i], "Verdict");
        char *model = cli_fault_field(faults[i], "Memory-model"), *title = cli_fault_field(faults[i], "Title");
        char *built = built_in(NULL, faults[i]);

        table_add(table, faults[i], target ? target : "", verdict ? verdict : "", model ? model : "", built, title ? title : "",
                  NULL);
        g_free(target);
        g_free(verdict);
        g_free(model);
        g_free(title);
        g_free(built);
    }
    table_finish(table, json);
    g_strfreev(faults);
    return true;
}

static bool list_flavours(bool json)
{
    char **flavours = cli_flavours();
    Table *table;

    if (!flavours) {
        return false;
    }
    table = table_new(flavour_columns);
    for (unsigned i = 0; flavours[i]; i++) {
        char *file = g_build_filename(cli_build(), flavours[i], "build.ninja", NULL);

        table_add(table, flavours[i], g_file_test(file, G_FILE_TEST_EXISTS) ? "yes" : "no", NULL);
        g_free(file);
    }
    table_finish(table, json);
    g_strfreev(flavours);
    return true;
}

int command_list(int argc, char **argv)
{
    static const struct {
        const char *name;
        bool (*list)(bool json);
    } kinds[] = { { "targets", list_targets }, { "faults", list_faults }, { "flavours", list_flavours } };
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        { "json", 0, 0, G_OPTION_ARG_NONE, &json, "print an array of objects; of one kind", NULL },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    char **rest;
    bool good = true, listed = false;
    int status;

    if (!cli_parse(&argc, &argv, "list [targets|faults|flavours]", "What there is: all of it, or one kind.", entries, &rest,
                   &status)) {
        return status;
    }
    if (json && !rest[0]) {
        g_strfreev(rest);
        return cli_fail("--json takes one kind: targets, faults or flavours");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(kinds) && good; i++) {
        if (!rest[0] || strcmp(rest[0], kinds[i].name) == 0) {
            fputs(listed ? "\n" : "", stdout);
            good = kinds[i].list(json);
            listed = true;
        }
    }
    status = !good                             ? CLI_COULD_NOT
             : listed && !(rest[0] && rest[1]) ? CLI_DONE
                                               : cli_fail("it lists targets, faults and flavours, all of them or one kind");
    g_strfreev(rest);
    return status;
}
