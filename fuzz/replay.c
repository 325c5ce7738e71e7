/*
 * TARGET-replay [-n N] [--quiet] [--windows] [--history] FILE|FOLDER...
 * TARGET-replay --describe FILE...
 * TARGET-replay --facts FILE [--at STEP,STEP...]
 * TARGET-replay --minimize FILE --output FILE [--seconds N]
 * TARGET-replay --policy NAME [--seed N] [--executions N] [--seconds N]
 *
 * --describe and --minimize are minimize.h's, --facts is facts.h's; the wakefuzz command calls them. The last form draws random scenarios
 * and plans of one policy until it finds something, for the table of policies: "walk" draws that base alone, "walk+c" with constraints; "default" is what the
 * mutator draws.
 *
 * Runs each file N times and prints one line a file: verdict, trace hash, steps. Two runs of a file that differ are the verdict
 * `nondeterminism`. A finding spoils the process: further runs of the file are made in processes of their own, and for the files after it
 * the program executes itself (where each execution is a fork, neither). A sanitizer or a crash ends the process, and what comes after that
 * file is not run; a line says so. No fuzzing engine is linked: any compiler can build this.
 * Exit status: 0 no finding, 1 findings, 2 could not run.
 */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz/crash.h"
#include "fuzz/driver.h"
#include "fuzz/facts.h"
#include "fuzz/forked.h"
#include "fuzz/minimize.h"
#include "fuzz/probe.h"
#include "fuzz/probe_text.h"
#include "fuzz/program.h"
#include "sched/mutate.h"

#define SCENARIO_BYTES_MAX 32u
#define WARM_UP_TEXT_MAX   16384u

static gchar *policy, *minimized, *facts, *facts_at, *output;
static gint64 policy_seed = 1, executions_max = 100000;
static gdouble seconds_max = 60;
static gint repeats = 1;
static gboolean quiet, show_windows, show_history, describe;
static gchar **paths;
static bool findings, trouble;
static gchar *resume; /* of go_on_in_a_fresh_process() */
static bool resumed; /* it stands first, and there alone */
static gchar **own_arguments; /* argv without that one */
static GHashTable *entered_before; /* name of a window: uint64_t *, executions in processes before this one */
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

/* A finding leaves the program's globals as they were when it stopped: only a fresh process runs the file the same way. */
static void run_again_elsewhere(const char *path, uint64_t hash, CheckResult *result)
{
    gchar *arguments[] = { (gchar *)"/proc/self/exe", (gchar *)program, (gchar *)"--quiet", (gchar *)"--", (gchar *)path, NULL };
    GSpawnFlags flags = G_SPAWN_FILE_AND_ARGV_ZERO | G_SPAWN_STDERR_TO_DEV_NULL;
    gchar *wanted = g_strdup_printf(" verdict=%s hash=%016" PRIx64 " ", check_verdict_name(result->verdict), hash);
    gchar *output = NULL;

    if (!g_spawn_sync(NULL, arguments, NULL, flags, NULL, NULL, &output, NULL, NULL, NULL) || !strstr(output, wanted)) {
        fprintf(stderr, "%s: in another process: %s", path, output ? output : "it could not be started\n");
        result->verdict = CHECK_NONDETERMINISM;
    }
    g_free(output);
    g_free(wanted);
}

/* Returns whether it is no finding. */
static bool run_file(const char *path)
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
        return true;
    }
    for (int i = 0; i < repeats; i++) {
        if (i > 0 && result.verdict != CHECK_NONE) {
            run_again_elsewhere(path, hash, &result);
            continue;
        }
        run_once(path, (const uint8_t *)data, size, &first, &result);
        if (i == 0) {
            hash = driver_result()->trace_hash;
            steps = driver_result()->steps;
        }
    }
    printf("%s verdict=%s hash=%016" PRIx64 " steps=%" PRIu64 " runs=%d\n", path, check_verdict_name(result.verdict), hash, steps,
           repeats);
    if (show_history) {
        fputs(driver_history(), stdout);
    }
    fflush(stdout);
    findings |= result.verdict != CHECK_NONE;
    check_recording_free(first);
    g_free(data);
    return result.verdict == CHECK_NONE;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the files of a folder, in order of their names. */
static void list_folder(const char *path, GPtrArray *files)
{
    GPtrArray *names = g_ptr_array_new();
    GError *error = NULL;
    GDir *folder = g_dir_open(path, 0, &error);
    const char *name;

    if (!folder) {
        if (!resume) {
            fprintf(stderr, "%s: %s\n", program, error->message);
        }
        g_error_free(error);
        trouble = true;
        g_ptr_array_free(names, TRUE);
        return;
    }
    while ((name = g_dir_read_name(folder))) {
        gchar *file = g_build_filename(path, name, NULL);

        if (g_file_test(file, G_FILE_TEST_IS_DIR)) {
            g_free(file);
        } else {
            g_ptr_array_add(names, file);
        }
    }
    g_dir_close(folder);
    g_ptr_array_sort(names, compare_names);
    if (names->len == 0 && !resume) {
        fprintf(stderr, "%s: %s holds no files: nothing was run (folders in it are not looked into)\n", program, path);
        trouble = true;
    }
    g_ptr_array_extend_and_steal(files, names);
}

