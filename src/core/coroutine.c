/*
 * Coroutines: creation, entry, yield, and what reports want to know.
 *
 * Runs on any thread; a coroutine may go on on another thread than the one it yielded on.
 *
 * Invariants (of the fields: see coroutine_int.h)
 * 1. Entering a coroutine that is entered, or that somebody has scheduled, ends the program with the culprit's name.
 * 2. Coroutines that one wakes while it runs are entered by the loop in qemu_aio_coroutine_enter() after it has
 *    yielded, newest group first, on the enterer's stack: depth does not grow with their number (QEMU c40a254570).
 * 3. After a coroutine has ended, nothing of it is touched but by coroutine_delete().
 * 4. Thread variables are read through functions that are not inlined: a yield may lie between two reads.
 */
#include "core/coroutine.h"

#include <stdlib.h>

#include "core/aio_context.h"
#include "core/atomic.h"
#include "core/coroutine_fiber.h"
#include "core/coroutine_int.h"
#include "core/fatal.h"

CoroutineHooks coroutine_hooks;

static LIST_HEAD(, Coroutine) live = LIST_HEAD_INITIALIZER(live); /* under coroutine_spin_lock(), like the two below */
static size_t live_count;
static uint32_t last_id;

/* ---- the calling thread ---- */

static __thread Coroutine *current;         /* NULL: the thread's own stack */
static __thread Coroutine leader;           /* stands for the thread's own stack */
static __thread CoroutineFiber leader_fiber;

static __attribute__((noinline)) Coroutine *get_current(void)
{
    Coroutine **address = &current;

    __asm__ volatile("" : "+r"(address));
    return *address;
}

static __attribute__((noinline)) void set_current(Coroutine *co)
{
    Coroutine **address = &current;

    __asm__ volatile("" : "+r"(address));
    *address = co;
}

static __attribute__((noinline)) Coroutine *get_leader(void)
{
    Coroutine *co = &leader;

    __asm__ volatile("" : "+r"(co));
    if (!co->fiber) {
        co->fiber = &leader_fiber;
        STAILQ_INIT(&co->co_queue_wakeup);
    }
    return co;
}

void coroutine_thread_reset(void)
{
    current = NULL;
    leader = (Coroutine){ 0 };
    leader_fiber = (CoroutineFiber){ 0 };
}

Coroutine *qemu_coroutine_self(void)
{
    Coroutine *co = get_current();

    return co ? co : get_leader();
}

bool qemu_in_coroutine(void)
{
    return get_current() != NULL;
}

/* ---- life ---- */

/* Leave the running coroutine for to, which is the thread's own stack if it was never created. */
static void switch_to(Coroutine *from, Coroutine *to)
{
    Coroutine *running = to->entry ? to : NULL;

    set_current(running);
    if (coroutine_hooks.switched) {
        coroutine_hooks.switched(running);
    }
    coroutine_fiber_switch(from->fiber, to->fiber);
}

/* A coroutine's life on its fiber. The last switch comes back when the fiber has its next borrower. */
static void coroutine_run(void *opaque)
{
    Coroutine *co = opaque;

    co->entry(co->entry_arg);
    co->ended = true;
    switch_to(co, co->caller);
}

Coroutine *qemu_coroutine_create_named(const char *name, CoroutineEntry *entry, void *opaque)
{
    Coroutine *co = calloc(1, sizeof(*co));

    core_assert(co && entry);
    co->entry = entry;
    co->entry_arg = opaque;
    co->name = name;
    STAILQ_INIT(&co->co_queue_wakeup);
    co->fiber = coroutine_fiber_get(coroutine_run, co);

    coroutine_spin_lock();
    co->id = ++last_id;
    LIST_INSERT_HEAD(&live, co, live);
    live_count++;
    coroutine_spin_unlock();

    if (coroutine_hooks.created) {
        coroutine_hooks.created(co);
    }
    return co;
}

static void coroutine_delete(Coroutine *co)
{
    if (co->locks_held) {
        core_fatal("assertion", "coroutine %u (%s) ended with %zu CoMutexes locked", co->id, co->name, co->locks_held);
    }
    if (coroutine_hooks.finished) {
        coroutine_hooks.finished(co);
    }

    coroutine_spin_lock();
    LIST_REMOVE(co, live);
    live_count--;
    coroutine_spin_unlock();

    coroutine_fiber_put(co->fiber);
    free(co);
}

