/*
 * Target both_calls: calls that one thread makes in another, waits for, or puts off: aio_wait_bh_oneshot(), AIO_WAIT_WHILE_UNLOCKED() with
 * aio_wait_kick(), defer_call() in sections that nest and are begun by deferred calls, and visitors of a QemuLockCnt against its lock.
 *
 * Invariants: nobody visits for the first time while the lock is held. Noted: each call, where it ran, and each result.
 *
 * The empty scenario is one call in the main thread that is waited for.
 */
#include "fuzz/both/both.h"

#define CONTEXTS       (BOTH_THREADS + 1)
#define DEFERRED       3u
#define OPERATIONS_MAX 14u
#define MOMENT_US      1000

typedef struct World World;

typedef struct Deferred {
    World *world;
    unsigned number;
    uint8_t flags; /* what its next call does besides */
} Deferred;

struct World {
    Scenario scenario;
    QEMUBH *half; /* of the main context */
    Deferred deferred[DEFERRED];
    QemuLockCnt visitors;
    bool locked;      /* by the main thread, which keeps it over operations */
    unsigned visits;  /* of the main thread's */
    int under_way;    /* of orders to io threads; no point */
    unsigned waiting; /* what AIO_WAIT_WHILE_UNLOCKED() waits for */
};

static unsigned here(World *world)
{
    return both_here(&world->scenario);
}

static void half_cb(void *opaque)
{
    World *world = opaque;

    fuzz_note("bh in %u", here(world));
}

/* ---- waiting for a call, or for a condition; main thread */

static void called(void *opaque)
{
    World *world = opaque;

    fuzz_note("called in %u", here(world));
    qemu_bh_schedule(world->half);
}

static void call_and_wait(World *world, unsigned index)
{
    aio_wait_bh_oneshot(scenario_context(&world->scenario, index), called, world);
    fuzz_note("call in %u is over", index);
}

static void count_down(void *opaque)
{
    World *world = opaque;

    fuzz_note("counts down in %u", here(world));
    qatomic_dec(&world->waiting);
    aio_wait_kick();
}

static void wait_while(World *world, unsigned index)
{
    bool waited;

    qatomic_set(&world->waiting, BOTH_THREADS);
    for (unsigned i = 1; i <= BOTH_THREADS; i++) {
        aio_bh_schedule_oneshot(scenario_context(&world->scenario, i), count_down, world);
    }
    qemu_bh_schedule(world->half);
    waited = AIO_WAIT_WHILE_UNLOCKED(index ? scenario_context(&world->scenario, index) : NULL, qatomic_read(&world->waiting) > 0);
    fuzz_note("waited: %d", waited);
    waited = AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&world->waiting) > 0);
    fuzz_note("waited again: %d", waited);
}

/* ---- deferred calls, in any thread */

typedef struct Order {
    World *world;
    uint8_t argument;
} Order;

static void deferred_cb(void *opaque)
{
    Deferred *deferred = opaque;
    World *world = deferred->world;
    Deferred *other = &world->deferred[(deferred->number + 1) % DEFERRED];
    uint8_t flags = deferred->flags;

    fuzz_note("deferred %u in %u", deferred->number, here(world));
    deferred->flags = 0;
    if (flags & 1) {
        defer_call(deferred_cb, other);
    }
    if (flags & 2) {
        defer_call_begin();
        defer_call(deferred_cb, other);
        defer_call(deferred_cb, deferred);
        defer_call(deferred_cb, other);
        fuzz_note("deferred %u puts off", deferred->number);
        defer_call_end();
    }
}

static void defer(void *opaque)
{
    Order *order = opaque;
    World *world = order->world;
    unsigned depth = order->argument & 3;

    for (unsigned i = 0; i < DEFERRED; i++) {
        world->deferred[i].flags = order->argument >> (2 + 2 * i) & 3;
    }
    for (unsigned i = 0; i < depth; i++) {
        defer_call_begin();
        defer_call(deferred_cb, &world->deferred[i]);
        defer_call(deferred_cb, &world->deferred[0]);
    }
    fuzz_note("depth %u", depth);
    for (unsigned i = depth; i > 0; i--) {
        defer_call(deferred_cb, &world->deferred[i % DEFERRED]);
        defer_call_end();
        fuzz_note("section %u has ended", i);
    }
    defer_call(deferred_cb, &world->deferred[0]);
}

static void put_off(World *world, unsigned index, uint8_t argument)
{
    Order order = { world, argument };

    both_do_in(&world->scenario, index, defer, &order);
}

/* ---- visitors: in io threads, each of which may have to wait for the main thread's lock */

static void leave_order(World *world)
{
    __atomic_fetch_sub(&world->under_way, 1, __ATOMIC_SEQ_CST);
}

static void visit(void *opaque)
{
    World *world = opaque;

    qemu_lockcnt_inc(&world->visitors);
    fuzz_note("visitor in %u", here(world));
    qemu_lockcnt_dec(&world->visitors);
    leave_order(world);
}

