/*
 * How the files of the engine share its work: engine.c runs executions, decide.c decides, point.c stops threads at points and blocks them,
 * thread.c gives life, frames.c reads stacks, probe.c makes experiments.
 */
#ifndef WAKEFUZZ_SCHED_ENGINE_H
#define WAKEFUZZ_SCHED_ENGINE_H

#include "sched/constraint.h"
#include "sched/internal.h"
#include "sched/policy.h"

#define ENGINE_THREAD UINT16_MAX /* in a step: made by the environment */

#define SCHED_RUN_MAX 1000u /* steps in a row while others wait; then the longest waiting one goes first: a spin loop ends */

/* A thread's stack is looked at for recursion once in so many of its own steps. */
#define SCHED_WALK_PERIOD 8u

extern const SchedPolicy *sched_policy_;

/* ---- decide.c */

void sched_ready_append(SchedThread *thread);
void sched_ready_remove(SchedThread *thread);
/* A constraint does not hold the thread back any more. */
void sched_unheld(SchedThread *thread);
/* The thread runs: what was classified for its event is over. */
void sched_take_off_hold(SchedThread *thread);
/* Who goes on after this point of self; not in the ready queue any more. NULL: nobody can run, or the execution has ended. */
SchedThread *sched_decide(SchedThread *self, bool can_go_on, bool yields);
/* Nobody can run: the clock goes on, or the execution ends (false). On the kernel thread. */
bool sched_idle(void);
const SchedOverride *sched_deviations(void);

/* For the report: the running thread, or the environment, lets this one go on. */
void sched_note_wake(const SchedThread *thread);
const SchedPlace *sched_deviation_places(void);
/* After a change of the step bound or of what is watched. */
void sched_set_stop_step(void);
void sched_close_store(void); /* point.c: the store of sched_store() has been done: what has become of the object */

/* The thread can run from now on: joins the ready queue and the candidates. */
void sched_enable(SchedThread *thread);
/* The caller does not go on: somebody else does. Comes back when the thread is chosen again. */
void sched_leave(SchedThread *self);
/* End the execution; never comes back. From a fiber. */
__attribute__((noreturn)) void sched_end(SchedOutcome outcome, SchedThread *culprit);
/* Signals are taken on the other one from now on, as a handler that was left by sched_end() still has its frames on this one. Kernel thread. */
void sched_take_other_signal_stack(void);
void sched_interrupted(SchedThread *self);

/* Switch away from a fiber; does what sched_thread_interrupt() asks while it is away. Inlined, as is the next: the processor predicts each
 * return above a switch wrongly. */
static inline void sched_switch(SchedThread *self, const SchedContext *to)
{
    sched_arch_switch(&self->context, to);
    if (UNLIKELY(self->interrupt != NULL)) {
        sched_interrupted(self);
    }
}

static inline void sched_hand_over(SchedThread *self, SchedThread *next)
{
    sched_engine_.run_length = 0;
    sched_engine_.result.switches++;
    sched_switch(self, &next->context);
}

/* From the kernel thread: let this fiber go on until something comes back; does services meanwhile. */
void sched_run_fiber(SchedThread *thread);
SchedStep *sched_record(uint16_t thread, SchedThread *self, SchedOperation operation, SchedCall call, uintptr_t object,
                        uint32_t object_id);
/* Hash of the return addresses above a frame, for telling waits apart. */
uint64_t sched_hash_frames(const SchedThread *self, void *frame);
/* The execution ends if a return address stands on the stack as often as the limit says. */
void sched_check_recursion(SchedThread *self, void *frame);
SchedThread *sched_examine(void);
/* The outcome is known; on a fiber sched_end() must follow. */
void sched_set_outcome(SchedOutcome outcome, SchedThread *culprit);

extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

static inline void engine_acquire(void *object)
{
    if (__tsan_acquire) {
        __tsan_acquire(object);
    }
}

static inline void engine_release(void *object)
{
    if (__tsan_release) {
        __tsan_release(object);
    }
}

#endif
