/*
 * See race.h. The child that has the race ends with it, so what it notes lies in shared memory; its parent, which has the debug information, tells.
 */
#include "fuzz/race.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fuzz/forked.h"
#include "fuzz/fuzz.h"
#include "report/symbolize.h"

enum { ACCESSES_MAX = 2, FRAMES_MAX = 16 };

typedef struct Race {
    unsigned count;
    uintptr_t pcs[ACCESSES_MAX]; /* return addresses of the calls to ThreadSanitizer */
} Race;

static Race *race; /* NULL: this program does not fork */

/* Of ThreadSanitizer; there in flavour tsan only. */
__attribute__((weak)) int __tsan_get_report_data(void *report, const char **description, int *count, int *stacks, int *accesses,
                                                 int *locations, int *mutexes, int *threads, int *unique_threads,
                                                 void **sleep_trace, unsigned long trace_size);
/* The n-th access; trace[0] is where in the code. */
__attribute__((weak)) int __tsan_get_report_mop(void *report, unsigned long n, int *thread, void **object, int *bytes, int *write,
                                                int *atomic, void **trace, unsigned long trace_size);

void race_init(void)
{
    race = forked_alloc(sizeof(*race));
}

void race_note(void *report)
{
    void *trace[FRAMES_MAX] = { NULL }, *object;
    const char *description;
    int accesses = 0, thread, bytes, write, atomic, unused;

    if (!race || !__tsan_get_report_data || !__tsan_get_report_mop) {
        return;
    }
    __tsan_get_report_data(report, &description, &unused, &unused, &accesses, &unused, &unused, &unused, &unused, trace,
                           FRAMES_MAX);
    race->count = 0;
    for (int i = 0; i < accesses && i < ACCESSES_MAX; i++) {
        __tsan_get_report_mop(report, (unsigned long)i, &thread, &object, &bytes, &write, &atomic, trace, FRAMES_MAX);
        if (!atomic) { /* it is a point anyway */
            race->pcs[race->count++] = (uintptr_t)trace[0];
        }
    }
}

/* The frame whose line is to be named; NULL: the access is in a header, in a scenario, or in nobody's source. */
static const ReportFrame *named_frame(uintptr_t pc)
{
    const ReportFrame *frame = report_function_at(pc - 1);

    if (!frame->line || !frame->file || frame->file[0] == '/' || !g_str_has_suffix(frame->file, ".c")) {
        return NULL;
    }
    return g_str_has_prefix(frame->file, "fuzz/") ? NULL : frame; /* the scenario's */
}

static bool same_line(const ReportFrame *a, const ReportFrame *b)
{
    return a && b && a->line == b->line && strcmp(a->file, b->file) == 0;
}

void race_tell(FILE *stream)
{
    const ReportFrame *frames[ACCESSES_MAX] = { NULL };

    for (unsigned i = 0; race && i < race->count; i++) {
        frames[i] = named_frame(race->pcs[i]);
    }
    if (same_line(frames[0], frames[1])) {
        frames[1] = NULL;
    }
    if (!frames[0] && !frames[1]) {
        return;
    }
    fprintf(stream, "To hunt for what comes of it: tools/qemu-lane SRC_DIR");
    for (unsigned i = 0; i < ACCESSES_MAX; i++) {
        if (frames[i]) {
            fprintf(stream, " --points %s:%u", frames[i]->file, frames[i]->line);
        }
    }
    fprintf(stream, " %s\n", fuzz_target.name);
}
