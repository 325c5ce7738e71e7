/* Words for steps; see step_text.h. Kernel thread. */
#include "report/step_text.h"

#include <string.h>

#include "report/symbolize.h"

/* ------------------------------------------------------------------------------------------- names */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Functions that do nothing but unlock or signal on behalf of others. */
static bool is_wrapper(const char *function)
{
    size_t length = strlen(function), suffix = strlen("_unlock");

    return strncmp(function, "qemu_mutex_", strlen("qemu_mutex_")) == 0 ||
           strncmp(function, "qemu_cond_", strlen("qemu_cond_")) == 0 || strstr(function, "lockable") ||
           strstr(function, "lock_guard") || (length > suffix && strcmp(function + length - suffix, "_unlock") == 0);
}

/* Of the functions inlined at an address, the innermost that says something; NULL: none of them does. */
static const ReportFrame *telling_frame_at(uintptr_t pc)
{
    const ReportFrame *frames;
    unsigned count = report_symbolize(pc - 1, &frames);

    for (unsigned i = 0; i < count; i++) {
        if (!frames[i].system_header && strcmp(frames[i].function, "??") != 0 && !is_wrapper(frames[i].function)) {
            return &frames[i];
        }
    }
    return NULL;
}

const ReportFrame *report_call_frame(const SchedStep *step)
{
    uintptr_t callers[SCHED_CALLERS_MAX];
    unsigned count = sched_step_callers(step, callers);
    const ReportFrame *frame = count ? telling_frame_at((uintptr_t)step->pc) : NULL;

    for (unsigned i = 0; i < count && !frame; i++) {
        frame = telling_frame_at(callers[i]);
    }
    return frame ? frame : step->pc ? report_function_at((uintptr_t)step->pc - 1) : NULL;
}

const char *report_step_function(const SchedStep *step)
{
    const ReportFrame *frame;

    if (step->operation != SCHED_CALL) {
        return step->site->function;
    }
    frame = report_call_frame(step);
    return frame ? frame->function : "??";
}

void report_add_place(Text *text, const SchedStep *step)
{
    if (step->operation != SCHED_CALL) {
        text_add(text, " (%s:%u)", base_name(step->site->file), step->site->line);
        return;
    }

    const ReportFrame *frame = report_call_frame(step);

    if (frame && frame->file) {
        text_add(text, " (%s:%u)", base_name(frame->file), frame->line);
    }
}

/* Threads may share a name: then the number tells which one. */
void report_add_thread(Text *text, uint32_t id)
{
    const char *name = check_thread_name(id);

    text_add(text, "%s", name);
    for (uint32_t other = 0; other < sched_thread_count(); other++) {
        const SchedThread *thread = sched_thread_by_id(other);

        if (other != id && thread && sched_thread_name(thread) && strcmp(sched_thread_name(thread), name) == 0) {
            text_add(text, " (thread %u)", id);
            return;
        }
    }
}

void report_add_mutex(Text *text, const SchedStep *step)
{
    const char *name = step->object_id ? report_variable_at(step->object) : NULL;

    if (name) {
        text_add(text, "%s, which", name);
    } else {
        text_add(text, "the mutex that");
    }
}

/* ------------------------------------------------------------------------------------------- fields and values */

/* Where the last member of an expression begins: after the last -> or . that stands in no brackets of its own. */
static size_t last_member(const char *expression, size_t length)
{
    int depth = 0;

    for (size_t i = length; i-- > 0;) {
        char c = expression[i];

        if (c == ']' || c == ')') {
            depth++;
        } else if (c == '[' || c == '(') {
            depth--;
        } else if (depth <= 0 && c == '.') {
            return i + 1;
        } else if (depth <= 0 && c == '>' && i > 0 && expression[i - 1] == '-') {
            return i + 1;
        }
    }
    return 0;
}