static uint64_t entered_elsewhere(const char *window)
{
    const uint64_t *count = g_hash_table_lookup(entered_before, window);

    return count ? *count : 0;
}

static bool is_window_of(const DriverWindow *windows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(windows[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Calls back for all windows that this process or one before it knows of. */
static void for_each_window(void (*function)(const char *name, uint64_t executions, bool declared, void *opaque), void *opaque)
{
    size_t count;
    const DriverWindow *windows = driver_windows(&count);
    GHashTableIter iter;
    gpointer name, before;

    for (size_t i = 0; i < count; i++) {
        function(windows[i].name, windows[i].executions + entered_elsewhere(windows[i].name), windows[i].declared, opaque);
    }
    g_hash_table_iter_init(&iter, entered_before);
    while (g_hash_table_iter_next(&iter, &name, &before)) {
        if (!is_window_of(windows, count, name)) {
            function(name, *(uint64_t *)before, false, opaque);
        }
    }
}

static void print_window(const char *name, uint64_t executions, bool declared, void *unused)
{
    (void)unused;
    printf("window %s executions=%" PRIu64 "%s\n", name, executions, declared ? "" : " undeclared");
}

static void write_window(const char *name, uint64_t executions, bool declared, void *opaque)
{
    (void)declared;
    g_string_append_printf(opaque, "\n%s=%" PRIu64, name, executions);
}

/* --resume: "DONE FILES TROUBLE", then "WINDOW=EXECUTIONS" a line. Returns how many files are done. */
static guint read_resume(guint files)
{
    gchar **lines = g_strsplit(resume, "\n", 0);
    guint done = 0, files_before = 0, trouble_before = 1;

    if (!lines[0] || sscanf(lines[0], "%u %u %u", &done, &files_before, &trouble_before) != 3 || files_before != files) {
        fprintf(stderr, "%s: there were %u files before the finding, and are %u now: what comes after it is not run\n", program,
                files_before, files);
        trouble_before = 1;
        done = files;
    }
    findings = true;
    trouble |= trouble_before != 0;
    for (guint i = 1; lines[i]; i++) {
        gchar *equals = strrchr(lines[i], '=');

        if (equals) {
            uint64_t *executions = g_new(uint64_t, 1);

            *executions = g_ascii_strtoull(equals + 1, NULL, 10);
            g_hash_table_insert(entered_before, g_strndup(lines[i], (gsize)(equals - lines[i])), executions);
        }
    }
    g_strfreev(lines);
    return done;
}

/* What a finding leaves behind would be a finding in each file that comes after it. Returns only where that cannot be had. */
static void go_on_in_a_fresh_process(guint done, guint files)
{
    GString *option = g_string_new(NULL);
    GPtrArray *arguments = g_ptr_array_new();

    g_string_printf(option, "--resume=%u %u %d", done, files, trouble);
    for_each_window(write_window, option);
    g_ptr_array_add(arguments, own_arguments[0]);
    g_ptr_array_add(arguments, option->str);
    for (gchar **argument = own_arguments + 1; *argument; argument++) {
        g_ptr_array_add(arguments, *argument);
    }
    g_ptr_array_add(arguments, NULL);
    fflush(NULL);
    sched_stop_clock();
    execv("/proc/self/exe", (char **)arguments->pdata);
    fprintf(stderr, "%s: cannot execute itself after a finding (%s): %u files are not run\n", program, strerror(errno),
            files - done);
    trouble = true;
    g_ptr_array_free(arguments, TRUE);
    g_string_free(option, TRUE);
}

static bool parse_policy(SchedDraw *draw)
{
    static const char *const bases[] = {
        [SCHED_BASE_FIFO] = "fifo", [SCHED_BASE_WALK] = "walk", [SCHED_BASE_POS] = "pos",     [SCHED_BASE_URW] = "urw",
        [SCHED_BASE_PCT] = "pct",   [SCHED_BASE_SURW] = "surw", [SCHED_BASE_MIXED] = "mixed",
    };
    const char *name = strcmp(policy, "default") == 0 ? "mixed+c" : policy;

    draw->constraints = g_str_has_suffix(name, "+c");
    for (size_t i = 0; i < G_N_ELEMENTS(bases); i++) {
        if (strncmp(name, bases[i], strlen(bases[i])) == 0 && strlen(name) == strlen(bases[i]) + (draw->constraints ? 2 : 0)) {
            draw->base = (SchedBase)i;
            return true;
        }
    }
    return false;
}

/* One start of a policy: a random scenario and a fresh plan each time. */
static int hunt(void)
{
    uint8_t data[SCENARIO_BYTES_MAX + SCHED_PLAN_BYTES_MAX];
    SchedDraw draw;
    SchedRandom random;

    if (!parse_policy(&draw)) {
        fprintf(stderr, "%s: policies are fifo walk pos urw pct surw mixed, each with +c or without, and default; not '%s'\n",
                program, policy);
        return 2;
    }
    sched_set_learning(true);
    sched_random_seed(&random, (uint64_t)policy_seed);
    while ((gint64)driver_executions() < executions_max && driver_seconds() < seconds_max) {
        size_t size = driver_executions() ? sched_random_below(&random, SCENARIO_BYTES_MAX + 1) : 0;
        const CheckResult *verdict;
        SchedPlan plan = { 0 };

        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)sched_random(&random);
        }
        if (driver_executions()) {
            sched_draw_plan(&random, draw, &plan);
        }
        size += sched_plan_encode(&plan, data + size);
        verdict = driver_execute(data, size);
        if (verdict->verdict != CHECK_NONE) {
            printf("policy=%s seed=%" G_GINT64_FORMAT " verdict=%s executions=%" PRIu64 " seconds=%.3f\n", policy, policy_seed,
                   check_verdict_name(verdict->verdict), driver_executions(), driver_seconds());
            return 1;
        }
    }
    printf("policy=%s seed=%" G_GINT64_FORMAT " verdict=none executions=%" PRIu64 " seconds=%.3f\n", policy, policy_seed,
           driver_executions(), driver_seconds());
    return 0;
}

/*
 * A sanitizer may end the process while the driver warms up with the empty input. Then each input is said to fail like this, as where the
 * warming up is a finding of ours (driver_warm_up_failed()).
 */
static char warm_up_said[WARM_UP_TEXT_MAX];
static size_t warm_up_bytes;

static void note_text(const char *text)
{
    while (*text && warm_up_bytes < sizeof(warm_up_said) - 1) {
        warm_up_said[warm_up_bytes++] = *text++;
    }
}

/* In the middle of the sanitizer's report, for whose locks the symbolizer would wait: no address gets its name. */
static void describe_death(void)
{
    static ProbeResult result;

    if (forked_is_child() || !probe_text_sanitizer(warm_up_said, &result)) {
        return;
    }
    snprintf(result.key, sizeof(result.key), "%s,empty-input", result.verdict);
    snprintf(result.summary, sizeof(result.summary), "%s: of the empty input already", result.verdict);
    for (int i = 0; paths[i]; i++) {
        struct stat file;

        if (stat(paths[i], &file) == 0) {
            describe_result(paths[i], (size_t)file.st_size, &result);
        }
    }
    fflush(NULL);
    syscall(SYS_exit_group, 1);
}

static void warm_up(void)
{
    bool watch = describe && __sanitizer_set_death_callback;

    if (watch) {
        driver_sanitizer_text = note_text;
        __sanitizer_set_death_callback(describe_death);
    }
    driver_init();
    if (watch) {
        driver_sanitizer_text = NULL;
        __sanitizer_set_death_callback(NULL);
    }
}

static int describe_all(void)
{
    int status = 0;

    for (int i = 0; paths[i]; i++) {
        int one = describe_file(program, paths[i]);

        status = MAX(status, one);
        fflush(stdout);
    }
    return status;
}

/* What a sanitizer or a signal ends takes the files after it along. */
static struct {
    const char *file;
    guint after;
} running;

static void tell_rest(void)
{
    if (running.after && !forked_is_child()) {
        sched_passthrough_begin();
        fprintf(stderr, "%s: %s ended the process: %u file%s after it %s not run\n", program, running.file, running.after,
                running.after == 1 ? "" : "s", running.after == 1 ? "is" : "are");
    }
}

static void on_crash(int number)
{
    tell_rest();
    signal(number, SIG_DFL);
    raise(number);
}

static void expect_death(void)
{
    crash_replace(SIG_DFL, on_crash);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(tell_rest);
    }
}

