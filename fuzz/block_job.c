/*
 * Target block_job: what users do to a job of a mirror's kind, and to the graph below it, while it works: pause, resume, speed, complete,
 * cancel, finalize, dismiss, in any status; drained sections, in coroutines too; nodes that move, are replaced, get and lose what is behind them;
 * requests and flushes that fail; a client that goes on reading and writing; backends without a medium; and a job of no node at all.
 *
 * Invariants: the job's callbacks come once and in their order (scenario_mirror.h); a command is refused only with an errno that job.h has for
 * it; each request is completed once, and no more of them fail than the disks were told to let happen; in a section no request is under way; a
 * device hears of as many begins as ends; at the end nothing is left.
 *
 * The empty scenario is a job that reads once from a disk in memory and ends by itself.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "core/backup.h"
#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/block_qcow2.h"
#include "core/blockdev.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario_mirror.h"
#include "fuzz/scenario_plain.h"
#include "fuzz/scenario_requests.h"

#define DISK_BYTES     SCENARIO_REQUESTS_DISK_BYTES
#define SECTOR         512
#define OPERATIONS_MAX 10u

typedef struct World {
    Scenario scenario;
    FuzzInput *in;
    BlockDriverState *base, *disk, *other, *target; /* disk: the source of the job; base: its file or backing, or NULL */
    BlockDriverState *snapshot;                     /* what the disk was before it became one of its overlay; or NULL */
    bool base_is_file;
    BlockBackend *blk, *namesake;
    Mirror mirror;
    BlockDriverState *filter; /* between an image and its file; or NULL */
    bool started;
    ScenarioRequests requests;
    int drains;   /* raw: coroutines that drain */
    int failures; /* that the disks were told to let happen */
    int waiting;  /* raw: the main thread waits for these, for requests, or for another status of the job */
    int status;   /* raw: of the job, as it was told last */
    int device_begins, device_ends;
    bool asked; /* somebody does what lets a job go that stays until it is dismissed */
} World;

/* ---- who ends tells the main thread, but only where that waits for it: another kick would hide a missing one */

static void ended(void *opaque)
{
    World *world = opaque;

    if (scenario_get(&world->waiting)) {
        aio_wait_kick();
    }
}

static void finished(World *world, int *count)
{
    scenario_add(count, -1);
    ended(world);
}

static void wait_for_all(World *world)
{
    scenario_set(&world->waiting, 1);
    AIO_WAIT_WHILE_UNLOCKED(NULL, scenario_get(&world->requests.under_way) || scenario_get(&world->drains));
    scenario_set(&world->waiting, 0);
}

static World *told_of_status; /* the hook has no argument */

/* Any thread, with job_mutex. */
static void status_changes(Job *job, JobStatus status)
{
    fuzz_check(job_status_name(status)[0]);
    if (strcmp(job->id, MIRROR_ID) == 0) {
        fuzz_check(status != JOB_STATUS_NULL || told_of_status->asked ||
                   !(told_of_status->mirror.plan.flags & JOB_MANUAL_DISMISS));
        scenario_set(&told_of_status->status, (int)status);
        if (scenario_get(&told_of_status->waiting)) {
            aio_wait_kick();
        }
    }
}

/* As a user does who waits for an event: at work it does not stay for ever. */
static void wait_while_it_works(World *world)
{
    scenario_set(&world->waiting, 1);
    AIO_WAIT_WHILE_UNLOCKED(NULL, scenario_get(&world->status) == JOB_STATUS_RUNNING);
    scenario_set(&world->waiting, 0);
}

/* ---- commands */

static Job *job_here_locked(void)
{
    return job_get_locked(MIRROR_ID);
}

static void refused(int ret, int may, int may_too)
{
    fuzz_check(ret == 0 || ret == -EPERM || ret == may || ret == may_too);
    if (ret == -EPERM) {
        fuzz_reached("command-in-the-wrong-status");
    }
}

static void user_pause(World *world)
{
    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    (void)world;
    if (job) {
        bool paused = job->user_paused;
        int ret = job_user_pause_locked(job);

        refused(ret, -EALREADY, 0);
        fuzz_check(ret == -EPERM || (ret == -EALREADY) == paused);
        fuzz_check(ret < 0 || job->user_paused);
    }
}

