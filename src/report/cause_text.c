/* The root cause of a lost wakeup in words; see cause_text.h. Kernel thread. */
#include "report/cause_text.h"

enum { LINE_BYTES = 512 };

static void begin_step(Text *text, CheckTrace trace, size_t step)
{
    text_add(text, "step %zu, ", step);
    report_add_thread(text, trace.steps[step].thread);
    text_add(text, ": ");
}

/* The lines of a cause: the first one has the word before it, the last one ends the sentence. */
typedef struct Lines {
    FILE *out;
    unsigned printed, count;
} Lines;

static void print_line(Lines *lines, const char *line)
{
    fprintf(lines->out, "  %s  %s%s\n", lines->printed ? "     " : "cause", line, lines->printed + 1 == lines->count ? "." : ";");
    lines->printed++;
}

static bool has(size_t step)
{
    return step != CHECK_NO_STEP;
}

static void say_write(Lines *lines, CheckTrace trace, ReportValues *values, const CheckCause *cause)
{
    char line[LINE_BYTES];
    Text text = text_begin(line, sizeof(line));

    begin_step(&text, trace, cause->write_step);
    if (cause->kind == CHECK_CAUSE_GIVEN) {
        report_add_step(&text, values, trace, cause->write_step);
        text_add(&text, " was to wake a sleeper of %s, and did not", check_thread_name(cause->waiter));
    } else if (cause->kind == CHECK_CAUSE_WRITE) {
        report_add_step(&text, values, trace, cause->write_step);
        text_add(&text, " made %s's condition true", check_thread_name(cause->waiter));
    } else {
        text_add(&text, "%s let go of ", report_step_function(&trace.steps[cause->write_step]));
        report_add_mutex(&text, &trace.steps[cause->write_step]);
        text_add(&text, " guards %s's condition", check_thread_name(cause->waiter));
    }
    report_add_place(&text, &trace.steps[cause->write_step]);
    print_line(lines, line);
}

static void say_check(Lines *lines, CheckTrace trace, ReportValues *values, const CheckCause *cause)
{
    const SchedStep *read = &trace.steps[cause->check_step];
    char line[LINE_BYTES];
    Text text = text_begin(line, sizeof(line));

    begin_step(&text, trace, cause->check_step);
    text_add(&text, "read ");
    report_add_object(&text, trace, cause->check_step);
    text_add(&text, " == ");
    report_add_value(&text, values, read->old_value, read->site->size_bytes);
    if (has(cause->check_write_step)) {
        text_add(&text, ", written by ");
        report_add_thread(&text, trace.steps[cause->check_write_step].thread);
        text_add(&text, " at step %zu", cause->check_write_step);
    }
    text_add(&text, ", and did not wake %s", check_thread_name(cause->waiter));
    print_line(lines, line);
}

static void say_wake(Lines *lines, CheckTrace trace, ReportValues *values, const CheckCause *cause)
{
    char line[LINE_BYTES];
    Text text = text_begin(line, sizeof(line));

    begin_step(&text, trace, cause->wake_step);
    report_add_step(&text, values, trace, cause->wake_step);
    if (cause->kind == CHECK_CAUSE_EARLY) {
        text_add(&text, " in %s came after %s had looked and before it slept",
                 report_step_function(&trace.steps[cause->wake_step]), check_thread_name(cause->waiter));
    } else {
        text_add(&text, has(cause->take_step) ? " woke %s" : " did not reach %s", check_thread_name(cause->waiter));
    }
    report_add_place(&text, &trace.steps[cause->wake_step]);
    print_line(lines, line);
}

static void say_take(Lines *lines, CheckTrace trace, ReportValues *values, const CheckCause *cause)
{
    char line[LINE_BYTES];
    Text text = text_begin(line, sizeof(line));

    begin_step(&text, trace, cause->take_step);
    report_add_step(&text, values, trace, cause->take_step);
    text_add(&text, " in %s took that wakeup before %s had looked", report_step_function(&trace.steps[cause->take_step]),
             check_thread_name(cause->waiter));
    report_add_place(&text, &trace.steps[cause->take_step]);
    print_line(lines, line);
}

static const char *what_it_did(CheckProgress progress)
{
    switch (progress) {
    case CHECK_ENDED:
        return "runs to its end";
    case CHECK_LET_OTHERS_GO:
        return "lets other threads go on";
    case CHECK_DID_SOMETHING:
        return "finds work that waited for it";
    default:
        return "leaves its wait";
    }
}

typedef void Say(Lines *lines, CheckTrace trace, ReportValues *values, const CheckCause *cause);

/* In the order of the steps, but for a mutex that was let go of: that may be long after the change under it, and after
 * the decision about the wakeup for it. */
static void say_all(FILE *out, CheckTrace trace, const CheckCause *cause)
{
    ReportValues values = { .count = 0 };
    struct {
        size_t step;
        Say *say;
    } parts[] = {
        { cause->write_step, say_write }, { cause->check_step, say_check }, { cause->wake_step, say_wake },
        { cause->take_step, say_take },   { CHECK_NO_STEP, say_write },
    };
    enum { FIRST, LAST = sizeof(parts) / sizeof(parts[0]) - 1 };
    Lines lines = { .out = out };

    if (cause->kind == CHECK_CAUSE_GUARD && ((has(cause->take_step) && cause->take_step < cause->write_step) ||
                                             (has(cause->check_step) && cause->check_step < cause->write_step))) {
        parts[LAST].step = cause->write_step;
        parts[FIRST].step = CHECK_NO_STEP;
    }
    for (unsigned i = FIRST; i <= LAST; i++) {
        lines.count += has(parts[i].step);
    }
    for (unsigned i = FIRST; i <= LAST; i++) {
        if (has(parts[i].step)) {
            parts[i].say(&lines, trace, &values, cause);
        }
    }
}

void report_cause(FILE *out, CheckTrace trace, const CheckResult *check, const CheckExperiment *experiment)
{
    const CheckCause *cause = &check->cause;
    bool known = cause->kind != CHECK_CAUSE_UNKNOWN;

    if (known) {
        say_all(out, trace, cause);
    }
    if (cause->kind == CHECK_CAUSE_GIVEN) {
        fprintf(out, "         The sleeper is a coroutine: %s itself has nothing to wake up for.\n",
                check_thread_name(cause->waiter));
        return;
    }
    fprintf(out, "  %s  Woken by hand, %s %s: ", known ? "     " : "cause", check_thread_name(cause->waiter),
            what_it_did(experiment->progress));
    fprintf(out, "%s\n",
            check->verdict == CHECK_LATE_WAKEUP ? "it did not have to wait for a timer." : "a missed wakeup, not a deadlock.");
}
