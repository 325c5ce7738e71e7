/*
 * Target co_lock: coroutines of several threads contend for the locks and queues that they have: CoMutexes, a CoRwlock with
 * upgrades and downgrades, turns and a gate made of CoQueues, a lockcnt; while the main thread shuts and opens the gate.
 *
 * Invariants: locks exclude; where all run in one thread, nobody overtakes a writer, or one who waits for the mutex, that
 * was in line before; who unlocks a CoMutex offers its hand-off once; turns are taken strictly in line, from any thread; what is
 * guarded by the lockcnt changes only without visitors; at the end nobody waits and all counters are back.
 *
 * The empty scenario is one coroutine that takes a mutex once.
 */
#include <glib.h>

#include "core/co_queue.h"
#include "core/co_rwlock.h"
#include "core/lockcnt.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define WORKERS_MAX 6u
#define OPS_MAX     4u

/* What is written with these is for the invariants and the windows: no points, and no part of the program. */
#define RAW_ADD(counter) __atomic_add_fetch(&(counter), 1, __ATOMIC_SEQ_CST)
#define RAW_SUB(counter) __atomic_sub_fetch(&(counter), 1, __ATOMIC_SEQ_CST)
#define RAW(counter)     __atomic_load_n(&(counter), __ATOMIC_SEQ_CST)

/* Who came in which order; kept only where all run in one thread, as nothing else orders the calls. */
typedef struct Line {
    unsigned next;
    struct {
        bool writer, in;
    } place[WORKERS_MAX * OPS_MAX * 2];
} Line;

typedef struct World {
    Scenario scenario;
    unsigned threads;
    bool one_context;
    Line mutex_line, rw_line;

    CoMutex mutex[2];
    unsigned holders[2]; /* raw */
    unsigned unlocks[2]; /* raw */
    unsigned sum;        /* under mutex[0] */

    CoRwlock rwlock;
    unsigned readers, writers; /* raw */
    unsigned wanting;          /* raw: on their way in, in line or about to be */
    unsigned version;          /* under rwlock */
    bool meets;                /* the one writer that there is waits for all readers after its downgrade */
    unsigned readers_announced; /* raw */

    QemuMutex lock; /* for these */
    CoQueue turns, gate, met;
    bool turn_taken, shut;
    unsigned turns_asked, turns_served;
    unsigned readers_met;

    QemuLockCnt lockcnt;
    unsigned *element; /* visitors read it; changed with the lock held and no visitors */
} World;

typedef struct Worker {
    World *world;
    unsigned context;
    unsigned op_count;
    uint8_t ops[OPS_MAX], variants[OPS_MAX];
} Worker;

/* ---- the order of those in one thread */

static unsigned line_join(World *world, Line *line, bool writer)
{
    unsigned number = line->next;

    if (world->one_context) {
        line->place[number].writer = writer;
        line->next++;
    }
    return number;
}

static void line_enter(World *world, Line *line, unsigned number)
{
    if (!world->one_context) {
        return;
    }
    for (unsigned i = 0; i < number; i++) {
        fuzz_check(line->place[i].in || !(line->place[i].writer || line->place[number].writer));
    }
    line->place[number].in = true;
}

/* ---- mutexes */

static void coroutine_fn lock_mutex(World *world, unsigned which)
{
    unsigned number = which == 0 ? line_join(world, &world->mutex_line, true) : 0;

    if (RAW(world->holders[which])) {
        fuzz_reached("mutex-is-held");
    }
    qemu_co_mutex_lock(&world->mutex[which]);
    if (which == 0) {
        line_enter(world, &world->mutex_line, number);
    }
    fuzz_check(RAW_ADD(world->holders[which]) == 1);
}

static void coroutine_fn unlock_mutex(World *world, unsigned which)
{
    RAW_SUB(world->holders[which]);
    RAW_ADD(world->unlocks[which]);
    qemu_co_mutex_unlock(&world->mutex[which]);
    if (RAW(world->mutex[which].handoff)) {
        fuzz_reached("unlock-leaves-a-hand-off");
    }
}

static void coroutine_fn op_mutex(Worker *worker, unsigned variant)
{
    World *world = worker->world;
    bool both = variant & 2;

    lock_mutex(world, 0);
    world->sum++;
    if (both) {
        lock_mutex(world, 1);
    }
    if (variant & 1) {
        scenario_pause();
    }
    if (both) {
        unlock_mutex(world, 1);
    }
    unlock_mutex(world, 0);
}

