/*
 * Target co_sleep: coroutines that sleep, and those who wake them from other threads: bare sleepers with timers; two that wake each other;
 * the cache cleaner of an image that is moved, reopened and closed; a job that is entered, paused and cancelled in its sleep; a job and a
 * backup whose speed changes while they sleep for it.
 *
 * Invariants: each sleep ends; no wake is owed over a long jump of the clock (the driver has the oracle watch that); what ends a sleep does
 * not wait for its timer; the cleaner comes as often as it is to, and throws out what nobody used; what was written is read, also when the image
 * was reopened; in the image's file, at each moment, what a table refers to has been given out; all counters are zero at the end.
 *
 * The empty scenario is an image in an io thread that is moved to the main thread and closed: enough for QEMU's lost wakeups of the cache
 * cleaner.
 */
#include <glib.h>
#include <errno.h>
#include <string.h>

#include "core/backup.h"
#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/block_job.h"
#include "core/block_qcow2.h"
#include "core/block_qcow2_int.h"
#include "core/co_sleep.h"
#include "core/graph_lock.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario_sleepers.h"

#define IMAGE_BYTES 4096
#define DISK_BYTES  1024
#define SECTOR      512
#define SPEED_BYTES 10000u /* at the lowest speed they take LONG_NS and more */
#define LONG_NS     (600 * NANOSECONDS_PER_SECOND)
#define REOPENED_S  100u                          /* the interval of a cleaner after the image was reopened */
#define PROMPT_NS   (50 * NANOSECONDS_PER_SECOND) /* shorter than each sleep of a cleaner */

#ifdef WAKEFUZZ_SIMULATED
#define DOZE_NS LONG_NS
enum { TIME_IS_FREE = true };
#else
#define DOZE_NS SCALE_MS /* the clock is a real one */
enum { TIME_IS_FREE = false };
#endif

typedef struct World World;

typedef struct SleepJob {
    BlockJob common;
    unsigned steps;
    int64_t ns;
} SleepJob;

struct World {
    Scenario scenario;
    BlockDriverState *file, *image, *source, *target;
    BlockBackend *blk, *file_blk; /* file_blk: for who looks into the image's file */
    BlockJob *job;
    unsigned pauses; /* of the job, by us */
    unsigned speeds; /* how often it was changed */
    ScenarioSleepers sleepers;
    ScenarioRelay relay;
    unsigned home; /* the image's context */
    unsigned interval_s; /* of its cleaner */
    int written; /* raw: a request has written */
};

static const int64_t job_lengths_ns[] = { SCALE_MS, LONG_NS, 0, NANOSECONDS_PER_SECOND }; /* the first may pass at any time */

/* ---- jobs */

static int coroutine_fn sleep_job_run(Job *job)
{
    SleepJob *s = (SleepJob *)job;

    for (unsigned i = 0; i < s->steps && !job_is_cancelled(job); i++) {
        job_sleep_ns(job, s->ns);
    }
    return 0;
}

static const BlockJobDriver sleep_job = {
    .job_driver = { .instance_size = sizeof(SleepJob), .job_type = "sleep", .run = sleep_job_run, .free = block_job_free },
};

/* Its sleeps are those of a speed, and no driver's but its own. */
static int coroutine_fn speed_job_run(Job *job)
{
    SleepJob *s = (SleepJob *)job;

    for (unsigned i = 0; i < s->steps && !job_is_cancelled(job); i++) {
        block_job_ratelimit_processed_bytes(&s->common, SPEED_BYTES);
        block_job_ratelimit_sleep(&s->common);
    }
    return 0;
}

static const BlockJobDriver speed_job = {
    .job_driver = { .instance_size = sizeof(SleepJob), .job_type = "speed", .run = speed_job_run, .free = block_job_free },
};

static void job_done(void *opaque, int ret)
{
    World *world = opaque;

    fuzz_check(ret == 0 || ret == -ECANCELED);
    world->job = NULL;
}

