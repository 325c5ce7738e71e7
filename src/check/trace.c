/* Questions to a trace; see trace.h. */
#include "check/trace.h"

#include <stdio.h>

CheckTrace check_trace(void)
{
    CheckTrace trace;

    trace.steps = sched_trace(&trace.count);
    return trace;
}

bool check_step_wakes(const SchedStep *step)
{
    if (step->operation != SCHED_CALL) {
        return false;
    }
    switch (step->call) {
    case SCHED_CALL_COND_SIGNAL:
    case SCHED_CALL_COND_BROADCAST:
    case SCHED_CALL_SEM_POST:
    case SCHED_CALL_FUTEX_WAKE:
    case SCHED_CALL_WRITE:
        return true;
    default:
        return false;
    }
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

uint64_t check_step_shape(const SchedStep *step, bool with_thread)
{
    uint64_t hash = mix(step->operation, step->call);

    hash = mix(hash, (uintptr_t)step->pc); /* or the site: both say where */
    hash = mix(hash, check_step_object(step));
    return with_thread ? mix(hash, step->thread + 1u) : hash;
}

size_t check_last_change(CheckTrace trace, uint64_t object, size_t before)
{
    for (size_t i = before; i-- > 0;) {
        if (check_step_changes(&trace.steps[i]) && check_step_object(&trace.steps[i]) == object) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

size_t check_last_sleep(CheckTrace trace, uint32_t thread, size_t before)
{
    for (size_t i = before; i-- > 0;) {
        if (trace.steps[i].thread == thread && trace.steps[i].flags & SCHED_STEP_BLOCKED) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

const char *check_thread_name(uint32_t id)
{
    static char names[8][SCHED_NAME_BYTES + 8];
    static unsigned next;
    const SchedThread *thread = sched_thread_by_id(id);
    const char *name = thread ? sched_thread_name(thread) : NULL;
    char *text = names[next++ % 8];

    if (id == CHECK_CLOCK || id == CHECK_NO_THREAD) {
        return "the clock";
    }
    if (name && name[0]) {
        snprintf(text, sizeof(names[0]), "%s", name);
    } else {
        snprintf(text, sizeof(names[0]), "thread %u", id);
    }
    return text;
}
