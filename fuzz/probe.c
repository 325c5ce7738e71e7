/*
 * See probe.h. The child shares one mapping with its parent, in which it leaves what it found:
 *
 *     step | parent                                | child
 *     -----+---------------------------------------+---------------------------------------------------------
 *        1 | clears the shared mapping, forks      |
 *        2 |                                       | notes the index of the probe that it begins, runs it
 *        3 |                                       | no finding: the next one, unless it is over; a finding: writes it
 *          |                                       | down, exits
 *        4 | waits; no result: the sanitizer's     |
 *          | report, or the signal, is the finding |
 *        5 | asks for the code addresses that the  |
 *          | child had to look up, for its next    |
 *
 * The fork is the bare system call: fibers are memory, and go on in the child; libc's would take their stacks for free.
 */
#include "fuzz/probe.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "fuzz/crash.h"
#include "fuzz/probe_text.h"
#include "fuzz/program.h"
#include "fuzz/rewind.h"
#include "report/symbolize.h"
#include "report/unwinder.h"
#include "sched/learn.h"

enum { DEVIATIONS_MAX = 8192, PCS_MAX = 4096, CRASH_FRAMES_MAX = 64, CRASH_FUNCTIONS = 3, OUTPUT_BYTES_MAX = 1 << 16 };
#define PATIENCE_S 60u /* for one execution: its steps are bounded, but not what it does between two of them */

typedef struct Shared {
    unsigned current; /* the probe that runs, or has run last */
    uint64_t executions;
    bool finished;    /* result holds; false: the process ended in the middle */
    bool finding;
    int signal;       /* that ended the program; 0: none */
    uintptr_t crash_pcs[CRASH_FRAMES_MAX]; /* innermost first, of a return address the one before; after the last: 0 */
    ProbeResult result;
    SchedOverride deviations[DEVIATIONS_MAX];
    size_t pc_count;
    uintptr_t pcs[PCS_MAX];
    volatile sig_atomic_t stopped; /* the parent's handler sets it, and both look at it between two probes; never cleared */
} Shared;

static Shared *shared;
static int output = -1; /* what children print */
static uint64_t executions, forks, step_bound;
static SchedOverride deviations[DEVIATIONS_MAX];

extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

void probe_stop(void)
{
    shared->stopped = 1;
}

bool probe_stopped(void)
{
    return shared->stopped;
}

/* Is no other probe to be begun? In parent and child. */
static bool is_over(double deadline)
{
    return shared->stopped || (deadline > 0 && (double)g_get_monotonic_time() * 1e-6 > deadline);
}

/* ---- in the child */

static void note_execution(const SchedResult *result)
{
    ProbeResult *to = &shared->result;

    to->hash = result->trace_hash;
    to->steps = result->steps;
    to->preemptions = result->preemptions;
    to->threads = MIN(result->threads, PROBE_THREADS_MAX);
    for (uint32_t i = 0; i < to->threads; i++) {
        to->decisions[i] = sched_learn_decisions(i);
    }
    to->complete = result->deviations_complete && result->deviation_count <= DEVIATIONS_MAX;
    to->deviation_count = MIN(result->deviation_count, DEVIATIONS_MAX);
    memcpy(shared->deviations, result->deviations, to->deviation_count * sizeof(SchedOverride));
}

static void before_sanitizer_report(void)
{
    note_execution(sched_result_so_far());
}

/* By the chain of frame pointers, as far as it stays on a stack of the program's. */
static void note_frames(uintptr_t pc, const uintptr_t *frame)
{
    shared->crash_pcs[0] = pc;
    for (unsigned i = 1; i < CRASH_FRAMES_MAX && sched_is_stack((uintptr_t)frame) && frame[1]; i++) {
        const uintptr_t *next = (const uintptr_t *)frame[0];

        shared->crash_pcs[i] = frame[1] - 1;
        if (next <= frame) {
            break;
        }
        frame = next;
    }
}

/* libc has no frame pointers, so that the unwinder is asked as well, which may crash itself on a stack that is broken: after the other way. */
static void note_crash(const greg_t *registers)
{
    static ReportPcs all; /* from here on, past the signal */
    uintptr_t pc = (uintptr_t)registers[REG_RIP];
    unsigned first = 0;

    if (pc == 0 && sched_is_stack((uintptr_t)registers[REG_RSP])) {
        pc = *(const uintptr_t *)registers[REG_RSP] - 1; /* NULL was called: by whom */
    }
    note_frames(pc, (const uintptr_t *)registers[REG_RBP]);
    report_unwind_here(&all);
    while (first < all.count && all.at[first] != pc) {
        first++;
    }
    if (first < all.count) {
        unsigned count = MIN(all.count - first, CRASH_FRAMES_MAX);

        memset(shared->crash_pcs, 0, sizeof(shared->crash_pcs));
        memcpy(shared->crash_pcs, all.at + first, count * sizeof(all.at[0]));
    }
}

static const int crashes[] = FUZZ_CRASH_SIGNALS;

