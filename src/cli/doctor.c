/*
 * wakefuzz doctor: is this machine, and is what was built on it, fit for the hunt? Each check is a line: what it is, how it is, what to do.
 *
 * 1. It changes nothing and asks nobody outside of this machine.
 * 2. Whether a program is instrumented is asked of the program: a sanitizer that answers to help=1 is there, counters that libFuzzer has
 *    loaded are there. File names prove nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/doctor.h"

#define FREE_BYTES_LEAST    (256ull << 20) /* as tools/hunt */
#define THREADS_LEAST       2048u          /* 1024 fibers, and the sanitizers' */
#define MAPS_LEAST          65530u         /* the kernel's default */
#define HWCAP2_HAS_FSGSBASE 2u

static const TableColumn columns[] = {
    { "check", TABLE_TEXT }, { "state", TABLE_TEXT }, { "says", TABLE_TEXT }, { NULL, TABLE_TEXT }
};

void doctor_tell(Doctor *doctor, const char *check, DoctorState state, const char *format, ...)
{
    static const char *const words[] = { "good", "note", "BAD" };
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    table_add(doctor->table, check, words[state], text, NULL);
    doctor->bad += state == DOCTOR_BAD;
    g_free(text);
}

/* A number from a file of the kernel's; false where there is none. */
static bool read_number(const char *path, unsigned long long *number)
{
    char *text = NULL;
    bool good = g_file_get_contents(path, &text, NULL, NULL);

    if (good) {
        *number = g_ascii_strtoull(text, NULL, 10);
    }
    g_free(text);
    return good;
}

/* ---- the machine */

static void check_packages(Doctor *doctor)
{
    char *setup = g_build_filename(cli_root(), "tools", "setup", NULL);
    const char *arguments[] = { setup, "--check", NULL };
    CliRun run;

    if (cli_run(arguments, &run)) {
        if (run.status == 0) {
            doctor_tell(doctor, "packages", DOCTOR_GOOD, "all there");
        } else {
            doctor_tell(doctor, "packages", DOCTOR_BAD, "%s; run tools/setup", g_strstrip(run.err));
        }
        cli_run_free(&run);
    } else {
        doctor->bad++;
    }
    g_free(setup);
}

static void check_processor(Doctor *doctor)
{
    if (getauxval(AT_HWCAP2) & HWCAP2_HAS_FSGSBASE) {
        doctor_tell(doctor, "FSGSBASE", DOCTOR_GOOD, "a switch of threads takes no system call");
    } else {
        doctor_tell(doctor, "FSGSBASE", DOCTOR_NOTE,
                    "missing: each switch of threads is a system call, some ten times slower (Linux 5.9, CPUs since 2012)");
    }
}

static void check_randomization(Doctor *doctor)
{
    unsigned long long value = 0;

    if (read_number("/proc/sys/kernel/randomize_va_space", &value) && value == 2) {
        doctor_tell(doctor, "address randomization", DOCTOR_GOOD,
                    "on: that replay does not depend on addresses is put to the test");
    } else {
        doctor_tell(doctor, "address randomization", DOCTOR_NOTE,
                    "off or partly: a dependence on addresses would stay unseen (kernel.randomize_va_space=2)");
    }
}

static void check_disk(Doctor *doctor)
{
    struct statvfs status;
    char *folder = g_strdup(cli_build());

    while (statvfs(folder, &status) != 0 && errno == ENOENT && folder[1]) {
        char *above = g_path_get_dirname(folder);

        g_free(folder);
        folder = above;
    }
    if (statvfs(folder, &status) != 0) {
        doctor_tell(doctor, "disk", DOCTOR_BAD, "%s: %s", folder, g_strerror(errno));
    } else {
        unsigned long long bytes = (unsigned long long)status.f_bavail * status.f_frsize;

        doctor_tell(doctor, "disk", bytes < FREE_BYTES_LEAST ? DOCTOR_BAD : DOCTOR_GOOD, "%llu MiB free at %s, %llu are needed",
                    bytes >> 20, folder, FREE_BYTES_LEAST >> 20);
        if (access(folder, W_OK) != 0) {
            doctor_tell(doctor, "build folder", DOCTOR_BAD, "%s cannot be written to; WAKEFUZZ_BUILD names another", folder);
        }
    }
    g_free(folder);
}

static void check_limits(Doctor *doctor)
{
    struct rlimit limit;
    unsigned long long maps = 0;

    if (getrlimit(RLIMIT_NPROC, &limit) == 0) {
        bool good = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= THREADS_LEAST;

        doctor_tell(doctor, "threads", good ? DOCTOR_GOOD : DOCTOR_BAD,
                    good ? "no limit that matters" : "%llu at most for this user: raise it (ulimit -u)",
                    (unsigned long long)limit.rlim_cur);
    }
    if (read_number("/proc/sys/vm/max_map_count", &maps)) {
        doctor_tell(doctor, "memory maps", maps < MAPS_LEAST ? DOCTOR_BAD : DOCTOR_GOOD, "%llu a process%s", maps,
                    maps < MAPS_LEAST ? ": every stack is two (vm.max_map_count)" : "");
    }
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        doctor_tell(doctor, "address space", DOCTOR_BAD, "limited (ulimit -v): the sanitizers' shadow takes terabytes of it");
    }
}

