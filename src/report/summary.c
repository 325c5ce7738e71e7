/*
 * Stacks of all threads, and the sentence for each verdict. Kernel thread, after an execution.
 *
 * The sentence says who, where, and what the other side failed to do; it never holds a step number or an address, so
 * that two schedules of one bug read alike.
 */
#include "report/summary.h"

#include <stdlib.h>
#include <string.h>

#include "check/stack_overflow.h"
#include "report/step_text.h"

enum { WAITS_MAX = 64, WAITS_SHOWN = 3 };

/* ------------------------------------------------------------------------------------------- facts */

static void name_recursion(ReportFacts *facts)
{
    const ReportStack *stack = report_culprit_stack(facts);
    const char **names = calloc(stack->count + 1, sizeof(*names));

    if (!names) {
        abort();
    }
    for (unsigned i = 0; i < stack->count; i++) {
        names[i] = stack->frames[i]->function;
    }
    if (!check_recursion(names, stack->count, &facts->recursion, facts->recursion_text, sizeof(facts->recursion_text))) {
        facts->recursion = (CheckCycle){ 0 };
    }
    free(names);
}

void report_facts_gather(const ReportFinding *finding, ReportFacts *facts)
{
    *facts = (ReportFacts){ .thread_count = sched_thread_count(), .culprit = CHECK_NO_THREAD };
    facts->stacks = calloc(facts->thread_count + 1, sizeof(*facts->stacks));
    if (!facts->stacks) {
        abort();
    }
    for (uint32_t id = 0; id < facts->thread_count; id++) {
        SchedThread *thread = sched_thread_by_id(id);

        if (thread) {
            facts->stacks[id] = report_stack_of_thread(thread, thread == finding->check->culprit);
        }
    }
    facts->asleep = check_experiment()->asleep;
    if (finding->check->culprit) {
        facts->culprit = sched_thread_id(finding->check->culprit);
    }
    if (finding->check->verdict == CHECK_STACK_OVERFLOW) {
        name_recursion(facts);
    }
}

void report_facts_free(ReportFacts *facts)
{
    for (uint32_t id = 0; id < facts->thread_count; id++) {
        report_stack_free(&facts->stacks[id]);
    }
    free(facts->stacks);
    *facts = (ReportFacts){ 0 };
}

static const ReportStack *stack_of(const ReportFacts *facts, uint32_t id)
{
    static const ReportStack empty;

    return id < facts->thread_count ? &facts->stacks[id] : &empty;
}

const ReportStack *report_culprit_stack(const ReportFacts *facts)
{
    return stack_of(facts, facts->culprit);
}

/* ------------------------------------------------------------------------------------------- functions */

const char *report_waiter_function(const ReportFinding *finding, const ReportFacts *facts)
{
    const CheckCause *cause = &finding->check->cause;
    CheckTrace trace = check_trace();
    const char *hint = NULL;

    if (cause->look_step != CHECK_NO_STEP && cause->look_step < trace.count) {
        hint = report_step_function(&trace.steps[cause->look_step]);
    }
    if (hint && cause->kind == CHECK_CAUSE_GIVEN) {
        return hint; /* a coroutine's: not on the thread's stack */
    }
    return report_waiting_function(stack_of(facts, cause->waiter), hint);
}

/* The function to blame: that did not wake the waiter, or that took its wakeup. */
const char *report_waker_function(const ReportFinding *finding)
{
    const CheckCause *cause = &finding->check->cause;
    CheckTrace trace = check_trace();

    if (cause->take_step != CHECK_NO_STEP) {
        return report_step_function(&trace.steps[cause->take_step]);
    }
    if (cause->kind == CHECK_CAUSE_EARLY) {
        return report_step_function(&trace.steps[cause->wake_step]);
    }
    if (cause->kind == CHECK_CAUSE_GUARD && cause->check_step != CHECK_NO_STEP) {
        return report_step_function(&trace.steps[cause->check_step]); /* the write is but an unlock */
    }
    return cause->kind == CHECK_CAUSE_UNKNOWN ? NULL : report_step_function(&trace.steps[cause->write_step]);
}

/* ------------------------------------------------------------------------------------------- sentences */

static void say_lost_wakeup(Text *text, const ReportFinding *finding, const ReportFacts *facts)
{
    const CheckCause *cause = &finding->check->cause;
    const char *waker = report_waker_function(finding);

    text_add(text, "%s waits in %s, %s", check_thread_name(cause->waiter), report_waiter_function(finding, facts),
             waker ? waker : "nobody");
    text_add(text, !waker ? " woke it" : cause->take_step == CHECK_NO_STEP ? " did not wake it" : " took its wakeup");
}

static void say_late(Text *text, const ReportFinding *finding, const ReportFacts *facts)
{
    say_lost_wakeup(text, finding, facts);
    text_add(text, "; only a timer would have");
    if (finding->check->late_ns) {
        text_add(text, ", ");
        text_add_duration(text, finding->check->late_ns);
        text_add(text, " later");
    }
}

