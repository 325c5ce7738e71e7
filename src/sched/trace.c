/* The trace of the last execution: one record a step, in memory that is reserved once and used as far as needed. */
#include <errno.h>
#include <sys/mman.h>

#include "sched/internal.h"

Trace sched_trace_;

int sched_trace_init(void)
{
    void *memory = mmap(NULL, TRACE_STEPS_MAX * sizeof(SchedStep), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED) {
        return -errno;
    }
    sched_trace_.steps = memory;
    return 0;
}

void *sched_trace_memory(size_t *bytes)
{
    *bytes = TRACE_STEPS_MAX * sizeof(SchedStep);
    return sched_trace_.steps;
}

const SchedStep *sched_trace(size_t *count)
{
    *count = sched_trace_.count;
    return sched_trace_.steps;
}

const char *sched_call_name(SchedCall call)
{
    static const char *const names[] = { "none",
#define X(name) #name,
                                         SCHED_CALLS(X)
#undef X
    };
    static char lower[SCHED_CALL_COUNT][24];
    char *text;

    if ((unsigned)call >= SCHED_CALL_COUNT) {
        return "?";
    }
    text = lower[call];
    for (unsigned i = 0; i < sizeof(lower[0]) - 1 && names[call][i]; i++) {
        text[i] = (char)(names[call][i] | (names[call][i] == '_' ? 0 : 0x20));
    }
    return text;
}