static void user_resume(World *world)
{
    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    if (job) {
        bool paused = job->user_paused;
        int pauses = job->pause_count;
        unsigned resumes = world->mirror.user_resumes;
        int ret = job_user_resume_locked(job);

        refused(ret, -EINVAL, 0);
        fuzz_check(ret == -EPERM || (ret == 0) == paused);
        fuzz_check(ret < 0 || (!job->user_paused && job->pause_count == pauses - 1 && world->mirror.user_resumes == resumes + 1));
    }
}

static void set_speed(World *world)
{
    static const int64_t speeds[] = { 0, SECTOR, 1 << 20, -1 };
    int64_t speed = speeds[fuzz_choice(world->in, G_N_ELEMENTS(speeds))];

    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    if (job) {
        scenario_add(&world->mirror.speeds_asked, 1);
        refused(block_job_set_speed_locked((BlockJob *)job, speed), speed < 0 ? -EINVAL : 0, 0);
    }
}

/* What it tells of itself while it works. */
static void query(World *world)
{
    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    if (job) {
        fuzz_check(job->progress_done <= (uint64_t)world->mirror.plan.rounds * SECTOR);
        fuzz_check(job->progress_remaining == 0 || job->progress_remaining == DISK_BYTES);
    }
}

static void complete(World *world)
{
    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    (void)world;
    if (job) {
        refused(job_complete_locked(job), -EBUSY, 0);
    }
}

/* A ready job may come to a good end. One that has not begun goes at once, and so does one that is through, if it is made to fail. */
static void cancel_locked(Job *job, bool force)
{
    bool may_succeed = !force && job_is_ready_locked(job) && !job->force_cancel;
    bool paused = job->user_paused, is_through = job->deferred_to_main_loop;
    int pauses = job->pause_count;
    int ret = job_user_cancel_locked(job, force);

    refused(ret, 0, 0);
    if (ret == 0 && job_here_locked() == job) {
        fuzz_check(job->co && (job->cancelled || job->deferred_to_main_loop));
        fuzz_check(!force || !is_through || job->status == JOB_STATUS_CONCLUDED);
        fuzz_check(!may_succeed || !job->force_cancel);
        fuzz_check(!paused || job->deferred_to_main_loop || (!job->user_paused && job->pause_count == pauses - 1));
    }
}

static void cancel(World *world, bool force)
{
    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    world->asked = true;
    if (job) {
        cancel_locked(job, force);
    }
    world->asked = false;
}

static void cancel_softly(World *world)
{
    cancel(world, false);
}

static void cancel_by_force(World *world)
{
    cancel(world, true);
}

/* The callbacks run inside of it. */
static int ask_to_finalize_locked(World *world, Job *job)
{
    bool before = world->mirror.may_finalize;
    int ret;

    world->mirror.may_finalize = true;
    ret = job_finalize_locked(job);
    world->mirror.may_finalize = before || ret == 0;
    return ret;
}

static void finalize(World *world)
{
    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    if (job && ask_to_finalize_locked(world, job) == 0) {
        fuzz_reached("job-is-finalized-by-hand");
    }
}

static void dismiss(World *world)
{
    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    world->asked = true;
    if (job && job_dismiss_locked(&job) == 0) {
        fuzz_check(!job);
        fuzz_reached("job-is-dismissed-by-hand");
    }
    world->asked = false;
}

/* Both wait; one that nobody has started would be waited for forever, unless it is cancelled. */
static void finish(World *world)
{
    bool completes = fuzz_flag(world->in);

    JOB_LOCK_GUARD();
    Job *job = job_here_locked();

    if (job && world->started) {
        if (completes && job_is_ready_locked(job)) {
            int ret = job_complete_sync_locked(job);

            fuzz_check(ret <= 0);
        } else if (!completes) {
            world->asked = true;
            job_cancel_sync_locked(job, false);
            world->asked = false;
        }
    }
}

