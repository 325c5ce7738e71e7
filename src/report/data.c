/* See data.h. */
#include "report/data.h"

#include <stdlib.h>
#include <string.h>

#include "report/cause_text.h"
#include "report/data_timeline.h"
#include "report/rows.h"
#include "report/state_text.h"
#include "report/step_text.h"
#include "report/summary.h"
#include "report/symbolize.h"
#include "report/watch.h"

enum { INNER_FRAMES = 30, OUTER_FRAMES = 10, COROUTINES_MAX = 64, FEW_DECISIONS = 40 };

/* ------------------------------------------------------------------------------------------- stacks and places */

static void write_frame(Json *json, const char *function, const char *file, unsigned line)
{
    json_open(json, NULL, '[');
    json_string(json, NULL, function);
    json_string(json, NULL, file);
    json_number(json, NULL, line);
    json_close(json, ']');
}

/* Of a long one the middle is left out, and counted. */
static void write_stack(Json *json, ReportStack *stack)
{
    json_open(json, "stack", '[');
    for (unsigned i = 0; i < stack->count; i++) {
        if (stack->count > INNER_FRAMES + OUTER_FRAMES && i == INNER_FRAMES) {
            char left_out[48];

            snprintf(left_out, sizeof(left_out), "... %u frames not shown", stack->count - INNER_FRAMES - OUTER_FRAMES);
            write_frame(json, left_out, NULL, 0);
            i = stack->count - OUTER_FRAMES;
        }
        write_frame(json, stack->frames[i]->function, stack->frames[i]->file, stack->frames[i]->line);
    }
    if (stack->cut) {
        write_frame(json, "... and more frames below", NULL, 0);
    }
    json_close(json, ']');
}

static void write_place(Json *json, const SchedStep *step)
{
    const char *file = NULL;
    unsigned line = 0;

    if (step->operation != SCHED_CALL) {
        file = step->site->file;
        line = step->site->line;
    } else {
        const ReportFrame *frame = report_call_frame(step);

        file = frame ? frame->file : NULL;
        line = frame ? frame->line : 0;
    }
    json_string(json, "file", file ? report_path_from_root(file) : NULL);
    json_number(json, "line", line);
}

/* ------------------------------------------------------------------------------------------- the cause */

/* The lines of the text report, as one sentence. */
static void write_cause(Json *json, const CheckResult *check)
{
    char *text = NULL;
    size_t size = 0, used = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out) {
        abort();
    }
    report_cause(out, check_trace(), check, check_experiment());
    fclose(out);
    for (const char *c = text + strspn(text, " "); *c; c++) {
        bool space = *c == ' ' || *c == '\n';

        if (!space || (used && text[used - 1] != ' ')) {
            text[used++] = space ? ' ' : *c;
        }
    }
    while (used && text[used - 1] == ' ') {
        used--;
    }
    text[used] = '\0';
    json_string(json, "cause", strncmp(text, "cause ", 6) == 0 ? text + 6 : text);
    free(text);
}

static bool has_cause(const CheckResult *check)
{
    return check->verdict == CHECK_MISSED_WAKEUP || check->verdict == CHECK_LATE_WAKEUP;
}

/* ------------------------------------------------------------------------------------------- rows */

static void write_step(Json *json, CheckTrace trace, size_t index, const char *text)
{
    const SchedStep *step = &trace.steps[index];

    json_number(json, "step", index);
    json_number(json, "thread", step->thread);
    json_number(json, "coroutine", step->strand);
    json_string(json, "function", report_step_function(step));
    write_place(json, step);
    json_string(json, "text", text);
}

static void write_row(Json *json, CheckTrace trace, ReportValues *values, const ReportRow *row)
{
    const SchedStep *step = &trace.steps[row->step];
    char line[256];
    Text text = text_begin(line, sizeof(line));
    ReportStack stack = report_watched_stack(row->step);

    report_add_step(&text, values, trace, row->step);
    json_open(json, NULL, '{');
    write_step(json, trace, row->step, line);
    json_bool(json, "marked", row->marked);
    json_bool(json, "no_wakeup", row->no_wakeup);
    json_bool(json, "by_hand", row->by_hand);
    json_bool(json, "asleep", step->flags & SCHED_STEP_BLOCKED);
    write_stack(json, &stack);
    json_close(json, '}');
    report_stack_free(&stack);
}

/* Returns the first step of the timeline. */
static size_t write_rows(Json *json, const ReportFinding *finding)
{
    CheckTrace trace = check_trace();
    ReportRow rows[REPORT_ROWS_MAX];
    ReportValues values = { .count = 0 };
    size_t hidden = 0;
    unsigned count = report_choose_rows(trace, finding->check, rows, &hidden);

    json_open(json, "rows", '[');
    for (unsigned i = 0; i < count; i++) {
        write_row(json, trace, &values, &rows[i]);
    }
    json_close(json, ']');
    json_number(json, "hidden", hidden);
    return count ? rows[0].step : 0;
}

