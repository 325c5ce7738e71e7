/*
 * Decisions: which of the threads that can run goes on.
 *
 * 1. The running thread is in no queue. All other enabled threads are in the ready queue, the longest waiting first.
 * 2. The policy's candidates are the enabled threads, the running one included, less those that a constraint holds back.
 * 3. Every choice that differs from first-in-first-out is written down; base FIFO with these as overrides is the same execution.
 * 4. Nothing that a decision depends on outlives the execution, or is an address.
 */
#include "sched/engine.h"

#define RUN_MAX         SCHED_RUN_MAX
#define CLOCK_MOVES_MAX 256u /* by the plan, in an execution */
#define SPIN_WEIGHT     20u /* of a yield among deferred decisions */

#define engine sched_engine_
#define policy sched_policy_

static SchedOverride deviations[SCHED_DEVIATIONS_MAX];
static SchedPlace places[SCHED_DEVIATIONS_MAX]; /* of deviations */
static SchedWakeup wakeups[SCHED_WAKEUPS_MAX];
static SchedThread *(*examiner)(void);

void sched_set_examiner(SchedThread *(*examine)(void))
{
    examiner = examine;
}

const SchedOverride *sched_deviations(void)
{
    return deviations;
}

const SchedPlace *sched_deviation_places(void)
{
    return places;
}

/* ---- the ready queue */

void sched_ready_append(SchedThread *thread)
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

void sched_ready_remove(SchedThread *thread)
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
void sched_unheld(SchedThread *thread)
{
    if (policy->enable) {
        policy->enable(thread);
    }
}

void sched_take_off_hold(SchedThread *thread)
{
    bool held = thread->held;

    if (LIKELY(!held && !thread->preferred)) {
        return;
    }
    sched_constraints_release(thread);
    if (held) {
        sched_unheld(thread);
    }
}

void sched_enable(SchedThread *thread)
{
    thread->state = THREAD_READY;
    sched_ready_append(thread);
    candidate_add(thread);
}

void sched_note_wake(const SchedThread *thread)
{
    if (engine.wakeup_count < SCHED_WAKEUPS_MAX) {
        wakeups[engine.wakeup_count++] = (SchedWakeup){ (uint32_t)sched_trace_.count, thread->id };
    }
}

const SchedWakeup *sched_wakeups(size_t *count)
{
    *count = engine.wakeup_count;
    return wakeups;
}

void sched_wake(SchedThread *thread)
{
    if (thread->state != THREAD_BLOCKED) {
        return;
    }
    thread->wake = SCHED_WOKEN;
    sched_note_wake(thread);
    if (engine.learning && sched_self_) {
        sched_learn_wake(sched_self_, thread);
    }
    sched_enable(thread);
}

/* ---- decisions */