static const char *thing_waited_for(SchedCall call)
{
    switch (call) {
    case SCHED_CALL_RWLOCK_RDLOCK:
    case SCHED_CALL_RWLOCK_WRLOCK:
        return "a rwlock";
    case SCHED_CALL_SPIN_LOCK:
        return "a spin lock";
    default:
        return "a mutex";
    }
}

static void say_wait(Text *text, const ReportFacts *facts, const CheckWait *wait)
{
    text_add(text, "%s waits in %s", check_thread_name(wait->waiter),
             report_waiting_function(stack_of(facts, wait->waiter), NULL));
    if (wait->holder == CHECK_NO_THREAD) {
        return;
    }
    if (wait->call == SCHED_CALL_JOIN) {
        text_add(text, " for the end of %s", check_thread_name(wait->holder));
    } else if (wait->holder == wait->waiter) {
        text_add(text, " for %s that it holds itself", thing_waited_for(wait->call));
    } else {
        text_add(text, " for %s that %s holds", thing_waited_for(wait->call), check_thread_name(wait->holder));
    }
}

static void say_deadlock(Text *text, const ReportFacts *facts)
{
    CheckWait waits[WAITS_MAX];
    unsigned count = check_waits(check_trace(), waits, WAITS_MAX);
    bool cycle = false;
    unsigned said = 0, relevant = 0;

    for (unsigned i = 0; i < count; i++) {
        cycle |= waits[i].in_cycle;
    }
    for (unsigned i = 0; i < count; i++) {
        if (cycle && !waits[i].in_cycle) {
            continue;
        }
        if (relevant++ < WAITS_SHOWN) {
            text_add(text, said++ ? ", " : "");
            say_wait(text, facts, &waits[i]);
        }
    }
    if (relevant > said) {
        text_add(text, " and %u more", relevant - said);
    }
    if (!cycle) {
        text_add(text, ", and nobody is left to wake %s", relevant == 1 ? "it" : "them");
    }
}

static void say_livelock(Text *text, const ReportFinding *finding, const ReportFacts *facts)
{
    const CheckResult *check = finding->check;
    const char *function = report_waiting_function(report_culprit_stack(facts), NULL);

    if (check->loop.length && check->loop_threads == 1) {
        CheckTrace trace = check_trace();

        text_add(text, "%s repeats %zu step%s", check_thread_name(trace.steps[check->loop.first].thread), check->loop.length,
                 check->loop.length == 1 ? "" : "s");
    } else if (check->loop.length) {
        text_add(text, "%u threads repeat %zu steps", check->loop_threads, check->loop.length);
    } else {
        text_add(text, "no end in sight, %s runs", check_thread_name(facts->culprit));
    }
    text_add(text, " in %s; %s", function, check->message);
}

static void say_stack_overflow(Text *text, const ReportFacts *facts)
{
    const char *who = check_thread_name(facts->culprit);

    if (facts->recursion.length == 0) {
        text_add(text, "%s has no stack left in %s", who, report_waiting_function(report_culprit_stack(facts), NULL));
        return;
    }
    text_add(text, "%s recurses: %s (%zu frame%s%s, ", who, facts->recursion_text, facts->recursion.length,
             facts->recursion.length == 1 ? "" : "s", facts->recursion.regular ? "" : " at least");
    text_add(text, "%zu times)", facts->recursion.repeats);
}

/* A message of the program's, in one line. */
static void say_message(Text *text, const ReportFinding *finding, const ReportFacts *facts)
{
    for (const char *c = finding->check->message; *c; c++) {
        text_add(text, "%c", (unsigned char)*c < ' ' ? ' ' : *c);
    }
    if (facts->culprit != CHECK_NO_THREAD && finding->check->verdict != CHECK_NONDETERMINISM) {
        text_add(text, " (%s)", check_thread_name(facts->culprit));
    }
}

void report_sentence(const ReportFinding *finding, const ReportFacts *facts, char buffer[REPORT_SUMMARY_BYTES])
{
    Text text = text_begin(buffer, REPORT_SUMMARY_BYTES);

    text_add(&text, "%s: ", check_verdict_name(finding->check->verdict));
    switch (finding->check->verdict) {
    case CHECK_MISSED_WAKEUP:
        say_lost_wakeup(&text, finding, facts);
        break;
    case CHECK_LATE_WAKEUP:
        say_late(&text, finding, facts);
        break;
    case CHECK_DEADLOCK:
        say_deadlock(&text, facts);
        break;
    case CHECK_LIVELOCK:
        say_livelock(&text, finding, facts);
        break;
    case CHECK_STACK_OVERFLOW:
        say_stack_overflow(&text, facts);
        break;
    case CHECK_LEAK:
        text_add(&text, "%s left at the end", finding->check->message);
        break;
    default:
        say_message(&text, finding, facts);
        break;
    }
}

/* ------------------------------------------------------------------------------------------- tokens */

typedef struct Token {
    Text text;
    const char *functions[REPORT_TOKEN_FUNCTIONS];
    unsigned count;
} Token;

