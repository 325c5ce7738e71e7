/*
 * The engine: points, decisions, and the execution as a whole. All of it runs on one kernel thread, on the stack of the fiber that
 * came to a point, or on the kernel thread's own stack before, between and after.
 *
 * 1. The running thread is in no queue. All other enabled threads are in the ready queue, the longest waiting first.
 * 2. The policy's candidates are the enabled threads, the running one included, less those that a constraint holds back.
 * 3. Every choice that differs from first-in-first-out is written down; base FIFO with these as overrides is the same execution.
 * 4. A step is recorded after the decision that let it happen and before it happens.
 * 5. Nothing that a decision depends on outlives the execution, or is an address.
 */
#include "sched/engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEPS_DEFAULT     200000u
#define TIME_DEFAULT_NS   (24ull * 3600 * 1000000000ull)
#define LATE_DEFAULT_NS   200000000ull
#define RECURSION_DEFAULT 256u
#define RUN_MAX           1000u  /* steps in a row, others waiting: then the longest waiting one goes first. A spin loop ends so */
#define WALK_STACK_BYTES  4096u  /* below this use of a stack no return address can stand on it 256 times */
#define DEVIATIONS_MAX    8192u
#define HOOKS_MAX         16u
#define THREADS_PREPARED  8u
#define SPIN_WEIGHT       20u    /* of a yield among deferred decisions */

Engine sched_engine_;
const SchedPolicy *sched_policy_;

#define engine sched_engine_
#define policy sched_policy_

static SchedOverride deviations[DEVIATIONS_MAX];
static char fail_message[1024];
static void (*begin_hooks[HOOKS_MAX])(void);
static unsigned begin_hook_count;
static SchedThread *(*examiner)(void);

/* ------------------------------------------------------------------------------------------- switching */

