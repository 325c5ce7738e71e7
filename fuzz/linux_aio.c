/*
 * Target linux_aio: a guest's device and a copy, by a conversion or a backup job, share a disk on Linux AIO: cached, O_DIRECT, or in two
 * files of which each may be either. The main thread drains and masks interrupts meanwhile, and a client without coroutines polls in
 * its completion callback.
 *
 * Invariants: each request is completed exactly once; what the guest reads is what it wrote; the copy holds for each cluster what was
 * there at the start or what the guest wrote; at the end nothing is queued, in flight, or nested.
 *
 * The empty scenario is a conversion of one cached file to another: after the flush at its start, which is asynchronous, all its requests
 * complete inside of io_submit. That is enough for QEMU's 6864bec553.
 */
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/backup.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/block_extents.h"
#include "core/block_file.h"
#include "core/convert.h"
#include "core/defer_call.h"
#include "core/linux_aio.h"
#include "core/virtio_blk.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define CLUSTERS    20u
#define CLUSTER     512
#define DISK_BYTES  ((int64_t)CLUSTERS * CLUSTER)
#define BATCHES_MAX 4u
#define BATCH_MAX   4u
#define SMALL_QUEUE 2u
#define POLL_ROUNDS 4u

/* More than submission goes deep: each round is submitted in a callback of the one before, which came inside of its submission. */
#define POLLER_ROUNDS_MAX 12u
#define GUEST_PATTERN     1u
#define START_PATTERN     128u
#define RECURSION_MAX     32u /* the fixed core goes 8 levels deep, and the copy takes 40 requests in a row */

typedef enum Disk { CACHED, DIRECT, TWO_FILES, MEMORY, DISKS } Disk;

typedef struct Guest {
    struct World *world;
    QemuThread thread;
    unsigned batches, batch;
    VirtIOBlockReq reqs[BATCH_MAX];
    uint8_t data[BATCH_MAX][CLUSTER];
    bool written[CLUSTERS]; /* by a request that did not fail, and by none that failed after it */
} Guest;

/* A client that submits two reads at once, and whose first callback waits for the second. That may submit the next two, and so on: from
 * then on each callback looks once at what has happened, without waiting. */
typedef struct Poller {
    struct World *world;
    unsigned rounds;
    QEMUIOVector qiov[2];
    uint8_t data[2][CLUSTER] __attribute__((aligned(512)));
    int fd;
    unsigned submitted, done;
} Poller;

typedef struct World {
    Scenario scenario;
    AioContext *ctx;
    BlockDriverState *disk, *files[2], *copy;
    BlockBackend *blk, *source, *target;
    VirtIOBlock *device;
    Convert convert;
    BlockJob *job; /* NULL: none, or ended; main thread */
    int copy_ret; /* when it has ended */
    Guest guest;
    Poller poller;
    bool faults;
} World;

/* ---- the guest: a thread that rings the device and sleeps until it is interrupted */

/* Writes in the even batches, reads of the same clusters in the odd ones; a flush ends each. */
static void guest_fill(Guest *guest, unsigned batch)
{
    for (unsigned i = 0; i < guest->batch; i++) {
        unsigned cluster = (batch / 2 * guest->batch + i) % CLUSTERS;
        VirtIOBlockReq *req = &guest->reqs[i];

        *req = (VirtIOBlockReq){
            .type = i > 0 && i == guest->batch - 1 ? VIRTIO_BLK_FLUSH
                    : batch % 2                    ? VIRTIO_BLK_READ
                                                   : VIRTIO_BLK_WRITE,
            .offset = (int64_t)cluster * CLUSTER,
            .bytes = CLUSTER,
            .buf = guest->data[i],
            .ret = -EINPROGRESS,
        };
        memset(guest->data[i], req->type == VIRTIO_BLK_WRITE ? GUEST_PATTERN + cluster : 0, CLUSTER);
    }
}

static void guest_check(Guest *guest, VirtIOBlockReq *req)
{
    unsigned cluster = (unsigned)(req->offset / CLUSTER);
    const uint8_t *data = req->buf;

    fuzz_check(req->ret == 0 || (req->ret < 0 && req->ret != -EINPROGRESS && guest->world->faults));
    if (req->type == VIRTIO_BLK_WRITE) {
        guest->written[cluster] = req->ret == 0;
    } else if (req->type == VIRTIO_BLK_READ && req->ret == 0 && guest->written[cluster]) {
        fuzz_check(data[0] == GUEST_PATTERN + cluster && memcmp(data, data + 1, CLUSTER - 1) == 0);
    }
}

