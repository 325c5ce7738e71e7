/*
 * Jobs: their life and states, and how their coroutine runs, sleeps and pauses. job.h tells the protocol.
 *
 * Threads: the coroutine's functions in the job's context; enter, pause and resume in any thread; the rest in the main
 * thread.
 */
#include "core/job.h"

#include <errno.h>
#include <string.h>

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/job_int.h"
#include "core/main_loop.h"

QemuMutex job_mutex;
void (*job_status_change_hook)(Job *job, JobStatus status);

static LIST_HEAD(, Job) jobs = LIST_HEAD_INITIALIZER(jobs); /* under job_mutex */

static void __attribute__((constructor)) job_init(void)
{
    qemu_mutex_init(&job_mutex);
}

void job_reset(void)
{
    Job *job = LIST_FIRST(&jobs);

    if (job) {
        core_fatal("leak", "job '%s' (%s) was not dismissed", job->id ? job->id : "(internal)", job->driver->job_type);
    }
}

void job_lock(void)
{
    qemu_mutex_lock(&job_mutex);
}

void job_unlock(void)
{
    qemu_mutex_unlock(&job_mutex);
}

/* ---- states ---- */

#define TO(status) (1u << JOB_STATUS_##status)

/* Where a job may go from each status. */
static const unsigned job_transitions[JOB_STATUS__MAX] = {
    [JOB_STATUS_UNDEFINED] = TO(CREATED),
    [JOB_STATUS_CREATED] = TO(RUNNING) | TO(ABORTING) | TO(NULL),
    [JOB_STATUS_RUNNING] = TO(PAUSED) | TO(READY) | TO(WAITING) | TO(ABORTING),
    [JOB_STATUS_PAUSED] = TO(RUNNING),
    [JOB_STATUS_READY] = TO(STANDBY) | TO(WAITING) | TO(ABORTING),
    [JOB_STATUS_STANDBY] = TO(READY),
    [JOB_STATUS_WAITING] = TO(PENDING) | TO(ABORTING),
    [JOB_STATUS_PENDING] = TO(ABORTING) | TO(CONCLUDED),
    [JOB_STATUS_ABORTING] = TO(ABORTING) | TO(CONCLUDED),
    [JOB_STATUS_CONCLUDED] = TO(NULL),
    [JOB_STATUS_NULL] = 0,
};

/* In which statuses each command is taken. */
static const unsigned job_verbs[JOB_VERB__MAX] = {
    [JOB_VERB_CANCEL] = TO(CREATED) | TO(RUNNING) | TO(PAUSED) | TO(READY) | TO(STANDBY) | TO(WAITING) | TO(PENDING),
    [JOB_VERB_PAUSE] = TO(CREATED) | TO(RUNNING) | TO(PAUSED) | TO(READY) | TO(STANDBY),
    [JOB_VERB_RESUME] = TO(CREATED) | TO(RUNNING) | TO(PAUSED) | TO(READY) | TO(STANDBY),
    [JOB_VERB_SET_SPEED] = TO(CREATED) | TO(RUNNING) | TO(PAUSED) | TO(READY) | TO(STANDBY),
    [JOB_VERB_COMPLETE] = TO(READY) | TO(STANDBY),
    [JOB_VERB_FINALIZE] = TO(PENDING),
    [JOB_VERB_DISMISS] = TO(CONCLUDED),
};

#undef TO

const char *job_status_name(JobStatus status)
{
    static const char *const names[JOB_STATUS__MAX] = {
        "undefined", "created", "running", "paused", "ready", "standby", "waiting", "pending", "aborting", "concluded", "null",
    };

    return names[status];
}

void job_state_transition_locked(Job *job, JobStatus status)
{
    JobStatus before = job->status;

    if (!(job_transitions[before] & 1u << status)) {
        core_fatal("assertion", "job '%s' (%s) cannot go from %s to %s", job->id ? job->id : "(internal)", job->driver->job_type,
                   job_status_name(before), job_status_name(status));
    }
    job->status = status;
    if (!job_is_internal(job) && status != before && job_status_change_hook) {
        job_status_change_hook(job, status);
    }
}

int job_apply_verb_locked(Job *job, JobVerb verb)
{
    return job_verbs[verb] & 1u << job->status ? 0 : -EPERM;
}

bool job_is_internal(const Job *job)
{
    return !job->id;
}

bool job_is_cancelled_locked(Job *job)
{
    core_assert(job->cancelled || !job->force_cancel);
    return job->force_cancel;
}

bool job_is_cancelled(Job *job)
{
    JOB_LOCK_GUARD();
    return job_is_cancelled_locked(job);
}

bool job_cancel_requested(Job *job)
{
    JOB_LOCK_GUARD();
    return job->cancelled;
}

