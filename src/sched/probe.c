/*
 * The experiment: one sleeper is resumed as if its wait had returned for no reason, and runs alone until it sleeps again. What a
 * probe means is for check/ to say.
 */
#include "sched/engine.h"

#define engine          sched_engine_
#define PROBE_STEPS_MAX 20000u

bool sched_probe(SchedThread *thread, SchedProbe *probe)
{
    const SchedBlock *block = sched_thread_block(thread);
    uint32_t ready_before = engine.ready_count;
    uint64_t bound = engine.limits.steps, frames;
    SchedCall call;
    bool endless;
    const void *object;

    if (!block || !block->spurious_ok) {
        return false;
    }
    frames = sched_hash_frames(thread, thread->wait_frame);
    call = block->call;
    object = block->object;
    endless = block->deadline_ns == SCHED_FOREVER;
    *probe = (SchedProbe){ .first_step = sched_trace_.count };
    engine.probe = thread;
    engine.limits.steps = sched_trace_.count + PROBE_STEPS_MAX;
    engine.limits.steps = engine.limits.steps < TRACE_STEPS_MAX ? engine.limits.steps : TRACE_STEPS_MAX;
    sched_set_stop_step();
    thread->state = THREAD_READY;
    thread->wake = SCHED_SPURIOUS;
    sched_run_fiber(thread);
    engine.probe = NULL;
    engine.limits.steps = bound;
    sched_set_stop_step();
    probe->end_step = sched_trace_.count;
    probe->ended = thread->state == THREAD_ENDED;
    probe->bounded = thread->state == THREAD_READY;
    probe->others_enabled = engine.ready_count > ready_before;
    block = sched_thread_block(thread);
    probe->same_wait = block && block->call == call && block->object == object &&
                       endless == (block->deadline_ns == SCHED_FOREVER) &&
                       sched_hash_frames(thread, thread->wait_frame) == frames;
    if (probe->bounded) {
        sched_enable(thread);
    }
    return true;
}