static void start_job(World *world)
{
    Job *job;

    WITH_JOB_LOCK_GUARD() {
        job = world->started ? NULL : job_here_locked();
    }
    if (job && !world->mirror.cleaned) { /* else it was cancelled before */
        world->started = true;
        job_start(job);
    }
}

/* An id is for one job at a time; the first may be gone by the time that the second is made. */
static void make_again(World *world)
{
    BackupOptions options = { .cluster_size = SECTOR, .max_workers = 1 };
    Mirror second = { .plan = world->mirror.plan };
    Job *job = scenario_mirror_new(&second, world->disk, world->target, DISK_BYTES);

    if (job) {
        fuzz_check(world->mirror.cleaned);
        world->asked = true;
        scenario_mirror_early_fail(job);
        world->asked = false;
    } else {
        fuzz_check(errno == EEXIST);
        WITH_JOB_LOCK_GUARD() {
            job = job_next_locked(NULL);
            fuzz_check(!job || !job_next_locked(job));
        }
        fuzz_check(!backup_job_create(NULL, world->disk, world->target, DISK_BYTES, &options, JOB_DEFAULT, NULL, NULL));
        fuzz_check(errno == EINVAL);
    }
}

/* ---- the client */

static void submit(World *world)
{
    unsigned kind = fuzz_choice(world->in, SCENARIO_REQUEST_KINDS), home = fuzz_flag(world->in);

    scenario_requests_submit(&world->requests, kind, home);
}

static void fail_next(World *world)
{
    BlockDriverState *const disks[] = { world->base_is_file ? world->base : world->disk, world->target, world->base };
    unsigned which = fuzz_choice(world->in, G_N_ELEMENTS(disks));

    if (disks[which]) {
        world->failures++;
        bdrv_ram_fail_next(disks[which], which == 1 ? ENOSPC : EIO);
    }
}

/* ---- sections */

/* Of the node: a request that comes to the backend now counts there until it has seen that it has to wait. A drain that is on its way to the
 * main thread counts, and a copy whose time was up goes on to its end. */
static void check_idle(World *world)
{
    if (!scenario_get(&world->drains) && !world->mirror.plan.timeout_ns) {
        fuzz_check(__atomic_load_n(&world->disk->in_flight, __ATOMIC_SEQ_CST) == 0);
    }
}

static void section(World *world)
{
    bdrv_drained_begin(world->disk);
    check_idle(world);
    bdrv_drained_end(world->disk);
}

static void section_of_all(World *world)
{
    bdrv_drain_all_begin();
    check_idle(world);
    bdrv_drain_all_end();
}

static void drain(World *world)
{
    bdrv_drain(world->disk);
}

/* In a section nobody else takes the failure. */
static void flush_that_fails(World *world)
{
    bdrv_drained_begin(world->disk);
    if (!world->mirror.plan.timeout_ns) {
        bdrv_ram_fail_next(world->base_is_file ? world->base : world->disk, EIO);
        fuzz_check(bdrv_flush(world->disk) == -EIO);
    }
    bdrv_drained_end(world->disk);
}

/* Of what is behind the disk: those above it are asked, too. */
static void section_below(World *world)
{
    BlockDriverState *below = world->snapshot ? world->snapshot : world->base;

    if (below) {
        bdrv_drained_begin(below);
        check_idle(world);
        bdrv_drained_end(below);
    }
}

/* A node that is made in a section of all is in it, and leaves it when it goes. */
static void node_comes_in_a_section(World *world)
{
    BlockDriverState *node;

    bdrv_drain_all_begin();
    node = bdrv_new_ram("new", qemu_get_aio_context(), DISK_BYTES);
    check_idle(world);
    if (fuzz_flag(world->in)) {
        bdrv_unref(node);
        bdrv_drain_all_end();
    } else {
        bdrv_drain_all_end();
        bdrv_unref(node);
    }
}

/* A coroutine that drains: the disk of the moment when it was asked to, or, for NULL, all. */
typedef struct Drainer {
    World *world;
    BlockDriverState *disk;
} Drainer;

