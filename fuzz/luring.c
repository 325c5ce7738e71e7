/*
 * Target luring: coroutines of an io thread read and write a file by two rings, alone or several in a batch, while the kernel completes at
 * once, later, in part or not at all. Or the requests are a guest's, whose virtual CPUs run the coroutines under the big lock, and the main
 * thread's loop has a ring of its own, which it submits when it comes round.
 *
 * Invariants: each request ends once; what is read is what was written last, or what was there at the start where nobody has written;
 * what lies behind the end of the file is zeros; a request fails only where the disk has faults; at the end nothing is in the queue, and the
 * loop sleeps.
 *
 * The empty scenario is one coroutine with one read that the kernel completes at once.
 */
#include <glib.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/aio_uring.h"
#include "core/defer_call.h"
#include "core/luring.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"
#include "fuzz/scenario_disk.h"

#define WORKERS_MAX 4u
#define OPS_MAX     4u
#define BLOCK       (2 * CLUSTER) /* of which half may be moved */
#define TAIL        5u /* clusters of a read of which four are in the file */

/* Longer than the clock jumps while somebody can run. Real time is not spent on it. */
#ifdef WAKEFUZZ_SIMULATED
#define REST_US 1000000ul
#else
#define REST_US 1000ul
#endif

struct World;

typedef struct Worker {
    struct World *world;
    unsigned number;
    unsigned op_count;
    uint8_t ops[OPS_MAX];
    uint8_t data[BLOCK] __attribute__((aligned(512)));
    uint8_t holds[2]; /* its clusters; 0: nobody knows */
    QemuThread vcpu; /* of a guest: */
    QemuSemaphore ended; /* an operation has */
    bool under_way; /* an operation; under the big lock */
} Worker;

typedef struct World {
    Scenario scenario;
    AioContext *ctx;
    LuringState *ring;
    int fd;
    bool faults;
    bool batched; /* the workers begin inside of one section of deferred calls */
    bool rests;   /* at the end nobody does anything for a while */
    Worker workers[WORKERS_MAX];
    unsigned worker_count;
    bool guest; /* workers are virtual CPUs, and the ring is the main loop's */
    unsigned vcpus_left; /* under the big lock */
} World;

/* ---- workers: coroutines of the io thread. Each has the block of its number. */

static void check_result(const Worker *worker, int ret)
{
    fuzz_check(ret == 0 || worker->world->faults);
}

static int coroutine_fn submit(const Worker *worker, uint64_t offset, QEMUIOVector *qiov, int type)
{
    const World *world = worker->world;

    return world->guest ? aio_uring_co_submit(world->fd, offset, qiov, type)
                        : luring_co_submit(world->ring, world->fd, offset, qiov, type);
}

static void coroutine_fn read_block(Worker *worker)
{
    QEMUIOVector qiov;
    int ret;

    qemu_iovec_init_buf(&qiov, worker->data, BLOCK);
    memset(worker->data, 0, BLOCK);
    ret = submit(worker, (uint64_t)worker->number * BLOCK, &qiov, QEMU_AIO_READ);
    check_result(worker, ret);
    for (unsigned i = 0; ret == 0 && worker->holds[0] && i < BLOCK; i++) {
        fuzz_check(worker->data[i] == worker->holds[i / CLUSTER]);
    }
}

/* Nobody writes there. It may be short by some clusters, by some more, and at the end. */
static void coroutine_fn read_tail(Worker *worker)
{
    uint8_t data[TAIL][CLUSTER] __attribute__((aligned(512)));
    QEMUIOVector qiov;
    int ret;

    fuzz_reached("read-across-the-end-of-the-file");
    qemu_iovec_init_buf(&qiov, data, sizeof(data));
    memset(data, 1, sizeof(data));
    ret = submit(worker, DISK_BYTES - (TAIL - 1) * CLUSTER, &qiov, QEMU_AIO_READ);
    check_result(worker, ret);
    for (unsigned i = 0; i < TAIL && ret == 0; i++) {
        scenario_disk_check_cluster(data[i], CLUSTERS - TAIL + 1 + i, i < TAIL - 1, false);
    }
}

