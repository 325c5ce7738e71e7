/*
 * A target as libFuzzer sees it. The scheduler's executions run on libFuzzer's thread; a finding ends the process by abort(), so that
 * libFuzzer, ClusterFuzz and every other engine of this kind keep the input.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/crash.h"
#include "fuzz/driver.h"
#include "fuzz/forked.h"
#include "os/heap.h"
#include "sched/mutate.h"
#include "sched/sched.h"

/* Learning costs a fifth of an execution and saturates soon: every execution at first, then one in so many. */
#define LEARN_ALWAYS 2000u
#define LEARN_EVERY  8u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out,
                                 size_t max_size, unsigned seed);

static const char *program, *artifact_prefix = "", *exact_artifact;
static char **given;              /* arguments, till NULL */
static const char *replayed_file; /* the first one: libFuzzer then runs files, and keeps no input; NULL: it does */

static const char *flag_value(const char *argument, const char *flag)
{
    size_t length = strlen(flag);

    return strncmp(argument, flag, length) == 0 ? argument + length : NULL;
}

static bool is_file(const char *argument)
{
    return argument[0] != '-' && g_file_test(argument, G_FILE_TEST_IS_REGULAR);
}

static void read_arguments(int argc, char **argv)
{
    program = argv[0];
    given = argv + 1;
    for (int i = 1; i < argc; i++) {
        const char *value;

        if ((value = flag_value(argv[i], "-artifact_prefix="))) {
            artifact_prefix = value;
        } else if ((value = flag_value(argv[i], "-exact_artifact_path="))) {
            exact_artifact = value;
        } else if (is_file(argv[i])) {
            replayed_file = replayed_file ? replayed_file : argv[i];
        }
    }
}

/* Of the files that are given the one that holds this input; NULL: none does. */
static const char *given_file_with(const uint8_t *data, size_t size)
{
    for (char **argument = given; *argument; argument++) {
        gchar *held = NULL;
        gsize bytes = 0;
        bool same = is_file(*argument) && g_file_get_contents(*argument, &held, &bytes, NULL) && bytes == size &&
                    (size == 0 || memcmp(held, data, size) == 0);

        g_free(held);
        if (same) {
            return *argument;
        }
    }
    return NULL;
}

/*
 * Defaults that suit inputs whose end is a plan of fixed structure: libFuzzer's length control would cut it off for the first
 * thousands of executions. A flag on the command line comes later and wins.
 */
static void add_default_flags(int *argc, char ***argv)
{
    static char *defaults[] = { "-len_control=0", "-max_len=1024" };
    size_t count = sizeof(defaults) / sizeof(defaults[0]);
    char **all = calloc((size_t)*argc + count + 1, sizeof(*all));

    if (!all) {
        return;
    }
    all[0] = (*argv)[0];
    memcpy(&all[1], defaults, sizeof(defaults));
    memcpy(&all[1 + count], &(*argv)[1], (size_t)(*argc - 1) * sizeof(*all));
    *argc += (int)count;
    *argv = all;
}

/*
 * The driver warms up with the empty input before libFuzzer is ready to keep one. What a sanitizer or a signal ends there is kept here,
 * under the name that libFuzzer would give it: else what the plainest scenario finds would be a process that does not start.
 */
static char *empty_path;

static void keep_empty_input(void)
{
    int fd;

    if (forked_is_child()) {
        return; /* the process sees how it ends */
    }
    sched_passthrough_begin();
    if (replayed_file) {
        fprintf(stderr, "wakefuzz: this is the empty input, with which the program warms up before it reads %s\n", replayed_file);
        return;
    }
    fd = open(empty_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd >= 0) {
        close(fd);
        fprintf(stderr, "artifact_prefix='%s'; Test unit written to %s\n", artifact_prefix, empty_path);
    } else {
        fprintf(stderr, "wakefuzz: cannot write %s: %s\n", empty_path, strerror(errno));
    }
}

static void keep_and_die(int number)
{
    keep_empty_input();
    signal(number, SIG_DFL);
    raise(number);
}

/* A sanitizer that has a handler of its own calls back. */
static void catch_crashes(bool on)
{
    crash_replace(on ? SIG_DFL : keep_and_die, on ? keep_and_die : SIG_DFL);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(on ? keep_empty_input : NULL);
    }
}

static void warm_up(void)
{
    char *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA1, NULL, 0);

    empty_path = exact_artifact ? g_strdup(exact_artifact) : g_strdup_printf("%scrash-%s", artifact_prefix, hash);
    g_free(hash);
    catch_crashes(true);
    driver_init();
    catch_crashes(false); /* libFuzzer takes what is free */
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    read_arguments(*argc, *argv);
    add_default_flags(argc, argv);
    warm_up();
    sched_mutate_disturbs(fuzz_target.disturbs);
    return 0;
}

/* libFuzzer's own handler of SIGABRT comes after this: libc's abort() may be called inside of malloc(), and inside of an execution. */
static struct sigaction abort_before;

static void on_abort(int number, siginfo_t *info, void *context)
{
    sched_passthrough_begin();
    os_heap_leave();
    if (abort_before.sa_flags & SA_SIGINFO) {
        abort_before.sa_sigaction(number, info, context);
    } else {
        sigaction(number, &abort_before, NULL); /* and abort() raises it again */
    }
}

static void install_handlers(void)
{
    const struct sigaction action = { .sa_sigaction = on_abort, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

    sched_install_fault_handler(); /* now libFuzzer has its own, which come after ours */
    sigaction(SIGABRT, &action, &abort_before);
}

static void abort_with_report(const CheckResult *verdict, const uint8_t *data, size_t size)
{
    char *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA1, data, size);
    const char *file = given_file_with(data, size);
    char *name = file             ? g_strdup(file)
                 : exact_artifact ? g_strdup(exact_artifact)
                                  : g_strdup_printf("%scrash-%s", artifact_prefix, hash);

    driver_report(stderr, verdict, program, name);
    fflush(NULL);
    abort_after_report();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool handlers_installed;
    const CheckResult *verdict;

    if (!handlers_installed) {
        install_handlers();
        handlers_installed = true;
    }
    sched_set_learning(driver_executions() < LEARN_ALWAYS || driver_executions() % LEARN_EVERY == 0);
    verdict = driver_execute(data, size);
    if (verdict->verdict != CHECK_NONE) {
        abort_with_report(verdict, data, size);
    }
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return sched_mutate(data, size, max_size, seed, LLVMFuzzerMutate);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out,
                                 size_t max_size, unsigned seed)
{
    return sched_crossover(data1, size1, data2, size2, out, max_size, seed);
}