/* The watched steps, in the table or not; without their stacks. */
static void write_watched(Json *json)
{
    CheckTrace trace = check_trace();
    ReportValues values = { .count = 0 };
    size_t count;
    const size_t *steps = report_watched(&count);

    json_open(json, "watched", '[');
    for (size_t i = 0; i < count && steps[i] < trace.count; i++) {
        char line[256];
        Text text = text_begin(line, sizeof(line));

        report_add_step(&text, &values, trace, steps[i]);
        json_open(json, NULL, '{');
        write_step(json, trace, steps[i], line);
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* Few decisions, as of a minimized finding, are all in the picture. */
static size_t first_of_interest(const SchedResult *result, size_t first)
{
    if (result->deviation_count && result->deviation_count <= FEW_DECISIONS && result->deviation_places[0].step < first) {
        return result->deviation_places[0].step;
    }
    return first;
}

/* ------------------------------------------------------------------------------------------- threads */

static void write_thread(Json *json, CheckTrace trace, ReportFacts *facts, uint32_t id)
{
    const SchedThread *thread = sched_thread_by_id(id);
    char name[64], state[160];
    Text name_text = text_begin(name, sizeof(name)), state_text = text_begin(state, sizeof(state));
    size_t first = 0;

    while (first < trace.count && trace.steps[first].thread != id) {
        first++;
    }
    report_add_thread(&name_text, id);
    if (sched_thread_ended(thread)) {
        text_add(&state_text, "has ended");
    } else {
        report_add_state(&state_text, id);
    }
    json_open(json, NULL, '{');
    json_number(json, "id", id);
    json_string(json, "name", name);
    json_string(json, "state", state);
    json_number(json, "first", first);
    json_bool(json, "ended", sched_thread_ended(thread));
    json_bool(json, "kernel", sched_thread_is_daemon(thread));
    json_bool(json, "culprit", id == facts->culprit);
    write_stack(json, &facts->stacks[id]);
    json_close(json, '}');
}

static void write_threads(Json *json, ReportFacts *facts)
{
    json_open(json, "threads", '[');
    for (uint32_t id = 0; id < facts->thread_count; id++) {
        if (sched_thread_by_id(id)) {
            write_thread(json, check_trace(), facts, id);
        }
    }
    json_close(json, ']');
}

typedef struct CoroutineVisit {
    Json *json;
    unsigned count;
} CoroutineVisit;

static void write_coroutine(const ReportCoroutine *coroutine, void *opaque)
{
    CoroutineVisit *visit = opaque;
    ReportStack stack;

    if (visit->count++ >= COROUTINES_MAX) {
        return;
    }
    stack = report_stack_of_coroutine(coroutine);
    json_open(visit->json, NULL, '{');
    json_number(visit->json, "number", coroutine->strand);
    json_string(visit->json, "name", coroutine->name ? coroutine->name : "??");
    json_string(visit->json, "where", coroutine->where);
    json_string(visit->json, "state", coroutine->state ? coroutine->state : "suspended");
    write_stack(visit->json, &stack);
    json_close(visit->json, '}');
    report_stack_free(&stack);
}

static void write_coroutines(Json *json)
{
    CoroutineVisit visit = { .json = json };

    json_open(json, "coroutines", '[');
    report_each_coroutine(write_coroutine, &visit);
    json_close(json, ']');
}

/* ------------------------------------------------------------------------------------------- the whole */

void report_write_data(Json *json, const ReportFinding *finding)
{
    ReportFacts facts;
    char sentence[REPORT_SUMMARY_BYTES], token[REPORT_TOKEN_BYTES], key[REPORT_KEY_BYTES], line[160], hash[17];
    Text end = text_begin(line, sizeof(line));

    report_facts_gather(finding, &facts);
    report_sentence(finding, &facts, sentence);
    report_dedup_token(finding, &facts, token);
    report_finding_key(finding, key);
    report_add_end(&end, finding->result, facts.asleep);
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)finding->result->trace_hash);
    json_string(json, "verdict", check_verdict_name(finding->check->verdict));
    json_string(json, "summary", sentence);
    json_string(json, "token", token);
    json_string(json, "key", key);
    json_string(json, "hash", hash);
    json_string(json, "ending", line);
    json_number(json, "steps", finding->result->steps);
    json_number(json, "switches", finding->result->switches);
    json_number(json, "preemptions", finding->result->preemptions);
    json_number(json, "bytes", finding->input_bytes);
    if (has_cause(finding->check)) {
        write_cause(json, finding->check);
        json_number(json, "waiter", finding->check->cause.waiter);
    }
    write_watched(json);
    report_data_timeline(json, check_trace(), first_of_interest(finding->result, write_rows(json, finding)));
    write_threads(json, &facts);
    write_coroutines(json);
    report_facts_free(&facts);
}