static void add_function(Token *token, const char *function)
{
    if (!function || token->count == REPORT_TOKEN_FUNCTIONS) {
        return;
    }
    for (unsigned i = 0; i < token->count; i++) {
        if (strcmp(token->functions[i], function) == 0) {
            return;
        }
    }
    token->functions[token->count++] = function;
    text_add(&token->text, "--%s", function);
}

/* By which scenario a bug was met does not make it another bug. */
static bool is_harness(const ReportFrame *frame)
{
    return frame->file && strncmp(frame->file, "fuzz/", strlen("fuzz/")) == 0;
}

/* The functions of a stack from the one that waits outwards. */
static void add_stack(Token *token, const ReportStack *stack)
{
    const char *waiting = report_waiting_function(stack, NULL);
    bool reached = false;

    for (unsigned i = 0; i < stack->count; i++) {
        reached |= strcmp(stack->frames[i]->function, waiting) == 0;
        if (reached && !is_harness(stack->frames[i])) {
            add_function(token, stack->frames[i]->function);
        }
    }
}

static void add_deadlock(Token *token, const ReportFacts *facts)
{
    CheckWait waits[WAITS_MAX];
    unsigned count = check_waits(check_trace(), waits, WAITS_MAX);
    bool cycle = false;

    for (unsigned i = 0; i < count; i++) {
        cycle |= waits[i].in_cycle;
    }
    for (unsigned i = 0; i < count; i++) {
        if (waits[i].in_cycle || !cycle) {
            add_function(token, report_waiting_function(stack_of(facts, waits[i].waiter), NULL));
        }
    }
}

/* Of a recursion all frames of a turn, in an order that does not depend on where it was stopped. */
static void add_recursion(Token *token, const ReportFacts *facts)
{
    const ReportStack *stack = report_culprit_stack(facts);
    const char *last = "";

    for (unsigned n = 0; n < REPORT_TOKEN_FUNCTIONS; n++) {
        const char *next = NULL;

        for (size_t i = 0; i < facts->recursion.length; i++) {
            const char *name = stack->frames[facts->recursion.first + i]->function;

            if (strcmp(name, last) > 0 && (!next || strcmp(name, next) < 0)) {
                next = name;
            }
        }
        if (!next) {
            return;
        }
        add_function(token, next);
        last = next;
    }
}

void report_each_kind(const char *message, ReportVisitKind *visit, void *opaque)
{
    const char *c = message;

    while (*c >= '0' && *c <= '9') {
        bool plural = strtoul(c, (char **)&c, 10) != 1;
        size_t length = strcspn(c += *c == ' ', "(,"), words = length;
        const char *verb = strstr(c, " finished");

        words = verb && (size_t)(verb - c) < words ? (size_t)(verb - c) : words;
        words -= words && c[words - 1] == ' ';
        words -= words && plural && c[words - 1] == 's';
        visit(c, words, opaque);
        c += length;
        c += *c == '(' ? strcspn(c, ")") : 0;
        c += strspn(c, "), ");
    }
}

/* "2 file descriptors (eventfd 512, pipe 513), 1 coroutine" is "file-descriptor--coroutine". Without it all leaks of a target would be one. */
static void add_kind(const char *kind, size_t length, void *opaque)
{
    Text *text = opaque;

    text_add(text, "--");
    for (size_t i = 0; i < length; i++) {
        text_add(text, "%c", kind[i] == ' ' ? '-' : kind[i]);
    }
}

void report_dedup_token(const ReportFinding *finding, const ReportFacts *facts, char buffer[REPORT_TOKEN_BYTES])
{
    Token token = { .text = text_begin(buffer, REPORT_TOKEN_BYTES) };

    text_add(&token.text, "%s", check_verdict_name(finding->check->verdict));
    switch (finding->check->verdict) {
    case CHECK_MISSED_WAKEUP:
    case CHECK_LATE_WAKEUP:
        add_function(&token, report_waiter_function(finding, facts));
        add_function(&token, report_waker_function(finding));
        break;
    case CHECK_DEADLOCK:
        add_deadlock(&token, facts);
        break;
    case CHECK_STACK_OVERFLOW:
        add_recursion(&token, facts);
        if (token.count) {
            return; /* what called into the recursion is another matter */
        }
        break;
    case CHECK_LEAK:
    case CHECK_LOST_COMPLETION:
        if (facts->culprit == CHECK_NO_THREAD) {
            report_each_kind(finding->check->message, add_kind, &token.text);
        }
        break;
    default:
        break;
    }
    add_stack(&token, report_culprit_stack(facts));
}

void report_letters_hash(const char *token, char letters[REPORT_HASH_BYTES])
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (; *token; token++) {
        hash = (hash ^ (uint8_t)*token) * 1099511628211u;
    }
    hash ^= hash >> 32;
    for (unsigned i = 0; i < REPORT_HASH_BYTES - 1; i++) {
        letters[i] = (char)('a' + (hash >> 4 * i & 15));
    }
    letters[REPORT_HASH_BYTES - 1] = '\0';
}
