/*
 * Target co_request: requests that have to wait for room. Coroutines of several threads share the slots of a device queue,
 * overlap with each other on a node, and keep to one rate, while members of the rate are drained and leave.
 *
 * Invariants: no more requests are under way than there are slots, and none waits while a slot stays free; overlapping requests are alone where
 * they ask to be; the rate is kept, as far as one can tell, while nobody is drained, and by one timer; who is drained does not wait for it; at
 * the end none waits.
 *
 * The empty scenario is one coroutine with one request that takes a slot and completes in its own thread.
 */
#include <errno.h>

#include "core/request_slots.h"
#include "core/sanitizer.h"
#include "core/throttle_group.h"
#include "core/tracked_request.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define WORKERS_MAX 6u
#define OPS_MAX     4u
#define MEMBERS     2u
#define SLOTS_MAX   3u
#define GRANULE     512
#define INTERVAL_NS 1000000

/* How many times as long it may be: a long time passes only when nobody can run. Real time is not spent on it. */
#ifdef WAKEFUZZ_SIMULATED
#define SLOW 1000
#else
#define SLOW 1
#endif

/* What is written with these is for the invariants and the windows: no points, and no part of the program. */
#define RAW_ADD(counter) __atomic_add_fetch(&(counter), 1, __ATOMIC_SEQ_CST)
#define RAW_SUB(counter) __atomic_sub_fetch(&(counter), 1, __ATOMIC_SEQ_CST)
#define RAW(counter)     __atomic_load_n(&(counter), __ATOMIC_SEQ_CST)

typedef struct Member {
    ThrottleGroupMember throttle;
    bool leaving;       /* under the world's lock */
    unsigned in_flight; /* changed under the world's lock, read without */
    bool left;          /* main thread */
} Member;

typedef struct World {
    Scenario scenario;
    unsigned threads;

    RequestSlots slots;
    unsigned slot_requests; /* raw */
    unsigned slot_wanting;  /* raw: those too that have none yet */
    unsigned slot_waiting;  /* raw: those alone */
    struct DeviceRequest *held[SLOTS_MAX - 1]; /* raw: they end when none waits any more, which takes one more slot than theirs */

    TrackedRequests requests;
    unsigned plain[2], alone[2]; /* raw; in each half of the range */

    ThrottleGroup group;
    uint64_t interval_ns;
    Member members[MEMBERS];
    QemuMutex lock; /* of the members */
    unsigned passed; /* raw, like the two below: requests that the rate has let through */
    uint64_t first_ns; /* when the first one was */
    unsigned drained; /* a member was: its requests need not keep to the rate */
} World;

typedef struct Worker {
    World *world;
    unsigned op_count;
    uint8_t ops[OPS_MAX], variants[OPS_MAX];
} Worker;

/* ---- slots of a device */

typedef struct DeviceRequest {
    Worker *worker;
    unsigned slot;
    unsigned variant;
} DeviceRequest;

static void device_completes(void *opaque)
{
    DeviceRequest *request = opaque;
    World *world = request->worker->world;

    RAW_SUB(world->slot_requests);
    request_slots_complete(&world->slots, request->slot, (int)request->slot);
}

static void device_starts(DeviceRequest *request)
{
    World *world = request->worker->world;

    aio_bh_schedule_oneshot(scenario_context(&world->scenario, 1 + (request->variant >> 1) % world->threads), device_completes,
                            request);
}

/* Where no request waits for a slot, those that are held back go on. */
static void device_goes_on(World *world)
{
    for (unsigned i = 0; i < SLOTS_MAX - 1 && RAW(world->slot_waiting) == 0; i++) {
        DeviceRequest *held = __atomic_exchange_n(&world->held[i], NULL, __ATOMIC_SEQ_CST);

        if (held) {
            device_starts(held);
        }
    }
}

