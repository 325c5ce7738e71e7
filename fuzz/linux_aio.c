/*
 * Target linux_aio: a guest's device and a copy, by a conversion or a backup job, share a disk on Linux AIO: cached, O_DIRECT, or in two
 * files of which each may be either. The main thread drains and masks interrupts meanwhile, and a client without coroutines polls in
 * its completion callback. The guest may get its device in a drained section.
 *
 * Invariants: each request is completed exactly once, and begins in no section; what the guest reads is what it wrote; the copy holds for each
 * cluster what was there at the start or what the guest wrote; what was written to two files their tables say; a device that is started in a
 * section does nothing before its end, and one that is stopped there does what it was told before; at the end nothing is queued, in flight, or
 * nested.
 *
 * The empty scenario is a conversion of one cached file to another: after the flush at its start, which is asynchronous, all its requests
 * complete inside of io_submit. That is enough for QEMU's 6864bec553.
 */
#include <glib.h>
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
#include "fuzz/scenario_disk.h"

#define BATCHES_MAX    4u
#define SMALL_QUEUE    2u
#define POLL_ROUNDS    4u
#define SECTION_ROUNDS 4u

#define RECURSION_MAX 32u /* the fixed core goes 8 levels deep, and the copy takes 40 requests in a row */

typedef enum Disk { CACHED, DIRECT, TWO_FILES, MEMORY, DISKS } Disk;

typedef struct World {
    Scenario scenario;
    AioContext *ctx;
    BlockDriverState *disk, *files[2], *copy;
    BlockBackend *blk, *source, *target;
    VirtIOBlock *device;
    Convert convert;
    BlockJob *job; /* NULL: none, or ended; main thread */
    int copy_ret; /* when it has ended */
    ScenarioWriter guest;
    ScenarioPoller poller;
    bool faults, looks; /* looks: into the tables of two files, at the end, when the guest has written the same again */
    bool restarts;      /* the device is stopped and started in sections, when the guest has ended */
} World;

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
        scenario_writer_mask(&world->guest, true);
    }
}

static void unmask(World *world)
{
    if (world->device) {
        scenario_writer_mask(&world->guest, false);
    }
}

/* It has started. */
static void start_again(World *world)
{
    if (world->device) {
        fuzz_reached("device-is-started-twice");
        fuzz_check(virtio_blk_start(world->device) == 0);
    }
}

static void restart_later(World *world)
{
    world->restarts = true;
}

static void (*const operations[])(World *) = { serve, drain, drain_all, mask, unmask, start_again, restart_later };

/* ---- the scenario */

static BlockDriverState *new_file(World *world, const char *name, int64_t bytes, bool direct)
{
    const char *path = fuzz_file(name);
    BlockDriverState *bs = bdrv_new_file(name, world->ctx, path, bytes, direct ? BDRV_O_NOCACHE : 0);

    fuzz_check(bs != NULL);
    unlink(path);
    return bs;
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
        scenario_disk_fill(bdrv_file_fd(world->disk));
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
    scenario_writer_start(&world->guest, world->device, batches, batch, world->looks, world->faults);
}

/* Its kicks are heard when the section has ended. */
static void start_guest_in_section(World *world, unsigned batches, unsigned batch, bool polls)
{
    bdrv_drained_begin(world->disk);
    start_guest(world, batches, batch, polls);
    for (unsigned i = 0; i < SECTION_ROUNDS; i++) {
        aio_poll(qemu_get_aio_context(), false);
    }
    fuzz_check(virtio_blk_is_idle(world->device));
    fuzz_check(__atomic_load_n(&world->disk->in_flight, __ATOMIC_SEQ_CST) == 0);
    bdrv_drained_end(world->disk);
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
        scenario_disk_check_cluster(data[i], i, start_known, world->guest.batches);
    }
}

/* What a second one would find who opens the image in two files. */
static void check_tables(World *world)
{
    static uint8_t table[BLOCK_EXTENTS_GRAINS] __attribute__((aligned(4096)));

    for (unsigned file = 0; file < 2; file++) {
        fuzz_check(pread(bdrv_file_fd(world->files[file]), table, sizeof(table), 0) == sizeof(table));
        for (unsigned i = 0; i < CLUSTERS / 2; i++) {
            fuzz_check(table[i] <= 1 && table[i] >= world->guest.written[2 * i + file]);
        }
    }
}