static void on_crash(int number, siginfo_t *info, void *context)
{
    const ucontext_t *machine = context;

    (void)info;
    sched_passthrough_begin(); /* abort() comes here from inside of an execution */
    for (size_t i = 0; i < G_N_ELEMENTS(crashes); i++) {
        signal(crashes[i], SIG_DFL); /* of what looks at this crash: the process ends, and what is noted by then holds */
    }
    shared->signal = number;
    note_execution(sched_result_so_far());
    note_crash(machine->uc_mcontext.gregs);
    syscall(SYS_exit_group, 0);
}

static const CheckResult *run(const Recipe *recipe)
{
    SchedPlan plan = recipe->plan;

    plan.override_count = 0;
    sched_replace_overrides(recipe->override_count ? recipe->overrides : plan.overrides, recipe->override_count);
    return driver_execute_plan(recipe->scenario, recipe->scenario_size, &plan);
}

/* Is the process as it was before an execution that was none of a finding? What it has looked up since is for the parent to know first. */
static bool can_go_on(bool rewinds, size_t known)
{
    return !driver_program.forks || (rewinds && report_symbolized_count() == known && rewind_back());
}

static void child(const Recipe *recipes, unsigned first, unsigned count, double deadline)
{
    size_t known = report_symbolized_count();
    bool rewinds;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    driver_sanitizer_hook = before_sanitizer_report;
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(before_sanitizer_report); /* of a signal TSan tells no hook */
    }
    driver_stop_before(step_bound);
    sched_start_clock();
    sched_set_namer(report_site_namer); /* a program that forks has one that asks the parent, and that waits for us */
    rewinds = driver_program.forks && count - first > 1 && rewind_wanted() && rewind_mark();
    for (unsigned i = first; i < count; i++) {
        const CheckResult *verdict;

        shared->current = i;
        shared->executions++;
        alarm(PATIENCE_S);
        verdict = run(&recipes[i]);
        note_execution(driver_result());
        if (verdict->verdict != CHECK_NONE) {
            ProbeResult *to = &shared->result;

            g_strlcpy(to->verdict, check_verdict_name(verdict->verdict), sizeof(to->verdict));
            driver_describe(verdict, to->key, to->summary, sizeof(to->summary));
            shared->finding = true;
            break;
        }
        if (is_over(deadline) || !can_go_on(rewinds, known)) {
            break;
        }
    }
    shared->pc_count = report_symbolized_since(known, shared->pcs, PCS_MAX);
    shared->finished = true;
    syscall(SYS_exit_group, 0);
}

/* ---- in the parent */

static bool is_of(const ReportFrame *frame, const char *path)
{
    return frame->file && g_str_has_prefix(frame->file, path);
}

/*
 * Not libc's or GLib's, and none of those that stand in front of libc's or look at an object before the program does: where in malloc() a broken
 * heap is met depends on all that was allocated before.
 */
static bool is_programs(const ReportFrame *frame)
{
    const char *program = report_function_at((uintptr_t)is_programs)->module;

    return strcmp(frame->module, program) == 0 && !is_of(frame, "src/os/") && !is_of(frame, "src/sched/") &&
           !is_of(frame, "fuzz/plain_access.c");
}

/* The functions of the program where it happened, innermost first, as one word; where there are none, the innermost function. Free it. */
static char *name_crash(void)
{
    GString *named = g_string_new(NULL);
    unsigned count = 0;

    for (unsigned i = 0; i < CRASH_FRAMES_MAX && shared->crash_pcs[i] && count < CRASH_FUNCTIONS; i++) {
        const ReportFrame *frame = report_function_at(shared->crash_pcs[i]);

        if (is_of(frame, "fuzz/") && is_programs(frame)) {
            break; /* by which scenario it was met does not make it another bug */
        }
        if (is_programs(frame)) {
            g_string_append_printf(named, "%s%s", count++ ? "," : "", frame->function);
        }
    }
    if (!count && shared->crash_pcs[0]) {
        g_string_append(named, report_function_at(shared->crash_pcs[0])->function);
    }
    return g_string_free(named, FALSE);
}

/* The summary: "crash: Segmentation fault in f,g", and " (below it: _int_malloc of libc.so.6)" where it was there. */
static void describe_crash(int number, ProbeResult *to)
{
    const ReportFrame *innermost = shared->crash_pcs[0] ? report_function_at(shared->crash_pcs[0]) : NULL;
    char *functions = name_crash();
    GString *summary = g_string_new(NULL);

    g_strlcpy(to->verdict, number == SIGALRM ? "timeout" : "crash", sizeof(to->verdict));
    snprintf(to->key, sizeof(to->key), "%s signal=%d stack=%s", to->verdict, number, functions);
    g_string_printf(summary, "%s: %s", to->verdict,
                    number == SIGALRM ? "no end within a minute"
                    : number          ? strsignal(number)
                                      : "the process ended");
    if (functions[0]) {
        g_string_append_printf(summary, " in %s", functions);
    }
    if (innermost && !is_programs(innermost) && strcmp(innermost->function, functions) != 0) {
        g_string_append_printf(summary, " (below it: %s of %s)", innermost->function, innermost->module);
    }
    g_strlcpy(to->summary, summary->str, sizeof(to->summary));
    g_string_free(summary, TRUE);
    g_free(functions);
}