/* ---- readers and writers */

static void coroutine_fn read_inside(World *world, bool pause)
{
    unsigned version = world->version;

    RAW_ADD(world->readers);
    if (pause) {
        scenario_pause();
    }
    fuzz_check(RAW(world->writers) == 0);
    fuzz_check(world->version == version);
    RAW_SUB(world->readers);
}

static void coroutine_fn write_inside(World *world, bool pause)
{
    fuzz_check(RAW_ADD(world->writers) == 1);
    fuzz_check(RAW(world->readers) == 0);
    world->version++;
    if (pause) {
        scenario_pause();
    }
    fuzz_check(RAW(world->readers) == 0);
    fuzz_check(RAW_SUB(world->writers) == 0);
}

static void note_others(World *world, const char *window)
{
    if (RAW(world->wanting)) {
        fuzz_reached(window);
    }
}

static void coroutine_fn rdlock(World *world)
{
    unsigned number = line_join(world, &world->rw_line, false);

    RAW_ADD(world->readers_announced);
    RAW_ADD(world->wanting);
    qemu_co_rwlock_rdlock(&world->rwlock);
    RAW_SUB(world->wanting);
    line_enter(world, &world->rw_line, number);
    if (world->meets) {
        qemu_mutex_lock(&world->lock);
        world->readers_met++;
        qemu_co_enter_next(&world->met, &world->lock); /* the only one; not enter_all, as it may come back */
        qemu_mutex_unlock(&world->lock);
    }
}

static void coroutine_fn wrlock(World *world)
{
    unsigned number = line_join(world, &world->rw_line, true);

    RAW_ADD(world->wanting);
    qemu_co_rwlock_wrlock(&world->rwlock);
    RAW_SUB(world->wanting);
    line_enter(world, &world->rw_line, number);
}

static void coroutine_fn op_read(Worker *worker, unsigned variant)
{
    rdlock(worker->world);
    read_inside(worker->world, variant & 1);
    qemu_co_rwlock_unlock(&worker->world->rwlock);
}

static void coroutine_fn op_write(Worker *worker, unsigned variant)
{
    wrlock(worker->world);
    write_inside(worker->world, variant & 1);
    note_others(worker->world, "writer-leaves-while-others-want-in");
    qemu_co_rwlock_unlock(&worker->world->rwlock);
}

static void coroutine_fn op_upgrade(Worker *worker, unsigned variant)
{
    World *world = worker->world;
    unsigned number;

    rdlock(world);
    read_inside(world, variant & 1);
    note_others(world, "upgrade-while-others-want-in");
    number = line_join(world, &world->rw_line, true);
    qemu_co_rwlock_upgrade(&world->rwlock);
    line_enter(world, &world->rw_line, number);
    write_inside(world, variant & 2);
    qemu_co_rwlock_unlock(&world->rwlock);
}

/* No writer is there to come before the readers: they get in while this one still holds its part. */
static void coroutine_fn meet_readers(World *world, unsigned announced)
{
    qemu_mutex_lock(&world->lock);
    while (world->readers_met < announced) {
        fuzz_reached("downgraded-writer-waits-for-readers");
        qemu_co_queue_wait(&world->met, &world->lock);
    }
    qemu_mutex_unlock(&world->lock);
}

static void coroutine_fn op_downgrade(Worker *worker, unsigned variant)
{
    World *world = worker->world;
    unsigned announced;

    wrlock(world);
    write_inside(world, variant & 1);
    announced = RAW(world->readers_announced);
    note_others(world, "downgrade-while-others-want-in");
    qemu_co_rwlock_downgrade(&world->rwlock);
    read_inside(world, variant & 2);
    if (world->meets) {
        meet_readers(world, announced);
    }
    qemu_co_rwlock_unlock(&world->rwlock);
}

/* ---- queues */

