/*
 * The execution as a whole: the kernel thread's side of it. Fibers run on the one kernel thread that called sched_run(), and come back
 * to its own stack when nobody can run, when a service is needed, and at the end.
 */
#include "sched/engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_DEFAULT     200000u
#define TIME_DEFAULT_NS   (24ull * 3600 * 1000000000ull)
#define LATE_DEFAULT_NS   200000000ull
#define RECURSION_DEFAULT 256u
#define HOOKS_MAX         16u
#define THREADS_PREPARED  8u

Engine sched_engine_;
const SchedPolicy *sched_policy_;

#define engine sched_engine_
#define policy sched_policy_

static char fail_message[1024];
static void (*begin_hooks[HOOKS_MAX])(void);
static unsigned begin_hook_count;
static void (*abandon_hook)(void);

/* ---- switching */

bool sched_here(void)
{
    return engine_here();
}

void sched_passthrough_begin(void)
{
    if (sched_self_) {
        sched_self_->passthrough++;
    }
}

void sched_passthrough_end(void)
{
    if (sched_self_) {
        sched_self_->passthrough--;
    }
}

void sched_interrupted(SchedThread *self)
{
    while (self->interrupt) {
        void (*function)(void *) = self->interrupt;

        self->interrupt = NULL;
        self->passthrough++;
        function(self->interrupt_argument);
        self->passthrough--;
        sched_arch_switch(&self->context, &engine.root);
    }
}

void sched_run_fiber(SchedThread *thread)
{
    for (;;) {
        sched_arch_switch(&engine.root, &thread->context);
        if (!engine.service) {
            return;
        }
        engine.service_result = engine.service(engine.service_argument);
        engine.service = NULL;
        thread = engine.service_caller;
    }
}

void *sched_on_kernel_thread(void *(*function)(void *), void *argument)
{
    SchedThread *self = sched_self_;

    if (!self) {
        return function(argument);
    }
    engine.service = function;
    engine.service_argument = argument;
    engine.service_caller = self;
    sched_arch_switch(&self->context, &engine.root);
    return engine.service_result;
}

void sched_thread_interrupt(SchedThread *thread, void (*function)(void *), void *argument)
{
    thread->interrupt = function;
    thread->interrupt_argument = argument;
    sched_run_fiber(thread);
}

void sched_set_outcome(SchedOutcome outcome, SchedThread *culprit)
{
    engine.ended = true;
    engine.result.outcome = outcome;
    engine.result.culprit = culprit;
}

void sched_end(SchedOutcome outcome, SchedThread *culprit)
{
    SchedThread *self = sched_self_;

    sched_set_outcome(outcome, culprit);
    engine_release(&engine.root);
    for (;;) {
        sched_switch(self, &engine.root);
    }
}

void sched_fail(const char *verdict, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(fail_message, sizeof(fail_message), format, arguments);
    va_end(arguments);
    if (!sched_self_ || !engine.running) {
        fprintf(stderr, "wakefuzz: %s: %s (outside an execution)\n", verdict, fail_message);
        abort();
    }
    sched_close_store();
    engine.result.reason = verdict;
    engine.result.message = fail_message;
    sched_end(SCHED_FAILED, sched_self_);
}

/* ---- executions */

static const SchedPolicy *const policies[] = {
    [SCHED_BASE_FIFO] = &sched_policy_fifo, [SCHED_BASE_WALK] = &sched_policy_walk, [SCHED_BASE_POS] = &sched_policy_pos,
    [SCHED_BASE_URW] = &sched_policy_urw,   [SCHED_BASE_PCT] = &sched_policy_pct,   [SCHED_BASE_SURW] = &sched_policy_surw,
};

int sched_init(void)
{
    int error;

    sched_arch_init(getenv("WAKEFUZZ_SLOW_SWITCH") != NULL);
    sched_sites_init();
    sched_tls_init();
    engine.root.thread_pointer = sched_arch_thread_pointer();
    error = sched_stacks_init();
    error = error ? error : sched_trace_init();
    error = error ? error : sched_prepare_threads(THREADS_PREPARED);
    if (error) {
        fprintf(stderr, "wakefuzz: cannot prepare the scheduler: %s (threads, or address space: see ulimit -u, -v)\n",
                strerror(-error));
    }
    return error;
}

void sched_on_begin(void (*function)(void))
{
    if (begin_hook_count < HOOKS_MAX) {
        begin_hooks[begin_hook_count++] = function;
    }
}

void sched_on_abandon(void (*function)(void))
{
    abandon_hook = function;
}

void sched_replace_overrides(const SchedOverride *overrides, uint32_t count)
{
    engine.replaced_overrides = overrides;
    engine.replaced_override_count = count;
}

void sched_watch(const size_t *steps, size_t count, void (*function)(size_t step, SchedThread *thread))
{
    engine.all_watched_steps = steps;
    engine.all_watch_count = count;
    engine.watch = function;
}

void sched_set_stop_step(void)
{
    engine.stop_step = engine.limits.steps;
    if (engine.watch_count && *engine.watched_steps < engine.stop_step) {
        engine.stop_step = *engine.watched_steps;
    }
    if (engine.open_store) {
        engine.stop_step = 0;
    }
}

const SchedResult *sched_result_so_far(void)
{
    engine.result.trace_hash = sched_trace_.hash;
    engine.result.steps = sched_trace_.count;
    engine.result.time_ns = sched_clock_now;
    engine.result.threads = engine.thread_count;
    sched_learn_note();
    return &engine.result;
}

void sched_set_learning(bool on)
{
    engine.learning = on;
}

bool sched_learning(void)
{
    return engine.learning;
}

