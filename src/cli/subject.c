/* See subject.h. */
#include "cli/subject.h"

#include <string.h>

/* ---- the file */

bool subject_check_file(const char *path)
{
    GFile *file = g_file_new_for_path(path);
    GError *error = NULL;
    GFileInfo *info = g_file_query_info(file, G_FILE_ATTRIBUTE_STANDARD_SIZE "," G_FILE_ATTRIBUTE_STANDARD_TYPE,
                                        G_FILE_QUERY_INFO_NONE, NULL, &error);
    goffset size = info ? g_file_info_get_size(info) : 0;
    bool regular = info && g_file_info_get_file_type(info) == G_FILE_TYPE_REGULAR;

    g_clear_object(&info);
    g_object_unref(file);
    if (error) {
        cli_fail("%s: %s", path, error->message);
        g_error_free(error);
        return false;
    }
    if (!regular) {
        cli_fail("%s is no regular file", path);
        return false;
    }
    if (size > CLI_INPUT_BYTES_MAX) {
        cli_fail("%s has %" G_GOFFSET_FORMAT " bytes, and no input has more than %u: it is something else", path, size,
                 CLI_INPUT_BYTES_MAX);
        return false;
    }
    return true;
}

/* The report instead of the input is an easy slip, and every byte string is an input. */
static bool is_report(const char *path)
{
    char *text = NULL;
    bool report = g_str_has_suffix(path, ".txt") && g_file_get_contents(path, &text, NULL, NULL) &&
                  (strstr(text, "panic: ") || strstr(text, "Sanitizer"));

    g_free(text);
    return report;
}

/* ---- whose it is */

static void set_name(Subject *subject, const char *name, bool fault)
{
    g_free(subject->fault);
    g_free(subject->target);
    subject->fault = fault ? g_strdup(name) : NULL;
    subject->target = fault ? cli_fault_field(name, "Target") : g_strdup(name);
}

/* From ".../FLAVOUR/fuzz/NAME" or ".../FLAVOUR/tests/faults/NAME", with or without "-replay". */
static bool by_program(Subject *subject, const char *program)
{
    char **parts = g_strsplit(program, "/", -1);
    guint count = g_strv_length(parts);
    bool fault = count >= 4 && strcmp(parts[count - 2], "faults") == 0;
    bool known = fault || (count >= 3 && strcmp(parts[count - 2], "fuzz") == 0);

    if (known) {
        char *name = parts[count - 1];

        if (g_str_has_suffix(name, "-replay")) {
            name[strlen(name) - strlen("-replay")] = '\0';
        }
        set_name(subject, name, fault);
        subject->flavour = g_strdup(parts[count - (fault ? 4 : 3)]);
    }
    g_strfreev(parts);
    return known && subject->target;
}

static bool by_report(Subject *subject)
{
    char *beside = g_strconcat(subject->path, ".txt", NULL), *text = NULL;
    bool known = false;

    if (g_file_get_contents(beside, &text, NULL, NULL)) {
        char *line = strstr(text, "  replay: ");

        if (line) {
            line += strlen("  replay: ");
            line[strcspn(line, " \n")] = '\0';
            known = by_program(subject, line);
        }
    }
    g_free(text);
    g_free(beside);
    return known;
}

/* The longest of the names with which the text begins, and a '-' after it. */
static const char *name_at(const char *text, char *const *names)
{
    const char *found = NULL;

    for (unsigned i = 0; names && names[i]; i++) {
        size_t length = strlen(names[i]);

        if (strncmp(text, names[i], length) == 0 && text[length] == '-' && (!found || length > strlen(found))) {
            found = names[i];
        }
    }
    return found;
}

static bool by_name(Subject *subject)
{
    char *base = g_path_get_basename(subject->path);
    char **flavours = cli_hunting_flavours(), **faults = cli_faults(), **targets = cli_targets();
    const char *flavour = name_at(base, flavours);
    const char *rest = flavour ? base + strlen(flavour) + 1 : base;
    const char *fault = name_at(rest, faults), *target = name_at(rest, targets);

    if (flavour && (fault || target)) {
        set_name(subject, fault ? fault : target, fault);
        subject->flavour = g_strdup(flavour);
    }
    g_strfreev(targets);
    g_strfreev(faults);
    g_strfreev(flavours);
    g_free(base);
    return subject->target;
}