static void coroutine_fn drain_entry(void *opaque)
{
    Drainer drainer = *(Drainer *)opaque;

    g_free(opaque);
    if (drainer.disk) {
        bdrv_drained_begin(drainer.disk);
        fuzz_reached("drained-by-a-coroutine");
        bdrv_drained_end(drainer.disk);
    } else {
        bdrv_drain_all_begin();
        bdrv_drain_all_end();
    }
    finished(drainer.world, &drainer.world->drains);
}

static void section_in_coroutine(World *world)
{
    bool all = fuzz_flag(world->in);
    Drainer *drainer = g_new(Drainer, 1);

    *drainer = (Drainer){ world, all ? NULL : world->disk };
    scenario_add(&world->drains, 1);
    scenario_start(&world->scenario, fuzz_flag(world->in), drain_entry, drainer);
}

static void device_begins(void *opaque)
{
    ((World *)opaque)->device_begins++;
}

static bool device_polls(void *opaque)
{
    World *world = opaque;

    fuzz_check(world->device_begins > world->device_ends);
    return false;
}

static void device_ends(void *opaque)
{
    World *world = opaque;

    world->device_ends++;
    fuzz_check(world->device_begins >= world->device_ends);
}

/* A device that comes in the middle of a section is told that it is in one. */
static void device_comes(World *world)
{
    static const BlockDevOps ops = {
        .drained_begin = device_begins,
        .drained_poll = device_polls,
        .drained_end = device_ends,
    };

    if (!world->device_begins) {
        bdrv_drained_begin(world->disk);
        blk_set_dev_ops(world->blk, &ops, world);
        fuzz_check(world->device_begins == world->device_ends + 1);
        bdrv_drained_end(world->disk);
    }
}

/* ---- the graph */

/* Drained, a job is paused, or through. */
static bool may_move(const World *world)
{
    bool waits = world->mirror.plan.waits_in_queue || world->mirror.plan.timeout_ns; /* its coroutine may be anywhere */

    return !waits || !world->started;
}

static void move(World *world)
{
    unsigned to = fuzz_flag(world->in);

    if (may_move(world)) {
        blk_set_aio_context(world->blk, scenario_context(&world->scenario, to));
    }
}

/* A request while things are as they are now; the input says whether it is waited for. */
static void use(World *world)
{
    submit(world);
    if (fuzz_flag(world->in)) {
        wait_for_all(world);
    }
}

static void filter(World *world)
{
    BlockDriverState *filter = bdrv_new_filter("filter", bdrv_get_aio_context(world->disk), NULL);

    bdrv_append(filter, world->disk);
    fuzz_check(blk_bs(world->blk) == filter);
    use(world);
    bdrv_drop_filter(filter);
    fuzz_check(blk_bs(world->blk) == world->disk);
    bdrv_unref(filter);
}

/* Between an image and its file. */
static BlockDriverState *put_filter_below(World *world)
{
    BlockDriverState *filter = bdrv_new_filter("filter", bdrv_get_aio_context(world->base), NULL);

    bdrv_append(filter, world->base);
    fuzz_check(world->disk->file->bs == filter && filter->file->bs == world->base);
    return filter;
}

static void take_filter_out(World *world, BlockDriverState *filter)
{
    bdrv_drop_filter(filter);
    fuzz_check(world->disk->file->bs == world->base);
    bdrv_unref(filter);
}

static void filter_below(World *world)
{
    if (world->base_is_file) {
        BlockDriverState *filter = put_filter_below(world);

        use(world);
        take_filter_out(world, filter);
    }
}

static void filter_comes(void *opaque)
{
    World *world = opaque;

    world->filter = put_filter_below(world);
}

/* The main thread serves others while it waits for a flush: what is flushed gets another file. */
static void flush_while_the_filter_comes(World *world)
{
    if (world->base_is_file) {
        int ret;

        aio_bh_schedule_oneshot(qemu_get_aio_context(), filter_comes, world);
        ret = bdrv_flush(world->disk);
        fuzz_check(ret == 0 || ret == -EIO);
        scenario_add(&world->requests.failed, ret < 0);
        while (!world->filter) {
            aio_poll(qemu_get_aio_context(), true);
        }
        take_filter_out(world, world->filter);
        world->filter = NULL;
    }
}