bool sched_here(void)
{
    SchedThread *self = sched_self_;

    return self && engine.running && !self->passthrough;
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

void sched_switch(SchedThread *self, const SchedContext *to)
{
    sched_arch_switch(&self->context, to);
    while (UNLIKELY(self->interrupt != NULL)) {
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

static void set_outcome(SchedOutcome outcome, SchedThread *culprit)
{
    engine.ended = true;
    engine.result.outcome = outcome;
    engine.result.culprit = culprit;
}

void sched_end(SchedOutcome outcome, SchedThread *culprit)
{
    SchedThread *self = sched_self_;

    set_outcome(outcome, culprit);
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
    engine.result.reason = verdict;
    engine.result.message = fail_message;
    sched_end(SCHED_FAILED, sched_self_);
}

/* ------------------------------------------------------------------------------------------- the ready queue */

static void ready_append(SchedThread *thread)
{
    thread->ready_next = NULL;
    thread->ready_previous = engine.ready_last;
    if (engine.ready_last) {
        engine.ready_last->ready_next = thread;
    } else {
        engine.ready_first = thread;
    }
    engine.ready_last = thread;
    engine.ready_count++;
}

static void ready_remove(SchedThread *thread)
{
    if (thread->ready_previous) {
        thread->ready_previous->ready_next = thread->ready_next;
    } else {
        engine.ready_first = thread->ready_next;
    }
    if (thread->ready_next) {
        thread->ready_next->ready_previous = thread->ready_previous;
    } else {
        engine.ready_last = thread->ready_previous;
    }
    engine.ready_count--;
}

static void candidate_add(SchedThread *thread)
{
    if (engine.constrained) {
        sched_constraints_classify(thread);
    }
    if (!thread->held && policy->enable) {
        policy->enable(thread);
    }
}

static void candidate_remove(SchedThread *thread)
{
    bool held = thread->held;

    sched_constraints_release(thread);
    if (!held && policy->disable) {
        policy->disable(thread);
    }
}

/* A constraint does not hold the thread back any more. */
static void unheld(SchedThread *thread)
{
    if (policy->enable) {
        policy->enable(thread);
    }
}

void sched_enable(SchedThread *thread)
{
    thread->state = THREAD_READY;
    ready_append(thread);
    candidate_add(thread);
}

void sched_wake(SchedThread *thread)
{
    if (thread->state != THREAD_BLOCKED) {
        return;
    }
    thread->wake = SCHED_WOKEN;
    if (engine.learning && sched_self_) {
        sched_learn_wake(sched_self_, thread);
    }
    sched_enable(thread);
}

/* ------------------------------------------------------------------------------------------- steps */

static void step_bound(SchedThread *self)
{
    if (engine.probe) {
        engine.probe = NULL; /* sched_probe() sees that it did not block */
        sched_switch(self, &engine.root);
    } else if (self) {
        sched_end(SCHED_STEP_BOUND, self);
    } else {
        set_outcome(SCHED_STEP_BOUND, NULL);
    }
}

SchedStep *sched_record(uint16_t id, SchedThread *self, SchedOperation operation, SchedCall call, uintptr_t object,
                        uint32_t object_id)
{
    Trace *trace = &sched_trace_;
    SchedStep *step = &trace->steps[trace->count];
    uint64_t word = id | (uint64_t)operation << 16 | (uint64_t)call << 24 | (uint64_t)object_id << 32;

    if (UNLIKELY(trace->count >= engine.limits.steps)) {
        step_bound(self);
    }
    trace->count++;
    trace->hash = (trace->hash ^ word) * 0x9e3779b97f4a7c15u;
    trace->hash ^= trace->hash >> 29;
    step->object = object;
    step->object_id = object_id;
    step->old_value = step->new_value = 0;
    step->thread = id;
    step->strand = self ? self->strand : 0;
    step->operation = (uint8_t)operation;
    step->call = (uint8_t)call;
    step->time_ns = sched_clock_now;
    step->flags = engine.probe ? SCHED_STEP_PROBE : 0;
    if (self) {
        if (UNLIKELY(self->woke || self->preempted)) {
            step->flags |= (self->woke ? SCHED_STEP_WOKE : 0) | (self->preempted ? SCHED_STEP_PREEMPTED : 0);
            self->woke = self->preempted = false;
        }
        self->steps++;
        engine.run_length++;
    }
    return step;
}

/* What an access means for the objects' history, the constraints and the learning. */
static inline void account(SchedThread *self, const SchedEvent *event)
{
    SchedObject *object = event->object;

    if (!object) {
        return;
    }
    if (engine.learning) {
        sched_learn_access(object, event->site, event->reads, event->writes);
    }
    if (event->writes) {
        object->last_write = event->site;
        object->last_writer = self->id;
        if (UNLIKELY(object->held)) {
            sched_constraints_written(object, unheld);
        }
    }
}

void sched_step_value(uint64_t value)
{
    if (sched_here() && sched_trace_.count) {
        sched_trace_.steps[sched_trace_.count - 1].new_value = value;
    }
}

/* ------------------------------------------------------------------------------------------- recursion */

static unsigned walk_frames(const SchedThread *self, void *frame, void **pcs, unsigned most)
{
    char **at = frame;
    unsigned count = 0;

    while ((char *)at >= self->stack_low && (char *)at < self->stack_high - 16 && ((uintptr_t)at & 7) == 0 && count < most) {
        pcs[count++] = at[1];
        if ((char *)*at <= (char *)at) {
            break;
        }
        at = (char **)*at;
    }
    return count;
}

/* 5 in the head of this file: the number of levels, not the bytes, decides, as frames differ between flavours. */
__attribute__((noinline)) static void check_recursion(SchedThread *self, void *frame)
{
    enum { MOST = 16384, KINDS = 64 };
    static void *pcs[MOST];
    unsigned count = walk_frames(self, frame, pcs, MOST);

    if (count < engine.limits.recursion) {
        return;
    }
    for (unsigned i = 0; i < KINDS; i++) {
        unsigned times = 0;

        for (unsigned j = i; j < count; j++) {
            times += pcs[j] == pcs[i];
        }
        if (times >= engine.limits.recursion) {
            sched_end(SCHED_STACK_OVERFLOW, self);
        }
    }
}

static inline void check_stack(SchedThread *self, void *frame)
{
    if (UNLIKELY((size_t)(self->stack_high - (char *)frame) > WALK_STACK_BYTES)) {
        check_recursion(self, frame);
    }
}

uint64_t sched_hash_frames(const SchedThread *self, void *frame)
{
    enum { MOST = 48 };
    void *pcs[MOST];
    unsigned count = walk_frames(self, frame, pcs, MOST);
    uint64_t hash = count;

    for (unsigned i = 0; i < count; i++) {
        hash = sched_mix64(hash ^ (uintptr_t)pcs[i]);
    }
    return hash;
}

/* ------------------------------------------------------------------------------------------- decisions */

static void deviate(const SchedThread *self, uint32_t nth, uint32_t choice)
{
    if (engine.result.deviation_count == DEVIATIONS_MAX || nth > UINT16_MAX) {
        engine.result.deviations_complete = false;
        return;
    }
    deviations[engine.result.deviation_count++] = (SchedOverride){ (uint16_t)nth, self->id, (uint16_t)choice };
}

/* The override for this decision of the thread, if there is one. */
static bool overridden(SchedThread *self, uint32_t nth, uint32_t *choice)
{
    while (self->override < self->override_end && self->override->decision < nth) {
        self->override++;
    }
    if (LIKELY(self->override == self->override_end || self->override->decision != nth)) {
        return false;
    }
    *choice = self->override->choice;
    return true;
}

static bool is_enabled(SchedThread *thread, SchedThread *self, bool can_go_on)
{
    return thread && thread->used && thread->state == THREAD_READY && (thread != self || can_go_on);
}

static SchedThread *base_choice(SchedThread *self, bool can_go_on, bool yields)
{
    SchedThread *thread;

    if (engine.constrained) {
        if (sched_constraints_deferred(yields ? SPIN_WEIGHT : 1, unheld)) {
            engine.constrained = false;
        } else if ((thread = sched_constraints_preferred(&engine.random)) && !(thread == self && (yields || !can_go_on))) {
            return thread;
        }
    }
    thread = policy->pick(can_go_on && !self->held ? self : NULL, yields);
    return thread ? thread : sched_constraints_any_held(&engine.random);
}

/* False: the execution has ended. */
static bool advance_clock(void)
{
    uint64_t next_ns = sched_clock_next_ns();
    SchedStep *step = sched_record(ENGINE_THREAD, NULL, SCHED_CALL, SCHED_CALL_CLOCK_ADVANCE, 0, 0);

    step->pc = NULL;
    step->new_value = next_ns;
    if (!sched_clock_advance(next_ns)) {
        set_outcome(SCHED_TIME_BOUND, NULL);
    }
    return !engine.ended;
}

SchedThread *sched_examine(void)
{
    return examiner ? examiner() : NULL;
}

/* A long sleep lies ahead: would somebody make progress if it were woken? */
static void examine_late(void)
{
    SchedThread *late;

    if (sched_clock_next_ns() - sched_clock_now < engine.limits.late_ns) {
        return;
    }
    late = sched_examine();
    if (late && !engine.ended) {
        set_outcome(SCHED_LATE, late);
    }
}

/* Nobody can run: the clock goes on, or the execution ends (false). On the kernel thread: every fiber is where its wait left it. */
static bool idle(void)
{
    bool body_ended = sched_thread_slot_id(0)->state == THREAD_ENDED;

    if (engine.live_count == 0) {
        set_outcome(SCHED_DONE, NULL);
        return false;
    }
    if (!sched_clock_armed()) {
        set_outcome(body_ended ? SCHED_DONE : SCHED_QUIESCENT, NULL);
        return false;
    }
    if (!body_ended) {
        examine_late();
        if (engine.ended || engine.ready_count) {
            return !engine.ended;
        }
    }
    if (sched_clock_next_ns() > engine.limits.time_ns) {
        set_outcome(body_ended ? SCHED_DONE : SCHED_TIME_BOUND, NULL);
        return false;
    }
    return advance_clock();
}

static bool clock_moves(void)
{
    return engine.plan.clock_rate && !(sched_random(&engine.random) & ((2ull << engine.plan.clock_rate) - 1));
}

/* Who goes on after this point of self; not in the ready queue any more. NULL: nobody can run, or the execution has ended. */
static SchedThread *decide(SchedThread *self, bool can_go_on, bool yields)
{
    bool forced = false;

    if (UNLIKELY(engine.run_length >= RUN_MAX) && can_go_on && engine.ready_count) {
        yields = forced = true;
    }
    if (yields && can_go_on && !self->held && policy->yield) {
        policy->yield(self);
    }
    for (;;) {
        unsigned choices = engine.ready_count + can_go_on;
        bool clock = sched_clock_armed();
        SchedThread *standard, *chosen = NULL;
        uint32_t nth, choice;

        if (choices == 0) {
            return NULL;
        }
        standard = can_go_on && (!yields || !engine.ready_count) ? self : engine.ready_first;
        if (choices == 1 && !clock) {
            chosen = standard;
        } else {
            engine.result.decisions++;
            nth = self->decisions++;
            if (overridden(self, nth, &choice)) {
                if (choice == SCHED_CHOICE_CLOCK && clock) {
                    deviate(self, nth, choice);
                    if (!advance_clock()) {
                        return NULL;
                    }
                    continue;
                }
                chosen = choice ? sched_thread_slot_id(choice - 1u) : standard;
                chosen = is_enabled(chosen, self, can_go_on) ? chosen : NULL;
            } else if (clock && clock_moves()) {
                deviate(self, nth, SCHED_CHOICE_CLOCK);
                if (!advance_clock()) {
                    return NULL;
                }
                continue;
            }
            if (!chosen) {
                chosen = forced ? standard : base_choice(self, can_go_on, yields);
            }
            if (chosen != standard) {
                deviate(self, nth, chosen->id + 1u);
            }
        }
        if (chosen != self || !can_go_on) {
            ready_remove(chosen);
        }
        return chosen;
    }
}

static void hand_over(SchedThread *self, SchedThread *next)
{
    engine.run_length = 0;
    engine.result.switches++;
    sched_switch(self, &next->context);
}

/* A point of self, whose event is set: perhaps somebody else goes first. */
static inline void point(SchedThread *self, bool yields)
{
    SchedThread *next;

    self->points++;
    if (engine.constrained) {
        sched_constraints_release(self);
        sched_constraints_classify(self);
        if (self->held && policy->disable) {
            policy->disable(self);
        }
    }
    if (policy->event && !self->held) {
        policy->event(self);
    }
    if (engine.ready_count || sched_clock_armed()) {
        next = decide(self, true, yields);
        if (UNLIKELY(!next)) {
            sched_end(engine.result.outcome, engine.result.culprit);
        }
        if (next != self) {
            self->preempted = !yields;
            engine.result.preemptions += !yields;
            ready_append(self);
            hand_over(self, next);
        }
    }
    if (UNLIKELY(self->held)) {
        sched_constraints_release(self);
        unheld(self);
    } else if (engine.constrained) {
        sched_constraints_release(self);
    }
    if (policy->execute) {
        policy->execute(self);
    }
}

void sched_leave(SchedThread *self)
{
    SchedThread *next;

    if (UNLIKELY(engine.probe != NULL)) {
        engine.probe = NULL;
        sched_switch(self, &engine.root);
        return;
    }
    candidate_remove(self);
    next = decide(self, false, false);
    if (!next) {
        engine.idle = self;
        sched_switch(self, &engine.root);
    } else if (next != self) { /* the clock moved and woke it */
        hand_over(self, next);
    }
}

/* ------------------------------------------------------------------------------------------- points */

#define READS  1u
#define WRITES 2u

static const uint8_t call_effects[SCHED_CALL_COUNT] = {
    [SCHED_CALL_JOIN] = READS,
    [SCHED_CALL_ONCE] = READS | WRITES,
    [SCHED_CALL_MUTEX_LOCK] = READS | WRITES,
    [SCHED_CALL_MUTEX_TRYLOCK] = READS | WRITES,
    [SCHED_CALL_MUTEX_TIMEDLOCK] = READS | WRITES,
    [SCHED_CALL_MUTEX_UNLOCK] = WRITES,
    [SCHED_CALL_RWLOCK_RDLOCK] = READS | WRITES,
    [SCHED_CALL_RWLOCK_WRLOCK] = READS | WRITES,
    [SCHED_CALL_RWLOCK_UNLOCK] = WRITES,
    [SCHED_CALL_SPIN_LOCK] = READS | WRITES,
    [SCHED_CALL_SPIN_UNLOCK] = WRITES,
    [SCHED_CALL_BARRIER_WAIT] = READS | WRITES,
    [SCHED_CALL_COND_WAIT] = READS,
    [SCHED_CALL_COND_TIMEDWAIT] = READS,
    [SCHED_CALL_COND_SIGNAL] = WRITES,
    [SCHED_CALL_COND_BROADCAST] = WRITES,
    [SCHED_CALL_SEM_WAIT] = READS | WRITES,
    [SCHED_CALL_SEM_POST] = WRITES,
    [SCHED_CALL_FUTEX_WAIT] = READS,
    [SCHED_CALL_FUTEX_WAKE] = WRITES,
    [SCHED_CALL_READ] = READS | WRITES,
    [SCHED_CALL_WRITE] = WRITES,
    [SCHED_CALL_CLOSE] = WRITES,
    [SCHED_CALL_POLL] = READS,
    [SCHED_CALL_SELECT] = READS,
    [SCHED_CALL_EPOLL_WAIT] = READS,
    [SCHED_CALL_IO_SUBMIT] = WRITES,
    [SCHED_CALL_IO_GETEVENTS] = READS | WRITES,
    [SCHED_CALL_IO_COMPLETE] = WRITES,
};

static void call_point(SchedCall call, uintptr_t object, void *site, void *frame, bool yields)
{
    SchedThread *self = sched_self_;
    SchedStep *step;

    check_stack(self, frame);
    self->event = (SchedEvent){
        .key = object,
        .object = sched_object_find(object),
        .reads = call_effects[call] & READS,
        .writes = call_effects[call] & WRITES,
    };
    if (engine.calls_named) {
        self->event.site = sched_call_site(call, site, frame);
    }
    if (LIKELY(!engine.probe)) {
        point(self, yields);
    }
    step = sched_record(self->id, self, SCHED_CALL, call, object, self->event.object ? self->event.object->id : 0);
    step->pc = site;
    account(self, &self->event);
}

void sched_point(SchedCall call, uintptr_t object, void *site, void *frame)
{
    call_point(call, object, site, frame, false);
}

void sched_yield_point(void *site, void *frame)
{
    call_point(SCHED_CALL_YIELD, 0, site, frame, true);
}

static inline uint64_t value_of(const volatile void *object, unsigned bytes)
{
    switch (bytes) {
    case 1:
        return *(const volatile uint8_t *)object;
    case 2:
        return *(const volatile uint16_t *)object;
    case 4:
        return *(const volatile uint32_t *)object;
    case 8:
        return *(const volatile uint64_t *)object;
    default:
        return 0;
    }
}

void sched_atomic(SchedSite *site, const volatile void *object, uint64_t new_value)
{
    SchedThread *self = sched_self_;
    SchedObject *identity;
    SchedEvent event;
    SchedStep *step;

    if (!sched_here()) {
        return;
    }
    identity = sched_object_find((uintptr_t)object);
    event = (SchedEvent){
        .key = (uintptr_t)object,
        .object = identity,
        .site = (uint16_t)site->id,
        .reads = site->operation == SCHED_LOAD || site->operation == SCHED_RMW,
        .writes = site->operation == SCHED_STORE || site->operation == SCHED_RMW,
    };
    check_stack(self, __builtin_frame_address(0));
    if (LIKELY(!engine.probe)) {
        if ((engine.plan.atomics && site->operation != SCHED_FENCE) || UNLIKELY(engine.run_length >= RUN_MAX)) {
            self->event = event;
            point(self, false);
        }
    }
    step = sched_record(self->id, self, (SchedOperation)site->operation, SCHED_CALL_NONE, (uintptr_t)object, identity ? identity->id : 0);
    step->site = site;
    step->old_value = value_of(object, site->size_bytes);
    step->new_value = site->operation == SCHED_STORE ? new_value : step->old_value;
    account(self, &event);
}

void sched_atomic_done(void)
{
    SchedStep *step;

    if (!sched_here() || !sched_trace_.count) {
        return;
    }
    step = &sched_trace_.steps[sched_trace_.count - 1];
    if (step->operation == SCHED_RMW) {
        step->new_value = value_of((const volatile void *)step->object, step->site->size_bytes);
    }
}

/* ------------------------------------------------------------------------------------------- blocking */

static void block_expired(SchedTimer *timer)
{
    SchedThread *thread = (SchedThread *)((char *)timer - offsetof(SchedThread, timer));

    if (thread->state == THREAD_BLOCKED) {
        thread->wake = SCHED_TIMEOUT;
        sched_enable(thread);
    }
}

SchedWake sched_block(const SchedBlock *block)
{
    SchedThread *self = sched_self_;

    self->block = block;
    self->state = THREAD_BLOCKED;
    self->wait_frames = sched_hash_frames(self, __builtin_frame_address(0));
    self->timer.expired = block_expired;
    if (block->deadline_ns != SCHED_FOREVER) {
        sched_timer_arm(&self->timer, block->deadline_ns);
    }
    if (sched_trace_.count && sched_trace_.steps[sched_trace_.count - 1].thread == self->id) {
        sched_trace_.steps[sched_trace_.count - 1].flags |= SCHED_STEP_BLOCKED;
    }
    sched_leave(self);
    self->block = NULL;
    sched_timer_disarm(&self->timer);
    self->woke = true;
    return self->wake;
}

unsigned sched_choose(unsigned n)
{
    SchedThread *self = sched_self_;
    uint32_t nth, choice = 0;

    if (n <= 1 || engine.probe) {
        return 0;
    }
    engine.result.decisions++;
    nth = self->decisions++;
    if (!overridden(self, nth, &choice) && engine.plan.base != SCHED_BASE_FIFO) {
        choice = sched_random_below(&engine.random, n);
    }
    choice = choice < n ? choice : 0;
    if (choice) {
        deviate(self, nth, choice);
    }
    return choice;
}

/* ------------------------------------------------------------------------------------------- executions */

static const SchedPolicy *const policies[] = {
    [SCHED_BASE_FIFO] = &sched_policy_fifo, [SCHED_BASE_WALK] = &sched_policy_walk, [SCHED_BASE_POS] = &sched_policy_pos,
    [SCHED_BASE_URW] = &sched_policy_urw,   [SCHED_BASE_PCT] = &sched_policy_pct,   [SCHED_BASE_SURW] = &sched_policy_surw,
};

int sched_init(void)
{
    int error;

    sched_arch_init(getenv("WAKEFUZZ_SLOW_SWITCH") != NULL);
    sched_objects_init();
    sched_sites_init();
    sched_tls_init();
    engine.root.thread_pointer = sched_arch_thread_pointer();
    error = sched_stacks_init();
    error = error ? error : sched_trace_init();
    error = error ? error : sched_fibers_init(THREADS_PREPARED);
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

void sched_set_examiner(SchedThread *(*examine)(void))
{
    examiner = examine;
}

void sched_set_learning(bool on)
{
    engine.learning = on;
}

static void begin_limits(const SchedLimits *limits)
{
    engine.limits = limits ? *limits : (SchedLimits){ 0 };
    engine.limits.steps = engine.limits.steps ? engine.limits.steps : STEPS_DEFAULT;
    if (engine.limits.steps > TRACE_STEPS_MAX / 2) {
        engine.limits.steps = TRACE_STEPS_MAX / 2; /* the rest is for the experiment */
    }
    engine.limits.time_ns = engine.limits.time_ns ? engine.limits.time_ns : TIME_DEFAULT_NS;
    engine.limits.late_ns = engine.limits.late_ns ? engine.limits.late_ns : LATE_DEFAULT_NS;
    engine.limits.recursion = engine.limits.recursion ? engine.limits.recursion : RECURSION_DEFAULT;
}

static void begin_plan(const SchedPlan *plan)
{
    SchedBase base = plan->base;

    engine.plan = *plan;
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
    engine.thread_count = engine.live_count = 0;
    engine.ready_first = engine.ready_last = NULL;
    engine.ready_count = 0;
    engine.run_length = 0;
    engine.probe = NULL;
    engine.idle = NULL;
    engine.ended = false;
    engine.result = (SchedResult){ .deviations = deviations, .deviations_complete = true };
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

        left += thread->state != THREAD_ENDED || !thread->reaped;
    }
    return left;
}

const SchedResult *sched_run(void (*function)(void *), void *argument, const SchedPlan *plan, const SchedLimits *limits)
{
    Body body = { function, argument };
    SchedThread *first;

    begin(plan, limits);
    engine.running = true;
    engine_release(&engine.root);
    first = sched_thread_create(run_body, &body);
    first->reaped = true;
    ready_remove(first);
    sched_run_fiber(first);
    while (engine.idle && !engine.ended) {
        SchedThread *last = engine.idle, *next;

        if (!idle()) {
            break;
        }
        next = decide(last, false, false);
        if (next) {
            engine.idle = NULL;
            engine.run_length = 0;
            engine.result.switches++;
            sched_run_fiber(next);
        }
    }
    engine.result.trace_hash = sched_trace_.hash ^ sched_mix64(engine.result.outcome + 1u);
    engine.result.steps = sched_trace_.count;
    engine.result.time_ns = sched_clock_now;
    engine.result.threads = engine.thread_count;
    engine.result.threads_left = count_threads_left();
    if (engine.result.outcome == SCHED_QUIESCENT) {
        engine.result.culprit = sched_examine();
    }
    engine.running = false;
    engine_acquire(&engine.root);
    return &engine.result;
}
