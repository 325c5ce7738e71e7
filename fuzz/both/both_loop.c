/*
 * Target both_loop: bottom halves, timers, event notifiers and coroutines that are scheduled, woken and entered, in the main context and those
 * of two io threads; operations on them from any of the three, several at a time, then all that is ready is done.
 *
 * Idle bottom halves are left out: when one runs, within its 10 ms, is nobody's business.
 *
 * Invariants: what was deleted is not called. Noted: each callback, where it ran, and each result.
 *
 * The empty scenario schedules one bottom half.
 */
#include "fuzz/both/both.h"

#define CONTEXTS       (BOTH_THREADS + 1)
#define BHS            4u
#define TIMERS         3u
#define SLEEPERS       3u
#define OPERATIONS_MAX 16u
#define STEP_NS        (10 * SCALE_MS)

typedef struct World World;

typedef struct Half {
    World *world;
    QEMUBH *bh;
    unsigned number, context;
    uint8_t flags; /* what its callback does besides */
} Half;

typedef struct Clock {
    World *world;
    QEMUTimer *timer;
    unsigned number;
} Clock;

typedef struct Bell {
    EventNotifier notifier; /* first */
    World *world;
} Bell;

/* A coroutine that yields until it is told to end. */
typedef struct Sleeper {
    World *world;
    Coroutine *co; /* NULL: it does not wait */
    unsigned number, other;
    bool moves;
} Sleeper;

struct World {
    Scenario scenario;
    Half halves[BHS];
    Clock clocks[TIMERS];
    Bell bell;
    Sleeper sleepers[SLEEPERS];
    unsigned live; /* coroutines */
};

/* ---- callbacks */

static void half_cb(void *opaque)
{
    Half *half = opaque;
    World *world = half->world;
    Half *other = &world->halves[(half->number + 1) % BHS];
    uint8_t flags = half->flags;

    fuzz_check(half->bh != NULL);
    fuzz_note("bh %u in %u", half->number, both_here(&world->scenario));
    half->flags = 0;
    if (flags & 1) {
        qemu_bh_schedule(half->bh);
    }
    if (flags & 2) {
        qemu_bh_schedule(other->bh);
    }
    if (flags & 4 && other->context == half->context) {
        qemu_bh_cancel(other->bh);
    }
    if (flags & 8) {
        fuzz_note("bh %u polls: %d", half->number, aio_poll(scenario_context(&world->scenario, half->context), false));
    }
}

static void oneshot_cb(void *opaque)
{
    World *world = opaque;

    fuzz_note("oneshot in %u", both_here(&world->scenario));
}

static void clock_cb(void *opaque)
{
    Clock *clock = opaque;

    fuzz_note("timer %u in %u", clock->number, both_here(&clock->world->scenario));
}

static void bell_cb(EventNotifier *notifier)
{
    Bell *bell = (Bell *)notifier;

    fuzz_note("bell in %u: %d %d", both_here(&bell->world->scenario), event_notifier_test_and_clear(notifier),
              event_notifier_test_and_clear(notifier));
}

static void coroutine_fn sleeper_entry(void *opaque)
{
    Sleeper *sleeper = opaque;
    Scenario *scenario = &sleeper->world->scenario;

    fuzz_note("co %u begins in %u", sleeper->number, both_here(scenario));
    if (sleeper->moves) {
        aio_co_reschedule_self(scenario_context(scenario, sleeper->other));
        fuzz_note("co %u is in %u", sleeper->number, both_here(scenario));
    }
    sleeper->co = qemu_coroutine_self();
    qemu_coroutine_yield();
    fuzz_note("co %u ends in %u", sleeper->number, both_here(scenario));
    __atomic_fetch_sub(&sleeper->world->live, 1, __ATOMIC_SEQ_CST);
}

/* ---- operations: argument is what it is about, in any thread */

typedef struct Operation {
    World *world;
    void (*function)(struct Operation *);
    unsigned argument;
} Operation;

static Half *half_of(Operation *operation)
{
    return &operation->world->halves[operation->argument % BHS];
}

static void schedule(Operation *operation)
{
    qemu_bh_schedule(half_of(operation)->bh);
}

static void cancel(Operation *operation)
{
    qemu_bh_cancel(half_of(operation)->bh);
}

static void replace(Operation *operation)
{
    Half *half = half_of(operation);
    QEMUBH *bh = half->bh;

    half->bh = aio_bh_new(scenario_context(&half->world->scenario, half->context), half_cb, half);
    qemu_bh_delete(bh);
}

static void set_flags(Operation *operation)
{
    half_of(operation)->flags = operation->argument >> 2;
}