bool job_is_ready_locked(Job *job)
{
    return job->status == JOB_STATUS_READY || job->status == JOB_STATUS_STANDBY;
}

bool job_is_ready(Job *job)
{
    JOB_LOCK_GUARD();
    return job_is_ready_locked(job);
}

bool job_is_completed_locked(Job *job)
{
    return job->status >= JOB_STATUS_WAITING;
}

bool job_is_paused(Job *job)
{
    JOB_LOCK_GUARD();
    return job->paused;
}

/* ---- life ---- */

Job *job_next_locked(Job *job)
{
    return job ? LIST_NEXT(job, job_list) : LIST_FIRST(&jobs);
}

Job *job_get_locked(const char *id)
{
    Job *job;

    LIST_FOREACH(job, &jobs, job_list) {
        if (job->id && strcmp(job->id, id) == 0) {
            return job;
        }
    }
    return NULL;
}

/* The sleep is over. In the main thread, without the mutex. */
static void job_sleep_timer_cb(void *opaque)
{
    job_enter(opaque);
}

static int job_check_id_locked(const char *id, int flags)
{
    if (!id != !!(flags & JOB_INTERNAL)) {
        return EINVAL;
    }
    return id && job_get_locked(id) ? EEXIST : 0;
}

void *job_create(const char *id, const JobDriver *driver, AioContext *ctx, int flags, void (*cb)(void *opaque, int ret),
                 void *opaque)
{
    Job *job;
    int error;

    core_assert(qemu_in_main_thread());
    core_assert(driver->run && driver->instance_size >= sizeof(Job));
    JOB_LOCK_GUARD();
    error = job_check_id_locked(id, flags);
    if (error) {
        errno = error;
        return NULL;
    }

    job = g_malloc0(driver->instance_size);
    job->driver = driver;
    job->id = g_strdup(id);
    job->cb = cb;
    job->opaque = opaque;
    job->auto_finalize = !(flags & JOB_MANUAL_FINALIZE);
    job->auto_dismiss = !(flags & JOB_MANUAL_DISMISS);
    job->refcnt = 1;
    job->aio_context = ctx;
    job->paused = true;
    job->pause_count = 1;
    job_state_transition_locked(job, JOB_STATUS_CREATED);
    aio_timer_init(qemu_get_aio_context(), &job->sleep_timer, QEMU_CLOCK_REALTIME, SCALE_NS, job_sleep_timer_cb, job);
    LIST_INSERT_HEAD(&jobs, job, job_list);
    return job;
}

void job_ref_locked(Job *job)
{
    job->refcnt++;
}

void job_unref_locked(Job *job)
{
    core_assert(qemu_in_main_thread());
    core_assert(job->refcnt > 0);
    if (--job->refcnt > 0) {
        return;
    }
    core_assert(job->status == JOB_STATUS_NULL);
    core_assert(!timer_pending(&job->sleep_timer));
    if (job->driver->free) {
        job_unlock();
        job->driver->free(job);
        job_lock();
    }
    LIST_REMOVE(job, job_list);
    g_free(job->id);
    g_free(job);
}

void job_set_aio_context(Job *job, AioContext *ctx)
{
    core_assert(qemu_in_main_thread());
    JOB_LOCK_GUARD();

    /* A coroutine that is in the middle of something would go on with it in another thread. */
    core_assert(job->paused || job_is_completed_locked(job));
    job->aio_context = ctx;
}

void job_progress_update(Job *job, uint64_t done)
{
    JOB_LOCK_GUARD();
    job->progress_done += done;
}

void job_progress_set_remaining(Job *job, uint64_t remaining)
{
    JOB_LOCK_GUARD();
    job->progress_remaining = remaining;
}

/* ---- entering ---- */

void job_event_idle_locked(Job *job)
{
    if (job->on_idle) {
        job->on_idle(job);
    }
}

void job_enter_cond_locked(Job *job, bool (*fn)(Job *job))
{
    if (!job->co || job->deferred_to_main_loop) {
        return;
    }
    if (job->busy) {
        return; /* it runs, or somebody else is about to enter it */
    }
    if (fn && !fn(job)) {
        return;
    }

    /* Both before anybody else can look: the timer must not find a sleeper that somebody has woken (4afeffc857); fault
     * job-entered-while-timer-armed. */
    timer_del(&job->sleep_timer);
    job->busy = true;

    /* The coroutine may run at once, and takes the mutex. */
    job_unlock();
    aio_co_wake(job->co);
    job_lock();
}

void job_enter(Job *job)
{
    JOB_LOCK_GUARD();
    job_enter_cond_locked(job, NULL);
}

/* ---- giving way ---- */

