/*
 * The backup job, as backup.h tells.
 *
 * Threads: the job's coroutine and its block-copy calls run in the job's context; the speed changes in the main thread.
 *
 * Invariants
 *  1. The coroutine sleeps either as an idle job, and is entered by job_enter(), or with wait set, and is woken by the
 *     callback alone: a job that pauses or is cancelled is not idle while it waits for its call.
 *  2. bg_bcs_call is the call under way or the one that has finished last; only the coroutine changes it, under job_mutex,
 *     and before it gives up its reference. The main thread takes one of its own under the mutex, and kicks without: QEMU
 *     10.2.2 has neither, and kicks a call that the job's thread has freed.
 */
#include "core/backup.h"

#include <errno.h>

#include "core/atomic.h"
#include "core/block_copy.h"
#include "core/fatal.h"

typedef struct BackupBlockJob {
    BlockJob common; /* first */
    int64_t len;
    unsigned max_workers;
    BlockCopyState *bcs;

    bool wait; /* of the job's context */
    BlockCopyCallState *bg_bcs_call;
    bool speed_untold; /* job_mutex: a speed was set while there was no call to tell */
} BackupBlockJob;

static void coroutine_fn backup_block_copy_callback(void *opaque)
{
    BackupBlockJob *s = opaque;

    if (s->wait) {
        s->wait = false;
        aio_co_wake(s->common.job.co);
    } else {
        job_enter(&s->common.job);
    }
}

/* Not by job_yield(), which returns at once in a cancelled job. */
static void coroutine_fn backup_cancel_call_and_wait(BackupBlockJob *s)
{
    block_copy_call_cancel(s->bg_bcs_call);
    s->wait = true;
    qemu_coroutine_yield();
    core_assert(block_copy_call_finished(s->bg_bcs_call));
}

/* Returns whether a speed was set that call may not know: it has begun before anybody could find it here. */
static bool backup_set_call(BackupBlockJob *s, BlockCopyCallState *call)
{
    bool untold;

    JOB_LOCK_GUARD();
    s->bg_bcs_call = call;
    untold = s->speed_untold;
    s->speed_untold = false;
    return untold;
}

/* One call, to its end. Returns whether another one is needed. */
static bool coroutine_fn backup_call(BackupBlockJob *s, int *ret)
{
    BlockCopyCallState *call = block_copy_async(s->bcs, 0, s->len, s->max_workers, backup_block_copy_callback, s);
    bool again;

    if (backup_set_call(s, call)) {
        block_copy_kick(call); /* it may sleep for the speed of before: docs/findings.md, 11 */
    }
    while (!block_copy_call_finished(call) && !job_is_cancelled(&s->common.job)) {
        job_yield(&s->common.job);
    }
    if (!block_copy_call_finished(call)) {
        backup_cancel_call_and_wait(s);
    }

    /* Cancelled, and the job is not: that was a pause, which is over. */
    again = !job_is_cancelled(&s->common.job) && block_copy_call_cancelled(call);
    *ret = again || job_is_cancelled(&s->common.job) ? 0 : block_copy_call_status(call);
    backup_set_call(s, NULL);
    block_copy_call_unref(call);
    return again;
}

static int coroutine_fn backup_run(Job *job)
{
    BackupBlockJob *s = (BackupBlockJob *)job;
    int ret;

    block_copy_set_dirty(s->bcs, 0, s->len);
    while (backup_call(s, &ret)) {
        /* what is still dirty */
    }
    return ret;
}

static void coroutine_fn backup_pause(Job *job)
{
    BackupBlockJob *s = (BackupBlockJob *)job;

    if (s->bg_bcs_call && !block_copy_call_finished(s->bg_bcs_call)) {
        backup_cancel_call_and_wait(s);
    }
}

static void backup_set_speed(BlockJob *job, int64_t speed)
{
    BackupBlockJob *s = (BackupBlockJob *)job;

    BlockCopyCallState *call;

    block_copy_set_speed(s->bcs, (uint64_t)speed);
    job_lock();
    call = s->bg_bcs_call;
    s->speed_untold = !call;
    if (call) {
        block_copy_call_ref(call);
    }
    job_unlock();

    if (call) {
        block_copy_kick(call); /* without the mutex: the copy may run at once, finish, and enter the job */
        block_copy_call_unref(call);
    }
}

static void backup_clean(Job *job)
{
    BackupBlockJob *s = (BackupBlockJob *)job;

    block_job_remove_all_bdrv(&s->common);
    block_copy_state_free(s->bcs);
}

static const BlockJobDriver backup_job_driver = {
    .job_driver = {
        .instance_size = sizeof(BackupBlockJob),
        .job_type = "backup",
        .run = backup_run,
        .pause = backup_pause,
        .clean = backup_clean,
        .free = block_job_free,
    },
    .set_speed = backup_set_speed,
};

BlockJob *backup_job_create(const char *id, BlockDriverState *source, BlockDriverState *target, int64_t bytes,
                            const BackupOptions *options, int flags, void (*cb)(void *opaque, int ret), void *opaque)
{
    BackupBlockJob *s = block_job_create(id, &backup_job_driver, source, options->speed, flags, cb, opaque);
    BdrvChild *source_edge, *target_edge;

    if (!s) {
        return NULL;
    }
    source_edge = s->common.nodes->data;
    target_edge = block_job_add_bdrv(&s->common, "target", target);
    s->len = bytes;
    s->max_workers = options->max_workers;
    s->bcs = block_copy_state_new(source_edge, target_edge, bytes, options->cluster_size);
    block_copy_set_speed(s->bcs, (uint64_t)options->speed);
    return &s->common;
}
