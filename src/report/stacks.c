/*
 * Taking, trimming and printing stacks; see stacks.h.
 *
 * Kernel thread.
 */
#include "report/stacks.h"

#include <stdlib.h>
#include <string.h>

#include "check/check.h"
#include "report/unwinder.h"

enum { FATAL_DEPTH = 16 };

static ReportPcs pcs; /* of the stack being taken: too large for any stack */
static void (*enumerate_coroutines)(ReportVisitCoroutine *visit, void *opaque);

void report_set_coroutines(void (*enumerate)(ReportVisitCoroutine *visit, void *opaque))
{
    enumerate_coroutines = enumerate;
}

void report_each_coroutine(ReportVisitCoroutine *visit, void *opaque)
{
    if (enumerate_coroutines) {
        enumerate_coroutines(visit, opaque);
    }
}

/* ------------------------------------------------------------------------------------------- trimming */

static bool in_folder(const ReportFrame *frame, const char *folder)
{
    return frame->file && strncmp(frame->file, folder, strlen(folder)) == 0;
}

/* What a sanitizer has the compiler call, before an access for one: an execution that is interrupted may be in there. */
static bool is_of_a_sanitizer(const ReportFrame *frame)
{
    static const char *const prefixes[] = { "__asan_",    "__tsan_",    "__msan_",    "__ubsan_",         "__sanitizer_",
                                            "_ZN6__asan", "_ZN6__tsan", "_ZN6__msan", "_ZN11__sanitizer", NULL };

    for (unsigned i = 0; prefixes[i]; i++) {
        if (strncmp(frame->function, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_plumbing(const ReportFrame *frame)
{
    return is_of_a_sanitizer(frame) || in_folder(frame, "src/os/") || in_folder(frame, "src/sched/") ||
           in_folder(frame, "src/report/") || in_folder(frame, "src/check/") || in_folder(frame, "fuzz/plain_access.c");
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++) {
        if (strcmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}

/* How a program says that it has failed: whoever called these is the culprit. */
static bool is_fatal_function(const ReportFrame *frame)
{
    static const char *const names[] = {
        "core_fatal", "abort", "__assert_fail", "g_assertion_message", "g_assertion_message_expr", NULL
    };

    return is_one_of(frame->function, names);
}

/* The index of the first frame to show: the libc symbol, which is the outermost frame of the simulated OS; or, where
 * the thread was in the scheduler alone (an atomic access), whoever called that. */
static unsigned first_shown(const ReportFrame **frames, unsigned count)
{
    unsigned start = 0;
    unsigned libc = count;

    while (start < count && is_plumbing(frames[start])) {
        if (in_folder(frames[start], "src/os/")) {
            libc = start;
        }
        start++;
    }
    for (unsigned i = start; i < count && i < start + FATAL_DEPTH; i++) {
        if (is_fatal_function(frames[i])) {
            libc = count;
            start = i + 1;
        }
    }
    return libc < count ? libc : start;
}

unsigned report_stack_trim(const ReportFrame **frames, unsigned count)
{
    unsigned start = first_shown(frames, count);
    unsigned end = start;

    /* Below the program's first function there is the scheduler again, which started the thread, and then the real
     * thread's start. */
    while (end < count && !in_folder(frames[end], "src/sched/")) {
        end++;
    }
    while (end > start + 1 && (is_plumbing(frames[end - 1]) || strcmp(frames[end - 1]->function, "??") == 0)) {
        end--;
    }
    if (start < end) {
        memmove(frames, frames + start, (end - start) * sizeof(*frames));
    }
    return end - start;
}

/* ------------------------------------------------------------------------------------------- stacks */

ReportStack report_stack_of_pcs(const uintptr_t *taken, unsigned count, bool cut)
{
    ReportStack stack = { .cut = cut };
    unsigned room = 0;

    for (unsigned i = 0; i < count; i++) {
        const ReportFrame *frames;
        unsigned n = report_symbolize(taken[i], &frames);

        if (stack.count + n > room) {
            room = 2 * room + n + 32;
            void *grown = realloc(stack.frames, room * sizeof(*stack.frames));

            if (!grown) {
                abort();
            }
            stack.frames = grown;
        }
        for (unsigned k = 0; k < n; k++) {
            stack.frames[stack.count++] = &frames[k];
        }
    }
    stack.count = report_stack_trim(stack.frames, stack.count);
    return stack;
}

static ReportStack name_frames(const ReportPcs *taken)
{
    return report_stack_of_pcs(taken->at, taken->count, taken->count == REPORT_PCS_MAX);
}

/* A thread without a single step may not have been started yet: resumed, it would begin to run the program. */
static bool has_run(const SchedThread *thread)
{
    CheckTrace trace = check_trace();

    for (size_t i = 0; i < trace.count; i++) {
        if (trace.steps[i].thread == sched_thread_id(thread)) {
            return true;
        }
    }
    return false;
}

ReportStack report_stack_of_thread(SchedThread *thread, bool is_culprit)
{
    const CheckExperiment *experiment = check_experiment();

    pcs.count = 0;
    if (thread == experiment->thread && experiment->stack.count) {
        report_unwind_copy(&experiment->stack, &pcs); /* it slept there; where the experiment took it is no news */
    } else if (!sched_thread_ended(thread) && (is_culprit || (has_run(thread) && !sched_thread_is_daemon(thread)))) {
        report_unwind_thread(thread, &pcs);
    }
    return name_frames(&pcs);
}

ReportStack report_stack_of_coroutine(const ReportCoroutine *coroutine)
{
    pcs.count = 0;
    report_walk_frames(coroutine->frame, coroutine->pc, coroutine->low, coroutine->high, &pcs);
    return name_frames(&pcs);
}

void report_stack_free(ReportStack *stack)
{
    free(stack->frames);
    *stack = (ReportStack){ 0 };
}

/* ------------------------------------------------------------------------------------------- printing */

static void print_frame(FILE *out, const ReportFrame *frame, unsigned number)
{
    fprintf(out, "    #%u 0x%012lx in %s ", number, (unsigned long)frame->pc, frame->function);
    if (frame->file) {
        fprintf(out, "%s:%u\n", frame->file, frame->line);
    } else {
        fprintf(out, "(%s+0x%lx)\n", frame->module, (unsigned long)frame->module_offset);
    }
}

void report_stack_print(FILE *out, const ReportStack *stack, unsigned first, unsigned most)
{
    unsigned tail = most / 4;
    bool all = stack->count <= most;

    for (unsigned i = 0; i < stack->count; i++) {
        if (!all && i == most - tail) {
            fprintf(out, "    ... %u frames not shown\n", stack->count - most);
            i = stack->count - tail;
            if (tail == 0) {
                break;
            }
        }
        print_frame(out, stack->frames[i], first + i);
    }
    if (stack->cut) {
        fprintf(out, "    ... and more frames below\n");
    }
}

/* ------------------------------------------------------------------------------------------- where it waits */

/* Functions that wait on behalf of others: they are on the way to every wait and so name none. */
static bool is_general_wait(const char *function)
{
    static const char *const prefixes[] = {
        "aio_poll",    "fdmon_",      "g_",          "main_loop_", "os_host_main_loop", "qemu_poll_", "qemu_cond_",
        "qemu_event_", "qemu_futex_", "qemu_mutex_", "qemu_sem_",  "qemu_thread_join",  "coroutine_", "qemu_coroutine_yield",
        "futex",       "syscall",     "sched_",      NULL,
    };

    for (unsigned i = 0; prefixes[i]; i++) {
        if (strncmp(function, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool same_file(const ReportFrame *a, const ReportFrame *b)
{
    return a->file && b->file && strcmp(a->file, b->file) == 0;
}

/* The frame from which a general wait was called: outside of it, and of the helpers that it shares a file with. */
static unsigned beyond_general_waits(const ReportStack *stack)
{
    enum { HELPERS_MAX = 4 };
    unsigned at = 0;

    for (unsigned i = 0; i < stack->count && i <= at + HELPERS_MAX; i++) {
        const ReportFrame *frame = stack->frames[i];

        if (is_plumbing(frame) || frame->system_header) {
            at = i == at ? i + 1 : at;
        } else if (is_general_wait(frame->function)) {
            bool helpers_only = true;

            for (unsigned k = at; k < i; k++) {
                helpers_only = helpers_only && same_file(stack->frames[k], frame);
            }
            at = helpers_only ? i + 1 : at;
        }
    }
    return at;
}

const char *report_waiting_function(const ReportStack *stack, const char *hint)
{
    unsigned at = beyond_general_waits(stack);

    for (unsigned i = 0; hint && !is_general_wait(hint) && i < stack->count; i++) {
        if (strcmp(stack->frames[i]->function, hint) == 0) {
            return hint;
        }
    }
    if (stack->count == 0) {
        return "??";
    }
    return stack->frames[at < stack->count ? at : stack->count - 1]->function;
}