static void coroutine_fn write_block(Worker *worker, uint8_t pattern)
{
    QEMUIOVector qiov;
    int ret;

    qemu_iovec_init_buf(&qiov, worker->data, BLOCK);
    memset(worker->data, pattern, BLOCK);
    ret = submit(worker, (uint64_t)worker->number * BLOCK, &qiov, QEMU_AIO_WRITE);
    check_result(worker, ret);
    worker->holds[0] = worker->holds[1] = ret == 0 ? pattern : 0;
}

static void coroutine_fn flush(Worker *worker)
{
    check_result(worker, submit(worker, 0, NULL, QEMU_AIO_FLUSH));
}

static void coroutine_fn operate(Worker *worker, unsigned i)
{
    switch (worker->ops[i] & 3) {
    case 2:
        write_block(worker, (uint8_t)(1 + worker->number * OPS_MAX + i));
        break;
    case 3:
        flush(worker);
        break;
    default:
        if (worker->ops[i] & 8) {
            read_tail(worker);
        } else {
            read_block(worker);
        }
        break;
    }
}

static void coroutine_fn worker_entry(void *opaque)
{
    Worker *worker = opaque;

    for (unsigned i = 0; i < worker->op_count; i++) {
        operate(worker, i);
        if (worker->ops[i] & 4) {
            scenario_pause();
        }
    }
    scenario_leave(&worker->world->scenario);
}

/* In the io thread. */
static void start_workers(void *opaque)
{
    World *world = opaque;

    if (world->batched) {
        defer_call_begin();
    }
    for (unsigned i = 0; i < world->worker_count; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(worker_entry, &world->workers[i]));
    }
    if (world->batched) {
        defer_call_end();
    }
}

/* ---- a guest: one thread for each worker. A coroutine begins in that thread, and ends in whichever runs the main context's loop. */

typedef struct Operation {
    Worker *worker;
    unsigned number;
} Operation;

static void coroutine_fn operation_entry(void *opaque)
{
    Operation operation = *(Operation *)opaque;

    operate(operation.worker, operation.number);
    operation.worker->under_way = false;
    qemu_sem_post(&operation.worker->ended);
}

/* As a device does whose registers the guest writes to: the request is under way when the CPU goes on, or the device waits for it. */
static void guest_operates(Worker *worker, unsigned number)
{
    Operation operation = { worker, number };

    bql_lock();
    worker->under_way = true;
    qemu_coroutine_enter(qemu_coroutine_create(operation_entry, &operation));
    if (worker->ops[number] & 4) {
        while (worker->under_way) {
            aio_poll(qemu_get_aio_context(), true);
        }
    } else if (aio_uring_queued(qemu_get_aio_context())) {
        fuzz_reached("request-is-left-to-the-main-loop");
    }
    bql_unlock();
    qemu_sem_wait(&worker->ended);
}

/* Only the last one tells the main loop: another call would wake it for a request of which it does not know. */
static void *vcpu_thread(void *opaque)
{
    Worker *worker = opaque;

    for (unsigned i = 0; i < worker->op_count; i++) {
        guest_operates(worker, i);
    }
    bql_lock();
    if (--worker->world->vcpus_left == 0) {
        qemu_notify_event();
    }
    bql_unlock();
    return NULL;
}

static void run_guest(World *world)
{
    fuzz_check(aio_uring_setup(world->ctx) == 0);
    world->vcpus_left = world->worker_count;
    for (unsigned i = 0; i < world->worker_count; i++) {
        qemu_sem_init(&world->workers[i].ended, 0);
        qemu_thread_create(&world->workers[i].vcpu, "vcpu", vcpu_thread, &world->workers[i], QEMU_THREAD_JOINABLE);
    }
    while (world->vcpus_left) {
        main_loop_wait(false);
    }
    bql_unlock();
    for (unsigned i = 0; i < world->worker_count; i++) {
        qemu_thread_join(&world->workers[i].vcpu);
    }
    bql_lock();
    for (unsigned i = 0; i < world->worker_count; i++) {
        qemu_sem_destroy(&world->workers[i].ended);
    }
    fuzz_check(aio_uring_queued(world->ctx) == 0);
    aio_uring_cleanup(world->ctx);
}

