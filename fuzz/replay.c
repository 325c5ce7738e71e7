/*
 * TARGET-replay [-n N] [--quiet] [--windows] FILE|FOLDER...
 *
 * Runs each file N times in this process and prints one line a file: verdict, trace hash, steps. Two runs of a file that differ are
 * the verdict `nondeterminism`. No fuzzing engine is linked: any compiler can build this.
 * Exit status: 0 no finding, 1 findings, 2 could not run.
 */
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/driver.h"

static gint repeats = 1;
static gboolean quiet, show_windows;
static gchar **paths;
static bool findings, trouble;
static const char *program;

static void run_once(const char *path, const uint8_t *data, size_t size, CheckRecording **first, CheckResult *result)
{
    CheckResult verdict = *driver_execute(data, size);

    if (!*first) {
        *first = check_record(driver_result());
        *result = verdict;
        if (verdict.verdict != CHECK_NONE && !quiet) {
            driver_report(stderr, &verdict, program, path);
        }
        return;
    }
    verdict = check_compare(*first, driver_result());
    if (verdict.verdict != CHECK_NONE && result->verdict != CHECK_NONDETERMINISM) {
        *result = verdict;
        driver_report(stderr, &verdict, program, path);
    }
}

static void run_file(const char *path)
{
    CheckRecording *first = NULL;
    CheckResult result = { .verdict = CHECK_NONE };
    uint64_t hash = 0, steps = 0;
    GError *error = NULL;
    gchar *data;
    gsize size;

    if (!g_file_get_contents(path, &data, &size, &error)) {
        fprintf(stderr, "%s: %s\n", program, error->message);
        g_error_free(error);
        trouble = true;
        return;
    }
    for (int i = 0; i < repeats; i++) {
        run_once(path, (const uint8_t *)data, size, &first, &result);
        if (i == 0) {
            hash = driver_result()->trace_hash;
            steps = driver_result()->steps;
        }
    }
    printf("%s verdict=%s hash=%016" PRIx64 " steps=%" PRIu64 " runs=%d\n", path, check_verdict_name(result.verdict), hash, steps,
           repeats);
    fflush(stdout);
    findings |= result.verdict != CHECK_NONE;
    check_recording_free(first);
    g_free(data);
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void run_folder(const char *path)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GError *error = NULL;
    GDir *folder = g_dir_open(path, 0, &error);
    const char *name;

    if (!folder) {
        fprintf(stderr, "%s: %s\n", program, error->message);
        g_error_free(error);
        trouble = true;
        g_ptr_array_free(names, TRUE);
        return;
    }
    while ((name = g_dir_read_name(folder))) {
        g_ptr_array_add(names, g_build_filename(path, name, NULL));
    }
    g_dir_close(folder);
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++) {
        if (!g_file_test(names->pdata[i], G_FILE_TEST_IS_DIR)) {
            run_file(names->pdata[i]);
        }
    }
    g_ptr_array_free(names, TRUE);
}

static void print_windows(void)
{
    size_t count;
    const DriverWindow *windows = driver_windows(&count);

    for (size_t i = 0; i < count; i++) {
        printf("window %s executions=%" PRIu64 "\n", windows[i].name, windows[i].executions);
    }
}

int main(int argc, char **argv)
{
    GOptionEntry entries[] = {
        { "runs", 'n', 0, G_OPTION_ARG_INT, &repeats, "run each file N times and compare (default 1)", "N" },
        { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "no reports, only the lines", NULL },
        { "windows", 0, 0, G_OPTION_ARG_NONE, &show_windows, "print how many executions entered each window", NULL },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL, "FILE|FOLDER..." },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;

    program = argv[0];
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || !paths || repeats < 1) {
        fprintf(stderr, "%s: %s\nusage: %s [-n N] [--quiet] [--windows] FILE|FOLDER...\n", program,
                error ? error->message : !paths ? "no file given" : "-n takes a number from 1", program);
        return 2;
    }
    g_option_context_free(context);
    driver_init();
    sched_install_fault_handler();
    for (int i = 0; paths[i]; i++) {
        if (g_file_test(paths[i], G_FILE_TEST_IS_DIR)) {
            run_folder(paths[i]);
        } else {
            run_file(paths[i]);
        }
    }
    if (show_windows) {
        print_windows();
    }
    g_strfreev(paths);
    return trouble ? 2 : findings ? 1 : 0;
}