static void guest_sleep(EventNotifier *interrupt)
{
    struct pollfd request = { .fd = event_notifier_get_fd(interrupt), .events = POLLIN };

    while (poll(&request, 1, -1) <= 0) {
        /* interrupted by a signal */
    }
    event_notifier_test_and_clear(interrupt);
}

static void guest_wait(Guest *guest)
{
    VirtIOBlock *device = guest->world->device;
    bool done[BATCH_MAX] = { false };
    VirtIOBlockReq *req;

    for (unsigned left = guest->batch; left;) {
        while ((req = virtio_blk_reap(device))) {
            fuzz_check(!done[req - guest->reqs]);
            done[req - guest->reqs] = true;
            left--;
        }
        if (left) {
            guest_sleep(virtio_blk_guest_notifier(device));
        }
    }
}

static void *guest_thread(void *opaque)
{
    Guest *guest = opaque;

    for (unsigned batch = 0; batch < guest->batches; batch++) {
        VirtIOBlockReq *list[BATCH_MAX];

        guest_fill(guest, batch);
        for (unsigned i = 0; i < guest->batch; i++) {
            list[i] = &guest->reqs[i];
        }
        virtio_blk_submit(guest->world->device, list, guest->batch);
        guest_wait(guest);
        for (unsigned i = 0; i < guest->batch; i++) {
            guest_check(guest, &guest->reqs[i]);
        }
    }
    return NULL;
}

/* ---- the client that polls */

static void poller_submit(void *opaque);

static void poller_done(void *opaque, int ret)
{
    Poller *poller = opaque;
    unsigned number = ++poller->done; /* a loop in here may complete the next ones */

    fuzz_check(ret == 0 || poller->world->faults);
    fuzz_check(number <= poller->submitted);
    if (number > 2) {
        aio_poll(poller->world->ctx, false);
    }
    if (number == 2 * poller->rounds) {
        scenario_leave(&poller->world->scenario);
    } else if (number % 2 == 0) {
        poller_submit(poller);
    }
    while (poller->done < MIN(poller->submitted, 2)) {
        aio_poll(poller->world->ctx, true);
    }
}

static void poller_submit(void *opaque)
{
    Poller *poller = opaque;
    LinuxAioState *s = aio_setup_linux_aio(poller->world->ctx);

    defer_call_begin();
    for (unsigned i = 0; i < 2; i++) {
        qemu_iovec_init_buf(&poller->qiov[i], poller->data[i], CLUSTER);
        poller->submitted++;
        laio_submit(s, poller->fd, (uint64_t)i * CLUSTER, &poller->qiov[i], QEMU_AIO_READ, poller_done, poller);
    }
    defer_call_end();
}

/* ---- what the main thread does meanwhile */

static void serve(World *world)
{
    (void)world;
    main_loop_wait(true);
}

static void drain(World *world)
{
    blk_drain(world->blk);
}

static void drain_all(World *world)
{
    bdrv_drain_all_begin();
    fuzz_check(__atomic_load_n(&world->disk->in_flight, __ATOMIC_SEQ_CST) ==
               0); /* the backend may count one on its way into its queue */
    bdrv_drain_all_end();
}

static void mask(World *world)
{
    if (world->device) {
        virtio_blk_mask_irq(world->device, true);
    }
}

static void unmask(World *world)
{
    if (world->device) {
        virtio_blk_mask_irq(world->device, false);
    }
}

static void (*const operations[])(World *) = { serve, drain, drain_all, mask, unmask };

/* ---- the scenario */

static BlockDriverState *new_file(World *world, const char *name, int64_t bytes, bool direct)
{
    const char *path = fuzz_file(name);
    BlockDriverState *bs = bdrv_new_file(name, world->ctx, path, bytes, direct ? BDRV_O_NOCACHE : 0);

    fuzz_check(bs != NULL);
    unlink(path);
    return bs;
}

