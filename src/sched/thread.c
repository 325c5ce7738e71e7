/* Threads of an execution: birth, end, and what other layers ask about them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sched/engine.h"

#define engine sched_engine_

static void (*on_end)(SchedThread *);

void sched_on_thread_end(void (*function)(SchedThread *))
{
    on_end = function;
}

static void *get_fiber(void *id)
{
    return sched_fiber_get((unsigned)(uintptr_t)id);
}

static void thread_reset(SchedThread *thread, void *(*function)(void *), void *argument)
{
    const SchedOverride *override = engine.overrides, *end = override + engine.override_count;

    while (override < end && override->thread < thread->id) {
        override++;
    }
    thread->override = override;
    while (override < end && override->thread == thread->id) {
        override++;
    }
    thread->override_end = override;
    thread->held = thread->preferred = false;
    thread->step_flags = 0;
    thread->passthrough = 0;
    thread->looks = 0;
    thread->strand = 0;
    thread->stack_low = thread->own_low;
    thread->stack_high = thread->own_high;
    thread->event = (SchedEvent){ 0 };
    thread->decisions = 0;
    thread->set_index = 0;
    thread->key = 0;
    thread->pending_object = NULL;
    thread->pending_next = thread->pending_previous = NULL;
    thread->block = NULL;
    thread->timer = (SchedTimer){ .deadline_ns = SCHED_FOREVER };
    thread->function = function;
    thread->argument = argument;
    thread->value = NULL;
    thread->reaped = thread->abandoned = thread->started = thread->lives_on = false;
    thread->used = true;
    thread->joiners = (SchedQueue){ 0 };
    thread->slot = NULL;
    thread->name[0] = '\0';
    thread->interrupt = NULL;
    thread->fault_frame = thread->fault_pc = NULL;
    thread->points = 0;
    thread->steps_unwalked = 0;
}

static SchedThread *create(void *(*function)(void *), void *argument, bool daemon)
{
    unsigned id = engine.thread_count;
    SchedThread *thread = sched_thread_slot_id(id);

    if (UNLIKELY(!thread || thread->retired)) {
        thread = sched_on_kernel_thread(get_fiber, (void *)(uintptr_t)id);
    }
    if (!thread) {
        sched_fail("unmodelled", "thread %u cannot be created: %s", id, id < SCHED_THREADS_MAX ? strerror(errno) : "too many");
    }
    engine.thread_count++;
    engine.live_count += !daemon;
    engine.daemon_count += daemon;
    thread_reset(thread, function, argument);
    thread->daemon = daemon;
    engine_release(thread);
    sched_enable(thread);
    return thread;
}

SchedThread *sched_thread_create(void *(*function)(void *), void *argument)
{
    return create(function, argument, false);
}

SchedThread *sched_daemon_create(void *(*function)(void *), void *argument, const char *name)
{
    SchedThread *thread = create(function, argument, true);

    sched_thread_set_name(thread, name);
    return thread;
}

bool sched_daemon_must_end(void)
{
    return engine.daemons_must_end;
}

bool sched_thread_is_daemon(const SchedThread *thread)
{
    return thread->daemon;
}

static void finish(SchedThread *self, void *value)
{
    self->value = value;
    if (on_end && !self->daemon) {
        on_end(self);
    }
    sched_point(SCHED_CALL_EXIT, 0, __builtin_return_address(0), __builtin_frame_address(0));
    engine_release(self);
    engine_release(&engine.root);
    self->state = THREAD_ENDED;
    engine.live_count -= !self->daemon;
    engine.daemon_count -= self->daemon;
    sched_queue_wake_all(&self->joiners);
    sched_leave(self);
}

void sched_fiber_main(SchedThread *self)
{
    for (;;) {
        self->started = true;
        sched_tls_reset();
        engine_acquire(self->id ? (void *)self : (void *)&engine.root);
        finish(self, self->function(self->argument));
    }
}

void sched_thread_exit(void *value)
{
    SchedThread *self = sched_self_;

    self->abandoned = true; /* its frames stay on the stack until the fiber starts anew */
    finish(self, value);
    __builtin_unreachable();
}

SchedThread *sched_thread_self(void)
{
    return sched_self_;
}

SchedThread *sched_thread_by_id(uint32_t id)
{
    return id < engine.thread_count ? sched_thread_slot_id(id) : NULL;
}

SchedThread *sched_thread_by_handle(uintptr_t handle)
{
    SchedThread *thread = sched_fiber_by_pthread(handle);

    return thread && thread->used ? thread : NULL;
}

uintptr_t sched_thread_handle(const SchedThread *thread)
{
    return (uintptr_t)thread->pthread;
}

uint32_t sched_thread_count(void)
{
    return engine.thread_count;
}

uint32_t sched_thread_id(const SchedThread *thread)
{
    return thread->id;
}

bool sched_thread_ended(const SchedThread *thread)
{
    return thread->state == THREAD_ENDED;
}

void *sched_thread_value(const SchedThread *thread)
{
    engine_acquire((void *)thread);
    return thread->value;
}

void sched_thread_reap(SchedThread *thread)
{
    thread->reaped = true;
}

void sched_thread_lives_on(SchedThread *thread)
{
    thread->lives_on = true;
}

SchedQueue *sched_thread_joiners(SchedThread *thread)
{
    return &thread->joiners;
}

void sched_thread_set_name(SchedThread *thread, const char *name)
{
    volatile char *to = thread->name; /* not snprintf(): TSan would take it for an access of the program */

    for (size_t i = 0; i < sizeof(thread->name) - 1 && name[i]; i++) {
        *to++ = name[i];
    }
    *to = '\0';
}

const char *sched_thread_name(const SchedThread *thread)
{
    static char names[8][SCHED_NAME_BYTES];
    static unsigned next;
    char *text;

    if (thread->name[0]) {
        return thread->name;
    }
    if (thread->id == 0) {
        return "main";
    }
    text = names[next++ % 8];
    snprintf(text, SCHED_NAME_BYTES, "thread%u", (unsigned)thread->id);
    return text;
}

void **sched_thread_slot(SchedThread *thread)
{
    return &thread->slot;
}

const SchedBlock *sched_thread_block(const SchedThread *thread)
{
    return thread->state == THREAD_BLOCKED && !thread->daemon ? thread->block : NULL;
}

void sched_thread_stack(const SchedThread *thread, void **low, void **high)
{
    *low = thread->stack_low;
    *high = thread->stack_high;
}

void sched_thread_frame(const SchedThread *thread, void **frame, void **pc)
{
    const SchedFrame *saved = thread->context.sp;

    if (thread->fault_pc) {
        *frame = thread->fault_frame;
        *pc = thread->fault_pc;
        return;
    }
    *frame = saved->frame_pointer;
    *pc = saved->return_address;
}

void sched_look_begin(void)
{
    if (sched_self_) {
        sched_self_->looks++;
    }
}

void sched_look_end(void)
{
    SchedThread *self = sched_self_;

    if (!self) {
        return;
    }
    if (self->looks == 0) {
        sched_fail("assertion", "sched_look_end() without sched_look_begin()");
    }
    self->looks--;
}

void sched_stack_switched(void *low, void *high, uint32_t strand)
{
    SchedThread *self = sched_self_;

    if (!self) {
        return;
    }
    if (self->looks) {
        sched_fail("assertion", "a coroutine is switched between sched_look_begin() and sched_look_end()");
    }
    self->stack_low = low ? low : self->own_low;
    self->stack_high = low ? high : self->own_high;
    self->strand = strand;
}