/* Another slot is left for those that wait. */
static bool device_holds(DeviceRequest *request)
{
    World *world = request->worker->world;

    for (unsigned i = 0; i + 1 < world->slots.slot_count && request->variant & 128; i++) {
        DeviceRequest *none = NULL;

        if (__atomic_compare_exchange_n(&world->held[i], &none, request, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            return true;
        }
    }
    return false;
}

static int device_submit(void *opaque, unsigned slot)
{
    DeviceRequest *request = opaque;
    World *world = request->worker->world;

    fuzz_check(RAW_ADD(world->slot_requests) <= world->slots.slot_count);
    RAW_SUB(world->slot_waiting);
    if (request->variant & 1) {
        RAW_SUB(world->slot_requests);
        if (RAW(world->slot_wanting) > world->slots.slot_count) {
            fuzz_reached("request-is-refused-while-others-wait");
        }
        device_goes_on(world);
        return -EBUSY;
    }
    request->slot = slot;
    if (!device_holds(request)) {
        device_starts(request);
    } else if (RAW(world->slot_waiting)) {
        fuzz_reached("request-holds-its-slot-while-others-wait");
    }
    device_goes_on(world);
    return 0;
}

static void coroutine_fn op_slot(Worker *worker, unsigned variant)
{
    DeviceRequest request = { .worker = worker, .variant = variant };
    World *world = worker->world;
    int ret;

    RAW_ADD(world->slot_waiting);
    if (RAW_ADD(world->slot_wanting) > world->slots.slot_count) {
        fuzz_reached("more-requests-than-slots");
    }
    ret = request_slots_co_run(&world->slots, device_submit, &request);
    RAW_SUB(world->slot_wanting);
    fuzz_check(ret == (variant & 1 ? -EBUSY : (int)request.slot));
}

/* ---- overlapping requests */

static void coroutine_fn op_overlap(Worker *worker, unsigned variant)
{
    World *world = worker->world;
    unsigned half = variant & 1, granule = 2 * half + (variant >> 2 & 1); /* of the half's two */
    TrackedRequest request;

    tracked_request_begin(&request, &world->requests, granule * GRANULE, GRANULE);
    tracked_request_wait_serialising(&request);
    RAW_ADD(world->plain[half]);
    fuzz_check(RAW(world->alone[half]) == 0);
    scenario_pause();
    fuzz_check(RAW(world->alone[half]) == 0);
    RAW_SUB(world->plain[half]);
    if (variant & 2) {
        if (RAW(world->requests.serialising_in_flight)) {
            fuzz_reached("two-requests-become-serialising");
        }
        tracked_request_make_serialising(&request, 2 * GRANULE);
        if (variant & 8) {
            tracked_request_make_serialising(&request, GRANULE); /* it is already, and more of the disk is its own */
        }
        fuzz_check(RAW_ADD(world->alone[half]) == 1);
        fuzz_check(RAW(world->plain[half]) == 0);
        scenario_pause();
        fuzz_check(RAW(world->plain[half]) == 0);
        RAW_SUB(world->alone[half]);
    }
    tracked_request_end(&request);
}

/* ---- a shared rate */

/* A snapshot, as nothing is a point here. Where a member is drained nobody needs to look at any_timer_armed. Nothing but the schedule orders
 * this with a member that comes back, which ThreadSanitizer would take for a race: so it does not see these reads. */
__attribute__((no_sanitize("thread"))) static unsigned timers_armed(const World *world)
{
    unsigned armed = 0;

    for (unsigned i = 0; i < MEMBERS && !*(volatile const unsigned *)&world->drained; i++) {
        armed += *(volatile const int64_t *)&world->members[i].throttle.timer.expire_time >= 0;
    }
    return armed;
}

static void check_timers(const World *world)
{
#ifdef WAKEFUZZ_SIMULATED
    fuzz_check(timers_armed(world) <= 1);
#else
    (void)timers_armed(world);
#endif
}

/* One of each member may come through beside the one whose turn it is; but not again and again. */
static void check_pace(World *world)
{
    unsigned ahead = RAW_ADD(world->passed);
    uint64_t now = fuzz_time_ns();

    if (ahead == 1) {
        __atomic_store_n(&world->first_ns, now, __ATOMIC_SEQ_CST);
    } else if (ahead > 2 * MEMBERS && !RAW(world->drained)) {
        fuzz_check(2 * (now - RAW(world->first_ns)) >= (uint64_t)(ahead - 2 * MEMBERS) * world->interval_ns);
    }
    check_timers(world);
}

static void coroutine_fn op_throttled(Worker *worker, unsigned variant)
{
    World *world = worker->world;
    Member *member = &world->members[variant % MEMBERS];
    bool leaving;

    qemu_mutex_lock(&world->lock);
    leaving = member->leaving;
    if (!leaving) {
        RAW_ADD(member->in_flight);
    }
    qemu_mutex_unlock(&world->lock);
    if (leaving) {
        return;
    }
    check_timers(world);
    throttle_group_co_io_limits_intercept(&member->throttle);
    check_pace(world);
    qemu_mutex_lock(&world->lock);
    RAW_SUB(member->in_flight);
    qemu_mutex_unlock(&world->lock);
    aio_wait_kick();
}

/* Those that wait in the queue of a member do not, once it is drained. One that is on its way there may have to let others go first. Main
 * thread. */
static void member_leaves(World *world, unsigned which)
{
    Member *member = &world->members[which];
    uint64_t begin_ns = fuzz_time_ns();
    bool slow = world->interval_ns > INTERVAL_NS, all_wait = false;

    if (member->left) {
        return;
    }
    member->left = true;
    qemu_mutex_lock(&world->lock);
    member->leaving = true;
    qemu_mutex_unlock(&world->lock);
    if (RAW(member->in_flight)) {
        fuzz_reached("member-leaves-with-requests-in-flight");
    }
    RAW_ADD(world->drained);
    if (slow) {
        qemu_mutex_lock(&world->group.lock);
        all_wait = RAW(member->in_flight) == member->throttle.pending_reqs;
        qemu_mutex_unlock(&world->group.lock);
    }
    throttle_group_drain_begin(&member->throttle);
    AIO_WAIT_WHILE_UNLOCKED(NULL, RAW(member->in_flight));
    fuzz_check(!all_wait || fuzz_time_ns() - begin_ns < world->interval_ns / 2);
    throttle_group_unregister_member(&member->throttle);
}

static void member_registers(World *world, unsigned which)
{
    throttle_group_register_member(&world->group, &world->members[which].throttle,
                                   scenario_context(&world->scenario, 1 + which % world->threads));
}

/* The first that has left comes back, while the others are at work. Main thread. */
static void member_returns(World *world)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        Member *member = &world->members[i];

        if (member->left) {
            fuzz_reached("member-comes-back");
            member_registers(world, i);
            member->left = false;
            qemu_mutex_lock(&world->lock);
            member->leaving = false;
            qemu_mutex_unlock(&world->lock);
            return;
        }
    }
}