/* ---- what was built */

static bool prints(const char *program, const char *variable, const char *wanted)
{
    const char *arguments[] = { "env", variable, program, "-runs=0", NULL };
    CliRun run;
    bool found = false;

    if (cli_run(arguments, &run)) {
        found = strstr(run.err, wanted) || strstr(run.out, wanted);
        cli_run_free(&run);
    }
    return found;
}

static const char *sanitizer_missing(const char *flavour, const char *program)
{
    if (strcmp(flavour, "asan") == 0 && !prints(program, "ASAN_OPTIONS=help=1", "flags for AddressSanitizer")) {
        return "AddressSanitizer";
    }
    if (strcmp(flavour, "tsan") == 0 && !prints(program, "TSAN_OPTIONS=help=1", "flags for ThreadSanitizer")) {
        return "ThreadSanitizer";
    }
    return prints(program, "LANG=C", "inline 8-bit counters") ? NULL : "coverage counters";
}

static void check_target(Doctor *doctor, const char *flavour, const char *target)
{
    char *program = cli_program(flavour, target, NULL, false), *check = g_strdup_printf("%s in %s", target, flavour);

    if (!cli_is_built(program)) {
        doctor_tell(doctor, check, DOCTOR_NOTE, "not built: ninja -C build/%s fuzz/%s", flavour, target);
    } else {
        const char *missing = sanitizer_missing(flavour, program);

        if (missing) {
            doctor_tell(doctor, check, DOCTOR_BAD, "%s is not in it: the flavour was not built as sanitizers/%s.ini says",
                        missing, flavour);
        } else {
            doctor_tell(doctor, check, DOCTOR_GOOD, "instrumented");
        }
    }
    g_free(check);
    g_free(program);
}

static bool check_targets(Doctor *doctor)
{
    char **targets = cli_targets(), **flavours = cli_hunting_flavours();
    bool good = targets && flavours;

    for (unsigned i = 0; good && flavours[i]; i++) {
        char *ninja = g_build_filename(cli_build(), flavours[i], "build.ninja", NULL);

        if (!g_file_test(ninja, G_FILE_TEST_EXISTS)) {
            doctor_tell(doctor, flavours[i], DOCTOR_NOTE,
                        "not built: tools/hunt builds it, or meson setup build/%s --native-file sanitizers/%s.ini", flavours[i],
                        flavours[i]);
        } else {
            for (unsigned k = 0; targets[k]; k++) {
                check_target(doctor, flavours[i], targets[k]);
            }
        }
        g_free(ninja);
    }
    g_strfreev(flavours);
    g_strfreev(targets);
    return good;
}

static bool check_machine_and_builds(Doctor *doctor)
{
    check_packages(doctor);
    check_processor(doctor);
    check_randomization(doctor);
    check_disk(doctor);
    check_limits(doctor);
    return check_targets(doctor);
}

int command_doctor(int argc, char **argv)
{
    gboolean json = FALSE;
    gchar *strict = NULL, *sanitizer = NULL;
    const GOptionEntry entries[] = {
        { "json", 0, 0, G_OPTION_ARG_NONE, &json, "print an array of objects", NULL },
        { "strict", 0, 0, G_OPTION_ARG_FILENAME, &strict, "check a folder of targets as OSS-Fuzz gets it, and nothing else",
          "FOLDER" },
        { "sanitizer", 0, 0, G_OPTION_ARG_STRING, &sanitizer,
          "of --strict: address, undefined, memory, thread or coverage (default address)", "NAME" },
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    Doctor doctor = { .bad = 0 };
    char **rest;
    bool good;
    int status;

    if (!cli_parse(&argc, &argv, "doctor", "Is this machine, and is what was built on it, fit for the hunt?", entries, &rest,
                   &status)) {
        return status;
    }
    if (rest[0]) {
        g_strfreev(rest);
        return cli_fail("it takes no argument");
    }
    g_strfreev(rest);
    if (sanitizer && !strict) {
        return cli_fail("--sanitizer is of --strict");
    }
    doctor.table = table_new(columns);
    good = strict ? doctor_check_folder(&doctor, strict, sanitizer ? sanitizer : "address") : check_machine_and_builds(&doctor);
    g_free(strict);
    g_free(sanitizer);
    if (!good) {
        return CLI_COULD_NOT;
    }
    table_finish(doctor.table, json);
    return doctor.bad ? CLI_COULD_NOT : CLI_DONE;
}