static void change(void *opaque)
{
    World *world = opaque;

    qemu_lockcnt_lock(&world->visitors);
    fuzz_note("lock in %u, %u visit", here(world), qemu_lockcnt_count(&world->visitors));
    qemu_lockcnt_unlock(&world->visitors);
    leave_order(world);
}

static void visit_and_clear(void *opaque)
{
    World *world = opaque;
    bool last;

    qemu_lockcnt_inc(&world->visitors);
    fuzz_note("clearing visitor in %u", here(world));
    last = qemu_lockcnt_dec_and_lock(&world->visitors);
    fuzz_note("last in %u: %d", here(world), last);
    if (last) {
        qemu_lockcnt_unlock(&world->visitors);
    }
    leave_order(world);
}

static void visit_and_try(void *opaque)
{
    World *world = opaque;
    bool only;

    qemu_lockcnt_inc(&world->visitors);
    only = qemu_lockcnt_dec_if_lock(&world->visitors);
    fuzz_note("only one in %u: %d", here(world), only);
    if (only) {
        qemu_lockcnt_inc_and_unlock(&world->visitors);
    }
    qemu_lockcnt_dec(&world->visitors);
    leave_order(world);
}

static void (*const visits[])(void *) = { visit, change, visit_and_clear, visit_and_try };

static void order_visit(World *world, unsigned index, uint8_t argument)
{
    AioContext *ctx = scenario_context(&world->scenario, index ? index : 1);

    __atomic_fetch_add(&world->under_way, 1, __ATOMIC_SEQ_CST);
    aio_bh_schedule_oneshot(ctx, visits[argument % G_N_ELEMENTS(visits)], world);
}

/* The main thread's own steps. */
static void lock(World *world)
{
    if (!world->locked) {
        qemu_lockcnt_lock(&world->visitors);
        world->locked = true;
        fuzz_note("main locks, %u visit", qemu_lockcnt_count(&world->visitors));
    }
}

static void unlock(World *world, bool and_visit)
{
    if (!world->locked) {
        return;
    }
    world->locked = false;
    fuzz_note("main unlocks, %u visit", qemu_lockcnt_count(&world->visitors));
    if (and_visit) {
        world->visits++;
        qemu_lockcnt_inc_and_unlock(&world->visitors);
    } else {
        qemu_lockcnt_unlock(&world->visitors);
    }
}

static void leave(World *world, unsigned how)
{
    bool locked;

    if (!world->visits || world->locked) {
        return;
    }
    world->visits--;
    if (how == 0) {
        qemu_lockcnt_dec(&world->visitors);
        return;
    }
    locked = how == 1 ? qemu_lockcnt_dec_and_lock(&world->visitors) : qemu_lockcnt_dec_if_lock(&world->visitors);
    fuzz_note("main leaves: %d", locked);
    world->locked = locked;
    world->visits += !locked && how != 1;
}

static void go_on(World *world, unsigned index, uint8_t argument)
{
    if (index == 0) {
        lock(world);
    } else if (index == 1) {
        unlock(world, argument & 1);
    } else {
        leave(world, argument % 3);
    }
}

static void finish_visits(World *world)
{
    unlock(world, false);
    while (__atomic_load_n(&world->under_way, __ATOMIC_SEQ_CST)) {
        g_usleep(MOMENT_US);
    }
}

/* ---- the scenario */

static void do_operation(World *world, uint8_t what, uint8_t argument)
{
    unsigned index = what / 8 % CONTEXTS;

    switch (what & 7) {
    case 0:
    case 1:
        finish_visits(world);
        if (what & 1) {
            wait_while(world, index);
        } else {
            call_and_wait(world, index);
        }
        break;
    case 2:
        finish_visits(world);
        put_off(world, index, argument);
        break;
    case 3:
    case 4:
        order_visit(world, index, argument);
        break;
    case 5:
    case 6:
        go_on(world, index, argument);
        break;
    default:
        g_usleep(MOMENT_US);
        fuzz_note("time passes");
        break;
    }
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned count = 1 + fuzz_choice(in, OPERATIONS_MAX);

    scenario_begin(&world.scenario, BOTH_THREADS);
    qemu_lockcnt_init(&world.visitors);
    for (unsigned i = 0; i < DEFERRED; i++) {
        world.deferred[i] = (Deferred){ .world = &world, .number = i };
    }
    world.half = qemu_bh_new(half_cb, &world);
    for (unsigned i = 0; i < count; i++) {
        uint8_t what = fuzz_byte(in);

        do_operation(&world, what, fuzz_byte(in));
        if (what & 128) {
            finish_visits(&world);
            both_settle(&world.scenario);
            fuzz_note("settled, %u visit", qemu_lockcnt_count(&world.visitors));
        }
    }
    finish_visits(&world);
    qemu_bh_delete(world.half);
    both_settle(&world.scenario);
    while (world.visits) {
        leave(&world, 0);
    }
    qemu_lockcnt_destroy(&world.visitors);
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "both_calls", .run = run };
