/*
 * When are two findings the same? A minimizer that gets this wrong shrinks one bug into another, a triage that gets it wrong shows one
 * bug twice. Kernel thread, after an execution.
 *
 * 1. No number, address or thread name is part of a key: another schedule, or a scenario with fewer threads, has the same.
 * 2. In doubt two keys differ: a minimizer then stays larger than it could, but stays with its bug.
 */
#include <stdlib.h>
#include <string.h>

#include "report/step_text.h"
#include "report/summary.h"

enum { WAITS_MAX = 64, NAMES_MAX = 32, KINDS_MAX = 16, KIND_BYTES = 64, STACK_FUNCTIONS = 3, LOOP_STEPS = 20000, LOOP_PART = 10 };

/* Names in alphabetical order, each once: a set, so that neither the order nor the number of threads matters. Of more than it holds the first ones. */
typedef struct Names {
    const char *names[NAMES_MAX];
    unsigned count;
} Names;

static void add_name(Names *set, const char *name)
{
    unsigned at = 0;

    while (at < set->count && strcmp(set->names[at], name) < 0) {
        at++;
    }
    if (at == NAMES_MAX || (at < set->count && strcmp(set->names[at], name) == 0)) {
        return;
    }
    set->count -= set->count == NAMES_MAX;
    memmove(&set->names[at + 1], &set->names[at], (set->count - at) * sizeof(set->names[0]));
    set->names[at] = name;
    set->count++;
}

static void say_names(Text *text, const char *what, const Names *set)
{
    for (unsigned i = 0; i < set->count; i++) {
        text_add(text, "%s%s", i ? "," : what, set->names[i]);
    }
}

static void say_wakeup(Text *text, const ReportFinding *finding, const ReportFacts *facts)
{
    const CheckCause *cause = &finding->check->cause;
    const char *waker = report_waker_function(finding);

    text_add(text, " waiter=%s waker=%s", report_waiter_function(finding, facts), waker ? waker : "unknown");
    if (cause->kind == CHECK_CAUSE_WRITE) {
        text_add(text, " object=");
        report_add_field(text, check_trace().steps[cause->write_step].site->expression);
    }
}

/* Who waits for whom; where nobody waits for anybody in particular, who waits. */
static void say_deadlock(Text *text, const ReportFacts *facts)
{
    CheckWait waits[WAITS_MAX];
    unsigned count = check_waits(check_trace(), waits, WAITS_MAX);
    Names set = { .count = 0 };
    bool cycle = false;

    for (unsigned i = 0; i < count; i++) {
        cycle = cycle || waits[i].in_cycle;
    }
    for (unsigned i = 0; i < count; i++) {
        if ((waits[i].in_cycle || !cycle) && waits[i].waiter < facts->thread_count) {
            add_name(&set, report_waiting_function(&facts->stacks[waits[i].waiter], NULL));
        }
    }
    say_names(text, cycle ? " cycle=" : " waiting=", &set);
}

static void say_recursion(Text *text, const ReportFacts *facts)
{
    const ReportStack *stack = report_culprit_stack(facts);
    Names set = { .count = 0 };

    for (size_t i = 0; i < facts->recursion.length; i++) {
        add_name(&set, stack->frames[facts->recursion.first + i]->function);
    }
    say_names(text, " recursion=", &set);
}

/* By which scenario a bug was met does not make it another bug. */
static bool is_harness(const ReportFrame *frame)
{
    return frame->file && strncmp(frame->file, "fuzz/", strlen("fuzz/")) == 0;
}

/* The innermost functions of the culprit, less those that only wait on behalf of others. */
static void say_stack(Text *text, const ReportFacts *facts)
{
    const ReportStack *stack = report_culprit_stack(facts);
    const char *waiting = report_waiting_function(stack, NULL);
    unsigned said = 0;
    bool reached = false;

    for (unsigned i = 0; i < stack->count && said < STACK_FUNCTIONS; i++) {
        reached = reached || strcmp(stack->frames[i]->function, waiting) == 0;
        if (reached && !is_harness(stack->frames[i])) {
            text_add(text, "%s%s", said++ ? "," : " stack=", stack->frames[i]->function);
        }
    }
}

