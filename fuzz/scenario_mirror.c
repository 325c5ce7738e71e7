#include "fuzz/scenario_mirror.h"

#include <errno.h>
#include <glib.h>

#include "core/block_backend.h"
#include "core/block_copy.h"
#include "fuzz/fuzz.h"

#define SECTOR  512
#define LOOK_NS (100 * SCALE_US) /* a ready job looks so often whether it is to end */

typedef struct MirrorJob {
    BlockJob common; /* first */
    BlockBackend *blk;
    BlockCopyState *bcs; /* NULL: it only reads */
    int64_t bytes;
    bool completes; /* under job_mutex */
    Mirror *mirror;
} MirrorJob;

/* ---- the work */

/* Since then so many sectors have had to wait for their turn, whatever has ended a sleep meanwhile. At this speed each takes its second; nobody
 * has asked for another one. */
static void check_pace(const MirrorJob *s, uint64_t since_ns, int64_t sectors)
{
    const Mirror *mirror = s->mirror;

    if (mirror->plan.speed == SECTOR && !scenario_get(&mirror->speeds_asked)) {
        fuzz_reached("speed-is-kept");
        fuzz_check((int64_t)(fuzz_time_ns() - since_ns) >= sectors * NANOSECONDS_PER_SECOND);
    }
}

static int coroutine_fn mirror_round(MirrorJob *s)
{
    const MirrorPlan *plan = &s->mirror->plan;
    uint64_t begin_ns = fuzz_time_ns();
    uint8_t sector[SECTOR];
    int ret;

    if (!s->bcs) {
        return blk_co_pread(s->blk, 0, SECTOR, sector, 0);
    }
    block_copy_set_dirty(s->bcs, 0, s->bytes);
    fuzz_check(block_copy_dirty_clusters_count(s->bcs) == s->bytes / SECTOR);
    ret = block_copy(s->bcs, 0, s->bytes, plan->own_limit, plan->timeout_ns);
    if (ret == -ETIMEDOUT) {
        scenario_add(&s->mirror->timeouts, 1);
        fuzz_reached("copy-times-out");
        fuzz_check(fuzz_time_ns() - begin_ns >= plan->timeout_ns);
        return 0;
    }
    if (ret == 0 && !plan->own_limit) {
        check_pace(s, begin_ns, s->bytes / SECTOR - 1);
    }
    fuzz_check(ret < 0 || plan->timeout_ns || block_copy_dirty_clusters_count(s->bcs) == 0);
    return ret;
}

static bool mirror_completes(MirrorJob *s)
{
    JOB_LOCK_GUARD();
    return s->completes;
}

static int coroutine_fn mirror_run(Job *job)
{
    MirrorJob *s = (MirrorJob *)job;
    uint64_t processed_ns = 0;

    job_progress_set_remaining(job, (uint64_t)s->bytes);
    for (unsigned i = 0; i < s->mirror->plan.rounds && !job_is_cancelled(job); i++) {
        int ret;

        fuzz_check(!job->paused); /* this coroutine alone changes it now */
        if (i > 0) {
            check_pace(s, processed_ns, 1);
        }
        ret = mirror_round(s);
        if (ret < 0) {
            scenario_add(&s->mirror->failures, 1);
            fuzz_reached("job-fails");
            return ret;
        }
        job_progress_update(job, SECTOR);
        fuzz_check(job->progress_done == (i + 1) * SECTOR && job->progress_remaining == (uint64_t)s->bytes);
        processed_ns = fuzz_time_ns();
        block_job_ratelimit_processed_bytes(&s->common, SECTOR);
        block_job_ratelimit_sleep(&s->common);
        job_pause_point(job);
    }
    if (!s->mirror->plan.becomes_ready || job_is_cancelled(job)) {
        return 0;
    }
    job_transition_to_ready(job);
    while (!job_cancel_requested(job) && !mirror_completes(s) && !scenario_get(&s->mirror->ends)) {
        fuzz_check(job_is_ready(job));
        job_sleep_ns(job, LOOK_NS);
    }
    return 0;
}

static void coroutine_fn mirror_pause(Job *job)
{
    scenario_add(&((MirrorJob *)job)->mirror->pauses, 1);
}

static void coroutine_fn mirror_resume(Job *job)
{
    Mirror *mirror = ((MirrorJob *)job)->mirror;

    scenario_add(&mirror->resumes, 1);
    fuzz_check(scenario_get(&mirror->resumes) == scenario_get(&mirror->pauses));
}

/* ---- what it is asked in the main thread */

static void mirror_user_resume(Job *job)
{
    ((MirrorJob *)job)->mirror->user_resumes++;
    fuzz_reached("paused-job-goes-on");
}

static int mirror_complete(Job *job)
{
    MirrorJob *s = (MirrorJob *)job;

    fuzz_check(job_is_ready(job));
    WITH_JOB_LOCK_GUARD() {
        s->completes = true;
    }
    job_enter(job);
    return 0;
}

