/*
 * Jobs: work in the background that can be paused, sped up, cancelled and waited for.
 *
 * A job is a coroutine in its context, plus a state that the main thread steers. The coroutine gives way only through
 * this layer's functions: then it is idle (busy is false), and job_enter() may let it go on: a request from the main
 * thread, the end of its sleep, or the end of a pause.
 *
 *     job coroutine (its context's thread)            main thread
 *     1  lock; arms the timer; busy = false           a  lock; busy is false: timer deleted, busy = true
 *     2  idle event: kicks who drains                 b  unlock; aio_co_wake(): scheduled in the job's context
 *     3  unlock; yield
 *     4  goes on; lock; busy is true
 *
 * The timer's callback does the same as a and b, under the same lock: of the two, one finds busy true and does nothing
 * (QEMU fc24908e7d).
 *
 * Threads: jobs are made, started, cancelled, completed and freed in the main thread ("main": outside coroutines).
 * job_mutex protects all fields; it is a leaf: no callback of a driver is called with it held. Functions whose names
 * end in _locked are called with the mutex held and may drop it meanwhile; the others take it themselves.
 *
 * Invariants
 *  1. busy is false exactly while the coroutine has yielded through this layer, and nobody has claimed its next entry.
 *     Who sets it to true enters the coroutine, once.
 *  2. The sleep timer is pending only while busy is false.
 *  3. deferred_to_main_loop: the coroutine is through and is not entered any more; a bottom half of the main context
 *     completes the job.
 *  4. force_cancel implies cancelled; neither is ever taken back.
 *  5. paused is true while the coroutine waits for pause_count to become 0, and before the start.
 *
 * From QEMU: job.c, include/qemu/job.h. Transactions of several jobs are not there: each job completes alone.
 */
#ifndef WAKEFUZZ_CORE_JOB_H
#define WAKEFUZZ_CORE_JOB_H

#include "core/aio_context.h"
#include "core/lockable.h"
#include "core/queue.h"

typedef struct Job Job;

typedef enum JobStatus {
    JOB_STATUS_UNDEFINED,
    JOB_STATUS_CREATED,
    JOB_STATUS_RUNNING,
    JOB_STATUS_PAUSED,
    JOB_STATUS_READY,   /* job_transition_to_ready(): it will go on until it is completed or cancelled */
    JOB_STATUS_STANDBY, /* ready, and paused */
    JOB_STATUS_WAITING, /* the coroutine is through */
    JOB_STATUS_PENDING, /* may be finalized */
    JOB_STATUS_ABORTING,
    JOB_STATUS_CONCLUDED, /* over; waits to be dismissed */
    JOB_STATUS_NULL,
    JOB_STATUS__MAX,
} JobStatus;

typedef enum JobVerb {
    JOB_VERB_CANCEL,
    JOB_VERB_PAUSE,
    JOB_VERB_RESUME,
    JOB_VERB_SET_SPEED,
    JOB_VERB_COMPLETE,
    JOB_VERB_FINALIZE,
    JOB_VERB_DISMISS,
    JOB_VERB__MAX,
} JobVerb;

typedef enum JobCreateFlags {
    JOB_DEFAULT = 0,
    JOB_INTERNAL = 1 << 0,        /* no id, no events */
    JOB_MANUAL_FINALIZE = 1 << 1, /* stays in PENDING until job_finalize_locked() */
    JOB_MANUAL_DISMISS = 1 << 2,  /* stays in CONCLUDED until job_dismiss_locked() */
} JobCreateFlags;

/* What a kind of job does. Absent functions are NULL, but for run. All without job_mutex. */
typedef struct JobDriver {
    size_t instance_size; /* of the job's own structure, which begins with a Job */
    const char *job_type;

    /* The work; 0 or a negative errno. In the job's context. It pauses by itself at job_pause_point(). */
    int coroutine_fn (*run)(Job *job);
    /* A pause begins, or has ended: stop and resume what goes on beside the coroutine. In the job's context. */
    void coroutine_fn (*pause)(Job *job);
    void coroutine_fn (*resume)(Job *job);

    /* The rest in the main thread. */
    void (*user_resume)(Job *job);         /* job_user_resume_locked(), or a cancellation of a job that the user paused */
    int (*complete)(Job *job);             /* bring a ready job to its end; 0 or a negative errno */
    int (*prepare)(Job *job);              /* the coroutine has succeeded: last chance to fail; may poll */
    void (*commit)(Job *job);              /* then one of these two */
    void (*abort)(Job *job);
    void (*clean)(Job *job);               /* and this one in any case */
    bool (*cancel)(Job *job, bool force);  /* cancellation was asked for; returns whether it is to be a forced one */
    void (*free)(Job *job);                /* the last reference goes; may poll */
} JobDriver;

struct Job {
    /* Never change. */
    char *id; /* NULL for an internal job */
    const JobDriver *driver;
    void (*cb)(void *opaque, int ret); /* the result; main thread, without the mutex; may be NULL */
    void *opaque;
    bool auto_finalize, auto_dismiss;

    /* Under job_mutex. */
    int refcnt;
    AioContext *aio_context; /* where the coroutine goes on; see job_set_aio_context() */
    Coroutine *co;           /* NULL before the start */
    QEMUTimer sleep_timer;   /* of the main context */
    int pause_count;         /* reasons to pause: 1 before the start, drained sections, the user */
    bool busy;
    bool paused;
    bool user_paused;
    bool cancelled;    /* asked to come to an end; a ready job may still succeed */
    bool force_cancel; /* asked to stop as soon as it can, and to fail with -ECANCELED */
    bool deferred_to_main_loop;
    bool aborting; /* somebody sees to its failure already */
    JobStatus status;
    int ret;
    uint64_t progress_done, progress_remaining;