/* The message without its numbers and without what stands in brackets: names of descriptors and threads, places in a file. */
static void say_message(Text *text, const char *message)
{
    unsigned depth = 0;

    text_add(text, " message=");
    for (const char *c = message; *c; c++) {
        depth += *c == '(';
        if (depth == 0 && !(*c >= '0' && *c <= '9')) {
            text_add(text, "%c", (unsigned char)*c < ' ' ? ' ' : *c);
        }
        depth -= depth && *c == ')';
    }
}

typedef struct Kinds {
    char names[KINDS_MAX][KIND_BYTES];
    unsigned count;
    Names set;
} Kinds;

static void add_kind(const char *kind, size_t length, void *opaque)
{
    Kinds *kinds = opaque;

    if (kinds->count < KINDS_MAX) {
        snprintf(kinds->names[kinds->count], KIND_BYTES, "%.*s", (int)length, kind);
        add_name(&kinds->set, kinds->names[kinds->count++]);
    }
}

/* "2 file descriptors, 1 thread" is the same leak as "1 thread, 1 file descriptor". */
static void say_leak(Text *text, const char *message)
{
    Kinds kinds = { .count = 0 };

    report_each_kind(message, add_kind, &kinds);
    if (kinds.count) {
        say_names(text, " left=", &kinds.set);
    } else {
        say_message(text, message);
    }
}

/* The thread with the lowest number among those that still did something. */
static uint32_t first_looper(CheckTrace trace, size_t first)
{
    uint32_t looper = CHECK_NO_THREAD;

    for (size_t i = first; i < trace.count; i++) {
        if (trace.steps[i].thread != CHECK_CLOCK && trace.steps[i].thread < looper) {
            looper = trace.steps[i].thread;
        }
    }
    return looper;
}

/*
 * Where a thread was when its steps were used up says little: it goes round. What it was called for says more, unless it is an event
 * loop, that is there for everything; then what it does counts.
 */
static void say_loop(Text *text, const ReportFinding *finding, const ReportFacts *facts)
{
    CheckTrace trace = check_trace();
    size_t looked_at = trace.count / LOOP_PART < LOOP_STEPS ? trace.count / LOOP_PART
                                                            : LOOP_STEPS; /* whatever the step bound is */
    size_t first = trace.count - looked_at;
    bool without_steps = finding->result->outcome == SCHED_NO_STEP;
    uint32_t looper = without_steps ? facts->culprit : first_looper(trace, first);
    const char *called = NULL;
    Names set = { .count = 0 };

    if (looper < facts->thread_count) {
        const ReportStack *stack = &facts->stacks[looper];

        for (unsigned i = 0; i < stack->count && !is_harness(stack->frames[i]); i++) {
            called = stack->frames[i]->function;
        }
    }
    text_add(text, " in=%s", called ? called : "scenario");
    if ((called && looper == 0) || without_steps) {
        return;
    }
    for (size_t i = first; i < trace.count; i++) {
        if (trace.steps[i].thread != CHECK_CLOCK) {
            add_name(&set, report_step_function(&trace.steps[i]));
        }
    }
    say_names(text, " loop=", &set);
}

void report_finding_key(const ReportFinding *finding, char key[REPORT_KEY_BYTES])
{
    Text text = text_begin(key, REPORT_KEY_BYTES);
    ReportFacts facts;

    report_facts_gather(finding, &facts);
    text_add(&text, "%s", check_verdict_name(finding->check->verdict));
    switch (finding->check->verdict) {
    case CHECK_MISSED_WAKEUP:
    case CHECK_LATE_WAKEUP:
        say_wakeup(&text, finding, &facts);
        break;
    case CHECK_DEADLOCK:
        say_deadlock(&text, &facts);
        break;
    case CHECK_LIVELOCK:
        say_loop(&text, finding, &facts);
        break;
    case CHECK_STACK_OVERFLOW:
        if (facts.recursion.length) {
            say_recursion(&text, &facts);
        } else {
            say_stack(&text, &facts);
        }
        break;
    case CHECK_LEAK:
        say_leak(&text, finding->check->message);
        break;
    default:
        say_message(&text, finding->check->message);
        say_stack(&text, &facts);
        break;
    }
    report_facts_free(&facts);
}