/* ---- the scenario */

static void attach(void *opaque)
{
    World *world = opaque;

    luring_attach_aio_context(world->ring, world->ctx);
}

static void detach(void *opaque)
{
    World *world = opaque;

    fuzz_check(luring_in_queue(world->ring) == 0);
    luring_detach_aio_context(world->ring, world->ctx);
}

static void note_event(LuringEvent event)
{
    static const char *const names[] = {
        [LURING_RESUBMITTED] = "short-read-goes-back-into-the-queue",
        [LURING_RESUBMITTED_WHILE_SUBMITTING] = "submission-submits-again",
        [LURING_COMPLETED_INSIDE_SUBMIT] = "completion-inside-submit",
    };

    fuzz_reached(names[event]);
}

static void run_workers(World *world)
{
    aio_wait_bh_oneshot(world->ctx, attach, world);
    aio_bh_schedule_oneshot(world->ctx, start_workers, world);
    scenario_wait(&world->scenario);
    if (world->rests) {
        fuzz_reached("loop-has-nothing-to-do");
        g_usleep(REST_US);
    }
    aio_wait_bh_oneshot(world->ctx, detach, world);
    luring_cleanup(world->ring);
}

static void open_file(World *world, bool direct)
{
    const char *path = fuzz_file("disk");

    world->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | (direct ? O_DIRECT : 0), 0600);
    fuzz_check(world->fd >= 0);
    unlink(path);
    fuzz_check(ftruncate(world->fd, DISK_BYTES) == 0);
    scenario_disk_fill(world->fd);
}

static void read_worker(FuzzInput *in, World *world, unsigned number)
{
    Worker *worker = &world->workers[number];

    worker->world = world;
    worker->number = number;
    worker->op_count = fuzz_range(in, 1, OPS_MAX);
    for (unsigned i = 0; i < worker->op_count; i++) {
        worker->ops[i] = fuzz_byte(in);
    }
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    uint8_t shape = fuzz_byte(in);
    uint8_t before[BLOCK] __attribute__((aligned(512)));

    world.worker_count = 1 + shape % WORKERS_MAX;
    world.batched = shape & 4;
    world.faults = shape & 8;
    world.guest = shape & 128;
    for (unsigned i = 0; i < world.worker_count; i++) {
        read_worker(in, &world, i);
    }
    world.rests = fuzz_flag(in);
    scenario_begin(&world.scenario, !world.guest);
    world.ctx = scenario_context(&world.scenario, !world.guest);
    if (!world.guest) {
        aio_context_set_poll_params(world.ctx, shape & 64 ? 4 : 0);
        luring_trace_hook = note_event;
        world.ring = luring_init(shape & 32 ? 2 : LURING_MAX_ENTRIES);
        fuzz_check(world.ring != NULL);
    }
    open_file(&world, shape & 16);
    for (unsigned i = 0; i < world.worker_count; i++) {
        fuzz_check(pread(world.fd, before, BLOCK, (off_t)i * BLOCK) == BLOCK);
        world.workers[i].holds[0] = before[0];
        world.workers[i].holds[1] = before[CLUSTER];
        if (!world.guest) {
            scenario_enter(&world.scenario);
        }
    }
    fuzz_disk_faults(world.faults, false);
    if (world.guest) {
        run_guest(&world);
    } else {
        run_workers(&world);
    }
    close(world.fd);
    scenario_end(&world.scenario);
}

static const char *const windows[] = {
    "short-read-goes-back-into-the-queue",
    "submission-submits-again",
    "completion-inside-submit",
    "request-is-left-to-the-main-loop",
    "read-across-the-end-of-the-file",
    "loop-has-nothing-to-do",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "luring", .run = run, .windows = windows };