/* Idle until job_enter_cond_locked(), which the timer calls too: at deadline_ns, or never for -1. */
static void coroutine_fn job_do_yield_locked(Job *job, int64_t deadline_ns)
{
    AioContext *ctx;

    if (deadline_ns != -1) {
        timer_mod(&job->sleep_timer, deadline_ns);
    }
    job->busy = false;
    job_event_idle_locked(job);

    /* Who enters it from here on, from another thread, schedules it in this one: after the yield. */
    job_unlock();
    qemu_coroutine_yield();
    job_lock();

    /* The context may have changed during the sleep, and again during the way there. */
    ctx = job->aio_context;
    while (qemu_get_current_aio_context() != ctx) {
        job_unlock();
        aio_co_reschedule_self(ctx);
        job_lock();
        ctx = job->aio_context;
    }
    core_assert(job->busy);
}

static bool job_should_pause_locked(const Job *job)
{
    return job->pause_count > 0;
}

static void coroutine_fn job_pause_point_locked(Job *job)
{
    core_assert(job->co);
    if (!job_should_pause_locked(job) || job_is_cancelled_locked(job)) {
        return;
    }

    if (job->driver->pause) {
        job_unlock();
        job->driver->pause(job);
        job_lock();
    }

    /* Again: the reason may have gone meanwhile. */
    if (job_should_pause_locked(job) && !job_is_cancelled_locked(job)) {
        JobStatus status = job->status;

        job_state_transition_locked(job, status == JOB_STATUS_READY ? JOB_STATUS_STANDBY : JOB_STATUS_PAUSED);
        job->paused = true;
        job_do_yield_locked(job, -1);
        job->paused = false;
        job_state_transition_locked(job, status);
    }

    if (job->driver->resume) {
        job_unlock();
        job->driver->resume(job);
        job_lock();
    }
}

void coroutine_fn job_pause_point(Job *job)
{
    JOB_LOCK_GUARD();
    job_pause_point_locked(job);
}

/* A cancellation that came before finds a busy job, and enters nobody: so it is looked for before the yield. */
static void coroutine_fn job_wait_locked(Job *job, int64_t deadline_ns)
{
    core_assert(job->busy);
    if (job_is_cancelled_locked(job)) {
        return;
    }
    if (!job_should_pause_locked(job)) {
        job_do_yield_locked(job, deadline_ns);
    }
    job_pause_point_locked(job);
}

void coroutine_fn job_yield(Job *job)
{
    JOB_LOCK_GUARD();
    job_wait_locked(job, -1);
}

void coroutine_fn job_sleep_ns_locked(Job *job, int64_t ns)
{
    job_wait_locked(job, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + ns);
}

void coroutine_fn job_sleep_ns(Job *job, int64_t ns)
{
    JOB_LOCK_GUARD();
    job_sleep_ns_locked(job, ns);
}

void job_transition_to_ready(Job *job)
{
    JOB_LOCK_GUARD();
    job_state_transition_locked(job, JOB_STATUS_READY);
}

/* ---- starting and pausing ---- */

/* Before the work there is a pause point: a job can be paused before it has done anything. */
static void coroutine_fn job_co_entry(void *opaque)
{
    Job *job = opaque;
    int ret;

    WITH_JOB_LOCK_GUARD() {
        core_assert(job->aio_context == qemu_get_current_aio_context());
        job_pause_point_locked(job);
    }
    ret = job->driver->run(job);
    WITH_JOB_LOCK_GUARD() {
        job->ret = ret;
        job->deferred_to_main_loop = true;
        job->busy = true;
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), job_exit, job);
}

void job_start(Job *job)
{
    core_assert(qemu_in_main_thread());
    WITH_JOB_LOCK_GUARD() {
        core_assert(!job->co && job->paused);
        job->co = qemu_coroutine_create(job_co_entry, job);
        job->pause_count--;
        job->busy = true;
        job->paused = false;
        job_state_transition_locked(job, JOB_STATUS_RUNNING);
    }
    aio_co_enter(job->aio_context, job->co);
}

void job_pause_locked(Job *job)
{
    job->pause_count++;
    if (!job->paused) {
        job_enter_cond_locked(job, NULL); /* so that it reaches its pause point now and not after its sleep */
    }
}

void job_pause(Job *job)
{
    JOB_LOCK_GUARD();
    job_pause_locked(job);
}

static bool job_timer_not_pending_locked(Job *job)
{
    return !timer_pending(&job->sleep_timer);
}

void job_resume_locked(Job *job)
{
    core_assert(job->pause_count > 0);
    if (--job->pause_count == 0) {
        /* One that has begun to sleep again sleeps on: 7b770c720b was the opposite, a rate limit that let all through. */
        job_enter_cond_locked(job, job_timer_not_pending_locked);
    }
}

void job_resume(Job *job)
{
    JOB_LOCK_GUARD();
    job_resume_locked(job);
}