static bool by_folder(Subject *subject)
{
    char *absolute = g_canonicalize_filename(subject->path, NULL), *folder = g_path_get_dirname(absolute);
    char *name = g_path_get_basename(folder), **targets = cli_targets();

    if (cli_is_in(targets, name)) {
        set_name(subject, name, false);
    }
    g_strfreev(targets);
    g_free(name);
    g_free(folder);
    g_free(absolute);
    return subject->target;
}

static bool check_name(const char *kind, const char *name, char **names)
{
    bool known = !name || cli_is_in(names, name);

    if (names && !known) {
        char *all = g_strjoinv(", ", names);

        cli_fail("unknown %s '%s'; there are: %s", kind, name, all);
        g_free(all);
    }
    g_strfreev(names);
    return known;
}

static bool by_options(Subject *subject, const SubjectOptions *options)
{
    if (options->target || options->fault) {
        set_name(subject, options->fault ? options->fault : options->target, options->fault);
        g_clear_pointer(&subject->flavour, g_free);
    }
    if (options->flavour) {
        g_free(subject->flavour);
        subject->flavour = g_strdup(options->flavour);
        subject->asked = true;
    }
    return subject->target;
}

bool subject_find(const char *path, const SubjectOptions *options, Subject *subject)
{
    *subject = (Subject){ .path = g_strdup(path) };
    if (!subject_check_file(path) || !check_name("target", options->target, cli_targets()) ||
        !check_name("fault", options->fault, cli_faults()) || !check_name("flavour", options->flavour, cli_hunting_flavours())) {
        subject_free(subject);
        return false;
    }
    if (is_report(path)) {
        cli_fail("%s is a report; give the input that lies beside it, without .txt", path);
        subject_free(subject);
        return false;
    }
    (void)(by_report(subject) || by_name(subject) || by_folder(subject));
    if (!by_options(subject, options)) {
        cli_fail("%s: whose input is it? Nothing beside it says so: --target NAME or --fault NAME (wakefuzz list)", path);
        subject_free(subject);
        return false;
    }
    return true;
}

void subject_free(Subject *subject)
{
    g_free(subject->path);
    g_free(subject->target);
    g_free(subject->fault);
    g_free(subject->flavour);
    *subject = (Subject){ .path = NULL };
}

/* ---- its program */

char *subject_replay(const Subject *subject, const char *flavour)
{
    char *program = cli_program(flavour, subject->target, subject->fault, true);

    if (!cli_is_built(program)) {
        g_clear_pointer(&program, g_free);
    }
    return program;
}

static void say_how_to_build(const Subject *subject, const char *flavour)
{
    char *program = cli_program(flavour, subject->target, subject->fault, true);
    char *folder = g_build_filename(cli_build(), flavour, NULL), *shown = cli_relative(folder), *missing = cli_relative(program);

    cli_fail("%s is not built: ninja -C %s %s", missing, shown, program + strlen(folder) + 1);
    g_free(missing);
    g_free(shown);
    g_free(folder);
    g_free(program);
}

char **subject_flavours(const Subject *subject)
{
    static const char *const preferred[] = { "plain", "asan", "tsan", NULL };
    const char *const known[] = { subject->flavour, NULL };
    const char *const *flavours = subject->flavour ? known : preferred;
    GPtrArray *built = g_ptr_array_new();

    for (unsigned i = 0; flavours[i]; i++) {
        char *program = subject_replay(subject, flavours[i]);

        if (program) {
            g_ptr_array_add(built, g_strdup(flavours[i]));
        }
        g_free(program);
    }
    if (built->len == 0) {
        say_how_to_build(subject, flavours[0]);
        g_ptr_array_free(built, TRUE);
        return NULL;
    }
    g_ptr_array_add(built, NULL);
    return (char **)g_ptr_array_free(built, FALSE);
}

char *subject_flavour(const Subject *subject)
{
    char **flavours = subject_flavours(subject), *flavour = flavours ? g_strdup(flavours[0]) : NULL;

    g_strfreev(flavours);
    return flavour;
}