static void oneshot(Operation *operation)
{
    aio_bh_schedule_oneshot(scenario_context(&operation->world->scenario, operation->argument % CONTEXTS), oneshot_cb,
                            operation->world);
}

static void arm(Operation *operation)
{
    Clock *clock = &operation->world->clocks[operation->argument % TIMERS];

    timer_mod(clock->timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + (1 + operation->argument / TIMERS % 4) * STEP_NS);
    fuzz_note("timer %u: %d", clock->number, timer_pending(clock->timer));
}

static void disarm(Operation *operation)
{
    Clock *clock = &operation->world->clocks[operation->argument % TIMERS];

    timer_del(clock->timer);
    fuzz_note("timer %u: %d", clock->number, timer_pending(clock->timer));
}

static void ring(Operation *operation)
{
    event_notifier_set(&operation->world->bell.notifier);
}

static void start(Operation *operation)
{
    Sleeper *sleeper = &operation->world->sleepers[operation->argument % SLEEPERS];
    unsigned context = operation->argument / SLEEPERS % CONTEXTS;
    Coroutine *co;

    if (sleeper->world) {
        return; /* it was started */
    }
    *sleeper = (Sleeper){ .world = operation->world,
                          .number = operation->argument % SLEEPERS,
                          .other = (context + 1) % CONTEXTS };
    sleeper->moves = operation->argument & 64;
    __atomic_fetch_add(&operation->world->live, 1, __ATOMIC_SEQ_CST);
    co = qemu_coroutine_create(sleeper_entry, sleeper);
    if (operation->argument & 128) {
        aio_co_enter(scenario_context(&operation->world->scenario, context), co);
    } else {
        aio_co_schedule(scenario_context(&operation->world->scenario, context), co);
    }
}

static void wake_sleeper(Sleeper *sleeper)
{
    Coroutine *co = sleeper->co;

    sleeper->co = NULL;
    if (co) {
        aio_co_wake(co);
    }
}

static void wake(Operation *operation)
{
    wake_sleeper(&operation->world->sleepers[operation->argument % SLEEPERS]);
}

static void (*const functions[])(Operation *) = { schedule, oneshot, cancel, replace, set_flags, arm, disarm, ring, start, wake };

static void perform(void *opaque)
{
    Operation *operation = opaque;

    operation->function(operation);
}

/* ---- the scenario */

static void set_up(World *world)
{
    scenario_begin(&world->scenario, BOTH_THREADS);
    for (unsigned i = 0; i < BHS; i++) {
        Half *half = &world->halves[i];

        *half = (Half){ .world = world, .number = i, .context = i % CONTEXTS };
        half->bh = aio_bh_new(scenario_context(&world->scenario, half->context), half_cb, half);
    }
    for (unsigned i = 0; i < TIMERS; i++) {
        world->clocks[i] = (Clock){ .world = world, .number = i };
        world->clocks[i].timer = aio_timer_new(scenario_context(&world->scenario, i % CONTEXTS), QEMU_CLOCK_REALTIME, SCALE_NS,
                                               clock_cb, &world->clocks[i]);
    }
    world->bell.world = world;
    fuzz_check(event_notifier_init(&world->bell.notifier, false) == 0);
    aio_set_event_notifier(scenario_context(&world->scenario, 1), &world->bell.notifier, bell_cb, NULL, NULL);
}

static void tear_down(World *world)
{
    both_sleep(&world->scenario, 8 * STEP_NS);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        wake_sleeper(&world->sleepers[i]);
    }
    both_settle(&world->scenario);
    fuzz_check(world->live == 0);
    for (unsigned i = 0; i < BHS; i++) {
        QEMUBH *bh = world->halves[i].bh;

        world->halves[i].bh = NULL;
        qemu_bh_delete(bh);
    }
    for (unsigned i = 0; i < TIMERS; i++) {
        timer_free(world->clocks[i].timer);
    }
    aio_set_event_notifier(scenario_context(&world->scenario, 1), &world->bell.notifier, NULL, NULL, NULL);
    both_settle(&world->scenario);
    event_notifier_cleanup(&world->bell.notifier);
    scenario_end(&world->scenario);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned count = 1 + fuzz_choice(in, OPERATIONS_MAX);

    set_up(&world);
    for (unsigned i = 0; i < count; i++) {
        uint8_t what = fuzz_byte(in);
        Operation operation = { &world, functions[what % G_N_ELEMENTS(functions)], fuzz_byte(in) };

        both_do_in(&world.scenario, what / G_N_ELEMENTS(functions) % CONTEXTS, perform, &operation);
        if (what & 128) {
            both_settle(&world.scenario);
            fuzz_note("settled");
        }
    }
    tear_down(&world);
}

const FuzzTarget fuzz_target = { .name = "both_loop", .run = run };
