/*
 * Target both_iothread: two io threads that are stopped, and stopped again, while main and their own callbacks give them work: bottom halves,
 * one-shot ones, event notifiers, coroutines, and GLib sources once somebody has asked for a thread's GLib context.
 *
 * Invariants: a thread that was stopped calls nothing any more, nor does what was deleted. Noted: each callback, where it ran, and what came before
 * a thread's end.
 *
 * The empty scenario stops both threads with a bottom half scheduled in one.
 */
#include "fuzz/both/both.h"

#define THREADS        2u
#define HALVES         4u /* the first two in the first thread */
#define OPERATIONS_MAX 14u

typedef struct World World;

typedef struct Thread {
    EventNotifier bell; /* first */
    World *world;
    IOThread *iothread;
    AioContext *ctx;
    unsigned number;
    bool stopped;
    GSource *source; /* attached to its GLib context */
} Thread;

typedef struct Half {
    World *world;
    QEMUBH *bh;
    unsigned number;
    uint8_t flags; /* what its next callback does besides */
} Half;

struct World {
    Scenario scenario;
    Thread threads[THREADS];
    Half halves[HALVES];
};

static Thread *thread_of(Half *half)
{
    return &half->world->threads[half->number / (HALVES / THREADS)];
}

/* 0 main; from 1 a thread of ours. */
static unsigned here(World *world)
{
    for (unsigned i = 0; i < THREADS; i++) {
        if (world->threads[i].ctx == qemu_get_current_aio_context()) {
            fuzz_check(!world->threads[i].stopped);
            return i + 1;
        }
    }
    return 0;
}

/* ---- callbacks, in the threads */

static void half_cb(void *opaque)
{
    Half *half = opaque;
    World *world = half->world;
    Half *other = &world->halves[half->number ^ 1u];
    uint8_t flags = half->flags;

    fuzz_check(half->bh != NULL);
    fuzz_note("bh %u in %u", half->number, here(world));
    half->flags = 0;
    if (flags & 1) {
        qemu_bh_schedule(half->bh);
    }
    if (flags & 2) {
        qemu_bh_schedule(other->bh);
    }
    if (flags & 4) {
        event_notifier_set(&thread_of(half)->bell);
    }
}

static void oneshot_cb(void *opaque)
{
    fuzz_note("oneshot in %u", here(opaque));
}

static void bell_cb(EventNotifier *notifier)
{
    Thread *thread = (Thread *)notifier;

    fuzz_note("bell of %u in %u: %d", thread->number, here(thread->world), event_notifier_test_and_clear(notifier));
}

static void coroutine_fn co_entry(void *opaque)
{
    fuzz_note("coroutine in %u", here(opaque));
}

static gboolean source_cb(gpointer opaque)
{
    Thread *thread = opaque;

    fuzz_note("source of %u in %u", thread->number, here(thread->world));
    return G_SOURCE_REMOVE;
}

/* ---- operations, of the main thread; on a thread that has not been stopped, but for stop() */

typedef struct Operation {
    World *world;
    Thread *thread;
    uint8_t how;
} Operation;

static void schedule(const Operation *op)
{
    Half *half = &op->world->halves[(op->thread->number - 1) * (HALVES / THREADS) + (op->how & 1)];

    half->flags = op->how >> 1;
    qemu_bh_schedule(half->bh);
}

static void post(const Operation *op)
{
    aio_bh_schedule_oneshot(op->thread->ctx, oneshot_cb, op->world);
}

static void ring(const Operation *op)
{
    event_notifier_set(&op->thread->bell);
}

static void start_coroutine(const Operation *op)
{
    aio_co_schedule(op->thread->ctx, qemu_coroutine_create(co_entry, op->world));
}

/* From now on the thread runs GLib's loop, with this source in it. */
static void attach_source(const Operation *op)
{
    GMainContext *context = iothread_get_g_main_context(op->thread->iothread);

    if (!op->thread->source) {
        op->thread->source = g_idle_source_new();
        g_source_set_priority(op->thread->source, G_PRIORITY_DEFAULT);
        g_source_set_callback(op->thread->source, source_cb, op->thread, NULL);
        g_source_attach(op->thread->source, context);
    }
}

static void nothing(void *unused)
{
    (void)unused;
}

static void settle(const Operation *op)
{
    for (unsigned i = 0; i < 4; i++) {
        aio_wait_bh_oneshot(op->thread->ctx, nothing, NULL);
    }
    fuzz_note("%u settled", op->thread->number);
}

static void stop(const Operation *op)
{
    iothread_stop(op->thread->iothread);
    fuzz_note("%u has ended%s", op->thread->number, op->thread->stopped ? ", again" : "");
    op->thread->stopped = true;
}

static void (*const operations[])(const Operation *) = { schedule, post, ring, start_coroutine, attach_source, settle, stop };

/* ---- the scenario */

static void set_up(World *world)
{
    static const char *const names[THREADS] = { "first", "second" };

    scenario_begin(&world->scenario, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        Thread *thread = &world->threads[i];

        *thread = (Thread){ .world = world, .number = i + 1, .iothread = both_new_iothread(names[i]) };
        thread->ctx = iothread_get_aio_context(thread->iothread);
        both_set_polling(thread->ctx, false);
        fuzz_check(event_notifier_init(&thread->bell, false) == 0);
        aio_set_event_notifier(thread->ctx, &thread->bell, bell_cb, NULL, NULL);
    }
    for (unsigned i = 0; i < HALVES; i++) {
        Half *half = &world->halves[i];

        *half = (Half){ .world = world, .number = i };
        half->bh = aio_bh_new(thread_of(half)->ctx, half_cb, half);
    }
}

/* What is left over in a thread that has ended is deleted, and its context is given back. */
static void tear_down(World *world)
{
    for (unsigned i = 0; i < THREADS; i++) {
        stop(&(Operation){ world, &world->threads[i], 0 });
    }
    for (unsigned i = 0; i < HALVES; i++) {
        qemu_bh_delete(world->halves[i].bh);
        world->halves[i].bh = NULL;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        Thread *thread = &world->threads[i];

        if (thread->source) {
            g_source_destroy(thread->source);
            g_source_unref(thread->source);
        }
        aio_set_event_notifier(thread->ctx, &thread->bell, NULL, NULL, NULL);
        fuzz_note("left in the bell of %u: %d", thread->number, event_notifier_test_and_clear(&thread->bell));
        event_notifier_cleanup(&thread->bell);
        iothread_destroy(thread->iothread);
    }
    scenario_end(&world->scenario);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned count = 1 + fuzz_choice(in, OPERATIONS_MAX);

    set_up(&world);
    for (unsigned i = 0; i < count; i++) {
        uint8_t what = fuzz_byte(in), how = fuzz_byte(in);
        void (*function)(const Operation *) = operations[what % G_N_ELEMENTS(operations)];
        Operation operation = { &world, &world.threads[what / G_N_ELEMENTS(operations) % THREADS], how };

        if (!operation.thread->stopped || function == stop) {
            function(&operation);
        }
    }
    tear_down(&world);
}

const FuzzTarget fuzz_target = { .name = "both_iothread", .run = run };
