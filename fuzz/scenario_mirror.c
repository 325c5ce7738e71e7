#include "fuzz/scenario_mirror.h"

#include <errno.h>
#include <glib.h>

#include "core/block_backend.h"
#include "core/block_copy.h"
#include "fuzz/fuzz.h"

#define SECTOR   512
#define SLICE_NS (100 * SCALE_MS) /* of a job's speed */
#define LOOK_NS  (100 * SCALE_US) /* a ready job looks so often whether it is to end */

/* A disk needs milliseconds, and a sector at the lowest speed more than a second. */
#ifdef WAKEFUZZ_SIMULATED
#define SOON_NS NANOSECONDS_PER_SECOND
#else
#define SOON_NS (60 * NANOSECONDS_PER_SECOND) /* the clock is a real one, and others want the processor */
#endif

typedef struct MirrorJob {
    BlockJob common; /* first */
    BlockBackend *blk;
    BlockCopyState *bcs; /* NULL: it only reads */
    BlockDriverState *target;
    int64_t bytes;
    bool completes; /* under job_mutex */
    Mirror *mirror;
} MirrorJob;

/* ---- the work */

/* It had to wait for so long since then, whatever has ended a sleep meanwhile: at this speed each sector takes its second. Nobody has asked for
 * another one. */
static void check_pace(const MirrorJob *s, uint64_t since_ns, int64_t least_ns)
{
    const Mirror *mirror = s->mirror;

    if (mirror->plan.speed == SECTOR && !scenario_get(&mirror->speeds_asked)) {
        fuzz_reached("speed-is-kept");
        fuzz_check((int64_t)(fuzz_time_ns() - since_ns) >= least_ns);
    }
}

/* Another copy at the same time, in the same thread. */
typedef struct Another {
    MirrorJob *s;
    bool waits; /* the job's coroutine waits for the end */
    bool done;
    int ret;
} Another;

static void coroutine_fn another_entry(void *opaque)
{
    Another *another = opaque;
    MirrorJob *s = another->s;

    another->ret = block_copy(s->bcs, SECTOR, s->bytes - SECTOR, s->mirror->plan.own_limit, 0);
    another->done = true;
    if (another->waits) {
        aio_co_wake(s->common.job.co);
    }
}

/* Whichever of the two has copied a cluster: it is there when the one that covers all has ended well. */
static int coroutine_fn copy_beside_another(MirrorJob *s)
{
    Another another = { .s = s };
    int ret;

    qemu_coroutine_enter(qemu_coroutine_create(another_entry, &another));
    ret = block_copy(s->bcs, 0, s->bytes, s->mirror->plan.own_limit, s->mirror->plan.timeout_ns);
    if (ret == 0 && !s->mirror->plan.timeout_ns) {
        fuzz_check(__atomic_load_n(&s->target->in_flight, __ATOMIC_SEQ_CST) == 0);
    }
    if (!another.done) {
        another.waits = true;
        qemu_coroutine_yield(); /* a job at work is entered by nobody else */
    }
    fuzz_check(another.done);
    return ret ? ret : another.ret;
}

/* All but the first sector, and then that. */
static int coroutine_fn copy_in_two_parts(MirrorJob *s)
{
    int ret;

    block_copy_set_dirty(s->bcs, 0, s->bytes);
    ret = block_copy(s->bcs, SECTOR, s->bytes - SECTOR, s->mirror->plan.own_limit, 0);
    if (ret == 0) {
        fuzz_check(s->mirror->plan.timeout_ns || block_copy_dirty_clusters_count(s->bcs) == 1);
        ret = block_copy(s->bcs, 0, SECTOR, s->mirror->plan.own_limit, 0);
    }
    return ret;
}

static int coroutine_fn mirror_copy(MirrorJob *s)
{
    const MirrorPlan *plan = &s->mirror->plan;
    int ret;

    block_copy_set_dirty(s->bcs, 0, s->bytes);
    fuzz_check(block_copy_dirty_clusters_count(s->bcs) == s->bytes / SECTOR);
    if (!plan->twice) {
        return block_copy(s->bcs, 0, s->bytes, plan->own_limit, plan->timeout_ns);
    }
    ret = copy_beside_another(s);
    return ret ? ret : copy_in_two_parts(s);
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
    ret = mirror_copy(s);
    if (ret == -ETIMEDOUT) {
        scenario_add(&s->mirror->timeouts, 1);
        fuzz_reached("copy-times-out");
        fuzz_check(fuzz_time_ns() - begin_ns >= plan->timeout_ns);
        return 0;
    }
    if (ret == 0 && plan->own_limit) {
        fuzz_check(fuzz_time_ns() - begin_ns < SOON_NS);
    } else if (ret == 0 && !plan->twice) {
        check_pace(s, begin_ns, (s->bytes / SECTOR - 1) * NANOSECONDS_PER_SECOND);
    }
    fuzz_check(ret < 0 || plan->timeout_ns || block_copy_dirty_clusters_count(s->bcs) == 0);
    if (ret < 0 && plan->looks && !plan->twice && !plan->timeout_ns) {
        fuzz_check(block_copy_dirty_clusters_count(s->bcs) > 0); /* what has failed is not done all the same */
    }
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
            check_pace(s, processed_ns, NANOSECONDS_PER_SECOND - SLICE_NS); /* its slice may have begun before the round */
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
    Mirror *mirror = ((MirrorJob *)job)->mirror;

    mirror->user_resumes++;
    if (mirror->plan.looks) {
        JOB_LOCK_GUARD();
        fuzz_check(job->user_paused);
    }
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
    if (mirror->plan.looks) {
        JOB_LOCK_GUARD();
        fuzz_check(job->status == JOB_STATUS_PENDING);
    }
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
    fuzz_check(mirror->aborted == 1 && !mirror->committed && !mirror->cleaned && !mirror->told);
    if (mirror->plan.looks && job->co) {
        JOB_LOCK_GUARD();
        job_cancel_locked(job, true); /* as somebody does who cancels all jobs, while this one polls */
    }
}

/* The graph's write lock waits for a copy whose time was up and that is still at its end: it has been cancelled. */
static void mirror_release(MirrorJob *s)
{
    uint64_t begin_ns = fuzz_time_ns();

    block_job_remove_all_bdrv(&s->common);
    fuzz_check(fuzz_time_ns() - begin_ns < SOON_NS);
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
    s->target = target;
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
