/*
 * Jobs: commands, cancellation, and the way to the end. job.h tells the protocol.
 *
 * Threads: the main thread, with job_mutex, which is dropped around each callback of a driver and around each poll.
 *
 * Invariants
 *  1. A job is finalized once: aborting is set before by whoever does it.
 *  2. Each function here that drops the mutex is called by somebody who has a reference.
 */
#include <errno.h>

#include "core/aio_wait.h"
#include "core/fatal.h"
#include "core/job_int.h"
#include "core/main_loop.h"

/* ---- dismissal ---- */

void job_do_dismiss_locked(Job *job)
{
    job->busy = false;
    job->paused = false;
    job->deferred_to_main_loop = true;
    job_state_transition_locked(job, JOB_STATUS_NULL);
    job_unref_locked(job);
}

int job_dismiss_locked(Job **job)
{
    int ret = job_apply_verb_locked(*job, JOB_VERB_DISMISS);

    if (ret == 0) {
        job_do_dismiss_locked(*job);
        *job = NULL;
    }
    return ret;
}

void job_early_fail(Job *job)
{
    JOB_LOCK_GUARD();
    core_assert(job->status == JOB_STATUS_CREATED);
    job_do_dismiss_locked(job);
}

static void job_conclude_locked(Job *job)
{
    job_state_transition_locked(job, JOB_STATUS_CONCLUDED);
    if (job->auto_dismiss || !job->co) {
        job_do_dismiss_locked(job);
    }
}

/* ---- completion ---- */

static void job_update_rc_locked(Job *job)
{
    if (!job->ret && job_is_cancelled_locked(job)) {
        job->ret = -ECANCELED;
    }
    if (job->ret) {
        job_state_transition_locked(job, JOB_STATUS_ABORTING);
    }
}

static void job_call(Job *job, void (*callback)(Job *job))
{
    if (callback) {
        callback(job);
    }
}

static void job_finalize_single_locked(Job *job)
{
    int ret;

    core_assert(job_is_completed_locked(job));
    job_update_rc_locked(job);
    ret = job->ret;

    job_unlock();
    job_call(job, ret ? job->driver->abort : job->driver->commit);
    job_call(job, job->driver->clean);
    if (job->cb) {
        job->cb(job->opaque, ret);
    }
    job_lock();
    job_conclude_locked(job);
}

/*
 * The job fails. Either job_exit() comes here, or a cancellation of a job whose coroutine is through and whose
 * job_exit() is still to come: that one waits for job_exit(), which leaves the rest to it.
 */
static void job_completed_abort_locked(Job *job)
{
    if (job->aborting) {
        return;
    }
    job->aborting = true;
    job_ref_locked(job);
    if (!job_is_completed_locked(job)) {
        core_assert(job->cancelled);
        job_finish_sync_locked(job, NULL);
    }
    job_finalize_single_locked(job);
    job_unref_locked(job);
}

static void job_do_finalize_locked(Job *job)
{
    if (job->ret == 0 && job->driver->prepare) {
        int ret;

        job_unlock();
        ret = job->driver->prepare(job);
        job_lock();
        job->ret = ret;
        job_update_rc_locked(job);
    }
    if (job->ret) {
        job_completed_abort_locked(job);
    } else {
        job_finalize_single_locked(job);
    }
}

int job_finalize_locked(Job *job)
{
    int ret = job_apply_verb_locked(job, JOB_VERB_FINALIZE);

    if (ret == 0) {
        job_do_finalize_locked(job);
    }
    return ret;
}

static void job_completed_locked(Job *job)
{
    core_assert(!job_is_completed_locked(job));
    job_update_rc_locked(job);
    if (job->ret) {
        job_completed_abort_locked(job);
        return;
    }
    job_state_transition_locked(job, JOB_STATUS_WAITING);
    job_state_transition_locked(job, JOB_STATUS_PENDING);
    if (job->auto_finalize) {
        job_do_finalize_locked(job);
    }
}

void job_exit(void *opaque)
{
    Job *job = opaque;

    JOB_LOCK_GUARD();
    job_ref_locked(job);

    /* Not true, but what comes now may drain nodes, and a drain must not wait for the job that it is part of. */
    job->busy = false;
    job_event_idle_locked(job);
    job_completed_locked(job);
    job_unref_locked(job);
}

/* ---- commands ---- */