static void fill_file(BlockDriverState *bs)
{
    static uint8_t data[CLUSTERS][CLUSTER] __attribute__((aligned(4096)));

    for (unsigned i = 0; i < CLUSTERS; i++) {
        memset(data[i], (int)(START_PATTERN + i), CLUSTER);
    }
    fuzz_check(pwrite(bdrv_file_fd(bs), data, sizeof(data), 0) == sizeof(data));
}

static void make_disk(World *world, Disk kind, unsigned flags)
{
    int64_t bytes = bdrv_extent_bytes(DISK_BYTES, 2);

    switch (kind) {
    case MEMORY:
        world->disk = bdrv_new_ram("disk", world->ctx, DISK_BYTES);
        bdrv_ram_set_completion(world->disk, RAM_COMPLETE_BH, 0);
        break;
    case TWO_FILES:
        world->files[0] = new_file(world, "extent0", bytes, flags & 1);
        world->files[1] = new_file(world, "extent1", bytes, flags & 2);
        world->disk = bdrv_new_extents("disk", world->ctx, DISK_BYTES, world->files, 2);
        break;
    default:
        world->disk = new_file(world, "disk", DISK_BYTES, kind == DIRECT);
        fill_file(world->disk);
        break;
    }
    world->blk = blk_new(world->ctx);
    blk_insert_bs(world->blk, world->disk);
}

static void copy_ended(void *opaque, int ret)
{
    World *world = opaque;

    fuzz_check(ret == 0 || world->faults);
    world->copy_ret = ret;
    scenario_leave(&world->scenario);
}

static void job_ended(void *opaque, int ret)
{
    World *world = opaque;

    fuzz_check(ret == 0 || world->faults);
    world->copy_ret = ret;
    world->job = NULL;
}

/* A backup job: block-copy, of which each cluster is a task of its own. */
static void start_job(World *world, unsigned clusters, unsigned workers)
{
    BackupOptions options = { .cluster_size = (int64_t)clusters * CLUSTER, .max_workers = workers };

    world->job = backup_job_create("backup", world->disk, world->copy, DISK_BYTES, &options, JOB_DEFAULT, job_ended, world);
    fuzz_check(world->job != NULL);
    job_start(&world->job->job);
}

static void start_conversion(World *world, unsigned clusters, unsigned workers)
{
    world->source = blk_new(world->ctx);
    blk_insert_bs(world->source, world->disk);
    world->target = blk_new(world->ctx);
    blk_insert_bs(world->target, world->copy);
    world->convert = (Convert){
        .source = world->source,
        .target = world->target,
        .bytes = DISK_BYTES,
        .cluster_bytes = (int64_t)clusters * CLUSTER,
        .max_workers = workers,
        .cb = copy_ended,
        .opaque = world,
    };
    scenario_enter(&world->scenario);
    convert_start(&world->convert, world->ctx);
}

static void start_guest(World *world, unsigned batches, unsigned batch, bool polls)
{
    world->device = virtio_blk_new(world->blk, polls);
    fuzz_check(world->device != NULL);
    world->guest = (Guest){ .world = world, .batches = batches, .batch = batch };
    qemu_thread_create(&world->guest.thread, "guest", guest_thread, &world->guest, QEMU_THREAD_JOINABLE);
}

static void start_poller(World *world, unsigned rounds)
{
    world->poller.world = world;
    world->poller.rounds = rounds;
    world->poller.fd = bdrv_file_fd(world->files[0] ? world->files[0] : world->disk);
    scenario_enter(&world->scenario);
    aio_bh_schedule_oneshot(world->ctx, poller_submit, &world->poller);
}

/* ---- the end */

static void check_copy(World *world, bool start_known)
{
    static uint8_t data[CLUSTERS][CLUSTER] __attribute__((aligned(4096)));

    if (world->copy_ret < 0) {
        return;
    }
    fuzz_check(pread(bdrv_file_fd(world->copy), data, sizeof(data), 0) == sizeof(data));
    for (unsigned i = 0; i < CLUSTERS; i++) {
        unsigned start = start_known ? START_PATTERN + i : 0;

        fuzz_check(memcmp(data[i], data[i] + 1, CLUSTER - 1) == 0);
        fuzz_check(data[i][0] == start || (data[i][0] == GUEST_PATTERN + i && world->guest.batches));
    }
}