/* What is in step already may still succeed. */
static bool mirror_cancel(Job *job, bool force)
{
    if (!force && job_is_ready(job)) {
        fuzz_reached("ready-job-is-cancelled-softly");
    }
    return force || !job_is_ready(job);
}

static int mirror_prepare(Job *job)
{
    Mirror *mirror = ((MirrorJob *)job)->mirror;

    mirror->prepared++;
    return mirror->plan.prepare_fails ? -EPERM : 0;
}

static void mirror_commit(Job *job)
{
    Mirror *mirror = ((MirrorJob *)job)->mirror;

    mirror->committed++;
    fuzz_check(!mirror->aborted && !mirror->cleaned && !mirror->told);
    fuzz_check(mirror->prepared == 1 && !mirror->plan.prepare_fails && !scenario_get(&mirror->failures));
    fuzz_check(mirror->may_finalize || !(mirror->plan.flags & JOB_MANUAL_FINALIZE));
}

static void mirror_abort(Job *job)
{
    Mirror *mirror = ((MirrorJob *)job)->mirror;

    mirror->aborted++;
    fuzz_check(!mirror->committed && !mirror->cleaned && !mirror->told);
}

/* The graph's write lock waits for a copy whose time was up and that is still at its end. */
static void mirror_release(MirrorJob *s)
{
    block_job_remove_all_bdrv(&s->common);
    if (s->bcs) {
        block_copy_state_free(s->bcs);
        s->bcs = NULL;
    }
    blk_unref(s->blk);
    s->blk = NULL;
}

static void mirror_clean(Job *job)
{
    MirrorJob *s = (MirrorJob *)job;

    s->mirror->cleaned++;
    fuzz_check(s->mirror->committed + s->mirror->aborted == 1);
    mirror_release(s);
}

static void mirror_told(void *opaque, int ret)
{
    Mirror *mirror = opaque;

    mirror->told++;
    mirror->ret = ret;
    fuzz_check(mirror->told == 1 && mirror->cleaned == 1);
    fuzz_check(ret == 0 ? mirror->committed == 1 : mirror->aborted == 1);
}

static void mirror_set_speed(BlockJob *job, int64_t speed)
{
    MirrorJob *s = (MirrorJob *)job;

    s->mirror->speeds++;
    if (s->bcs) {
        block_copy_set_speed(s->bcs, (uint64_t)speed);
    }
}

static bool mirror_drained_poll(BlockJob *job)
{
    return !((MirrorJob *)job)->mirror->plan.waits_in_queue;
}

static const BlockJobDriver mirror_driver = {
    .job_driver = {
        .instance_size = sizeof(MirrorJob),
        .job_type = "mirror",
        .run = mirror_run,
        .pause = mirror_pause,
        .resume = mirror_resume,
        .user_resume = mirror_user_resume,
        .complete = mirror_complete,
        .cancel = mirror_cancel,
        .prepare = mirror_prepare,
        .commit = mirror_commit,
        .abort = mirror_abort,
        .clean = mirror_clean,
        .free = block_job_free,
    },
    .drained_poll = mirror_drained_poll,
    .set_speed = mirror_set_speed,
};

/* ---- life */

Job *scenario_mirror_new(Mirror *mirror, BlockDriverState *source, BlockDriverState *target, int64_t bytes)
{
    const MirrorPlan *plan = &mirror->plan;
    MirrorJob *s = block_job_create(MIRROR_ID, &mirror_driver, source, plan->speed, plan->flags, mirror_told, mirror);

    if (!s) {
        return NULL;
    }
    s->mirror = mirror;
    s->bytes = bytes;
    s->blk = blk_new(bdrv_get_aio_context(source));
    blk_set_disable_request_queuing(s->blk, !plan->waits_in_queue);
    blk_insert_bs(s->blk, source);
    if (plan->copies) {
        BdrvChild *from = s->common.nodes->data, *to = block_job_add_bdrv(&s->common, "target", target);

        s->bcs = block_copy_state_new(from, to, bytes, SECTOR);
        block_copy_set_speed(s->bcs, (uint64_t)plan->speed);
    }
    return &s->common.job;
}

void scenario_mirror_early_fail(Job *job)
{
    mirror_release((MirrorJob *)job);
    job_early_fail(job);
}

void scenario_mirror_check(const Mirror *mirror, bool started)
{
    fuzz_check(!started || mirror->told == 1);
    fuzz_check(mirror->told == mirror->cleaned);
    fuzz_check(!mirror->told || mirror->ret == 0 || mirror->ret == -ECANCELED || mirror->ret == -EPERM || mirror->failures);
    fuzz_check(scenario_get(&mirror->pauses) == scenario_get(&mirror->resumes));
}