/* Whoever leaves hands the turn to the first in the queue. */
static void coroutine_fn op_turn(Worker *worker, unsigned variant)
{
    World *world = worker->world;

    qemu_mutex_lock(&world->lock);
    if (world->turn_taken) {
        unsigned number = world->turns_asked++;

        qemu_co_queue_wait(&world->turns, &world->lock);
        fuzz_reached("turn-is-handed-over");
        fuzz_check(world->turns_served++ == number);
    }
    world->turn_taken = true;
    qemu_mutex_unlock(&world->lock);
    if (variant & 1) {
        scenario_pause();
    }
    qemu_mutex_lock(&world->lock);
    fuzz_check(world->turn_taken);
    if (variant & 2 ? !qemu_co_queue_next(&world->turns) : !qemu_co_enter_next(&world->turns, &world->lock)) {
        world->turn_taken = false;
    }
    qemu_mutex_unlock(&world->lock);
}

static void coroutine_fn op_gate(Worker *worker, unsigned variant)
{
    World *world = worker->world;

    qemu_mutex_lock(&world->lock);
    while (world->shut) {
        fuzz_reached("somebody-waits-at-the-gate");
        qemu_co_queue_wait_flags(&world->gate, &world->lock, variant & 1 ? CO_QUEUE_WAIT_FRONT : 0);
    }
    qemu_mutex_unlock(&world->lock);
}

/* ---- visitors */

static void change_element(World *world)
{
    g_free(world->element);
    world->element = g_new0(unsigned, 1);
}

static void op_visit(Worker *worker, unsigned variant)
{
    World *world = worker->world;

    qemu_lockcnt_inc(&world->lockcnt);
    fuzz_check(*world->element == 0);
    if (variant & 1 ? qemu_lockcnt_dec_and_lock(&world->lockcnt) : qemu_lockcnt_dec_if_lock(&world->lockcnt)) {
        fuzz_reached("last-visitor-changes-the-element");
        change_element(world);
        if (variant & 2) {
            qemu_lockcnt_inc_and_unlock(&world->lockcnt);
            fuzz_check(*world->element == 0);
            qemu_lockcnt_dec(&world->lockcnt);
        } else {
            qemu_lockcnt_unlock(&world->lockcnt);
        }
    } else if (!(variant & 1)) {
        qemu_lockcnt_dec(&world->lockcnt);
    }
}

static void op_change(Worker *worker, unsigned variant)
{
    World *world = worker->world;

    qemu_lockcnt_lock(&world->lockcnt);
    if (qemu_lockcnt_count(&world->lockcnt) == 0) {
        change_element(world);
    } else {
        fuzz_reached("element-has-visitors");
    }
    if (variant & 1) {
        fuzz_reached("holder-becomes-a-visitor-among-others");
        qemu_lockcnt_inc_and_unlock(&world->lockcnt);
        fuzz_check(*world->element == 0);
        qemu_lockcnt_dec(&world->lockcnt);
    } else {
        qemu_lockcnt_unlock(&world->lockcnt);
    }
}

/* ---- the scenario */

static void coroutine_fn op_move(Worker *worker, unsigned variant)
{
    World *world = worker->world;

    if (worker->context != 0) {
        aio_co_reschedule_self(scenario_context(&world->scenario, 1 + variant % world->threads));
    }
}

/* clang-format off */
typedef enum Op {
    OP_MUTEX, OP_READ, OP_WRITE, OP_UPGRADE, OP_DOWNGRADE, OP_TURN, OP_GATE, OP_VISIT, OP_CHANGE, OP_MOVE, OPS
} Op;

static void (*const operations[OPS])(Worker *, unsigned) = {
    op_mutex, op_read, op_write, op_upgrade, op_downgrade, op_turn, op_gate, op_visit, op_change, op_move,
};

/* An input may keep to some operations, so that they meet more often. */
static const struct {
    Op first;
    unsigned count;
} focuses[] = { { 0, OPS }, { OP_MUTEX, 1 }, { OP_READ, 4 }, { OP_TURN, 2 }, { OP_VISIT, 2 } };
/* clang-format on */

static void coroutine_fn worker_entry(void *opaque)
{
    Worker *worker = opaque;

    for (unsigned i = 0; i < worker->op_count; i++) {
        operations[worker->ops[i]](worker, worker->variants[i]);
    }
}

static void set_gate(World *world, bool shut)
{
    qemu_mutex_lock(&world->lock);
    world->shut = shut;
    if (!shut) {
        qemu_co_enter_all(&world->gate, &world->lock);
    }
    qemu_mutex_unlock(&world->lock);
}