/* The child ended in the middle of an execution: what does that say? */
static void judge_end(int status)
{
    ProbeResult *to = &shared->result;
    char text[OUTPUT_BYTES_MAX], *named;
    off_t end = lseek(output, 0, SEEK_END),
          room = sizeof(text) - 1; /* the last that was said, after all that the program printed */
    ssize_t length = pread(output, text, (size_t)room, MAX(end - room, 0));
    int number = shared->signal ? shared->signal : WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    bool said;

    text[MAX(length, 0)] = '\0';
    to->cut = true;
    named = probe_text_with_names(text);
    said = !shared->signal && probe_text_sanitizer(named, to);
    g_free(named);
    if (said) {
        return;
    }
    describe_crash(number, to);
}

static void fork_child(const Recipe *recipes, unsigned first, unsigned count, double deadline)
{
    int status = 0;
    long pid;

    memset(shared, 0, offsetof(Shared, deviations));
    shared->pc_count = 0;
    g_strlcpy(shared->result.verdict, "none", sizeof(shared->result.verdict));
    if (ftruncate(output, 0) || lseek(output, 0, SEEK_SET)) {
        perror("wakefuzz: the file for a child's output");
        exit(2);
    }
    fflush(NULL);
    pid = syscall(SYS_fork);
    if (pid == 0) {
        child(recipes, first, count, deadline);
    }
    while (pid > 0 && waitpid((pid_t)pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (pid < 0) {
        perror("wakefuzz: cannot fork");
        exit(2);
    }
    forks++;
    executions += shared->executions;
    if (!shared->finished && first < count) {
        judge_end(status);
        shared->finding = true;
    }
    for (size_t i = 0; i < shared->pc_count; i++) {
        const ReportFrame *frames;

        report_symbolize(shared->pcs[i], &frames);
    }
}

static void take_result(ProbeResult *result)
{
    *result = shared->result;
    memcpy(deviations, shared->deviations, result->deviation_count * sizeof(SchedOverride));
    result->deviations = deviations;
}

/* Is it the same execution when nothing was run before? */
static bool alone(const Recipe *recipe, ProbeResult *result)
{
    uint64_t hash = result->hash;

    fork_child(recipe, 0, 1, 0);
    take_result(result);
    return shared->finding && result->hash == hash;
}

unsigned probe_first(const Recipe *recipes, unsigned count, double deadline, ProbeWanted *wanted, void *opaque,
                     ProbeResult *result)
{
    unsigned first = 0;

    while (first < count && !is_over(deadline)) {
        ProbeAnswer answer;
        unsigned index;

        fork_child(recipes, first, count, deadline);
        if (!shared->finding) {
            first = shared->current + 1;
            continue;
        }
        index = shared->current;
        take_result(result);
        answer = wanted(result, index, opaque);
        if (answer == PROBE_STOP) {
            return count;
        }
        if (answer == PROBE_TAKE && (index == first || alone(&recipes[index], result))) {
            return index;
        }
        first = index + 1;
    }
    return count;
}

bool probe_one(const Recipe *recipe, ProbeResult *result)
{
    fork_child(recipe, 0, 1, 0);
    take_result(result);
    return shared->finding;
}

void probe_set_step_bound(uint64_t steps)
{
    step_bound = steps;
}

uint64_t probe_executions(void)
{
    return executions;
}

uint64_t probe_forks(void)
{
    return forks;
}

static void add_options(const char *variable, const char *options)
{
    const char *before = getenv(variable);
    char *all = before ? g_strdup_printf("%s:%s", before, options) : g_strdup(options);

    setenv(variable, all, 1);
    g_free(all);
}

void probe_prepare(char **argv)
{
    static const char options[] = "symbolize=0:stack_trace_format='    #%n %p'";
    static const char *const variables[] = { "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "MSAN_OPTIONS" };
    const char *before = getenv(variables[0]);

    if ((!__asan_init && !__tsan_init) || (before && strstr(before, options))) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(variables); i++) {
        add_options(variables[i], options);
    }
    execv("/proc/self/exe", argv); /* options are read when a process starts; where this fails, it is slow */
}

void probe_init(void)
{
    struct sigaction action = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    output = memfd_create("wakefuzz-probe", MFD_CLOEXEC);
    if (shared == MAP_FAILED || output < 0) {
        fprintf(stderr, "wakefuzz: no memory to share with the processes that run probes: %s\n", strerror(errno));
        exit(2);
    }
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < G_N_ELEMENTS(crashes) && !__asan_init && !__tsan_init; i++) {
        sigaction(crashes[i], &action, NULL); /* a sanitizer has handlers of its own, and says more */
    }
}