static void deviate(const SchedThread *self, uint32_t nth, uint32_t choice, SchedPlaceKind kind)
{
    if (engine.result.deviation_count == SCHED_DEVIATIONS_MAX || nth > UINT16_MAX) {
        engine.result.deviations_complete = false;
        return;
    }
    places[engine.result.deviation_count] = (SchedPlace){ (uint32_t)sched_trace_.count, kind };
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

/* Also the thread that has just blocked, where the clock has moved since and woken it. */
static bool is_enabled(const SchedThread *thread)
{
    return thread && thread->used && thread->state == THREAD_READY;
}

static SchedThread *base_choice(SchedThread *self, bool can_go_on, bool yields)
{
    SchedThread *thread;

    if (engine.constrained) {
        if (sched_constraints_deferred(yields ? SPIN_WEIGHT : 1, sched_unheld)) {
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

    step->new_value = next_ns;
    if (!sched_clock_advance(next_ns)) {
        sched_set_outcome(SCHED_TIME_BOUND, NULL);
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

    if (sched_clock_next_ns() < sched_clock_now + engine.limits.late_ns) {
        return;
    }
    late = sched_examine();
    if (late && !engine.ended) {
        sched_set_outcome(SCHED_LATE, late);
    }
}

/* The program has ended: its kernel does too, whatever it has under way. */
static void end_daemons(void)
{
    engine.daemons_must_end = true;
    for (uint32_t i = 0; i < engine.thread_count; i++) {
        if (sched_thread_slot_id(i)->daemon) {
            sched_wake(sched_thread_slot_id(i));
        }
    }
}

/* Nobody can run: the clock goes on, or the execution ends (false). On the kernel thread: every fiber is where its wait left it. */
bool sched_idle(void)
{
    bool body_ended = sched_thread_slot_id(0)->state == THREAD_ENDED;

    if (engine.live_count == 0) {
        if (engine.daemon_count && !engine.daemons_must_end) {
            end_daemons();
            return true;
        }
        sched_set_outcome(SCHED_DONE, NULL);
        return false;
    }
    if (!sched_clock_armed()) {
        sched_set_outcome(body_ended ? SCHED_DONE : SCHED_QUIESCENT, NULL);
        return false;
    }
    if (!body_ended) {
        examine_late();
        if (engine.ended || engine.ready_count) {
            return !engine.ended;
        }
    }
    if (sched_clock_next_ns() > engine.limits.time_ns) {
        sched_set_outcome(body_ended ? SCHED_DONE : SCHED_TIME_BOUND, NULL);
        return false;
    }
    return advance_clock();
}

/* While others could run, the clock makes no long jump: a thread that is kept from running for minutes between working out how long
 * it may sleep and going to sleep would be late, and nobody would have missed to wake it. */
static bool clock_may_move(void)
{
    return sched_clock_armed() && sched_clock_next_ns() < sched_clock_now + engine.limits.late_ns;
}

/*
 * The plan moves it that often at most. Where a timer is set anew each time, the thread that it wakes may have all of the processor: another one,
 * which could run, would get a step or two between two timers, and take minutes for what it does in no time.
 */
static bool clock_moves(void)
{
    return engine.plan.clock_rate && engine.clock_moves < CLOCK_MOVES_MAX &&
           !(sched_random(&engine.random) & ((2ull << engine.plan.clock_rate) - 1));
}

/* Who goes on after this point of self; not in the ready queue any more. NULL: nobody can run, or the execution has ended. */
SchedThread *sched_decide(SchedThread *self, bool can_go_on, bool yields)
{
    bool forced = false;

    if (UNLIKELY(engine.live_count == 0 && !engine.daemons_must_end)) {
        return NULL;
    }
    if (UNLIKELY(engine.run_length >= RUN_MAX) && can_go_on && engine.ready_count) {
        yields = forced = true;
    }
    if (yields && can_go_on && !self->held && policy->yield) {
        policy->yield(self);
    }
    for (;;) {
        unsigned choices = engine.ready_count + can_go_on;
        bool clock = clock_may_move();
        SchedThread *standard, *chosen = NULL;
        uint32_t nth, choice;

        if (choices == 0 || (!can_go_on && !engine.ready_first)) {
            return NULL;
        }
        standard = can_go_on && (!yields || !engine.ready_first) ? self : engine.ready_first;
        if (choices == 1 && !clock) {
            chosen = standard;
        } else {
            engine.result.decisions++;
            nth = self->decisions++;
            if (overridden(self, nth, &choice)) {
                if (choice == SCHED_CHOICE_CLOCK && clock) {
                    deviate(self, nth, choice, SCHED_PLACE_CLOCK);
                    if (!advance_clock()) {
                        return NULL;
                    }
                    continue;
                }
                chosen = choice ? sched_thread_slot_id(choice - 1u) : standard;
                chosen = is_enabled(chosen) ? chosen : NULL;
            } else if (clock && clock_moves()) {
                deviate(self, nth, SCHED_CHOICE_CLOCK, SCHED_PLACE_CLOCK);
                engine.clock_moves++;
                if (!advance_clock()) {
                    return NULL;
                }
                continue;
            }
            if (!chosen) {
                chosen = forced ? standard : base_choice(self, can_go_on, yields);
            }
            chosen = chosen ? chosen : standard;
            if (chosen != standard) {
                deviate(self, nth, chosen->id + 1u, can_go_on ? SCHED_PLACE_PREEMPTION : SCHED_PLACE_NEXT);
            }
        }
        if (chosen != self || !can_go_on) {
            sched_ready_remove(chosen);
        }
        sched_take_off_hold(chosen);
        return chosen;
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
    next = sched_decide(self, false, false);
    if (!next) {
        engine.idle = self;
        sched_switch(self, &engine.root);
    } else if (next != self) { /* the clock moved and woke it */
        sched_hand_over(self, next);
    }
}

unsigned sched_disturb(unsigned n)
{
    SchedThread *self = sched_self_;
    uint32_t nth, choice = 0;

    if (!engine.plan.disturb || !engine.limits.disturb || engine.probe || !self || self->daemon) {
        return 0;
    }
    engine.result.decisions++;
    nth = self->decisions++;
    if (!overridden(self, nth, &choice) && engine.plan.base != SCHED_BASE_FIFO &&
        sched_random(&engine.random) >> (64 - engine.plan.disturb) == 0) {
        choice = 1 + sched_random_below(&engine.random, n - 1);
    }
    choice = choice < n ? choice : 0;
    if (choice) {
        deviate(self, nth, choice, SCHED_PLACE_DISTURBANCE);
    }
    return choice;
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
        deviate(self, nth, choice, SCHED_PLACE_CHOICE);
    }
    return choice;
}