static void main_step(World *world, unsigned step)
{
    if (step == 0) {
        aio_poll(qemu_get_aio_context(), false);
    } else {
        set_gate(world, step == 1);
    }
}

static void world_begin(World *world, unsigned threads)
{
    *world = (World){ .threads = threads };
    scenario_begin(&world->scenario, threads);
    qemu_co_mutex_init(&world->mutex[0]);
    qemu_co_mutex_init(&world->mutex[1]);
    qemu_co_rwlock_init(&world->rwlock);
    qemu_mutex_init(&world->lock);
    qemu_lockcnt_init(&world->lockcnt);
    world->element = g_new0(unsigned, 1);
}

static void world_end(World *world, unsigned mutex_ops)
{
    scenario_end(&world->scenario);
    fuzz_check(world->sum == mutex_ops);
    for (unsigned i = 0; i < 2; i++) {
        fuzz_check(world->mutex[i].locked == 0 && world->mutex[i].handoff == 0);
        fuzz_check(SLIST_EMPTY(&world->mutex[i].from_push) && SLIST_EMPTY(&world->mutex[i].to_pop));
        fuzz_check(world->mutex[i].sequence <= world->unlocks[i]);
    }
    fuzz_check(world->rwlock.owners == 0 && STAILQ_EMPTY(&world->rwlock.tickets));
    fuzz_check(!world->turn_taken && world->turns_served == world->turns_asked);
    fuzz_check(qemu_co_queue_empty(&world->turns) && qemu_co_queue_empty(&world->gate));
    qemu_lockcnt_destroy(&world->lockcnt);
    g_free(world->element);
    qemu_mutex_destroy(&world->lock);
}

/* Returns how often the mutex will be taken. */
static unsigned read_workers(FuzzInput *in, World *world, Worker *workers, unsigned worker_count)
{
    unsigned count[OPS] = { 0 };
    unsigned focus = fuzz_choice(in, G_N_ELEMENTS(focuses));

    world->one_context = true;
    for (unsigned i = 0; i < worker_count; i++) {
        workers[i].world = world;
        workers[i].context = (1 + fuzz_byte(in)) % (world->threads + 1);
        workers[i].op_count = fuzz_range(in, 1, OPS_MAX);
        for (unsigned k = 0; k < workers[i].op_count; k++) {
            unsigned byte = fuzz_byte(in);

            workers[i].ops[k] = (uint8_t)(focuses[focus].first + byte % focuses[focus].count);
            workers[i].variants[k] = (uint8_t)(byte / focuses[focus].count);
            count[workers[i].ops[k]]++;
        }
        world->one_context &= workers[i].context == workers[0].context;
    }
    world->one_context &= count[OP_MOVE] == 0;
    world->meets = count[OP_DOWNGRADE] == 1 && count[OP_WRITE] + count[OP_UPGRADE] == 0;
    return count[OP_MUTEX];
}

static void run(FuzzInput *in)
{
    World world;
    Worker workers[WORKERS_MAX];
    unsigned threads = fuzz_range(in, 1, 3);
    unsigned worker_count = fuzz_range(in, 1, WORKERS_MAX);
    unsigned main_steps = fuzz_choice(in, 5);
    unsigned mutex_ops;

    world_begin(&world, threads);
    mutex_ops = read_workers(in, &world, workers, worker_count);
    for (unsigned i = 0; i < worker_count; i++) {
        scenario_start(&world.scenario, workers[i].context, worker_entry, &workers[i]);
    }
    for (unsigned i = 0; i < main_steps; i++) {
        main_step(&world, fuzz_choice(in, 3));
    }
    set_gate(&world, false);
    scenario_wait(&world.scenario);
    world_end(&world, mutex_ops);
}

static const char *const windows[] = {
    "mutex-is-held",
    "unlock-leaves-a-hand-off",
    "writer-leaves-while-others-want-in",
    "upgrade-while-others-want-in",
    "downgrade-while-others-want-in",
    "downgraded-writer-waits-for-readers",
    "turn-is-handed-over",
    "somebody-waits-at-the-gate",
    "last-visitor-changes-the-element",
    "element-has-visitors",
    "holder-becomes-a-visitor-among-others",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "co_lock", .run = run, .steps_max = 50000, .windows = windows };
