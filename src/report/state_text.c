/* See state_text.h. */
#include "report/state_text.h"

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

void report_add_state(Text *text, uint32_t id)
{
    const SchedThread *thread = sched_thread_by_id(id);
    const CheckExperiment *experiment = check_experiment();
    const SchedBlock *block = thread == experiment->thread ? &experiment->block : sched_thread_block(thread);
    const char *name;

    if (!block) {
        bool slept = experiment->thread && experiment->asleep_set[id / 64] >> id % 64 & 1;

        text_add(text, slept ? "asleep until the experiment" : "could run");
        return;
    }
    text_add(text, "asleep in ");
    for (name = sched_call_name(block->call); *name; name++) {
        text_add(text, "%c", *name == '_' ? ' ' : *name);
    }
    if (block->deadline_ns != SCHED_FOREVER) {
        text_add(text, " until ");
        text_add_duration(text, block->deadline_ns);
    }
}

void report_add_end(Text *text, const SchedResult *result, unsigned asleep)
{
    unsigned long long steps = result->steps;

    switch (result->outcome) {
    case SCHED_QUIESCENT:
        text_add(text, "quiescent: %u thread%s asleep, no timer, no I/O", asleep, plural(asleep));
        break;
    case SCHED_LATE:
        text_add(text, "idle: %u thread%s asleep, no I/O, nothing but a timer far away", asleep, plural(asleep));
        break;
    case SCHED_STEP_BOUND:
    case SCHED_TIME_BOUND:
        text_add(text, "stopped after %llu step%s, at ", steps, plural(steps));
        text_add_duration(text, result->time_ns);
        break;
    case SCHED_NO_STEP:
        text_add(text, "stopped after %llu step%s, in a loop without any", steps, plural(steps));
        break;
    case SCHED_DONE:
        text_add(text, "ended after %llu step%s", steps, plural(steps));
        break;
    default:
        text_add(text, "failed after %llu step%s", steps, plural(steps));
        break;
    }
}
