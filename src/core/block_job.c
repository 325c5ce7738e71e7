/*
 * Jobs on block nodes, as block_job.h tells.
 *
 * Threads: the main thread, but for the rate limit's functions, which are the coroutine's, and the idle event, which
 * comes in the job's thread.
 */
#include "core/block_job.h"

#include <errno.h>

#include "core/block_drain.h"
#include "core/fatal.h"
#include "core/main_loop.h"

#define BLOCK_JOB_SLICE_TIME_NS 100000000ull

static const BlockJobDriver *block_job_driver(const BlockJob *job)
{
    return (const BlockJobDriver *)job->job.driver;
}

/* ---- the job as a parent of its nodes ---- */

static void child_job_drained_begin(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    job_pause(&job->job);
}

static bool child_job_drained_poll(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    WITH_JOB_LOCK_GUARD() {
        if (!job->job.busy || job_is_completed_locked(&job->job)) {
            return false;
        }
    }
    return block_job_driver(job)->drained_poll ? block_job_driver(job)->drained_poll(job) : true;
}

static void child_job_drained_end(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    job_resume(&job->job);
}

/* The job follows one of its nodes, and the others follow the job. */
static void child_job_set_aio_context(BdrvChild *child, AioContext *ctx)
{
    BlockJob *job = child->opaque;

    WITH_JOB_LOCK_GUARD() {
        if (job->job.aio_context == ctx) {
            return;
        }
    }
    job_set_aio_context(&job->job, ctx);
    for (GSList *l = job->nodes; l; l = l->next) {
        bdrv_change_aio_context_drained(((BdrvChild *)l->data)->bs, ctx);
    }
}

static AioContext *child_job_get_parent_aio_context(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    JOB_LOCK_GUARD();
    return job->job.aio_context;
}

static const BdrvChildClass child_job = {
    .drained_begin = child_job_drained_begin,
    .drained_poll = child_job_drained_poll,
    .drained_end = child_job_drained_end,
    .set_aio_context = child_job_set_aio_context,
    .get_parent_aio_context = child_job_get_parent_aio_context,
};

/* ---- nodes ---- */

/* Graph write lock, everything drained. */
static BdrvChild *block_job_attach(BlockJob *job, const char *name, BlockDriverState *bs)
{
    BdrvChild *child;

    bdrv_ref(bs);
    child = bdrv_root_attach_child(bs, name, &child_job, job);
    job->nodes = g_slist_prepend(job->nodes, child);
    return child;
}

BdrvChild *block_job_add_bdrv(BlockJob *job, const char *name, BlockDriverState *bs)
{
    BdrvChild *child;

    core_assert(qemu_in_main_thread());
    bdrv_graph_wrlock_drained();
    child = block_job_attach(job, name, bs);
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
    return child;
}

void block_job_remove_all_bdrv(BlockJob *job)
{
    core_assert(qemu_in_main_thread());
    bdrv_graph_wrlock_drained();
    while (job->nodes) {
        BdrvChild *child = job->nodes->data;

        /* Out of the list first: removing the edge may look at the list again. */
        job->nodes = g_slist_delete_link(job->nodes, job->nodes);
        bdrv_root_unref_child(child);
    }
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
}

/* ---- life ---- */

/* With job_mutex held, in any thread. A kick takes no lock that is held across job_mutex. */
static void block_job_on_idle_locked(Job *job)
{
    (void)job;
    aio_wait_kick();
}

void *block_job_create(const char *id, const BlockJobDriver *driver, BlockDriverState *bs, int64_t speed, int flags,
                       void (*cb)(void *opaque, int ret), void *opaque)
{
    BlockJob *job;
    int error;

    core_assert(driver->job_driver.free == block_job_free);
    core_assert(speed >= 0);
    bdrv_graph_wrlock_drained();
    job = job_create(id, &driver->job_driver, bdrv_get_aio_context(bs), flags, cb, opaque);
    if (job) {
        ratelimit_init(&job->limit);
        ratelimit_set_speed(&job->limit, (uint64_t)speed, BLOCK_JOB_SLICE_TIME_NS);
        job->speed = speed;
        WITH_JOB_LOCK_GUARD() {
            job->job.on_idle = block_job_on_idle_locked;
        }
        block_job_attach(job, "main node", bs);
    }
    error = errno; /* the end of the section lets others go on, who may change it */
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
    errno = error;
    return job;
}

void block_job_free(Job *job)
{
    BlockJob *block_job = (BlockJob *)job;

    block_job_remove_all_bdrv(block_job);
    ratelimit_destroy(&block_job->limit);
}

/* ---- speed ---- */

static bool job_timer_pending_locked(Job *job)
{
    return timer_pending(&job->sleep_timer);
}

int block_job_set_speed_locked(BlockJob *job, int64_t speed)
{
    int64_t old_speed = job->speed;
    int ret = job_apply_verb_locked(&job->job, JOB_VERB_SET_SPEED);

    core_assert(qemu_in_main_thread());
    if (ret < 0) {
        return ret;
    }
    if (speed < 0) {
        return -EINVAL;
    }
    ratelimit_set_speed(&job->limit, (uint64_t)speed, BLOCK_JOB_SLICE_TIME_NS);
    job->speed = speed;
    if (block_job_driver(job)->set_speed) {
        job_unlock();
        block_job_driver(job)->set_speed(job, speed);
        job_lock();
    }
    if (speed && speed <= old_speed) {
        return 0; /* a sleep that is under way is not too long */
    }
    job_enter_cond_locked(&job->job, job_timer_pending_locked);
    return 0;
}

void coroutine_fn block_job_ratelimit_processed_bytes(BlockJob *job, uint64_t n)
{
    ratelimit_calculate_delay(&job->limit, n);
}

void coroutine_fn block_job_ratelimit_sleep(BlockJob *job)
{
    int64_t delay_ns;

    /* Once at least, for the pause point. And until the limit lets through: a sleep may end early, and the speed may have
     * changed. A new speed comes before the delay is known or finds the timer armed, and ends the sleep (docs/findings.md, 13; fault
     * job-sleeps-by-the-speed-before). */
    do {
        WITH_JOB_LOCK_GUARD() {
            delay_ns = ratelimit_calculate_delay(&job->limit, 0);
            job_sleep_ns_locked(&job->job, delay_ns);
        }
    } while (delay_ns && !job_is_cancelled(&job->job));
}