/* What the polling client has read: of the disk itself, as it was at the start or as the guest wrote it. */
static void check_poller(World *world)
{
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *data = world->poller.data[i];

        fuzz_check(memcmp(data, data + 1, CLUSTER - 1) == 0);
        fuzz_check(data[0] == START_PATTERN + i || (data[0] == GUEST_PATTERN + i && world->guest.batches));
    }
}

static void check_rest(void *opaque)
{
    World *world = opaque;
    LinuxAioInfo info = laio_info(aio_setup_linux_aio(world->ctx));

    fuzz_check(info.in_queue == 0 && info.in_flight == 0 && info.submit_depth == 0 && !info.blocked);
    fuzz_check(defer_call_nesting() == 0);
}

static void end(World *world, Disk kind)
{
    scenario_wait(&world->scenario);
    while (world->job) {
        aio_poll(qemu_get_aio_context(), true);
    }
    if (world->device) {
        qemu_thread_join(&world->guest.thread);
        virtio_blk_free(world->device);
    }
    aio_wait_bh_oneshot(world->ctx, check_rest, world);
    fuzz_check(blk_in_flight(world->blk) == 0);
    if (world->poller.submitted && kind != TWO_FILES && !world->faults) {
        check_poller(world);
    }
    if (world->copy) {
        check_copy(world, kind == CACHED || kind == DIRECT);
        blk_unref(world->source); /* NULL where a job has copied */
        blk_unref(world->target);
        bdrv_unref(world->copy);
    }
    blk_unref(world->blk);
    bdrv_unref(world->disk);
    for (unsigned i = 0; i < 2; i++) {
        if (world->files[i]) {
            bdrv_unref(world->files[i]);
        }
    }
    fuzz_check(bdrv_node_count() == 0);
    scenario_end(&world->scenario);
}

static void count_window(LinuxAioEvent event)
{
    static const char *const names[] = {
        [LAIO_SUBMIT_NESTED] = "nesting-depth-2-or-more", [LAIO_SUBMIT_DEPTH_REACHED] = "depth-bound-reached",
        [LAIO_QUEUE_BLOCKED] = "queue-blocked",           [LAIO_COMPLETED_INSIDE_SUBMIT] = "completion-inside-submit",
        [LAIO_SUBMIT_DEFERRED] = "deferred-submit",       [LAIO_COMPLETIONS_NESTED] = "nested-poll-between-events",
        [LAIO_RESUBMITTED] = "short-transfer-continued",
    };

    fuzz_reached(names[event]);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    uint8_t shape = fuzz_byte(in), options = fuzz_byte(in);
    Disk kind = (Disk)(shape % DISKS);
    unsigned batches = fuzz_choice(in, BATCHES_MAX + 1);
    unsigned batch = 1 + fuzz_choice(in, BATCH_MAX);
    unsigned operation_count = fuzz_choice(in, 4);
    uint8_t more = fuzz_byte(in);
    bool no_copy = shape & 4, poller = options & 1, by_job = more & 1;
    unsigned cluster = kind == TWO_FILES ? 1 : 1U << (shape >> 7); /* DISK_BYTES is a multiple */

    laio_trace_hook = count_window;
    scenario_begin(&world.scenario, 1);
    world.ctx = scenario_context(&world.scenario, 1);
    if (shape & 8) {
        laio_set_max_events(SMALL_QUEUE);
    }
    fuzz_disk_faults(shape & 16, shape & 32);
    world.faults = shape & 48;
    world.ctx->aio_max_batch = options >> 1 & 3;
    aio_context_set_poll_params(world.ctx, options & 8 ? POLL_ROUNDS : 0);
    make_disk(&world, kind, shape >> 6);
    if (!no_copy) {
        world.copy = new_file(&world, "copy", DISK_BYTES, options & 64);
        (by_job ? start_job : start_conversion)(&world, cluster, 1 + (options >> 4 & 3));
    }
    if (batches) {
        start_guest(&world, batches, batch, options & 128);
    }
    if (poller && kind != MEMORY) {
        start_poller(&world, 1 + (more >> 1) % POLLER_ROUNDS_MAX);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    unmask(&world);
    end(&world, kind);
}

static const char *const windows[] = {
    "nesting-depth-2-or-more",
    "depth-bound-reached",
    "queue-blocked",
    "completion-inside-submit",
    "deferred-submit",
    "nested-poll-between-events",
    "short-transfer-continued",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "linux_aio", .run = run, .recursion_max = RECURSION_MAX, .windows = windows };
