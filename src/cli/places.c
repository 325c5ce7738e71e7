/* Where things are, and what there is: the same lists that the build and the tools read. See cli.h. One thread. */
#include "cli/cli.h"

#include <string.h>

#ifndef SOURCE_ROOT
#error "the build says where the sources are"
#endif

const char *cli_root(void)
{
    const char *root = g_getenv("WAKEFUZZ_ROOT");

    return root && root[0] ? root : SOURCE_ROOT;
}

const char *cli_build(void)
{
    static char *build;
    const char *set = g_getenv("WAKEFUZZ_BUILD");

    if (!build) {
        build = set && set[0] ? g_canonicalize_filename(set, NULL) : g_build_filename(cli_root(), "build", NULL);
    }
    return build;
}

char *cli_relative(const char *path)
{
    char *absolute = g_canonicalize_filename(path, NULL);
    char *root = g_canonicalize_filename(cli_root(), NULL);
    char *relative = NULL;

    if (g_str_has_prefix(absolute, root) && absolute[strlen(root)] == G_DIR_SEPARATOR) {
        relative = g_strdup(absolute + strlen(root) + 1);
    }
    g_free(root);
    if (!relative) {
        return absolute;
    }
    g_free(absolute);
    return relative;
}

/* ---- names */

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **cli_sorted(GPtrArray *names)
{
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

/* The stems of the files in a folder that end so. */
static char **stems(const char *folder, const char *suffix)
{
    char *path = g_build_filename(cli_root(), folder, NULL);
    GPtrArray *names = g_ptr_array_new();
    GError *error = NULL;
    GDir *dir = g_dir_open(path, 0, &error);
    const char *name;

    g_free(path);
    if (!dir) {
        cli_fail("%s (WAKEFUZZ_ROOT names the folder of the sources)", error->message);
        g_error_free(error);
        g_ptr_array_free(names, TRUE);
        return NULL;
    }
    while ((name = g_dir_read_name(dir))) {
        if (g_str_has_suffix(name, suffix)) {
            g_ptr_array_add(names, g_strndup(name, strlen(name) - strlen(suffix)));
        }
    }
    g_dir_close(dir);
    return cli_sorted(names);
}

/* NAME in its target, and NAME-in-TARGET in the others that its header names. */
char **cli_faults(void)
{
    char **patches = stems("tests/faults", ".patch");
    GPtrArray *names = g_ptr_array_new();

    for (unsigned i = 0; patches && patches[i]; i++) {
        char *also = cli_fault_field(patches[i], "Also"), **targets = g_strsplit(also ? also : "", ", ", -1);

        g_ptr_array_add(names, g_strdup(patches[i]));
        for (unsigned k = 0; targets[k]; k++) {
            g_ptr_array_add(names, g_strdup_printf("%s-in-%s", patches[i], targets[k]));
        }
        g_strfreev(targets);
        g_free(also);
    }
    if (!patches) {
        g_ptr_array_free(names, TRUE);
        return NULL;
    }
    g_strfreev(patches);
    return cli_sorted(names);
}

char **cli_flavours(void)
{
    return stems("sanitizers", ".ini");
}

char **cli_hunting_flavours(void)
{
    char **all = cli_flavours();
    unsigned kept = 0;

    for (unsigned i = 0; all && all[i]; i++) {
        if (g_str_has_prefix(all[i], "native") || strcmp(all[i], "coverage") == 0) {
            g_free(all[i]);
        } else {
            all[kept++] = all[i];
        }
    }
    if (all) {
        all[kept] = NULL;
    }
    return all;
}

/* The quoted words of "targets = [...]" in fuzz/meson.build. */
char **cli_targets(void)
{
    char *path = g_build_filename(cli_root(), "fuzz", "meson.build", NULL), *text = NULL;
    GPtrArray *names = g_ptr_array_new();
    GError *error = NULL;
    const char *at, *end;

    if (!g_file_get_contents(path, &text, NULL, &error)) {
        cli_fail("%s (WAKEFUZZ_ROOT names the folder of the sources)", error->message);
        g_error_free(error);
        g_free(path);
        g_ptr_array_free(names, TRUE);
        return NULL;
    }
    at = strstr(text, "targets = [");
    end = at ? strchr(at, ']') : NULL;
    while (end && (at = memchr(at, '\'', (size_t)(end - at)))) {
        size_t length = strcspn(++at, "'");

        g_ptr_array_add(names, g_strndup(at, length));
        at += length + 1;
    }
    g_free(text);
    g_free(path);
    return cli_sorted(names);
}

bool cli_is_in(char *const *names, const char *name)
{
    return names && g_strv_contains((const char *const *)names, name);
}

/* The text of a fault's patch, and in *in the target of NAME-in-TARGET, or NULL. NULL where there is none. */
static char *patch_text(const char *fault, const char **in)
{
    const char *middle = g_strrstr(fault, "-in-");
    char *text = NULL;

    for (int whole = 1; whole >= 0 && !text && (whole || middle); whole--) {
        char *file = g_strdup_printf("%.*s.patch", whole ? (int)strlen(fault) : (int)(middle - fault), fault);
        char *path = g_build_filename(cli_root(), "tests", "faults", file, NULL);

        *in = whole ? NULL : middle + strlen("-in-");
        g_file_get_contents(path, &text, NULL, NULL);
        g_free(path);
        g_free(file);
    }
    return text;
}

char *cli_fault_field(const char *fault, const char *field)
{
    const char *in = NULL;
    char *text = patch_text(fault, &in), *value = NULL, *start = g_strdup_printf("%s:", field);
    char **lines = g_strsplit(text ? text : "", "\n", -1);

    for (unsigned i = 0; lines[i] && !g_str_has_prefix(lines[i], "--- ") && !value; i++) {
        if (g_str_has_prefix(lines[i], start)) {
            value = g_strdup(in && strcmp(field, "Target") == 0 ? in : g_strstrip(lines[i] + strlen(start)));
        }
    }
    g_strfreev(lines);
    g_free(start);
    g_free(text);
    return value;
}

/* ---- programs */

char *cli_program(const char *flavour, const char *target, const char *fault, bool replay)
{
    char *name = g_strconcat(fault ? fault : target, replay ? "-replay" : "", NULL);
    char *path = g_build_filename(cli_build(), flavour, fault ? "tests/faults" : "fuzz", name, NULL);

    g_free(name);
    return path;
}

bool cli_is_built(const char *program)
{
    return g_file_test(program, G_FILE_TEST_IS_EXECUTABLE) && !g_file_test(program, G_FILE_TEST_IS_DIR);
}