/* From now on all is written to an overlay. */
static void take_snapshot(World *world)
{
    if (!world->snapshot && !world->base) {
        world->snapshot = world->disk;
        world->disk = bdrv_new_ram("overlay", bdrv_get_aio_context(world->snapshot), DISK_BYTES);
        bdrv_append(world->disk, world->snapshot);
        fuzz_check(blk_bs(world->blk) == world->disk);
        fuzz_check(world->disk->backing && world->disk->backing->bs == world->snapshot);
    }
}

/* The client's medium is another one for a while, or none. */
static void replace(World *world)
{
    blk_replace_bs(world->blk, world->other);
    fuzz_check(blk_bs(world->blk) == world->other);
    use(world);
    blk_replace_bs(world->blk, world->disk);
}

static void eject(World *world)
{
    AioContext *ctx = blk_get_aio_context(world->blk);

    fuzz_check(ctx == __atomic_load_n(&world->disk->aio_context, __ATOMIC_SEQ_CST));
    blk_remove_bs(world->blk);
    use(world);
    blk_set_aio_context(world->blk, ctx); /* of itself alone */
    blk_insert_bs(world->blk, world->disk);
}

/* Where it comes back to another context, the disk follows. */
static void move_without_medium(World *world)
{
    AioContext *ctx = scenario_context(&world->scenario, fuzz_flag(world->in));

    if (may_move(world)) {
        blk_remove_bs(world->blk);
        blk_set_aio_context(world->blk, ctx);
        blk_insert_bs(world->blk, world->disk);
        fuzz_check(__atomic_load_n(&world->disk->aio_context, __ATOMIC_SEQ_CST) == ctx);
    }
}

/* Who is counted by a backend that never had a medium. */
typedef struct Passer {
    World *world;
    BlockBackend *blk;
    unsigned rounds;
} Passer;

static void coroutine_fn pass(void *opaque)
{
    Passer passer = *(Passer *)opaque;
    uint8_t sector[SECTOR];

    g_free(opaque);
    for (unsigned i = 0; i < passer.rounds; i++) {
        scenario_pause();
    }
    fuzz_check(blk_co_pread(passer.blk, 0, SECTOR, sector, 0) == -ENOMEDIUM);
    blk_dec_in_flight(passer.blk);
    finished(passer.world, &passer.world->requests.under_way);
}

static void backend_goes_without_medium(World *world)
{
    Passer *passer = g_new(Passer, 1);
    BlockBackend *blk = blk_new(scenario_context(&world->scenario, 1));

    *passer = (Passer){ world, blk, fuzz_choice(world->in, 4) };
    blk_inc_in_flight(blk);
    scenario_add(&world->requests.under_way, 1);
    scenario_start(&world->scenario, 1, pass, passer);
    blk_unref(blk);
}

static void change_backing(World *world)
{
    if (world->base && !world->base_is_file) {
        bdrv_set_backing_hd(world->disk, NULL);
        fuzz_check(!world->disk->backing);
        use(world);
        bdrv_set_backing_hd(world->disk, world->base);
        fuzz_check(world->disk->backing && world->disk->backing->bs == world->base);
    }
}

static void name(World *world)
{
    blk_ref(world->blk);
    fuzz_check(strcmp(iothread_get_name(world->scenario.threads[0]), "iothread0") == 0);
    fuzz_check(bdrv_find_node("target") == world->target && !bdrv_find_node("nobody"));
    fuzz_check(bdrv_get_aio_context(NULL) == qemu_get_aio_context());
    if (blk_name(world->blk)[0]) {
        fuzz_check(blk_by_name("disk") == world->blk && blk_next(world->blk) == NULL);
        fuzz_check(monitor_add_blk(world->namesake, "disk") == -EEXIST);
        fuzz_check(monitor_add_blk(world->namesake, "other") == 0 && blk_by_name("other") == world->namesake);
        monitor_remove_blk(world->blk);
        monitor_remove_blk(world->namesake);
    } else {
        fuzz_check(monitor_add_blk(world->blk, "disk") == 0);
    }
    blk_unref(world->blk);
}

static void count(void *opaque)
{
    (*(int *)opaque)++;
}

