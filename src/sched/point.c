/*
 * Points: where a thread may lose the processor, and what is recorded of each step.
 *
 * 1. A step is recorded after the decision that let it happen and before it happens.
 * 2. Where the plan has no points at atomic accesses these are recorded all the same: reports and root causes need them.
 */
#include "sched/engine.h"

#define RUN_MAX          SCHED_RUN_MAX
#define WALK_STACK_BYTES 4096u /* below this use of a stack no return address can stand on it 256 times */

#define engine sched_engine_
#define policy sched_policy_

/* ---- steps */

static void step_bound(SchedThread *self)
{
    if (engine.probe) {
        engine.probe = NULL; /* sched_probe() sees that it did not block */
        sched_switch(self, &engine.root);
    } else if (self) {
        sched_end(SCHED_STEP_BOUND, self);
    } else {
        sched_set_outcome(SCHED_STEP_BOUND, NULL);
    }
}

/* Somebody wants to be there when this step is about to be recorded. */
static void watched(SchedThread *self)
{
    engine.watched_steps++;
    engine.watch_count--;
    sched_set_stop_step();
    if (self) {
        self->passthrough++;
    }
    engine.watch(sched_trace_.count, self);
    if (self) {
        self->passthrough--;
    }
}

static inline uint64_t value_of(const volatile void *object, unsigned bytes)
{
    if (LIKELY(bytes == 4)) {
        return *(const volatile uint32_t *)object;
    }
    if (bytes == 8) {
        return *(const volatile uint64_t *)object;
    }
    return bytes == 1 ? *(const volatile uint8_t *)object : bytes == 2 ? *(const volatile uint16_t *)object : 0;
}

void sched_close_store(void)
{
    if (!engine.open_store) {
        return;
    }

    SchedStep *step = &sched_trace_.steps[engine.open_store - 1];

    step->new_value = value_of((const volatile void *)step->object, step->site->size_bytes);
    engine.open_store = 0;
    sched_set_stop_step();
}

static void stop_step(SchedThread *self)
{
    sched_close_store();
    if (engine.watch_count && *engine.watched_steps == sched_trace_.count) {
        watched(self);
    }
    if (sched_trace_.count >= engine.limits.steps) {
        step_bound(self); /* others may have recorded steps when it comes back */
    }
}

/* Inlined where steps are frequent, so that constants fold and nothing goes through memory twice. The caller fills in where, old_value
 * and new_value. */
static inline SchedStep *record(uint16_t id, SchedThread *self, SchedOperation operation, SchedCall call, uintptr_t object,
                                uint32_t object_id)
{
    Trace *trace = &sched_trace_;
    uint32_t what = id | (uint32_t)operation << 16 | (uint32_t)call << 24;
    uint8_t flags = 0;
    SchedStep *step;

    if (UNLIKELY(trace->count >= engine.stop_step)) {
        stop_step(self);
    }
    step = &trace->steps[trace->count++];
    trace->hash = (trace->hash ^ (what | (uint64_t)object_id << 32)) * 0x9e3779b97f4a7c15u;
    trace->hash ^= trace->hash >> 29;
    step->object = object;
    step->object_id = object_id;
    step->thread = id;
    step->operation = (uint8_t)operation;
    step->call = (uint8_t)call;
    step->time_ns = sched_clock_now;
    if (UNLIKELY(engine.probe)) {
        flags = (uint8_t)(SCHED_STEP_PROBE | (self && self->looks ? SCHED_STEP_LOOK : 0));
    }
    if (self) {
        flags |= self->step_flags;
        self->step_flags = 0;
        engine.run_length++;
    }
    step->flags = flags;
    step->strand = self ? self->strand : 0;
    return step;
}

SchedStep *sched_record(uint16_t id, SchedThread *self, SchedOperation operation, SchedCall call, uintptr_t object,
                        uint32_t object_id)
{
    SchedStep *step = record(id, self, operation, call, object, object_id);

    step->pc = NULL;
    step->old_value = step->new_value = 0;
    return step;
}

/* What an access means for the objects' history, the constraints and the learning. */
static inline void account(SchedThread *self, SchedObject *object, uint16_t site, bool reads, bool writes)
{
    if (!object) {
        return;
    }
    if (engine.learning) {
        sched_learn_access(object, site, reads, writes);
    }
    if (writes) {
        object->last_write = site;
        object->last_writer = self->id;
        if (UNLIKELY(object->held)) {
            sched_constraints_written(object, sched_unheld);
        }
    }
}

void sched_step_value(uint64_t value)
{
    if (engine_here() && sched_trace_.count) {
        sched_trace_.steps[sched_trace_.count - 1].new_value = value;
    }
}

/* To walk the stack at each step took a quarter of an execution. A thread's own steps are counted, which are the same in each flavour;
 * recursion without bound only gets a few levels further. */
static inline void check_stack(SchedThread *self, void *frame)
{
    if (UNLIKELY(++self->steps_unwalked >= SCHED_WALK_PERIOD)) {
        self->steps_unwalked = 0;
        if ((size_t)(self->stack_high - (char *)frame) > WALK_STACK_BYTES) {
            sched_check_recursion(self, frame);
        }
    }
}

/* ---- points */