static int run_all(void)
{
    GPtrArray *files = g_ptr_array_new_with_free_func(g_free);
    guint done = 0;

    entered_before = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (int i = 0; paths[i]; i++) {
        if (g_file_test(paths[i], G_FILE_TEST_IS_DIR)) {
            list_folder(paths[i], files);
        } else {
            g_ptr_array_add(files, g_strdup(paths[i]));
        }
    }
    if (resume) {
        done = read_resume(files->len);
    }
    while (done < files->len) {
        bool silent;

        running.file = files->pdata[done++];
        running.after = files->len - done;
        silent = run_file(running.file);

        if (!silent && !driver_program.forks && done < files->len) { /* a fork has taken with it what the finding left behind */
            go_on_in_a_fresh_process(done, files->len);
            break;
        }
    }
    if (show_windows) {
        for_each_window(print_window, NULL);
    }
    g_hash_table_destroy(entered_before);
    g_ptr_array_free(files, TRUE);
    g_strfreev(paths);
    g_strfreev(own_arguments);
    return trouble ? 2 : findings ? 1 : 0;
}

/* What is wrong with the options, each of which is good by itself; NULL: nothing. Nothing that was asked for is left undone in silence. */
static const char *wrong_usage(void)
{
    if (!paths && !policy && !minimized && !facts) {
        return "no file given";
    }
    if (repeats < 1) {
        return "-n takes a number from 1";
    }
    if (!minimized != !output) {
        return "--minimize and --output go together";
    }
    if (paths && policy) {
        return "--policy draws its inputs itself, and takes no FILE";
    }
    if (facts_at && !facts) {
        return "--at belongs to --facts";
    }
    if (facts && (paths || policy || minimized)) {
        return "--facts takes one FILE, and neither others nor --policy nor --minimize";
    }
    if (resume && (!resumed || !paths || describe)) {
        return "--resume is this program's own";
    }
    return minimized && (paths || policy) ? "--minimize takes one FILE, and neither others nor --policy" : NULL;
}