/* A bottom half that does not hurry, and a timer that is told to come sooner: both come, once. */
static void serve_idly(void)
{
    int ran = 0, fired = 0;
    QEMUBH *bh = aio_bh_new(qemu_get_aio_context(), count, &ran);
    QEMUTimer *timer = timer_new_ms(QEMU_CLOCK_REALTIME, count, &fired);

    qemu_bh_schedule_idle(bh);
    timer_mod_anticipate_ns(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + SCALE_MS);
    timer_mod_ns(timer, -1); /* has passed */
    timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + 1000);
    timer_mod_anticipate_ns(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + SCALE_MS);
    timer_mod_anticipate_ns(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 2 * SCALE_MS); /* no: that were later */
    while (!ran || !fired) {
        main_loop_wait(false);
    }
    fuzz_check(ran == 1 && fired == 1);
    qemu_bh_delete(bh);
    timer_free(timer);
    timer_free(NULL);
}

static void plain_job(World *world)
{
    scenario_plain_job(&world->scenario, world->in);
}

static void serve(World *world)
{
    unsigned rounds = fuzz_choice(world->in, 5);

    for (unsigned i = 0; i < rounds; i++) {
        main_loop_wait(true);
    }
    if (!rounds) {
        serve_idly();
    }
}

/* ---- the whole */

static void (*const operations[])(World *) = {
    serve,
    user_pause,
    user_resume,
    set_speed,
    complete,
    cancel_softly,
    cancel_by_force,
    finalize,
    dismiss,
    finish,
    start_job,
    make_again,
    submit,
    submit,
    fail_next,
    section,
    section_of_all,
    drain,
    device_comes,
    move,
    filter,
    replace,
    section_in_coroutine,
    change_backing,
    name,
    wait_while_it_works,
    wait_for_all,
    section_below,
    node_comes_in_a_section,
    take_snapshot,
    eject,
    plain_job,
    query,
    filter_below,
    flush_that_fails,
    flush_while_the_filter_comes,
    backend_goes_without_medium,
    move_without_medium,
};

static void read_plan(FuzzInput *in, MirrorPlan *plan)
{
    static const int64_t speeds[] = { 0, SECTOR, 64 << 10 };
    uint8_t flags = fuzz_byte(in), more = fuzz_byte(in);

    plan->copies = flags & 1;
    plan->becomes_ready = flags & 2;
    plan->own_limit = flags & 4;
    plan->prepare_fails = flags & 8;
    plan->flags = (flags & 16 ? JOB_MANUAL_FINALIZE : 0) | (flags & 32 ? JOB_MANUAL_DISMISS : 0);
    plan->timeout_ns = flags & 64 && plan->copies ? SCALE_MS : 0;
    plan->waits_in_queue = flags & 128 && !plan->copies;
    plan->rounds = 1 + (more & 3);
    plan->speed = speeds[(more >> 2 & 3) % G_N_ELEMENTS(speeds)];
    plan->twice = more & 16 && plan->copies;
    plan->looks = more & 32;
}

/* What the job reads from: a disk; one with another behind it; or an image in a file. All in the context of that number. */
static void make_nodes(World *world, uint8_t shape, AioContext *ctx)
{
    Qcow2Options options = { .l2_cache_tables = 1 };
    unsigned kind = shape % 3;

    world->base_is_file = kind == 2;
    if (kind) {
        world->base = bdrv_new_ram("base", ctx, world->base_is_file ? QCOW2_FILE_BYTES_MAX : 2 * SECTOR);
        bdrv_ram_set_completion(world->base, (RamCompletion)(shape >> 3 & 3), SCALE_MS);
    }
    if (world->base_is_file) {
        world->disk = bdrv_new_qcow2("disk", ctx, world->base, DISK_BYTES, &options);
        fuzz_check(world->disk != NULL);
    } else {
        world->disk = bdrv_new_ram("disk", ctx, DISK_BYTES);
        bdrv_ram_set_completion(world->disk, (RamCompletion)(shape >> 3 & 3), SCALE_MS);
    }
    if (kind == 1) {
        bdrv_set_backing_hd(world->disk, world->base);
    }
    world->other = bdrv_new_ram("other", ctx, DISK_BYTES);
    world->target = bdrv_new_ram("target", ctx, DISK_BYTES);
    bdrv_ram_set_completion(world->target, (RamCompletion)(shape >> 5 & 3), SCALE_MS);
}

