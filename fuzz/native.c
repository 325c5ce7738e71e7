/*
 * TARGET-replay of flavour native: the same scenarios on real threads and the real kernel, where the kernel is the scheduler.
 *
 *   TARGET-replay [-n N] FILE...                      run the scenario of each file N times
 *   TARGET-replay --stress SECONDS [--seed N]         random scenarios, one after another
 *
 * A hang is noticed by a watchdog (--hang SECONDS, default 10): there is nothing better without the simulated OS, and it is the
 * baseline that the detection table compares with. Stress runs in a child, so that a crash too has its number of runs; where the program
 * cannot be set up twice (native.h), each scenario does. Exit status: 0 nothing, 1 a hang or (under stress, or in a child) a crash or a
 * sanitizer's report, 2 could not run.
 */
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz/native.h"

#define SCENARIO_BYTES 48u

static gint repeats = 1, stress_seconds, hang_seconds = 10;
static gint64 seed = 1;
static gchar **paths;
static uint64_t *runs; /* shared with the child that runs the stress */
static gint64 started_us;

void fuzz_violated(const char *format, ...)
{
    char message[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    fprintf(stderr, "panic: assertion: %s\n", message);
    abort();
}

void fuzz_reached(const char *window)
{
    (void)window;
}

uint64_t fuzz_time_ns(void)
{
    return (uint64_t)g_get_monotonic_time() * 1000;
}

/* What real threads do in another order compares with nothing. */
void fuzz_note(const char *format, ...)
{
    (void)format;
}

/* Below the folder that the process runs in: it must be on a disk that does O_DIRECT. */
const char *fuzz_file(const char *name)
{
    static char path[64];

    g_snprintf(path, sizeof(path), "wakefuzz-%d-%s", getpid(), name);
    return path;
}

void fuzz_disk_faults(bool requests, bool batches)
{
    (void)requests;
    (void)batches; /* the real disk does not fail on demand */
}

void fuzz_other_process(void)
{
    /* one table of descriptors is all that a process has */
}

static double seconds(void)
{
    return (double)(g_get_monotonic_time() - started_us) / 1e6;
}

static void on_alarm(int signal_number)
{
    char text[128];
    int length = g_snprintf(text, sizeof(text), "hang after %" PRIu64 " runs, %.1f seconds\n", *runs, seconds());

    (void)signal_number;
    _exit(write(STDOUT_FILENO, text, (size_t)length) == length ? 1 : 2);
}

/* How a child ended that did not come to its end. Returns the exit status. */
static int tell_crash(int ended)
{
    printf("crash after %" PRIu64 " runs, %.1f seconds: %s %d\n", *runs, seconds(), WIFSIGNALED(ended) ? "signal" : "exit status",
           WIFSIGNALED(ended) ? WTERMSIG(ended) : WEXITSTATUS(ended));
    return 1;
}

static void run_program(void *in)
{
    native_program.run(in);
}

/* Returns the exit status. */
static int run_scenario(const uint8_t *data, size_t size)
{
    FuzzInput in = { .data = data, .size = size };

    if (native_program.in_child) {
        int ended = native_program.in_child(run_program, &in, hang_seconds);

        if (ended == NATIVE_HANG) {
            printf("hang after %" PRIu64 " runs, %.1f seconds\n", *runs, seconds());
            return 1;
        }
        if (ended != 0) {
            return tell_crash(ended);
        }
    } else {
        alarm((unsigned)hang_seconds);
        run_program(&in);
        alarm(0);
    }
    ++*runs;
    return 0;
}

static int run_files(const char *program)
{
    int status = 0;

    for (int i = 0; paths && paths[i]; i++) {
        GError *error = NULL;
        gchar *data;
        gsize size;
        int bad = 0;

        if (!g_file_get_contents(paths[i], &data, &size, &error)) {
            fprintf(stderr, "%s: %s\n", program, error->message);
            g_error_free(error);
            status = 2;
            continue;
        }
        for (int n = 0; n < repeats && !bad; n++) {
            bad = run_scenario((const uint8_t *)data, size);
        }
        printf("%s runs=%" PRIu64 "\n", paths[i], *runs);
        *runs = 0;
        status = MAX(status, bad);
        g_free(data);
    }
    return status;
}

/* Returns the exit status. */
static int run_stress(void)
{
    GRand *random = g_rand_new_with_seed((guint32)seed);
    uint8_t data[SCENARIO_BYTES];
    int bad = 0;

    while (seconds() < stress_seconds && !bad) {
        for (size_t i = 0; i < sizeof(data); i++) {
            data[i] = (uint8_t)g_rand_int(random);
        }
        bad = run_scenario(data, sizeof(data));
    }
    g_rand_free(random);
    if (!bad) {
        printf("no hang in %" PRIu64 " runs, %.1f seconds\n", *runs, seconds());
    }
    fflush(stdout);
    return bad;
}

/* Returns the exit status. A hang the child has told already. */
static int stress_in_child(const char *program)
{
    pid_t child;
    int ended;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(run_stress());
    }
    if (child < 0 || waitpid(child, &ended, 0) != child) {
        perror(program);
        return 2;
    }
    return WIFEXITED(ended) && WEXITSTATUS(ended) <= 2 ? WEXITSTATUS(ended) : tell_crash(ended);
}

int main(int argc, char **argv)
{
    GOptionEntry entries[] = {
        { "runs", 'n', 0, G_OPTION_ARG_INT, &repeats, "run each file N times (default 1)", "N" },
        { "stress", 0, 0, G_OPTION_ARG_INT, &stress_seconds, "random scenarios for so long", "SECONDS" },
        { "hang", 0, 0, G_OPTION_ARG_INT, &hang_seconds, "a scenario that takes longer is a hang (default 10)", "SECONDS" },
        { "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "of the random scenarios (default 1)", "N" },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL, "FILE..." },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;
    int status;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || (!paths && stress_seconds < 1) || repeats < 1 ||
        hang_seconds < 1) {
        fprintf(stderr, "%s: %s\nusage: %s [-n N] FILE... | --stress SECONDS [--hang SECONDS] [--seed N]\n", argv[0],
                error ? error->message : "a file, or --stress with a number from 1", argv[0]);
        return 2;
    }
    g_option_context_free(context);
    runs = mmap(NULL, sizeof(*runs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (runs == MAP_FAILED) {
        perror(argv[0]);
        return 2;
    }
    native_program.init();
    signal(SIGALRM, on_alarm);
    started_us = g_get_monotonic_time();
    status = run_files(argv[0]);
    if (stress_seconds > 0 && status == 0) {
        status = native_program.in_child ? run_stress() : stress_in_child(argv[0]);
    }
    g_strfreev(paths);
    return status;
}