/* It stands first where it stands at all. */
static gchar **without_resume(gchar **arguments)
{
    if (arguments[1] && g_str_has_prefix(arguments[1], "--resume=")) {
        gchar **rest = arguments + 1;

        g_free(*rest);
        do {
            rest[0] = rest[1];
        } while (*rest++);
    }
    return arguments;
}

/* Weak: a program that wakefuzz promote generates is linked with all that this one is, and has its own. */
__attribute__((weak)) int main(int argc, char **argv)
{
    GOptionEntry entries[] = {
        { "runs", 'n', 0, G_OPTION_ARG_INT, &repeats, "run each file N times and compare (default 1)", "N" },
        { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "no reports, only the lines", NULL },
        { "windows", 0, 0, G_OPTION_ARG_NONE, &show_windows, "print how many executions entered each window", NULL },
        { "history", 0, 0, G_OPTION_ARG_NONE, &show_history, "print after each line what the target noted", NULL },
        { "describe", 0, 0, G_OPTION_ARG_NONE, &describe, "one line of fields for each file, with what makes findings the same",
          NULL },
        { "minimize", 0, 0, G_OPTION_ARG_FILENAME, &minimized, "make a finding's input small", "FILE" },
        { "output", 0, 0, G_OPTION_ARG_FILENAME, &output, "where --minimize writes", "FILE" },
        { "facts", 0, 0, G_OPTION_ARG_FILENAME, &facts, "all that is known about a finding, as JSON", "FILE" },
        { "at", 0, 0, G_OPTION_ARG_STRING, &facts_at, "of --facts: with the stacks at these steps", "STEP,STEP..." },
        { "policy", 0, 0, G_OPTION_ARG_STRING, &policy, "hunt with plans of this policy", "NAME" },
        { "seed", 0, 0, G_OPTION_ARG_INT64, &policy_seed, "of --policy (default 1)", "N" },
        { "executions", 0, 0, G_OPTION_ARG_INT64, &executions_max, "of --policy, at most (default 100000)", "N" },
        { "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &seconds_max, "of --policy and --minimize, at most (default 60)", "N" },
        { "resume", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_STRING, &resume, NULL, NULL },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL, "FILE|FOLDER..." },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;
    char **arguments = g_strdupv(argv);

    program = argv[0];
    resumed = argc > 1 && g_str_has_prefix(argv[1], "--resume=");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || wrong_usage()) {
        fprintf(stderr, "%s: %s\nusage: %s [-n N] [--quiet] [--windows] [--history] FILE|FOLDER...\n", program,
                error ? error->message : wrong_usage(), program);
        return 2;
    }
    g_option_context_free(context);
    if (describe || minimized || facts) {
        probe_prepare(arguments);
    }
    own_arguments = without_resume(arguments);
    if (facts_at && !facts_watch(program, facts_at)) {
        return 2;
    }
    warm_up();
    expect_death();
    if (describe || minimized || facts) {
        probe_init();
    }
    sched_install_fault_handler();
    return policy      ? hunt()
           : facts     ? facts_file(program, facts)
           : minimized ? minimize_file(program, minimized, output, seconds_max)
           : describe  ? describe_all()
                       : run_all();
}