    /* The coroutine has become idle, or is through. With the mutex held: may not take it. NULL: none. */
    void (*on_idle)(Job *job);

    LIST_ENTRY(Job) job_list;
};

extern QemuMutex job_mutex;

void job_lock(void);
void job_unlock(void);
#define JOB_LOCK_GUARD()      QEMU_LOCK_GUARD(&job_mutex)
#define WITH_JOB_LOCK_GUARD() WITH_QEMU_LOCK_GUARD(&job_mutex)

/* Called at each change of status of a job that has an id; any thread, with the mutex held. NULL: none. */
extern void (*job_status_change_hook)(Job *job, JobStatus status);

/* ------------------------------------------------------------------------------------------- life */

/*
 * Make a job with one reference, which the job itself gives up when it is dismissed: it is in status CREATED, and
 * paused until job_start(). id is copied; NULL for JOB_INTERNAL only. Returns NULL with errno EINVAL or EEXIST. Main.
 */
void *job_create(const char *id, const JobDriver *driver, AioContext *ctx, int flags, void (*cb)(void *opaque, int ret),
                 void *opaque);

/* Let the coroutine begin, in the job's context. Main. */
void job_start(Job *job);

/* A job that was never started goes. Main. */
void job_early_fail(Job *job);

void job_ref_locked(Job *job);
void job_unref_locked(Job *job); /* main; the last one frees the job */

/* The job after job, or the first for NULL; the job of that id. NULL: none. Without references. */
Job *job_next_locked(Job *job);
Job *job_get_locked(const char *id);

/* Let the job go on in ctx from its next entry on. Main, while the job is paused or completed. */
void job_set_aio_context(Job *job, AioContext *ctx);

/* ------------------------------------------------------------------------------------------- state */

const char *job_status_name(JobStatus status);
bool job_is_internal(const Job *job);
/* Must it stop as soon as it can? */
bool job_is_cancelled(Job *job);
bool job_is_cancelled_locked(Job *job);
/* Was it asked to come to an end, by force or not? */
bool job_cancel_requested(Job *job);
bool job_is_ready(Job *job);
bool job_is_ready_locked(Job *job);
bool job_is_completed_locked(Job *job);
bool job_is_paused(Job *job);
/* 0, or -EPERM where a job in this status does not take this command. */
int job_apply_verb_locked(Job *job, JobVerb verb);

/* ------------------------------------------------------------------------------------------- for the coroutine */

/* Pause here, if there is a reason to. Yields. */
void coroutine_fn job_pause_point(Job *job);
/* Give way until somebody enters the job; then a pause point. Returns at once in a cancelled job. */
void coroutine_fn job_yield(Job *job);
/* The same, for ns nanoseconds at most. */
void coroutine_fn job_sleep_ns(Job *job, int64_t ns);
void coroutine_fn job_sleep_ns_locked(Job *job, int64_t ns); /* the mutex is dropped meanwhile */
/* The work that is left is to keep up with what changes: from now on job_complete_locked() ends it. */
void job_transition_to_ready(Job *job);
void job_progress_update(Job *job, uint64_t done);
void job_progress_set_remaining(Job *job, uint64_t remaining);

/* ------------------------------------------------------------------------------------------- steering */

/* Let an idle coroutine go on; nothing where it is busy, not started, or through. Any thread. The second also asks
 * fn(job), with the mutex held, where fn is not NULL. */
void job_enter(Job *job);
void job_enter_cond_locked(Job *job, bool (*fn)(Job *job));

/* One more, or one less, reason to pause. Any thread; they do not wait. */
void job_pause(Job *job);
void job_pause_locked(Job *job);
void job_resume(Job *job);
void job_resume_locked(Job *job);

/* The same as commands: 0, -EPERM in the wrong status, -EALREADY, or -EINVAL where it was not paused. Main. */
int job_user_pause_locked(Job *job);
int job_user_resume_locked(Job *job);

/* Ask it to end: soon with force, else as its driver sees fit. Polls only where the coroutine is through. Main. */
void job_cancel_locked(Job *job, bool force);
int job_user_cancel_locked(Job *job, bool force); /* as a command: 0 or -EPERM */

/* Ask a ready job to end well: 0 or -EPERM, -EBUSY where it is cancelled or cannot, or the driver's error. Main. */
int job_complete_locked(Job *job);
/* A job in PENDING may commit; one in CONCLUDED may go, and *job becomes NULL. 0 or -EPERM. Main. */
int job_finalize_locked(Job *job);
int job_dismiss_locked(Job **job);

/*
 * Wait until the job has completed, after calling finish(job) unless NULL. Main; polls. Returns its result, -ECANCELED
 * where it was cancelled, or -EBUSY where finish() returned an error. The others are the same with job_cancel_locked()
 * or job_complete_locked(), for one or for all jobs.
 */
int job_finish_sync_locked(Job *job, int (*finish)(Job *job));
int job_cancel_sync_locked(Job *job, bool force);
int job_cancel_sync(Job *job, bool force);
int job_complete_sync_locked(Job *job);
void job_cancel_sync_all(void);

/* Ends with "leak" where a job is left. Part of block_reset(). */
void job_reset(void);

#endif