static void check_rest(void *opaque)
{
    World *world = opaque;
    LinuxAioInfo info = laio_info(aio_setup_linux_aio(world->ctx));

    fuzz_check(info.in_queue == 0 && info.in_flight == 0 && info.submit_depth == 0 && !info.blocked);
    fuzz_check(defer_call_nesting() == 0);
}

static void check_idle(void *opaque)
{
    World *world = opaque;

    fuzz_check(virtio_blk_is_idle(world->device));
}

static void come_round(void *opaque)
{
    (void)opaque;
}

/* A section does not wait for a handler that has nothing under way, nor does a device that stops in it. */
static void begin_section(World *world)
{
    bdrv_drained_begin(world->disk);
    aio_wait_bh_oneshot(world->ctx, come_round, NULL);
}

/* As a machine that is stopped, and goes on, while a section lasts. What the device was not told of is left to its next start. */
static void restart_in_sections(World *world)
{
    bool told;

    fuzz_reached("device-is-stopped-in-a-section");
    begin_section(world);
    virtio_blk_stop(world->device);
    fuzz_check(virtio_blk_start(world->device) == 0);
    scenario_writer_flush_begin(&world->guest);
    aio_wait_bh_oneshot(world->ctx, check_idle, world); /* the loop has come round, and nobody has heard the kick */
    bdrv_drained_end(world->disk);
    scenario_writer_flush_end(&world->guest);

    begin_section(world);
    told = scenario_writer_flush_begin(&world->guest);
    virtio_blk_stop(world->device);
    bdrv_drained_end(world->disk);
    if (told) {
        scenario_writer_flush_end(&world->guest);
    }
    fuzz_check(virtio_blk_start(world->device) == 0);
    if (!told) {
        scenario_writer_flush_end(&world->guest);
    }
}

static void end(World *world, Disk kind)
{
    scenario_wait(&world->scenario);
    while (world->job) {
        aio_poll(qemu_get_aio_context(), true);
    }
    if (world->device) {
        scenario_writer_join(&world->guest);
        if (world->restarts) {
            restart_in_sections(world);
        }
        virtio_blk_free(world->device);
    }
    aio_wait_bh_oneshot(world->ctx, check_rest, world);
    fuzz_check(blk_in_flight(world->blk) == 0);
    if (world->poller.submitted && kind != TWO_FILES && !world->faults) {
        scenario_poller_check(&world->poller, world->guest.batches);
    }
    if (world->copy) {
        check_copy(world, kind == CACHED || kind == DIRECT);
        blk_unref(world->source); /* NULL where a job has copied */
        blk_unref(world->target);
        bdrv_unref(world->copy);
    }
    if (world->files[0] && world->looks) {
        check_tables(world);
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
    unsigned batch = 1 + fuzz_choice(in, WRITER_BATCH_MAX);
    unsigned operation_count = fuzz_choice(in, 4);
    uint8_t more = fuzz_byte(in);
    bool no_copy = shape & 4, poller = options & 1, by_job = more & 1;
    unsigned cluster = 1U << ((kind == TWO_FILES ? more : shape) >> 7); /* DISK_BYTES is a multiple */

    laio_trace_hook = count_window;
    scenario_begin(&world.scenario, 1);
    world.ctx = scenario_context(&world.scenario, 1);
    if (shape & 8) {
        laio_set_max_events(SMALL_QUEUE);
    }
    fuzz_disk_faults(shape & 16, shape & 32);
    world.faults = shape & 48;
    world.looks = more & 64;
    aio_context_set_aio_params(world.ctx, options >> 1 & 3);
    aio_context_set_poll_params(world.ctx, options & 8 ? POLL_ROUNDS : 0);
    make_disk(&world, kind, shape >> 6);
    if (!no_copy) {
        world.copy = new_file(&world, "copy", DISK_BYTES, options & 64);
        (by_job ? start_job : start_conversion)(&world, cluster, 1 + (options >> 4 & 3));
    }
    if (batches) {
        (more & 32 ? start_guest_in_section : start_guest)(&world, batches, batch, options & 128);
    }
    if (poller && kind != MEMORY) {
        scenario_poller_start(&world.poller, &world.scenario, world.ctx,
                              bdrv_file_fd(world.files[0] ? world.files[0] : world.disk),
                              1 + (more >> 1 & 15) % POLLER_ROUNDS_MAX, world.faults);
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
    "device-is-started-twice",
    "device-is-stopped-in-a-section",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "linux_aio", .run = run, .recursion_max = RECURSION_MAX, .windows = windows };