/* ---- the scenario */

static void coroutine_fn op_move(Worker *worker, unsigned variant)
{
    aio_co_reschedule_self(scenario_context(&worker->world->scenario, 1 + variant % worker->world->threads));
}

static void (*const operations[])(Worker *, unsigned) = { op_slot, op_overlap, op_throttled, op_move };
#define OPS (sizeof(operations) / sizeof(operations[0]))

static void coroutine_fn worker_entry(void *opaque)
{
    Worker *worker = opaque;

    for (unsigned i = 0; i < worker->op_count; i++) {
        operations[worker->ops[i]](worker, worker->variants[i]);
    }
}

static void main_step(World *world, unsigned step)
{
    if (step == 0) {
        aio_poll(qemu_get_aio_context(), false);
    } else if (step > MEMBERS) {
        member_returns(world);
    } else {
        member_leaves(world, step - 1);
    }
}

static void world_begin(World *world, unsigned threads, unsigned slots, uint64_t interval_ns)
{
    *world = (World){ .threads = threads, .interval_ns = interval_ns };
    scenario_begin(&world->scenario, threads);
    request_slots_init(&world->slots, scenario_context(&world->scenario, 1), slots);
    tracked_requests_init(&world->requests);
    qemu_mutex_init(&world->lock);
    throttle_group_init(&world->group, (int64_t)interval_ns);
    for (unsigned i = 0; i < MEMBERS; i++) {
        member_registers(world, i);
    }
}

static void destroy_slots(void *opaque)
{
    request_slots_destroy(opaque);
}

static void world_end(World *world)
{
    aio_wait_bh_oneshot(scenario_context(&world->scenario, 1), destroy_slots, &world->slots);
    for (unsigned i = 0; i < MEMBERS; i++) {
        member_leaves(world, i);
    }
    scenario_end(&world->scenario);
    throttle_group_destroy(&world->group);
    tracked_requests_destroy(&world->requests);
    qemu_mutex_destroy(&world->lock);
}

/* focus: 0 for all kinds of operations, else one kind alone, so that those meet more often. */
static void read_worker(FuzzInput *in, World *world, Worker *worker, unsigned focus)
{
    worker->world = world;
    worker->op_count = fuzz_range(in, 1, OPS_MAX);
    for (unsigned i = 0; i < worker->op_count; i++) {
        unsigned byte = fuzz_byte(in);

        worker->ops[i] = (uint8_t)(focus ? focus - 1 : byte % OPS);
        worker->variants[i] = (uint8_t)(focus ? byte : byte / OPS);
    }
}

static void run(FuzzInput *in)
{
    World world;
    Worker workers[WORKERS_MAX];
    unsigned threads = fuzz_range(in, 1, 3);
    unsigned worker_count = fuzz_range(in, 1, WORKERS_MAX);
    unsigned slots = fuzz_range(in, 1, SLOTS_MAX);
    unsigned main_steps = fuzz_choice(in, 4);
    unsigned shape = fuzz_byte(in), focus = shape % OPS;

    world_begin(&world, threads, slots, shape / OPS & 1 ? INTERVAL_NS * SLOW : INTERVAL_NS);
    for (unsigned i = 0; i < worker_count; i++) {
        read_worker(in, &world, &workers[i], focus);
    }
    for (unsigned i = 0; i < worker_count; i++) {
        scenario_start(&world.scenario, 1 + i % threads, worker_entry, &workers[i]);
    }
    for (unsigned i = 0; i < main_steps; i++) {
        main_step(&world, fuzz_choice(in, 2 + MEMBERS));
    }
    scenario_wait(&world.scenario);
    world_end(&world);
}

static const char *const windows[] = {
    "more-requests-than-slots",
    "request-is-refused-while-others-wait",
    "request-holds-its-slot-while-others-wait",
    "two-requests-become-serialising",
    "member-leaves-with-requests-in-flight",
    "member-comes-back",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "co_request", .run = run, .steps_max = 50000, .windows = windows };