/* A point of self, whose event is set: perhaps somebody else goes first. */
static void point_slowly(SchedThread *self, bool yields)
{
    bool chosen = !yields && engine.run_length < RUN_MAX; /* else it would lose the processor under each policy */
    SchedThread *next;

    if (engine.constrained) {
        sched_constraints_classify(self);
        if (self->held && policy->disable) {
            policy->disable(self);
        }
    }
    if (policy->event && !self->held) {
        policy->event(self);
    }
    if (engine.ready_count || sched_clock_armed()) {
        next = sched_decide(self, true, yields);
        if (UNLIKELY(!next)) {
            sched_end(engine.result.outcome, engine.result.culprit);
        }
        if (next != self) {
            self->step_flags = (uint8_t)((self->step_flags & ~SCHED_STEP_PREEMPTED) | (yields ? 0 : SCHED_STEP_PREEMPTED));
            engine.result.preemptions += chosen;
            sched_ready_append(self);
            sched_hand_over(self, next);
        }
    }
    sched_take_off_hold(self);
    if (policy->execute) {
        policy->execute(self);
    }
}

static inline void point(SchedThread *self, bool yields)
{
    self->points++;
    if (!engine.plain || yields || self->override != self->override_end || engine.run_length >= RUN_MAX || self->daemon) {
        point_slowly(self, yields);
    } else if (engine.ready_count || sched_clock_armed()) { /* a decision, and known: the thread goes on */
        engine.result.decisions++;
        self->decisions++;
    }
}

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
    [SCHED_CALL_FILE] = WRITES,
    [SCHED_CALL_CONNECT] = WRITES,
    [SCHED_CALL_ACCEPT] = READS | WRITES,
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
    step = record(self->id, self, SCHED_CALL, call, object, self->event.object ? self->event.object->id : 0);
    step->pc = site;
    step->old_value = step->new_value = 0;
    if (call_effects[call] == WRITES && frame) { /* those that let others go on */
        sched_note_callers(step, frame);
    }
    account(self, self->event.object, self->event.site, self->event.reads, self->event.writes);
}

void sched_point(SchedCall call, uintptr_t object, void *site, void *frame)
{
    call_point(call, object, site, frame, false);
}

void sched_yield_point(void *site, void *frame)
{
    call_point(SCHED_CALL_YIELD, 0, site, frame, true);
}

static inline bool site_reads(const SchedSite *site)
{
    return site->operation == SCHED_LOAD || site->operation == SCHED_RMW;
}

static inline bool site_writes(const SchedSite *site)
{
    return site->operation == SCHED_STORE || site->operation == SCHED_RMW;
}

/* The point before an atomic access, where the plan has points there, or the thread has run for too long. */
static __attribute__((noinline)) void atomic_point(SchedThread *self, const SchedSite *site, uintptr_t key, SchedObject *object)
{
    self->event = (SchedEvent){
        .key = key,
        .object = object,
        .site = (uint16_t)site->id,
        .reads = site_reads(site),
        .writes = site_writes(site),
    };
    point(self, false);
}

static inline void atomic_step(SchedThread *self, SchedSite *site, const volatile void *object, SchedObject *identity,
                               uint64_t new_value)
{
    SchedStep *step = record(self->id, self, (SchedOperation)site->operation, SCHED_CALL_NONE, (uintptr_t)object,
                             identity ? identity->id : 0);
    uint64_t value = value_of(object, site->size_bytes);

    step->site = site;
    step->old_value = value;
    step->new_value = site->operation == SCHED_STORE ? new_value : value;
    account(self, identity, (uint16_t)site->id, site_reads(site), site_writes(site));
}

void sched_atomic(SchedSite *site, const volatile void *object, uint64_t new_value)
{
    SchedThread *self = sched_self_;
    SchedObject *identity;

    if (!engine_here()) {
        return;
    }
    check_stack(self, __builtin_frame_address(0));
    identity = sched_object_find((uintptr_t)object);
    if ((engine.plan.atomics && site->operation != SCHED_FENCE) || UNLIKELY(engine.run_length >= RUN_MAX)) {
        if (LIKELY(!engine.probe)) {
            atomic_point(self, site, (uintptr_t)object, identity);
        }
    }
    atomic_step(self, site, object, identity, new_value);
}

void sched_store(SchedSite *site, const volatile void *object)
{
    if (!engine_here()) {
        return;
    }
    sched_atomic(site, object, 0);
    sched_trace_.steps[sched_trace_.count - 1].new_value = sched_trace_.steps[sched_trace_.count - 1].old_value;
    engine.open_store = sched_trace_.count;
    sched_set_stop_step();
}

void sched_note_store(SchedSite *site, const volatile void *object, uint64_t new_value)
{
    if (engine_here()) {
        atomic_step(sched_self_, site, object, sched_object_find((uintptr_t)object), new_value);
    }
}

void sched_atomic_done(void)
{
    SchedStep *step;

    if (!engine_here() || !sched_trace_.count) {
        return;
    }
    step = &sched_trace_.steps[sched_trace_.count - 1];
    if (step->operation == SCHED_RMW) {
        step->new_value = value_of((const volatile void *)step->object, step->site->size_bytes);
    }
}

/* ---- blocking */

static void block_expired(SchedTimer *timer)
{
    SchedThread *thread = (SchedThread *)((char *)timer - offsetof(SchedThread, timer));

    if (thread->state == THREAD_BLOCKED) {
        thread->wake = SCHED_TIMEOUT;
        sched_note_wake(thread);
        sched_enable(thread);
    }
}

SchedWake sched_block(const SchedBlock *block)
{
    SchedThread *self = sched_self_;

    self->block = block;
    self->state = THREAD_BLOCKED;
    self->wait_frame = __builtin_frame_address(0);
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
    self->step_flags |= SCHED_STEP_WOKE;
    return self->wake;
}
