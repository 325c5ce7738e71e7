/* The root cause of a lost wakeup in words; see cause_text.h. Kernel thread. */
#include "report/cause_text.h"

enum { LINE_BYTES = 512 };

static void begin_step(Text *text, CheckTrace trace, size_t step)
{
    text_add(text, "step %zu, %s: ", step, check_thread_name(trace.steps[step].thread));
}

static void say_write(FILE *out, CheckTrace trace, ReportValues *values, const CheckCause *cause)
{
    char line[LINE_BYTES];
    Text text = text_begin(line, sizeof(line));

    begin_step(&text, trace, cause->write_step);
    if (cause->kind == CHECK_CAUSE_WRITE) {
        report_add_step(&text, values, trace, cause->write_step);
        text_add(&text, " made %s's condition true", check_thread_name(cause->waiter));
    } else {
        text_add(&text, "%s let go of the mutex that guards %s's condition",
                 report_step_function(&trace.steps[cause->write_step]), check_thread_name(cause->waiter));
    }
    report_add_place(&text, &trace.steps[cause->write_step]);
    fprintf(out, "  cause  %s%s\n", line, cause->check_step == CHECK_NO_STEP && cause->wake_step == CHECK_NO_STEP ? "" : ";");
}

static void say_check(FILE *out, CheckTrace trace, ReportValues *values, const CheckCause *cause)
{
    char line[LINE_BYTES];
    Text text = text_begin(line, sizeof(line));

    if (cause->check_step == CHECK_NO_STEP) {
        return;
    }

    const SchedStep *read = &trace.steps[cause->check_step];

    begin_step(&text, trace, cause->check_step);
    text_add(&text, "read ");
    report_add_field(&text, read->site->expression);
    text_add(&text, " == ");
    report_add_value(&text, values, read->old_value, read->site->size_bytes);
    if (cause->check_write_step != CHECK_NO_STEP) {
        text_add(&text, ", written by %s at step %zu", check_thread_name(trace.steps[cause->check_write_step].thread),
                 cause->check_write_step);
    }
    text_add(&text, ", and did not wake %s", check_thread_name(cause->waiter));
    fprintf(out, "         %s%s\n", line, cause->wake_step == CHECK_NO_STEP ? "." : ";");
}

static void say_wake(FILE *out, CheckTrace trace, ReportValues *values, const CheckCause *cause)
{
    char line[LINE_BYTES];
    Text text = text_begin(line, sizeof(line));

    if (cause->wake_step == CHECK_NO_STEP) {
        return;
    }
    begin_step(&text, trace, cause->wake_step);
    report_add_step(&text, values, trace, cause->wake_step);
    text_add(&text, " did not reach %s", check_thread_name(cause->waiter));
    report_add_place(&text, &trace.steps[cause->wake_step]);
    fprintf(out, "         %s.\n", line);
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

void report_cause(FILE *out, CheckTrace trace, const CheckResult *check, const CheckExperiment *experiment)
{
    const CheckCause *cause = &check->cause;
    ReportValues values = { .count = 0 };
    bool known = cause->kind != CHECK_CAUSE_UNKNOWN;

    if (known) {
        say_write(out, trace, &values, cause);
        say_check(out, trace, &values, cause);
        say_wake(out, trace, &values, cause);
    }
    fprintf(out, "  %s  Woken by hand, %s %s: ", known ? "     " : "cause", check_thread_name(cause->waiter),
            what_it_did(experiment->progress));
    fprintf(out, "%s\n",
            check->verdict == CHECK_LATE_WAKEUP ? "it did not have to wait for a timer." : "a missed wakeup, not a deadlock.");
}