void report_add_field(Text *text, const char *expression)
{
    size_t length;

    while (*expression == '&' || *expression == '(' || *expression == ' ') {
        expression++;
    }
    length = strlen(expression);
    while (length > 0 && (expression[length - 1] == ')' || expression[length - 1] == ' ') && !memchr(expression, '(', length)) {
        length--; /* of a bracket that was opened above */
    }

    size_t start = last_member(expression, length);

    text_add(text, "%.*s", (int)(length - start), expression + start);
}

/* Does the expression say which object it is, rather than name a variable that points to it ("link", "list")? */
static bool names_its_object(const char *expression)
{
    return strchr(expression, '.') || strstr(expression, "->") || strchr(expression, '&');
}

/* Of "&(&ctx->bh_list)->slh_first" what the list is called: the member of a queue's head says nothing. */
static void add_list(Text *text, const char *expression, const char *head_member)
{
    char list[128];

    snprintf(list, sizeof(list), "%.*s", (int)(head_member - expression), expression);
    report_add_field(text, list);
}

static const char *head_member(const char *expression)
{
    static const char *const heads[] = { "->slh_first", "->lh_first", "->stqh_first", "->tqh_first" };

    for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        const char *at = strstr(expression, heads[i]);

        if (at && at[strlen(heads[i])] == '\0') {
            return at;
        }
    }
    return NULL;
}

/* Is the part before a queue's head member ("&(list)") more than a variable? */
static bool names_its_list(const char *expression, const char *member)
{
    for (const char *c = expression + 1; c < member; c++) {
        if (*c == '.' || *c == '&' || (*c == '>' && c[-1] == '-')) {
            return true;
        }
    }
    return false;
}

/* The best name that the program has for the object of a step: where this place only has a pointer, another may have
 * the member that it points to. */
static const char *telling_expression(CheckTrace trace, const SchedStep *step)
{
    const char *expression = step->site->expression;
    const char *member = head_member(expression);

    if (member ? names_its_list(expression, member) : names_its_object(expression)) {
        return expression;
    }
    for (size_t i = 0; i < trace.count; i++) {
        const SchedStep *other = &trace.steps[i];

        if (other->operation == SCHED_CALL || other->operation == SCHED_FENCE ||
            check_step_object(other) != check_step_object(step) || !check_step_object(step)) {
            continue;
        }
        member = head_member(other->site->expression);
        if (member ? names_its_list(other->site->expression, member) : names_its_object(other->site->expression)) {
            return other->site->expression;
        }
    }
    return expression;
}

void report_add_object(Text *text, CheckTrace trace, size_t index)
{
    const char *expression = telling_expression(trace, &trace.steps[index]);
    const char *member = head_member(expression);

    if (member) {
        add_list(text, expression, member);
    } else {
        report_add_field(text, expression);
    }
}

/* User addresses of 64-bit processes begin far above any counter and, as nanoseconds, above two hours. */
static bool looks_like_pointer(uint64_t value, unsigned size_bytes)
{
    return size_bytes == 8 && value >> 43 != 0 && value >> 47 == 0;
}

static unsigned pointer_number(ReportValues *values, uint64_t value)
{
    unsigned i = 0;

    while (i < values->count && values->pointers[i] != value) {
        i++;
    }
    if (i == values->count && i < REPORT_POINTERS_MAX) {
        values->pointers[values->count++] = value;
    }
    return i + 1;
}

void report_add_value(Text *text, ReportValues *values, uint64_t value, unsigned size_bytes)
{
    unsigned bits = size_bytes && size_bytes < 8 ? 8 * size_bytes : 64;
    uint64_t negated = (~value + 1) & (UINT64_MAX >> (64 - bits));

    if (looks_like_pointer(value, size_bytes)) {
        unsigned number = pointer_number(values, value);

        if (number <= REPORT_POINTERS_MAX) {
            text_add(text, "p%u", number);
        } else {
            text_add(text, "a pointer");
        }
    } else if (bits >= 32 && value >> (bits - 1) && negated <= 1u << 20) {
        text_add(text, "-%llu", (unsigned long long)negated);
    } else if (value > 1u << 20 && bits <= 32) {
        text_add(text, "0x%llx", (unsigned long long)value);
    } else {
        text_add(text, "%llu", (unsigned long long)value);
    }
}

