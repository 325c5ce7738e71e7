/*
 * The report as a whole: the order of its parts, and the facts that ClusterFuzz's stack parser needs.
 *
 * 1. The first line, "panic: VERDICT: ...", becomes the crash's state, and the frames right below it complete that.
 * 2. Findings whose states share two lines of three are merged, unless a letters-only FuzzerHash= stands within the
 *    first 80 characters of the message: the line that abort_on_finding() prints has it, and being the last it
 *    counts.
 * 3. abort(), not _exit(): the fuzzing engine has to see the end of the process to keep the input.
 */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report/cause_text.h"
#include "report/rows.h"
#include "report/state_text.h"
#include "report/step_table.h"
#include "report/summary.h"

enum { CULPRIT_FRAMES = 32, OTHER_FRAMES = 16, THREADS_SHOWN = 16, COROUTINES_SHOWN = 16 };

/* What abort_on_finding() says again. */
static struct {
    char line[REPORT_SUMMARY_BYTES + 64];
    char *frames; /* numbered from 1 */
} last;

/* ------------------------------------------------------------------------------------------- stacks */

static void print_thread_head(FILE *out, uint32_t id)
{
    char line[160];
    Text text = text_begin(line, sizeof(line));

    text_add(&text, "%s", check_thread_name(id));
    if (strncmp(check_thread_name(id), "thread", strlen("thread")) != 0) {
        text_add(&text, " (thread %u)", id); /* names need not be unique */
    }
    text_add(&text, ", ");
    report_add_state(&text, id);
    fprintf(out, "  %s:\n", line);
}

/* Returns whether there were any. */
static bool print_other_threads(FILE *out, const ReportFacts *facts)
{
    unsigned shown = 0, more = 0;

    for (uint32_t id = 0; id < facts->thread_count; id++) {
        if (id == facts->culprit || facts->stacks[id].count == 0) {
            continue;
        }
        if (shown++ >= THREADS_SHOWN) {
            more++;
            continue;
        }
        print_thread_head(out, id);
        report_stack_print(out, &facts->stacks[id], 0, OTHER_FRAMES);
    }
    if (more) {
        fprintf(out, "  ... %u thread%s not shown\n", more, more == 1 ? "" : "s");
    }
    return shown > 0;
}

typedef struct CoroutineVisit {
    FILE *out;
    unsigned shown, more;
} CoroutineVisit;

static void print_coroutine(const ReportCoroutine *coroutine, void *opaque)
{
    CoroutineVisit *visit = opaque;

    if (visit->shown == COROUTINES_SHOWN) {
        visit->more++;
        return;
    }
    visit->shown++;
    fprintf(visit->out, "  coroutine");
    if (coroutine->strand) {
        fprintf(visit->out, " %u", coroutine->strand);
    }
    fprintf(visit->out, ", %s", coroutine->name ? coroutine->name : "??");
    if (coroutine->where) {
        fprintf(visit->out, " (%s)", coroutine->where);
    }
    fprintf(visit->out, ", %s:\n", coroutine->state ? coroutine->state : "suspended");

    ReportStack stack = report_stack_of_coroutine(coroutine);

    report_stack_print(visit->out, &stack, 0, OTHER_FRAMES);
    report_stack_free(&stack);
}

static bool print_coroutines(FILE *out)
{
    CoroutineVisit visit = { .out = out };

    report_each_coroutine(print_coroutine, &visit);
    if (visit.more) {
        fprintf(out, "  ... %u coroutine%s not shown\n", visit.more, visit.more == 1 ? "" : "s");
    }
    return visit.shown > 0;
}

/* -------------------------------------------------------------------------------------- the end of the execution */

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void print_how_it_ended(FILE *out, const ReportFinding *finding, const ReportFacts *facts)
{
    char line[160];
    Text text = text_begin(line, sizeof(line));

    report_add_end(&text, finding->result, facts->asleep);
    fprintf(out, "  %s\n", line);
}

static void print_input(FILE *out, const ReportFinding *finding)
{
    uint64_t preemptions = finding->result->preemptions;

    fprintf(out, "%llu preemption%s, %zu byte%s", (unsigned long long)preemptions, plural(preemptions), finding->input_bytes,
            plural(finding->input_bytes));
}

static void print_numbers(FILE *out, const ReportFinding *finding)
{
    fprintf(out, "  ");
    print_input(out, finding);
    fprintf(out, "; ");
    if (finding->execution) {
        fprintf(out, "execution %llu; ", (unsigned long long)finding->execution);
    }
    fprintf(out, "trace hash %016llx\n", (unsigned long long)finding->result->trace_hash);
    if (finding->replay) {
        fprintf(out, "  replay: %s\n", finding->replay);
    }
}

