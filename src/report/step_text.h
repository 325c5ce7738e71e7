/*
 * Words for one step of a trace: "has_writer 1 -> 0", "reader_count == 2", "poll: asleep".
 *
 * Nothing in them depends on addresses: a pointer value is called p1, p2, ... in the order in which its namer saw it.
 * Kernel thread.
 */
#ifndef WAKEFUZZ_REPORT_STEP_TEXT_H
#define WAKEFUZZ_REPORT_STEP_TEXT_H

#include "check/trace.h"
#include "report/symbolize.h"
#include "report/text.h"

enum { REPORT_POINTERS_MAX = 32 };

/* Names for pointer values within one report. Zero-initialized is empty. */
typedef struct ReportValues {
    uint64_t pointers[REPORT_POINTERS_MAX];
    unsigned count;
} ReportValues;

/* The field or variable of an access: "&ctx->notify_me" is notify_me. */
void report_add_field(Text *text, const char *expression);

/* The object of an access at step index: its field, or where this place has only a pointer to it ("link") the field
 * by which another place in the trace accesses it; of a queue's head the queue. */
void report_add_object(Text *text, CheckTrace trace, size_t index);

/* "main", "asker (thread 3)" where another thread is called asker too. */
void report_add_thread(Text *text, uint32_t id);

/* "job_mutex, which" of a mutex with a name that a program's symbol gives it; else "the mutex that". */
void report_add_mutex(Text *text, const SchedStep *step);

/* A value of an object of that size, in decimal, negative where it looks so, or the name of a pointer. */
void report_add_value(Text *text, ReportValues *values, uint64_t value, unsigned size_bytes);

/* What the step did, without who and where. */
void report_add_step(Text *text, ReportValues *values, CheckTrace trace, size_t step);

/* Where a call was made; of one whose callers are known, beyond the wrappers that only unlock or signal on behalf of others. NULL: unknown. */
const ReportFrame *report_call_frame(const SchedStep *step);

/* The function in which the step was made; never NULL. */
const char *report_step_function(const SchedStep *step);

/* " (file.c:12)" of the step, nothing where it is unknown. */
void report_add_place(Text *text, const SchedStep *step);

#endif