/* 0 reads as NULL where the object holds a pointer at its other side. */
static void add_one_of(Text *text, ReportValues *values, uint64_t value, uint64_t other, unsigned size_bytes)
{
    if (value == 0 && looks_like_pointer(other, size_bytes)) {
        text_add(text, "NULL");
    } else {
        report_add_value(text, values, value, size_bytes);
    }
}

/* ------------------------------------------------------------------------------------------- steps */

/* "eventfd write" says more than "write". The step that made an eventfd has its object as its value. */
static bool is_eventfd(CheckTrace trace, const SchedStep *step)
{
    for (size_t i = 0; step->object && i < trace.count; i++) {
        if (trace.steps[i].operation == SCHED_CALL && trace.steps[i].call == SCHED_CALL_EVENTFD &&
            trace.steps[i].new_value == step->object) {
            return true;
        }
    }
    return false;
}

/* Calls of which the reader has to know whether two are on the same object. */
static bool is_on_lock(const SchedStep *step)
{
    switch (step->call) {
    case SCHED_CALL_MUTEX_LOCK:
    case SCHED_CALL_MUTEX_TRYLOCK:
    case SCHED_CALL_MUTEX_TIMEDLOCK:
    case SCHED_CALL_MUTEX_UNLOCK:
    case SCHED_CALL_RWLOCK_RDLOCK:
    case SCHED_CALL_RWLOCK_WRLOCK:
    case SCHED_CALL_RWLOCK_UNLOCK:
    case SCHED_CALL_SPIN_LOCK:
    case SCHED_CALL_SPIN_UNLOCK:
        return step->object_id != 0;
    default:
        return false;
    }
}

static void add_call(Text *text, CheckTrace trace, const SchedStep *step)
{
    const char *name = sched_call_name(step->call);
    bool of_file = step->call == SCHED_CALL_READ || step->call == SCHED_CALL_WRITE || step->call == SCHED_CALL_CLOSE;

    switch (step->call) {
    case SCHED_CALL_START:
        text_add(text, "thread starts");
        return;
    case SCHED_CALL_EXIT:
        text_add(text, "thread ends");
        return;
    case SCHED_CALL_CREATE:
        text_add(text, "creates a thread");
        return;
    case SCHED_CALL_CLOCK_ADVANCE:
        text_add(text, "clock: on to ");
        text_add_duration(text, step->new_value ? step->new_value : step->time_ns);
        return;
    case SCHED_CALL_SPURIOUS:
        text_add(text, "woken by hand");
        return;
    default:
        break;
    }
    if (of_file && is_eventfd(trace, step)) {
        text_add(text, "eventfd ");
    }
    for (; *name; name++) {
        text_add(text, "%c", *name == '_' ? ' ' : *name);
    }
    if (is_on_lock(step)) {
        text_add(text, " #%u", step->object_id);
    }
    if (step->flags & SCHED_STEP_BLOCKED) {
        text_add(text, ": asleep");
    }
}

void report_add_step(Text *text, ReportValues *values, CheckTrace trace, size_t index)
{
    const SchedStep *step = &trace.steps[index];

    if (step->operation == SCHED_CALL) {
        add_call(text, trace, step);
        return;
    }
    report_add_object(text, trace, index);
    if (step->site->size_bytes == 0) {
        return;
    }
    switch (step->operation) {
    case SCHED_LOAD:
        text_add(text, " == ");
        report_add_value(text, values, step->old_value, step->site->size_bytes);
        break;
    case SCHED_STORE:
    case SCHED_RMW:
        text_add(text, " ");
        add_one_of(text, values, step->old_value, step->new_value, step->site->size_bytes);
        text_add(text, " -> ");
        add_one_of(text, values, step->new_value, step->old_value, step->site->size_bytes);
        break;
    default:
        break;
    }
}