static void begin_limits(const SchedLimits *limits)
{
    engine.limits = limits ? *limits : (SchedLimits){ 0 };
    engine.limits.steps = engine.limits.steps ? engine.limits.steps : STEPS_DEFAULT;
    if (engine.limits.steps > TRACE_STEPS_MAX / 2) {
        engine.limits.steps = TRACE_STEPS_MAX / 2; /* the rest is for the experiment */
    }
    engine.watched_steps = engine.all_watched_steps;
    engine.watch_count = engine.all_watch_count;
    engine.open_store = 0;
    sched_set_stop_step();
    engine.limits.time_ns = engine.limits.time_ns ? engine.limits.time_ns : TIME_DEFAULT_NS;
    engine.limits.late_ns = engine.limits.late_ns ? engine.limits.late_ns : LATE_DEFAULT_NS;
    engine.limits.recursion = engine.limits.recursion ? engine.limits.recursion : RECURSION_DEFAULT;
}

static void begin_plan(const SchedPlan *plan)
{
    SchedBase base = plan->base;

    engine.plan = *plan;
    engine.overrides = engine.replaced_overrides ? engine.replaced_overrides : engine.plan.overrides;
    engine.override_count = engine.replaced_overrides ? engine.replaced_override_count : plan->override_count;
    sched_random_seed(&engine.random, plan->seed);
    if (base == SCHED_BASE_MIXED) {
        base = (SchedBase)(SCHED_BASE_WALK + sched_random_below(&engine.random, SCHED_BASE_MIXED - SCHED_BASE_WALK));
        engine.plan.base = base;
    }
    policy = policies[base];
    if (policy->begin) {
        policy->begin(&engine.plan, &engine.random);
    }
    engine.constrained = plan->constraint_count != 0;
    engine.plain = base == SCHED_BASE_FIFO && !engine.constrained && !plan->clock_rate;
    sched_constraints_begin(&engine.plan);
    engine.calls_named = engine.constrained || engine.learning;
}

static void begin(const SchedPlan *plan, const SchedLimits *limits)
{
    for (uint32_t i = 0; i < engine.thread_count; i++) {
        SchedThread *thread = sched_thread_slot_id(i);

        if (thread->state != THREAD_ENDED || thread->abandoned) {
            sched_fiber_abandon(thread);
        }
        thread->used = false;
    }
    engine.thread_count = engine.live_count = engine.daemon_count = 0;
    engine.daemons_must_end = false;
    engine.wakeup_count = 0;
    engine.ready_first = engine.ready_last = NULL;
    engine.ready_count = 0;
    engine.run_length = 0;
    engine.clock_moves = 0;
    engine.probe = NULL;
    engine.idle = NULL;
    engine.ended = false;
    engine.result = (SchedResult){ .deviations = sched_deviations(),
                                   .deviation_places = sched_deviation_places(),
                                   .deviations_complete = true };
    sched_trace_.count = 0;
    sched_trace_.hash = 0;
    sched_clock_reset();
    sched_objects_reset();
    begin_limits(limits);
    begin_plan(plan);
    for (unsigned i = 0; i < begin_hook_count; i++) {
        begin_hooks[i]();
    }
}

typedef struct Body {
    void (*function)(void *);
    void *argument;
} Body;

static void *run_body(void *opaque)
{
    Body *body = opaque;

    body->function(body->argument);
    return NULL;
}

static uint32_t count_threads_left(void)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < engine.thread_count; i++) {
        SchedThread *thread = sched_thread_slot_id(i);

        left += !thread->daemon && !thread->lives_on && (thread->state != THREAD_ENDED || !thread->reaped);
    }
    return left;
}

static void leave_for_good(void *unused)
{
    (void)unused;
    if (abandon_hook) {
        abandon_hook();
    }
    engine_release(&engine.root);
}

/* TSan: what the fibers of a failed execution did comes before all that the kernel thread, and so the next execution, does. A fiber that
 * has ended has said so itself; one that never ran has done nothing. */
static void order_after_fibers(void)
{
    if (!__tsan_release) {
        return;
    }
    for (uint32_t i = 0; i < engine.thread_count; i++) {
        SchedThread *thread = sched_thread_slot_id(i);

        if (thread->state != THREAD_ENDED && thread->started) {
            sched_thread_interrupt(thread, leave_for_good, NULL);
        }
    }
}

const SchedResult *sched_run(void (*function)(void *), void *argument, const SchedPlan *plan, const SchedLimits *limits)
{
    Body body = { function, argument };
    SchedThread *first;

    begin(plan, limits);
    engine.executions++;
    engine.running = true;
    engine_release(&engine.root);
    first = sched_thread_create(run_body, &body);
    first->reaped = true;
    sched_ready_remove(first);
    sched_run_fiber(first);
    while (engine.idle && !engine.ended) {
        SchedThread *last = engine.idle, *next;

        if (!sched_idle()) {
            break;
        }
        next = sched_decide(last, false, false);
        if (next) {
            engine.idle = NULL;
            engine.run_length = 0;
            engine.result.switches++;
            sched_run_fiber(next);
        }
    }
    if (engine.result.outcome == SCHED_STACK_OVERFLOW || engine.result.outcome == SCHED_NO_STEP) {
        sched_take_other_signal_stack(); /* the culprit may still be on this one */
    }
    engine.result.trace_hash = sched_trace_.hash ^ sched_mix64(engine.result.outcome + 1u);
    engine.result.steps = sched_trace_.count;
    engine.result.time_ns = sched_clock_now;
    engine.result.threads = engine.thread_count;
    engine.result.threads_left = count_threads_left();
    sched_learn_note();
    if (engine.result.outcome == SCHED_QUIESCENT) {
        engine.result.culprit = sched_examine();
    }
    engine.running = false;
    order_after_fibers();
    engine_acquire(&engine.root);
    return &engine.result;
}