/* ---- enter and yield ---- */

static void check_may_enter(Coroutine *co)
{
    const char *scheduled = qatomic_read(&co->scheduled);

    if (scheduled) {
        core_fatal("double-entry", "Co-routine was already scheduled in '%s': coroutine %u (%s) entered by hand", scheduled,
                   co->id, co->name);
    }
    if (co->caller) {
        core_fatal("double-entry", "Co-routine re-entered recursively: coroutine %u (%s)", co->id, co->name);
    }
}

void qemu_aio_coroutine_enter(AioContext *ctx, Coroutine *co)
{
    CoroutineList pending = STAILQ_HEAD_INITIALIZER(pending);
    Coroutine *from = qemu_coroutine_self();

    STAILQ_INSERT_TAIL(&pending, co, co_queue_next);
    while (!STAILQ_EMPTY(&pending)) {
        Coroutine *to = STAILQ_FIRST(&pending);

        check_may_enter(to);
        STAILQ_REMOVE_HEAD(&pending, co_queue_next);
        to->caller = from;
        to->entered = true;

        /* ORDER: ctx before anything the coroutine stores, such as itself into a list of waiters
         * PAIRS: aio_co_wake()
         * ELSE:  whoever finds the coroutine in that list wakes it in the context it ran in before */
        qatomic_set(&to->ctx, ctx);
        smp_wmb();

        switch_to(from, to);

        /*
         * Depth first: those that to woke come before those that were pending. Now, since to may be gone soon
         * (315a1309de).
         */
        STAILQ_PREPEND(&pending, &to->co_queue_wakeup);
        if (to->ended) {
            coroutine_delete(to);
        }
    }
}

void qemu_coroutine_enter(Coroutine *co)
{
    qemu_aio_coroutine_enter(qemu_get_current_aio_context(), co);
}

void coroutine_fn qemu_coroutine_yield(void)
{
    Coroutine *self = get_current();
    Coroutine *to;

    if (!self) {
        core_fatal("assertion", "Co-routine is yielding to no one");
    }
    to = self->caller;
    self->caller = NULL;
    switch_to(self, to);
}

bool qemu_coroutine_entered(Coroutine *co)
{
    return co->caller != NULL;
}

AioContext *qemu_coroutine_get_aio_context(Coroutine *co)
{
    return qatomic_read(&co->ctx);
}

/* ---- reports ---- */

static CoroutineState state_of(const Coroutine *co)
{
    if (!co->fiber->suspended) {
        return COROUTINE_RUNNING;
    }
    if (co->caller) {
        return COROUTINE_ENTERING;
    }
    return co->entered ? COROUTINE_SUSPENDED : COROUTINE_NEW;
}

void coroutine_describe(Coroutine *co, CoroutineInfo *info)
{
    *info = (CoroutineInfo){
        .name = co->name,
        .id = co->id,
        .state = state_of(co),
        .ctx = co->ctx,
        .scheduled = co->scheduled,
        .stack_low = co->fiber->stack_low,
        .stack_high = (const char *)co->fiber->stack_low + co->fiber->stack_bytes,
    };
    if (info->state == COROUTINE_ENTERING || info->state == COROUTINE_SUSPENDED) {
        coroutine_context_frame(&co->fiber->context, &info->frame_pointer, &info->pc);
    }
}

void coroutine_foreach(void (*callback)(const CoroutineInfo *info, void *opaque), void *opaque)
{
    Coroutine *co;

    coroutine_spin_lock();
    LIST_FOREACH(co, &live, live) {
        CoroutineInfo info;

        coroutine_describe(co, &info);
        callback(&info, opaque);
    }
    coroutine_spin_unlock();
}

size_t coroutine_live_count(void)
{
    size_t count;

    coroutine_spin_lock();
    count = live_count;
    coroutine_spin_unlock();
    return count;
}

void coroutine_init(void)
{
    coroutine_spin_lock();
    last_id = 0;
    coroutine_spin_unlock();
}