static void set_speed_to(World *world, int64_t speed)
{
    if (world->job) {
        JOB_LOCK_GUARD();
        block_job_set_speed_locked(world->job, speed);
    }
}

static void set_speed(World *world)
{
    static const int64_t speeds[] = { 0, 1, 100000 };

    if (world->job) {
        set_speed_to(world, speeds[world->speeds++ % G_N_ELEMENTS(speeds)]);
    }
}

/* What it sleeps for after this is nothing. */
static void lift_speed(World *world)
{
    set_speed_to(world, 0);
}

static void settle_bh(void *opaque)
{
    (void)opaque;
}

/* Then it sleeps, most likely: what comes to it there is what this target is about. */
static void start_and_settle(World *world)
{
    job_start(&world->job->job);
    aio_wait_bh_oneshot(scenario_context(&world->scenario, 1), settle_bh, NULL);
}

static void start_job(FuzzInput *in, World *world)
{
    AioContext *ctx = scenario_context(&world->scenario, 1);
    SleepJob *s;

    world->source = bdrv_new_ram("source", ctx, DISK_BYTES);
    s = block_job_create("job", &sleep_job, world->source, 0, JOB_DEFAULT, job_done, world);
    fuzz_check(s != NULL);
    s->steps = 1 + fuzz_choice(in, 4);
    s->ns = job_lengths_ns[fuzz_choice(in, G_N_ELEMENTS(job_lengths_ns))];
    world->job = &s->common;
    start_and_settle(world);
}

/* It was to be faster than all that comes later, and before it begins it is to be slow. */
static void start_speed_job(FuzzInput *in, World *world)
{
    AioContext *ctx = scenario_context(&world->scenario, 1);
    SleepJob *s;

    world->source = bdrv_new_ram("source", ctx, DISK_BYTES);
    s = block_job_create("job", &speed_job, world->source, 1 << 20, JOB_DEFAULT, job_done, world);
    fuzz_check(s != NULL);
    s->steps = 1 + fuzz_choice(in, 4);
    world->job = &s->common;
    set_speed_to(world, 1);
    start_and_settle(world);
}

static void start_backup(FuzzInput *in, World *world)
{
    AioContext *ctx = scenario_context(&world->scenario, 1);
    BackupOptions options = { .cluster_size = SECTOR, .speed = 1 + fuzz_byte(in), .max_workers = 2 };
    RamCompletion completion = (RamCompletion)fuzz_choice(in, 3);

    world->source = bdrv_new_ram("source", ctx, DISK_BYTES);
    world->target = bdrv_new_ram("target", ctx, DISK_BYTES);
    bdrv_ram_set_completion(world->source, completion, 1000);
    bdrv_ram_set_completion(world->target, completion, 1000);
    world->job = backup_job_create("backup", world->source, world->target, DISK_BYTES, &options, JOB_DEFAULT, job_done, world);
    fuzz_check(world->job != NULL);
    start_and_settle(world);
    set_speed(world);
}

static void enter_job(World *world)
{
    if (world->job) {
        if (timer_pending(&world->job->job.sleep_timer)) {
            fuzz_reached("job-entered-in-its-sleep");
        }
        job_enter(&world->job->job);
    }
}

static void pause_job(World *world)
{
    if (world->job && !world->pauses) {
        world->pauses++;
        job_pause(&world->job->job);
    }
}

static void resume_job(World *world)
{
    if (world->job && world->pauses) {
        world->pauses--;
        job_resume(&world->job->job);
    }
}

static void cancel_job(World *world)
{
    if (world->job) {
        fuzz_reached(timer_pending(&world->job->job.sleep_timer) ? "job-cancelled-in-its-sleep" : "job-cancelled-awake");
        resume_job(world);
        job_cancel_sync(&world->job->job, true);
    }
}