static void print_steps(FILE *out, const ReportFinding *finding)
{
    CheckTrace trace = check_trace();
    ReportRow rows[REPORT_ROWS_MAX];
    size_t hidden;
    unsigned count = report_choose_rows(trace, finding->check, rows, &hidden);

    if (finding->check->verdict == CHECK_MISSED_WAKEUP || finding->check->verdict == CHECK_LATE_WAKEUP) {
        report_cause(out, trace, finding->check, check_experiment());
        fputc('\n', out);
    }
    if (count) {
        report_step_table(out, trace, rows, count, hidden);
        fputc('\n', out);
    }
}

/* ------------------------------------------------------------------------------------------- the whole */

static bool wants_colour(FILE *out)
{
    const char *no_colour = getenv("NO_COLOR");

    return isatty(fileno(out)) && !(no_colour && no_colour[0]);
}

static void print_headline(FILE *out, const char *sentence)
{
    bool colour = wants_colour(out);

    fprintf(out, "%spanic: %s%s\n", colour ? "\033[1;31m" : "", sentence, colour ? "\033[0m" : "");
}

/*
 * Where no thread is to blame, as for most leaks, who judged stands for it: else the state would go on with frames of the engine that caught
 * the abort, and those differ by flavour.
 */
static void print_judge(FILE *out)
{
    const uintptr_t functions[] = { (uintptr_t)check_judge, (uintptr_t)report_print };

    for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        const ReportFrame *frame = report_function_at(functions[i]);

        fprintf(out, "    #%u 0x%012lx in %s %s:%u\n", i + 1, (unsigned long)frame->pc, frame->function,
                frame->file ? frame->file : "??", frame->line);
    }
}

static void remember(const ReportFinding *finding, const ReportFacts *facts, const char *sentence, const char *token)
{
    char letters[REPORT_HASH_BYTES];
    const char *name = check_verdict_name(finding->check->verdict);
    size_t size;
    FILE *frames;

    report_letters_hash(token, letters);
    snprintf(last.line, sizeof(last.line), "panic: %s: FuzzerHash=%s: %s", name, letters, sentence + strlen(name) + 2);
    free(last.frames);
    frames = open_memstream(&last.frames, &size);
    if (!frames) {
        abort();
    }
    report_stack_print(frames, report_culprit_stack(facts), 1, CULPRIT_FRAMES);
    if (!report_culprit_stack(facts)->count) {
        print_judge(frames);
    }
    fclose(frames);
}

void report_summary(const ReportFinding *finding, char *text, size_t size)
{
    ReportFacts facts;
    char sentence[REPORT_SUMMARY_BYTES];

    report_facts_gather(finding, &facts);
    report_sentence(finding, &facts, sentence);
    snprintf(text, size, "%s", sentence);
    report_facts_free(&facts);
}

static void print_stacks_and_steps(FILE *out, const ReportFinding *finding, const ReportFacts *facts)
{
    bool others;

    report_stack_print(out, report_culprit_stack(facts), 0, CULPRIT_FRAMES);
    fputc('\n', out);
    others = print_other_threads(out, facts);
    others = print_coroutines(out) || others;
    if (others) {
        fputc('\n', out);
    }
    print_steps(out, finding);
}

void report_print(FILE *out, const ReportFinding *finding)
{
    ReportFacts facts;
    char sentence[REPORT_SUMMARY_BYTES], token[REPORT_TOKEN_BYTES];

    report_facts_gather(finding, &facts);
    report_sentence(finding, &facts, sentence);
    report_dedup_token(finding, &facts, token);
    remember(finding, &facts, sentence, token);

    print_headline(out, sentence);
    print_stacks_and_steps(out, finding, &facts);
    print_how_it_ended(out, finding, &facts);
    print_numbers(out, finding);
    fprintf(out, "DEDUP_TOKEN: %s\n", token);
    fflush(out);
    report_facts_free(&facts);
}

void report_print_cut(FILE *out, const ReportFinding *finding)
{
    const SchedResult *result = finding->result;
    ReportFacts facts;

    report_facts_gather(finding, &facts);
    fprintf(out, "the execution before that, up to its last step:\n");
    if (facts.culprit < facts.thread_count) {
        print_thread_head(out, facts.culprit);
    }
    print_stacks_and_steps(out, finding, &facts);
    fprintf(out, "  after %llu step%s; ", (unsigned long long)result->steps + 1, plural(result->steps + 1));
    print_input(out, finding);
    fputc('\n', out);
    fflush(out);
    report_facts_free(&facts);
}

void report_print_end(FILE *out)
{
    const ReportFrame *frame = report_function_at((uintptr_t)abort_on_finding);

    fprintf(out, "%s\n", last.line);
    fprintf(out, "    #0 0x%012lx in abort_on_finding ", (unsigned long)frame->pc);
    fprintf(out, "%s:%u\n", frame->file ? frame->file : "src/report/report.c", frame->line);
    fprintf(out, "%s", last.frames ? last.frames : "");
    fflush(out);
}

void abort_on_finding(FILE *out)
{
    report_print_end(out);
    abort();
}