static void begin(World *world, FuzzInput *in)
{
    uint8_t shape = fuzz_byte(in);
    AioContext *ctx;

    scenario_begin(&world->scenario, 1);
    ctx = scenario_context(&world->scenario, shape & 128 ? 0 : 1);
    make_nodes(world, shape & 127, ctx);
    read_plan(in, &world->mirror.plan);
    world->in = in;
    world->blk = blk_new(ctx);
    world->namesake = blk_new(ctx);
    blk_insert_bs(world->blk, world->disk);
    world->requests = (ScenarioRequests){ .scenario = &world->scenario, .blk = world->blk, .ended = ended, .opaque = world };
    told_of_status = world;
    job_status_change_hook = status_changes;
    fuzz_check(scenario_mirror_new(&world->mirror, world->disk, world->target, DISK_BYTES) != NULL);
    if (!fuzz_flag(in)) {
        start_job(world);
    }
}

/* One that is ready is completed, and what stays until somebody looks is looked at. Without a limit: who waits for a job enters it at each look,
 * and one that sleeps for its speed would sleep again each time. */
static void end_job(World *world)
{
    Job *job;

    JOB_LOCK_GUARD();
    while ((job = job_here_locked())) {
        scenario_add(&world->mirror.speeds_asked, 1);
        block_job_set_speed_locked((BlockJob *)job, 0);
        if (!world->started && job->status == JOB_STATUS_CREATED) {
            job_unlock();
            scenario_mirror_early_fail(job);
            job_lock();
        } else if (job->status == JOB_STATUS_PENDING) {
            ask_to_finalize_locked(world, job);
        } else if (job->status == JOB_STATUS_CONCLUDED) {
            job_dismiss_locked(&job);
        } else if (job_is_ready_locked(job) && !job->cancelled) {
            job_complete_sync_locked(job);
        } else if (job->cancelled || job->user_paused) {
            job_cancel_sync_locked(job, true);
        } else {
            job_finish_sync_locked(job, NULL);
        }
    }
}

static void end(World *world)
{
    scenario_set(&world->mirror.ends, 1);
    world->asked = true;
    end_job(world);
    wait_for_all(world);
    if (world->mirror.plan.flags == JOB_DEFAULT) {
        scenario_mirror_check(&world->mirror, world->started);
    }
    fuzz_check(scenario_get(&world->requests.failed) + scenario_get(&world->mirror.failures) <= world->failures);
    fuzz_check(world->device_begins == world->device_ends);
    scenario_requests_check(&world->requests);
    job_status_change_hook = NULL;
    blk_set_dev_ops(world->blk, NULL, NULL);
    monitor_remove_blk(world->blk);
    blk_unref(world->namesake);
    blk_unref(world->blk);
    bdrv_unref(world->target);
    bdrv_unref(world->other);
    bdrv_unref(world->disk);
    bdrv_unref(world->snapshot);
    bdrv_unref(world->base);
    fuzz_check(bdrv_node_count() == 0);
    scenario_end(&world->scenario);
}

static void run(FuzzInput *in)
{
    World *world = g_new0(World, 1);
    unsigned operation_count;

    begin(world, in);
    operation_count = fuzz_choice(in, OPERATIONS_MAX + 1);
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](world);
    }
    end(world);
    g_free(world);
}

static const char *const windows[] = {
    "command-in-the-wrong-status",
    "copy-times-out",
    "drained-by-a-coroutine",
    "job-fails",
    "job-is-cancelled-softly-in-its-sleep",
    "job-is-dismissed-by-hand",
    "job-is-finalized-by-hand",
    "job-is-paused-for-two-reasons",
    "paused-job-goes-on",
    "ready-job-is-cancelled-softly",
    "request-fails",
    "speed-is-kept",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "block_job", .run = run, .disturbs = true, .windows = windows };