/* It sleeps as often as it wants to, and comes to its end by its own timers. */
static void await_job(World *world)
{
    while (world->job && !world->pauses) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

/* By its own timers alone, which may be minutes. */
static void see_job_end(World *world)
{
    if (TIME_IS_FREE) {
        await_job(world);
    }
}

/* Also while a paused job starts its next copy. */
static void lift_speed_and_see(World *world)
{
    resume_job(world);
    lift_speed(world);
    await_job(world);
}

/* A job that sleeps for its speed, or is about to. */
static void speed_up_and_see(World *world)
{
    bool first = false, sleeps = false;

    if (world->job) {
        JOB_LOCK_GUARD();
        first = !world->speeds++;
        sleeps = !world->job->job.busy && timer_pending(&world->job->job.sleep_timer);
        block_job_set_speed_locked(world->job, 10 * SPEED_BYTES);
    }
    if (first && sleeps) {
        fuzz_reached("speed-lifted-in-the-job's-own-sleep");
    }
    if (first) {
        await_job(world);
    }
}

static void pause_and_see(World *world)
{
    pause_job(world);
    AIO_WAIT_WHILE_UNLOCKED(NULL, world->job && !job_is_paused(&world->job->job));
}

/* Unlike job_cancel_sync(), which enters the job again and again, this does it once. */
static void cancel_and_see(World *world)
{
    resume_job(world);
    if (world->job) {
        WITH_JOB_LOCK_GUARD() {
            job_cancel_locked(&world->job->job, true);
        }
        await_job(world);
    }
}

/* All readers have to leave, also a copy that sleeps for its speed: the drained section makes the job pause, and that cancels it. */
static void write_graph(World *world)
{
    (void)world;
    bdrv_graph_wrlock();
    bdrv_graph_wrunlock();
}

/* ---- the image */

static void note_cleaning(World *world, unsigned before)
{
    if (bdrv_qcow2_cleanings(world->image) != before) {
        fuzz_reached("cleaner-runs-while-it-is-cancelled");
    }
}

static void move_image(World *world)
{
    unsigned cleanings = bdrv_qcow2_cleanings(world->image);

    world->home = (world->home + 1) % (world->scenario.thread_count + 1);
    bdrv_try_change_aio_context(world->image, scenario_context(&world->scenario, world->home));
    note_cleaning(world, cleanings);
}

static void reopen_image(World *world)
{
    static const Qcow2Options options = { .cache_clean_interval_s = REOPENED_S };
    unsigned cleanings = bdrv_qcow2_cleanings(world->image);

    fuzz_check(bdrv_qcow2_reopen(world->image, &options) == 0);
    world->interval_s = REOPENED_S;
    note_cleaning(world, cleanings);
}

static void open_image_in_file(World *world)
{
    static const Qcow2Options options = { .cache_clean_interval_s = DEFAULT_CACHE_CLEAN_INTERVAL };

    world->image = bdrv_new_qcow2("image", scenario_context(&world->scenario, world->home), world->file, IMAGE_BYTES, &options);
    fuzz_check(world->image != NULL);
    world->interval_s = DEFAULT_CACHE_CLEAN_INTERVAL;
}

/* Another one, the file of which cannot be read. */
static void fail_to_open_image(World *world)
{
    static const Qcow2Options options = { .cache_clean_interval_s = DEFAULT_CACHE_CLEAN_INTERVAL };
    AioContext *ctx = scenario_context(&world->scenario, world->home);
    BlockDriverState *file = bdrv_new_ram("broken", ctx, QCOW2_FILE_BYTES_MAX);

    bdrv_ram_fail_next(file, EIO);
    fuzz_check(!bdrv_new_qcow2("no image", ctx, file, IMAGE_BYTES, &options));
    fuzz_check(errno == EIO);
    bdrv_unref(file);
}

/* Close it, which frees it, and open it again: some more cleaners that end. Not while a request may be under way. */
static void close_and_open_image(World *world)
{
    for (unsigned i = 0; i < 2 && !world->blk; i++) {
        bdrv_unref(world->image);
        open_image_in_file(world);
    }
}

static void coroutine_fn request_entry(void *opaque)
{
    World *world = opaque;
    uint8_t out[SECTOR], in[SECTOR];

    memset(out, 0x5a, sizeof(out));
    fuzz_check(blk_co_pwrite(world->blk, SECTOR, SECTOR, out, 0) == 0);
    fuzz_check(blk_co_pread(world->blk, SECTOR, SECTOR, in, 0) == 0);
    fuzz_check(memcmp(in, out, SECTOR) == 0);
    scenario_set(&world->written, 1);
}

static void coroutine_fn read_entry(void *opaque)
{
    World *world = opaque;
    int written = scenario_get(&world->written);
    uint8_t in[SECTOR];

    fuzz_check(blk_co_pread(world->blk, SECTOR, SECTOR, in, 0) == 0);
    fuzz_check(!written || in[0] == 0x5a);
    fuzz_check(memcmp(in, in + 1, SECTOR - 1) == 0);
}

/* It may fail, and then has not done anything by halves. */
static void coroutine_fn try_entry(void *opaque)
{
    World *world = opaque;
    uint8_t out[SECTOR];
    int ret;

    memset(out, 0x5a, sizeof(out));
    ret = blk_co_pwrite(world->blk, SECTOR, SECTOR, out, 0);
    fuzz_check(ret == 0 || ret == -EIO);
}

static void start_request(World *world, void (*entry)(void *opaque))
{
    if (!world->blk) {
        world->blk = blk_new(bdrv_get_aio_context(world->image));
        blk_insert_bs(world->blk, world->image);
    }
    scenario_start(&world->scenario, world->home, entry, world);
}

static void send_request(World *world)
{
    start_request(world, request_entry);
}

static void send_read(World *world)
{
    start_request(world, read_entry);
}

static void close_backend(World *world)
{
    if (world->blk) {
        fuzz_check(blk_in_flight(world->blk) == 0);
        blk_unref(world->blk);
        world->blk = NULL;
    }
}

/* One request to the file fails, at some moment of the first write or the second. The third is in the file when the image was closed. */
static void write_while_the_file_fails(World *world)
{
    if (world->home == 0 || world->file_blk) { /* who looks into the file would meet the failure */
        return;
    }
    scenario_wait(&world->scenario);
    start_request(world, try_entry);
    bdrv_ram_fail_next(world->file, EIO);
    scenario_wait(&world->scenario);
    start_request(world, try_entry);
    scenario_wait(&world->scenario);
    send_request(world);
    scenario_wait(&world->scenario);
    close_backend(world);
    close_and_open_image(world);
    send_read(world);
}

static void coroutine_fn read_file(World *world, uint64_t offset, void *sector)
{
    fuzz_check(blk_co_pread(world->file_blk, (int64_t)offset, SECTOR, sector, 0) == 0);
}

/*
 * What somebody finds who opens the file after a loss of power at this moment: invariant 3 of block_qcow2.h. The counts are read last, as they
 * only grow.
 */
static void coroutine_fn look_entry(void *opaque)
{
    World *world = opaque;
    uint64_t l1[QCOW2_L2_ENTRIES], l2[QCOW2_L2_ENTRIES] = { 0 };
    uint16_t refcounts[QCOW2_REFCOUNTS_MAX];

    read_file(world, QCOW2_L1_OFFSET, l1); /* IMAGE_BYTES need one table */
    if (l1[0]) {
        read_file(world, l1[0], l2);
    }
    read_file(world, QCOW2_REFCOUNTS, refcounts);
    fuzz_check(!l1[0] || refcounts[l1[0] / QCOW2_CLUSTER]);
    for (unsigned i = 0; i < QCOW2_L2_ENTRIES; i++) {
        fuzz_check(!l2[i] || refcounts[l2[i] / QCOW2_CLUSTER]);
        if (l2[i]) {
            fuzz_reached("table-of-the-image-is-in-its-file");
        }
    }
}

static void look_into_file(World *world)
{
    if (!world->file_blk) {
        world->file_blk = blk_new(bdrv_get_aio_context(world->file));
        blk_insert_bs(world->file_blk, world->file);
    }
    scenario_start(&world->scenario, 1 + world->home % world->scenario.thread_count, look_entry, world);
}

/* ---- the main thread */

static void wake_one(World *world)
{
    scenario_sleepers_wake_one(&world->sleepers);
}

static void serve(World *world)
{
    (void)world;
    main_loop_wait(true);
}

static void stop_dozing(void *opaque)
{
    *(bool *)opaque = true;
}

/* As long as the cleaner sleeps: what the main thread does next meets it awake. */
static void doze(World *world)
{
    QEMUTimer timer;
    bool rested = false;

    (void)world;
    aio_timer_init(qemu_get_aio_context(), &timer, QEMU_CLOCK_REALTIME, SCALE_NS, stop_dozing, &rested);
    timer_mod(&timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + DOZE_NS);
    while (!rested) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

/* Each sleep of the cleaner ends before the clock jumps on; the last one may end together with the doze. */
static void doze_and_count(World *world)
{
    unsigned before = bdrv_qcow2_cleanings(world->image);
    unsigned intervals = (unsigned)(DOZE_NS / NANOSECONDS_PER_SECOND) / world->interval_s;

    doze(world);
    fuzz_check(bdrv_qcow2_cleanings(world->image) - before + 1 >= intervals);
}

/* What was not used while the cleaner came twice is not in the cache any more: two reads of the file instead of one. */
static void read_when_it_is_cleaned(World *world)
{
    uint64_t begin_ns;

    if (!TIME_IS_FREE || world->home == 0) { /* who looks into the file there needs the main thread */
        return;
    }
    send_request(world);
    scenario_wait(&world->scenario);
    reopen_image(world);
    send_read(world);
    scenario_wait(&world->scenario);
    doze_and_count(world);
    bdrv_ram_set_completion(world->file, RAM_COMPLETE_TIMER, SCALE_MS);
    begin_ns = fuzz_time_ns();
    send_read(world);
    scenario_wait(&world->scenario);
    fuzz_check(fuzz_time_ns() - begin_ns >= 2 * SCALE_MS);
}

static void start_sleepers(FuzzInput *in, World *world)
{
    scenario_sleepers_start(&world->sleepers, &world->scenario, in);
}

static void start_relay(FuzzInput *in, World *world)
{
    (void)in;
    scenario_relay_start(&world->relay, &world->scenario);
}

static void open_image(FuzzInput *in, World *world)
{
    world->file = bdrv_new_ram("file", scenario_context(&world->scenario, world->home), QCOW2_FILE_BYTES_MAX);
    bdrv_ram_set_completion(world->file, (RamCompletion)fuzz_choice(in, 3), 1000);
    open_image_in_file(world);
}

static void close_all(World *world)
{
    close_backend(world);
    blk_unref(world->file_blk);
    bdrv_unref(world->image);
    bdrv_unref(world->file);
    bdrv_unref(world->source);
    bdrv_unref(world->target);
}

/* ---- without delay */

/* It ends sleeps, and waits until they have ended. A long time only passes when nobody can run: then it was the sleep's timer. */
static void promptly(void (*operation)(World *), World *world)
{
    uint64_t begin_ns = fuzz_time_ns();

    operation(world);
    fuzz_check(fuzz_time_ns() - begin_ns < PROMPT_NS);
}

static void move_image_promptly(World *world)
{
    promptly(move_image, world);
}

static void reopen_image_promptly(World *world)
{
    promptly(reopen_image, world);
}

static void write_graph_promptly(World *world)
{
    promptly(write_graph, world);
}

static void cancel_job_promptly(World *world)
{
    promptly(cancel_job, world);
}

static void speed_up_promptly(World *world)
{
    promptly(speed_up_and_see, world);
}

static void lift_speed_promptly(World *world)
{
    promptly(lift_speed_and_see, world);
}

/* The next copy starts as the job is resumed, and is to sleep at once: at that moment the speed changes. */
static void lift_speed_at_start_promptly(World *world)
{
    pause_and_see(world);
    set_speed_to(world, 1);
    lift_speed_promptly(world);
}

static void pause_job_promptly(World *world)
{
    promptly(pause_and_see, world);
}

static void cancel_once_promptly(World *world)
{
    promptly(cancel_and_see, world);
}

/* ---- the scenario */

static void start_all(FuzzInput *in, World *world)
{
    open_image(in, world);
    start_backup(in, world);
    start_sleepers(in, world);
}

typedef void Start(FuzzInput *in, World *world);
typedef void Operation(World *world);

typedef struct Kind {
    Start *start;
    Operation *operations[13];
    unsigned count;
} Kind;

static const Kind kinds[] = {
    { open_image,
      { move_image_promptly, reopen_image_promptly, doze, send_request, write_graph_promptly, serve, close_and_open_image,
        fail_to_open_image, send_read, look_into_file, doze_and_count, read_when_it_is_cleaned, write_while_the_file_fails },
      13 },
    { start_sleepers, { wake_one, serve }, 2 },
    { start_job,
      { enter_job, pause_job, resume_job, cancel_job_promptly, write_graph_promptly, serve, see_job_end, pause_job_promptly,
        cancel_once_promptly },
      9 },
    { start_backup,
      { set_speed, pause_job, resume_job, enter_job, cancel_job_promptly, write_graph_promptly, serve, see_job_end,
        lift_speed_promptly, lift_speed_at_start_promptly },
      10 },
    { start_relay, { serve }, 1 },
    { start_all,
      { move_image_promptly, reopen_image_promptly, doze, send_request, write_graph_promptly, wake_one, set_speed, pause_job,
        resume_job, enter_job, cancel_job_promptly, serve },
      12 },
    { start_speed_job, { speed_up_promptly, pause_job, resume_job, enter_job, cancel_job_promptly, serve, see_job_end }, 7 },
};

static void run(FuzzInput *in)
{
    World world = { .home = 1 };
    const Kind *kind = &kinds[fuzz_choice(in, G_N_ELEMENTS(kinds))];
    unsigned threads = 1 + fuzz_choice(in, 3);
    unsigned operation_count = 1 + fuzz_choice(in, 4);

    scenario_begin(&world.scenario, threads);
    kind->start(in, &world);
    for (unsigned i = 0; i < operation_count; i++) {
        kind->operations[fuzz_choice(in, kind->count)](&world);
    }
    cancel_job_promptly(&world);
    if ((world.blk || world.file_blk) && world.home == 0) {
        move_image(&world); /* a request may still come, and the main thread does not poll while it waits for the threads */
    }
    scenario_sleepers_stop(&world.sleepers);
    scenario_wait(&world.scenario);
    promptly(close_all, &world);
    while (bdrv_node_count()) {
        aio_poll(qemu_get_aio_context(), true);
    }
    scenario_end(&world.scenario);
}

static const char *const windows[] = {
    "wake-before-sleep",
    "wake-on-the-way-in",
    "wake-of-a-sleeper",
    "wake-on-the-way-out",
    "wake-together-with-the-timer",
    "work-is-done-in-time",
    "units-in-a-slice",
    "less-than-a-unit-in-a-slice",
    "cleaner-runs-while-it-is-cancelled",
    "job-entered-in-its-sleep",
    "job-cancelled-in-its-sleep",
    "job-cancelled-awake",
    "speed-lifted-in-the-job's-own-sleep",
    "table-of-the-image-is-in-its-file",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "co_sleep", .run = run, .windows = windows };
