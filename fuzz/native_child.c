/*
 * Scenarios of flavour native in children of the process, each in a scratch folder. See native.h. Main thread.
 *
 * 1. fork() is libc's: the program may have handlers for it, by which a child gets the threads that it needs.
 * 2. SIGCHLD is blocked from the start, so that the end of a child cannot come before the wait for it.
 */
#include <dirent.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz/native.h"

#define PATH_BYTES 4096u

static char scratch[PATH_BYTES]; /* absolute; empty: not made yet */

/* ---- the scratch folder */

__attribute__((noreturn)) static void cannot(const char *what)
{
    fprintf(stderr, "wakefuzz: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void empty_scratch(void)
{
    DIR *folder = opendir(scratch);
    int fd = folder ? dirfd(folder) : -1;
    const struct dirent *entry;

    while (fd >= 0 && (entry = readdir(folder))) {
        unlinkat(fd, entry->d_name, 0); /* "." and ".." refuse */
    }
    if (folder) {
        closedir(folder);
    }
}

static void remove_scratch(void)
{
    empty_scratch();
    rmdir(scratch);
}

static void start(void)
{
    static const char name[] = "/wakefuzz-XXXXXX";
    sigset_t set;

    if (!getcwd(scratch, sizeof(scratch) - sizeof(name))) {
        cannot("this folder has no path");
    }
    strcat(scratch, name);
    if (!mkdtemp(scratch)) {
        cannot(scratch);
    }
    atexit(remove_scratch);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ---- stacks of a child that hangs */

/* clang writes no .debug_aranges: where libdw finds no unit for an address, the units are searched. */
static Dwarf_Line *line_at(Dwfl_Module *module, Dwarf_Addr pc)
{
    Dwarf_Addr bias;
    Dwarf_Die *unit = dwfl_module_addrdie(module, pc, &bias);

    if (!unit) {
        do {
            unit = dwfl_module_nextcu(module, unit, &bias);
        } while (unit && dwarf_haspc(unit, pc - bias) != 1);
    }
    return unit ? dwarf_getsrc_die(unit, pc - bias) : NULL;
}

static int print_frame(Dwfl_Frame *frame, void *opaque)
{
    Dwfl *dwfl = opaque;
    Dwarf_Addr pc;
    bool exact;
    Dwfl_Module *module;
    Dwarf_Line *line;
    const char *name;
    int number;

    if (!dwfl_frame_pc(frame, &pc, &exact)) {
        return DWARF_CB_ABORT;
    }
    pc -= !exact; /* into the call */
    module = dwfl_addrmodule(dwfl, pc);
    name = module ? dwfl_module_addrname(module, pc) : NULL;
    line = module ? line_at(module, pc) : NULL;
    fprintf(stderr, "    %s", name ? name : "?");
    if (line && dwarf_lineno(line, &number) == 0) {
        fprintf(stderr, " (%s:%d)", dwarf_linesrc(line, NULL, NULL), number);
    }
    fprintf(stderr, "\n");
    return DWARF_CB_OK;
}

static int print_thread(Dwfl_Thread *thread, void *opaque)
{
    char path[64], name[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", dwfl_thread_tid(thread));
    file = fopen(path, "r");
    if (file) {
        if (fgets(name, sizeof(name), file)) {
            name[strcspn(name, "\n")] = '\0';
        }
        fclose(file);
    }
    fprintf(stderr, "  thread %d %s\n", dwfl_thread_tid(thread), name);
    dwfl_thread_getframes(thread, print_frame, opaque);
    return DWARF_CB_OK;
}

/* Of its threads: a coroutine that is suspended is on none of these stacks. */
static void print_stacks(pid_t child)
{
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_linux_proc_find_elf,
        .find_debuginfo = dwfl_standard_find_debuginfo,
    };
    Dwfl *dwfl;

    unsetenv("DEBUGINFOD_URLS"); /* a fuzz target does not use the network */
    dwfl = dwfl_begin(&callbacks);
    if (!dwfl || dwfl_linux_proc_report(dwfl, child) || dwfl_report_end(dwfl, NULL, NULL) ||
        dwfl_linux_proc_attach(dwfl, child, false) || dwfl_getthreads(dwfl, print_thread, dwfl)) {
        fprintf(stderr, "  its stacks cannot be read: %s\n", dwfl_errmsg(-1));
    }
    dwfl_end(dwfl);
}

/* ---- children */

/* Wait for its end; returns NATIVE_HANG where that does not come in time, and the child is there still. */
static int wait_for(pid_t child, int seconds)
{
    struct timespec now, end;
    sigset_t set;
    int status;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds;
    for (;;) {
        struct timespec left;
        pid_t ended = waitpid(child, &status, WNOHANG);

        if (ended == child) {
            return status;
        }
        if (ended < 0) {
            cannot("no end of a child");
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        left = (struct timespec){ end.tv_sec - now.tv_sec, end.tv_nsec - now.tv_nsec };
        if (left.tv_nsec < 0) {
            left = (struct timespec){ left.tv_sec - 1, left.tv_nsec + 1000000000 };
        }
        if (left.tv_sec < 0) {
            return NATIVE_HANG;
        }
        sigtimedwait(&set, NULL, &left);
    }
}

int native_in_child(void (*function)(void *), void *opaque, int seconds)
{
    pid_t child;
    int status;

    if (!scratch[0]) {
        start();
    }
    fflush(NULL);
    child = fork();
    if (child < 0) {
        cannot("no child process (see ulimit -u)");
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (chdir(scratch)) {
            perror(scratch);
            _exit(2);
        }
        function(opaque);
        fflush(NULL);
        _exit(0);
    }
    status = wait_for(child, seconds);
    if (status == NATIVE_HANG) {
        print_stacks(child);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (status != 0) {
        empty_scratch();
    }
    return status;
}