int job_user_pause_locked(Job *job)
{
    int ret = job_apply_verb_locked(job, JOB_VERB_PAUSE);

    if (ret < 0) {
        return ret;
    }
    if (job->user_paused) {
        return -EALREADY;
    }
    job->user_paused = true;
    job_pause_locked(job);
    return 0;
}

/* Without the mutex around the callback. */
static void job_user_resumes_locked(Job *job)
{
    if (job->driver->user_resume) {
        job_unlock();
        job->driver->user_resume(job);
        job_lock();
    }
    job->user_paused = false;
}

int job_user_resume_locked(Job *job)
{
    int ret;

    core_assert(qemu_in_main_thread());
    if (!job->user_paused || job->pause_count <= 0) {
        return -EINVAL;
    }
    ret = job_apply_verb_locked(job, JOB_VERB_RESUME);
    if (ret < 0) {
        return ret;
    }
    job_user_resumes_locked(job);
    job_resume_locked(job);
    return 0;
}

int job_complete_locked(Job *job)
{
    int ret = job_apply_verb_locked(job, JOB_VERB_COMPLETE);

    core_assert(qemu_in_main_thread());
    core_assert(job->id);
    if (ret < 0) {
        return ret;
    }
    if (job->cancelled || !job->driver->complete) {
        return -EBUSY;
    }
    job_unlock();
    ret = job->driver->complete(job);
    job_lock();
    return ret;
}

/* ---- cancellation ---- */

/* Note it; who calls sees to it that the coroutine looks. */
static void job_cancel_async_locked(Job *job, bool force)
{
    core_assert(qemu_in_main_thread());
    if (job->driver->cancel) {
        job_unlock();
        force = job->driver->cancel(job, force);
        job_lock();
    } else {
        force = true; /* it knows nothing of coming to a good end early */
    }

    if (job->user_paused) {
        job_user_resumes_locked(job);
        core_assert(job->pause_count > 0);
        job->pause_count--;
    }

    /* One that is through may still be made to fail, but not be asked to hurry. */
    if (force || !job->deferred_to_main_loop) {
        job->cancelled = true;
        job->force_cancel |= force;
    }
}

void job_cancel_locked(Job *job, bool force)
{
    if (job->status == JOB_STATUS_CONCLUDED) {
        job_do_dismiss_locked(job);
        return;
    }
    job_cancel_async_locked(job, force);
    if (!job->co) {
        job_completed_locked(job);
    } else if (!job->deferred_to_main_loop) {
        job_enter_cond_locked(job, NULL);
    } else if (job_is_cancelled_locked(job)) {
        job_completed_abort_locked(job); /* nobody can enter it any more */
    }
}

int job_user_cancel_locked(Job *job, bool force)
{
    int ret = job_apply_verb_locked(job, JOB_VERB_CANCEL);

    if (ret == 0) {
        job_cancel_locked(job, force);
    }
    return ret;
}

/* ---- waiting ---- */

static bool job_is_completed(Job *job)
{
    JOB_LOCK_GUARD();
    return job_is_completed_locked(job);
}

int job_finish_sync_locked(Job *job, int (*finish)(Job *job))
{
    int ret;

    core_assert(qemu_in_main_thread());
    job_ref_locked(job);
    if (finish && finish(job) < 0) {
        job_unref_locked(job);
        return -EBUSY;
    }

    /* It may sleep or have been paused for another reason than the caller's: each look enters it. */
    job_unlock();
    AIO_WAIT_WHILE_UNLOCKED(job->aio_context, (job_enter(job), !job_is_completed(job)));
    job_lock();

    ret = job_is_cancelled_locked(job) && job->ret == 0 ? -ECANCELED : job->ret;
    job_unref_locked(job);
    return ret;
}

static int job_cancel_softly_locked(Job *job)
{
    job_cancel_locked(job, false);
    return 0;
}

static int job_cancel_by_force_locked(Job *job)
{
    job_cancel_locked(job, true);
    return 0;
}

int job_cancel_sync_locked(Job *job, bool force)
{
    return job_finish_sync_locked(job, force ? job_cancel_by_force_locked : job_cancel_softly_locked);
}

int job_cancel_sync(Job *job, bool force)
{
    JOB_LOCK_GUARD();
    return job_cancel_sync_locked(job, force);
}

int job_complete_sync_locked(Job *job)
{
    return job_finish_sync_locked(job, job_complete_locked);
}

void job_cancel_sync_all(void)
{
    Job *job;

    JOB_LOCK_GUARD();
    while ((job = job_next_locked(NULL))) {
        job_cancel_sync_locked(job, true);
    }
}
