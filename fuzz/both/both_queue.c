/*
 * Target both_queue: coroutines of two io threads that wait in a CoQueue under a QemuMutex, at its end or at its front, and those who let them go
 * on: they themselves, after a while; other coroutines; and callers outside of coroutines, in any thread, whose lock the queue borrows.
 *
 * Invariants: everybody goes on. Noted: who waits, who goes on where, and what waking returns.
 *
 * The empty scenario is one coroutine that waits once.
 */
#include "fuzz/both/both.h"

#define CONTEXTS       (BOTH_THREADS + 1)
#define WAITERS_MAX    5u
#define WAITS_MAX      4u
#define OPERATIONS_MAX 12u
#define LONG_NS        (INT64_C(12) * 1000 * SCALE_MS) /* longer than the longest waiter sleeps in all */

/* So that no two sums of up to four of them come near each other: what comes first then is the clock's affair. */
static const unsigned lengths_ms[WAITERS_MAX] = { 10, 43, 177, 711, 2847 };

typedef struct World {
    Scenario scenario;
    QemuMutex lock;
    CoQueue queue;  /* under lock */
    unsigned ended; /* no point */
} World;

typedef struct Waiter {
    World *world;
    unsigned number, wait_count;
    uint8_t flags[WAITS_MAX];
} Waiter;

static void coroutine_fn wake_next_entry(void *opaque)
{
    World *world = opaque;

    qemu_mutex_lock(&world->lock);
    fuzz_note("a coroutine wakes one: %d", qemu_co_queue_next(&world->queue));
    qemu_mutex_unlock(&world->lock);
}

static void coroutine_fn wake_all_entry(void *opaque)
{
    World *world = opaque;

    qemu_mutex_lock(&world->lock);
    qemu_co_queue_restart_all(&world->queue);
    fuzz_note("a coroutine has woken all");
    qemu_mutex_unlock(&world->lock);
}

static void coroutine_fn waiter_entry(void *opaque)
{
    Waiter *waiter = opaque;
    World *world = waiter->world;

    for (unsigned i = 0; i < waiter->wait_count; i++) {
        uint8_t flags = waiter->flags[i];

        qemu_mutex_lock(&world->lock);
        fuzz_note("%u waits, %s", waiter->number, qemu_co_queue_empty(&world->queue) ? "alone" : "with others");
        qemu_co_queue_wait_flags(&world->queue, &world->lock, flags & 1 ? CO_QUEUE_WAIT_FRONT : 0);
        fuzz_note("%u goes on in %u", waiter->number, both_here(&world->scenario));
        qemu_mutex_unlock(&world->lock);

        /* Those who were woken together wake others at different times. */
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, lengths_ms[waiter->number] * SCALE_MS);
        if (flags & 2) {
            wake_next_entry(world);
        }
        if (flags & 4) {
            wake_all_entry(world);
        }
    }
    fuzz_note("%u ends", waiter->number);
    __atomic_fetch_add(&world->ended, 1, __ATOMIC_SEQ_CST);
}

/* ---- operations, in any thread */

static void enter_next(void *opaque)
{
    World *world = opaque;

    qemu_mutex_lock(&world->lock);
    fuzz_note("next enters: %d", qemu_co_enter_next(&world->queue, &world->lock));
    qemu_mutex_unlock(&world->lock);
}

static void enter_all(void *opaque)
{
    World *world = opaque;

    qemu_mutex_lock(&world->lock);
    qemu_co_enter_all(&world->queue, &world->lock);
    fuzz_note("all have entered, %s", qemu_co_queue_empty(&world->queue) ? "nobody waits" : "somebody waits again");
    qemu_mutex_unlock(&world->lock);
}

static void wake_next(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_create(wake_next_entry, opaque));
}

static void wake_all(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_create(wake_all_entry, opaque));
}

static void (*const functions[])(void *) = { enter_next, enter_all, wake_next, wake_all };

/* ---- the scenario */

static void run(FuzzInput *in)
{
    World world = { 0 };
    Waiter waiters[WAITERS_MAX];
    unsigned count = 1 + fuzz_choice(in, WAITERS_MAX);
    unsigned operation_count = fuzz_choice(in, OPERATIONS_MAX);

    scenario_begin(&world.scenario, BOTH_THREADS);
    qemu_mutex_init(&world.lock);
    qemu_co_queue_init(&world.queue);
    for (unsigned i = 0; i < count; i++) {
        waiters[i] = (Waiter){ .world = &world, .number = i, .wait_count = 1 + fuzz_choice(in, WAITS_MAX) };
        for (unsigned k = 0; k < waiters[i].wait_count; k++) {
            waiters[i].flags[k] = fuzz_byte(in);
        }
        scenario_start(&world.scenario, 1 + i % BOTH_THREADS, waiter_entry, &waiters[i]);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        uint8_t what = fuzz_byte(in);

        both_do_in(&world.scenario, what / 4 % CONTEXTS, functions[what % 4], &world);
        both_settle(&world.scenario);
        if (what & 128) {
            both_sleep(&world.scenario, LONG_NS);
        }
        fuzz_note("settled, %u ended", world.ended);
    }
    while (world.ended < count) {
        enter_all(&world);
        both_sleep(&world.scenario, LONG_NS);
    }
    scenario_end(&world.scenario);
    qemu_mutex_destroy(&world.lock);
}

const FuzzTarget fuzz_target = { .name = "both_queue", .run = run };
