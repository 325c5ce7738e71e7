/*
 * Jobs and block jobs, on real threads.
 *
 * The job of these tests works in steps with a sleep after each. A sleep that must not last is of ten minutes: one that does is ended
 * by alarm(). Numbers of rounds: 500 take a few tenths of a second.
 */
#include <errno.h>

#include "core_upper_harness.h"

#include "core/block_drivers.h"
#include "core/block_job.h"

#define FOREVER_NS (600 * NANOSECONDS_PER_SECOND)
#define ROUNDS     500
#define DISK_BYTES (64 * BDRV_SECTOR_SIZE)

/* ------------------------------------------------------------------------------------------- a job that works in steps */

typedef struct StepJob {
    BlockJob common;
    int64_t sleep_ns;
    unsigned steps_max; /* 0: as many as it can */
    bool gets_ready;
    int result;
    bool completes; /* atomic: complete() was called */
} StepJob;

/* What the drivers' functions count: outlives the job. */
enum { STEPS, PAUSES, RESUMES, COMMITS, ABORTS, CLEANS, CALLS, COUNTS };
static unsigned counts[COUNTS]; /* atomic */
static int call_ret;

static void count(unsigned what)
{
    qatomic_inc(&counts[what]);
}

static int coroutine_fn step_job_run(Job *job)
{
    StepJob *s = (StepJob *)job;

    for (unsigned i = 0; !s->steps_max || i < s->steps_max; i++) {
        count(STEPS);
        if (job_is_cancelled(job)) {
            return 0;
        }
        job_progress_update(job, 1);
        job_sleep_ns(job, s->sleep_ns);
    }
    if (s->gets_ready) {
        job_transition_to_ready(job);
        while (!qatomic_read(&s->completes) && !job_cancel_requested(job)) {
            job_sleep_ns(job, 100 * SCALE_US); /* not job_yield(): to enter a job that is busy, as it is here, does nothing */
        }
    }
    return s->result;
}

static void coroutine_fn step_job_pause(Job *job)
{
    (void)job;
    count(PAUSES);
}

static void coroutine_fn step_job_resume(Job *job)
{
    (void)job;
    count(RESUMES);
}

static int step_job_complete(Job *job)
{
    qatomic_set(&((StepJob *)job)->completes, true);
    job_enter(job);
    return 0;
}

static int step_job_prepare(Job *job)
{
    return ((StepJob *)job)->result;
}

static void step_job_commit(Job *job)
{
    (void)job;
    count(COMMITS);
}

static void step_job_abort(Job *job)
{
    (void)job;
    count(ABORTS);
}

static void step_job_clean(Job *job)
{
    (void)job;
    count(CLEANS);
}

/* A ready job ends well when it is cancelled softly. */
static bool step_job_cancel(Job *job, bool force)
{
    return force || !job_is_ready(job);
}

#define STEP_JOB_DRIVER                                                                                               \
    .instance_size = sizeof(StepJob), .job_type = "step", .run = step_job_run, .pause = step_job_pause,               \
    .resume = step_job_resume, .complete = step_job_complete, .prepare = step_job_prepare, .commit = step_job_commit, \
    .abort = step_job_abort, .clean = step_job_clean, .cancel = step_job_cancel

static const JobDriver step_job = { STEP_JOB_DRIVER };
static const BlockJobDriver step_block_job = { .job_driver = { STEP_JOB_DRIVER, .free = block_job_free } };

static void step_job_cb(void *opaque, int ret)
{
    (void)opaque;
    count(CALLS);
    call_ret = ret;
}

static StepJob *step_job_new(AioContext *ctx, unsigned steps_max, int64_t sleep_ns, int flags)
{
    StepJob *s = job_create("job0", &step_job, ctx, flags, step_job_cb, NULL);

    g_assert_nonnull(s);
    s->steps_max = steps_max;
    s->sleep_ns = sleep_ns;
    return s;
}

static void jobs_up(unsigned threads)
{
    core_up(threads);
    memset(counts, 0, sizeof(counts));
    call_ret = 1;
}

static void wait_for(const unsigned *counter, unsigned value)
{
    while (qatomic_read(counter) < value) {
        aio_poll(qemu_get_aio_context(), false);
        g_thread_yield();
    }
}

static int finish(Job *job)
{
    JOB_LOCK_GUARD();
    return job_finish_sync_locked(job, NULL);
}

static void expect_end(int ret)
{
    g_assert_cmpuint(counts[CALLS], ==, 1);
    g_assert_cmpint(call_ret, ==, ret);
    g_assert_cmpuint(counts[COMMITS], ==, ret == 0);
    g_assert_cmpuint(counts[ABORTS], ==, ret != 0);
    g_assert_cmpuint(counts[CLEANS], ==, 1);
    JOB_LOCK_GUARD();
    g_assert_null(job_next_locked(NULL));
}

/* ------------------------------------------------------------------------------------------- from start to end */

static unsigned statuses[16];
static unsigned status_count;

static void note_status(Job *job, JobStatus status)
{
    (void)job;
    g_assert_cmpuint(status_count, <, G_N_ELEMENTS(statuses));
    statuses[status_count++] = status;
}

static void test_runs_to_its_end(gconstpointer data)
{
    static const unsigned expected[] = { JOB_STATUS_CREATED, JOB_STATUS_RUNNING,   JOB_STATUS_WAITING,
                                         JOB_STATUS_PENDING, JOB_STATUS_CONCLUDED, JOB_STATUS_NULL };
    StepJob *s;

    jobs_up(1);
    status_count = 0;
    job_status_change_hook = note_status;
    s = step_job_new(any_ctx(GPOINTER_TO_UINT(data)), 5, 1000, JOB_DEFAULT);
    job_start(&s->common.job);
    g_assert_cmpint(finish(&s->common.job), ==, 0);
    job_status_change_hook = NULL;
    g_assert_cmpuint(counts[STEPS], ==, 5);
    g_assert_cmpuint(status_count, ==, G_N_ELEMENTS(expected));
    g_assert_cmpint(memcmp(statuses, expected, sizeof(expected)), ==, 0);
    expect_end(0);
    core_down();
}

static void test_fails(void)
{
    StepJob *s;

    jobs_up(1);
    s = step_job_new(thread_ctx(0), 1, 0, JOB_DEFAULT);
    s->result = -EIO;
    job_start(&s->common.job);
    g_assert_cmpint(finish(&s->common.job), ==, -EIO);
    expect_end(-EIO);
    core_down();
}

static void test_ids(void)
{
    StepJob *s, *internal;

    jobs_up(0);
    s = step_job_new(qemu_get_aio_context(), 1, 0, JOB_DEFAULT);
    g_assert_null(job_create("job0", &step_job, qemu_get_aio_context(), JOB_DEFAULT, NULL, NULL));
    g_assert_cmpint(errno, ==, EEXIST);
    g_assert_null(job_create(NULL, &step_job, qemu_get_aio_context(), JOB_DEFAULT, NULL, NULL));
    g_assert_cmpint(errno, ==, EINVAL);
    g_assert_null(job_create("job1", &step_job, qemu_get_aio_context(), JOB_INTERNAL, NULL, NULL));
    g_assert_cmpint(errno, ==, EINVAL);
    internal = job_create(NULL, &step_job, qemu_get_aio_context(), JOB_INTERNAL, NULL, NULL);
    g_assert_nonnull(internal);
    WITH_JOB_LOCK_GUARD() {
        g_assert_true(job_get_locked("job0") == &s->common.job);
        g_assert_null(job_get_locked("job1"));
    }
    job_early_fail(&s->common.job);
    job_early_fail(&internal->common.job);
    core_down();
}

static void test_by_hand(void)
{
    StepJob *s;
    Job *job;

    jobs_up(1);
    s = step_job_new(thread_ctx(0), 1, 0, JOB_MANUAL_FINALIZE | JOB_MANUAL_DISMISS);
    job = &s->common.job;
    job_start(job);
    g_assert_cmpint(finish(job), ==, 0);
    WITH_JOB_LOCK_GUARD() {
        g_assert_cmpint(job->status, ==, JOB_STATUS_PENDING);
        g_assert_cmpint(job_dismiss_locked(&job), ==, -EPERM);
        g_assert_cmpuint(counts[COMMITS], ==, 0);
        g_assert_cmpint(job_finalize_locked(job), ==, 0);
        g_assert_cmpint(job->status, ==, JOB_STATUS_CONCLUDED);
        g_assert_cmpint(job_finalize_locked(job), ==, -EPERM);
        g_assert_cmpint(job_dismiss_locked(&job), ==, 0);
        g_assert_null(job);
    }
    expect_end(0);
    core_down();
}

/* ------------------------------------------------------------------------------------------- cancellation */

/* Hangs for ten minutes where cancelling does not end the sleep. */
static void test_cancel_ends_the_sleep(gconstpointer data)
{
    jobs_up(1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        StepJob *s = step_job_new(any_ctx(GPOINTER_TO_UINT(data)), 0, FOREVER_NS, JOB_DEFAULT);

        memset(counts, 0, sizeof(counts));
        job_start(&s->common.job);
        if (i % 2) {
            wait_for(&counts[STEPS], 1);
        }
        g_assert_cmpint(job_cancel_sync(&s->common.job, true), ==, -ECANCELED);
        expect_end(-ECANCELED);
    }
    core_down();
}

static void test_cancel_before_the_start(void)
{
    StepJob *s;

    jobs_up(0);
    s = step_job_new(qemu_get_aio_context(), 1, 0, JOB_DEFAULT);
    g_assert_cmpint(job_cancel_sync(&s->common.job, false), ==, -ECANCELED);
    g_assert_cmpuint(qatomic_read(&counts[STEPS]), ==, 0);
    expect_end(-ECANCELED);
    core_down();
}

static void test_cancel_what_the_user_paused(void)
{
    StepJob *s;

    jobs_up(1);
    s = step_job_new(thread_ctx(0), 0, 0, JOB_DEFAULT);
    job_start(&s->common.job);
    wait_for(&counts[STEPS], 10);
    WITH_JOB_LOCK_GUARD() {
        g_assert_cmpint(job_user_pause_locked(&s->common.job), ==, 0);
        g_assert_cmpint(job_user_pause_locked(&s->common.job), ==, -EALREADY);
    }
    wait_for(&counts[PAUSES], 1);
    g_assert_cmpint(job_cancel_sync(&s->common.job, true), ==, -ECANCELED);
    g_assert_cmpuint(qatomic_read(&counts[RESUMES]), ==, 1);
    expect_end(-ECANCELED);
    core_down();
}

/* The coroutine is through, and job_exit() waits in the main context: finalized once, by one of the two. */
static void test_cancel_what_is_through(void)
{
    StepJob *s;
    bool through = false;

    jobs_up(1);
    s = step_job_new(thread_ctx(0), 1, 0, JOB_DEFAULT);
    job_start(&s->common.job);

    /* No poll of the main context here, so that job_exit() waits; but the sleep's timer is one of its own. */
    while (!through) {
        job_enter(&s->common.job);
        WITH_JOB_LOCK_GUARD() {
            through = s->common.job.deferred_to_main_loop;
        }
    }
    g_assert_cmpint(job_cancel_sync(&s->common.job, true), ==, -ECANCELED);
    expect_end(-ECANCELED);
    core_down();
}

static void test_cancel_all(void)
{
    jobs_up(2);
    for (unsigned i = 0; i < 3; i++) {
        StepJob *s = job_create(NULL, &step_job, any_ctx(i), JOB_INTERNAL, NULL, NULL);

        s->sleep_ns = i == 0 ? 0 : FOREVER_NS;
        if (i < 2) {
            job_start(&s->common.job);
        }
    }
    job_cancel_sync_all();
    WITH_JOB_LOCK_GUARD() {
        g_assert_null(job_next_locked(NULL));
    }
    core_down();
}

/* ------------------------------------------------------------------------------------------- ready, pause */

static void test_ready_job_completes(void)
{
    StepJob *s;

    jobs_up(1);
    s = step_job_new(thread_ctx(0), 1, 0, JOB_DEFAULT);
    s->gets_ready = true;
    WITH_JOB_LOCK_GUARD() {
        g_assert_cmpint(job_complete_locked(&s->common.job), ==, -EPERM);
    }
    job_start(&s->common.job);
    while (!job_is_ready(&s->common.job)) {
        aio_poll(qemu_get_aio_context(), false);
    }
    WITH_JOB_LOCK_GUARD() {
        g_assert_cmpint(job_complete_sync_locked(&s->common.job), ==, 0);
    }
    expect_end(0);
    core_down();
}

/* Softly: it ends, and has succeeded. */
static void test_ready_job_is_cancelled_softly(void)
{
    StepJob *s;

    jobs_up(1);
    s = step_job_new(thread_ctx(0), 1, 0, JOB_DEFAULT);
    s->gets_ready = true;
    job_start(&s->common.job);
    while (!job_is_ready(&s->common.job)) {
        aio_poll(qemu_get_aio_context(), false);
    }
    g_assert_cmpint(job_cancel_sync(&s->common.job, false), ==, 0);
    expect_end(0);
    core_down();
}

static bool job_is_idle(Job *job)
{
    JOB_LOCK_GUARD();
    return !job->busy;
}

/* Two reasons: the job stands still until both are gone. */
static void test_pauses_nest(void)
{
    StepJob *s;
    unsigned steps;

    jobs_up(1);
    s = step_job_new(thread_ctx(0), 0, 0, JOB_DEFAULT);
    job_start(&s->common.job);
    wait_for(&counts[STEPS], 10);
    job_pause(&s->common.job);
    job_pause(&s->common.job);
    while (!job_is_paused(&s->common.job) || !job_is_idle(&s->common.job)) {
        aio_poll(qemu_get_aio_context(), false);
    }
    steps = qatomic_read(&counts[STEPS]);
    job_resume(&s->common.job);
    flush_threads();
    g_assert_true(job_is_paused(&s->common.job));
    g_assert_cmpuint(qatomic_read(&counts[STEPS]), ==, steps);
    job_resume(&s->common.job);
    wait_for(&counts[STEPS], steps + 10);
    g_assert_cmpint(job_cancel_sync(&s->common.job, true), ==, -ECANCELED);
    core_down();
}

/* Sleeps of no time, so that timer, enter, pause and resume all find it on its way into or out of one. Fails, by a double entry, where
 * the timer and somebody else enter one sleep. */
static void test_timer_and_enter_meet(void)
{
    StepJob *s;

    jobs_up(1);
    s = step_job_new(thread_ctx(0), 0, 1000, JOB_DEFAULT);
    job_start(&s->common.job);
    for (unsigned i = 0; i < ROUNDS; i++) {
        job_enter(&s->common.job);
        aio_poll(qemu_get_aio_context(), false);
        job_pause(&s->common.job);
        aio_poll(qemu_get_aio_context(), false);
        job_resume(&s->common.job);
    }
    g_assert_cmpint(job_cancel_sync(&s->common.job, true), ==, -ECANCELED);
    expect_end(-ECANCELED);
    core_down();
}

/* ------------------------------------------------------------------------------------------- on block nodes */

static StepJob *step_block_job_new(BlockDriverState *bs, int64_t sleep_ns)
{
    StepJob *s = block_job_create("job0", &step_block_job, bs, 0, JOB_DEFAULT, step_job_cb, NULL);

    g_assert_nonnull(s);
    s->sleep_ns = sleep_ns;
    return s;
}

/* Hangs where the idle job does not kick; fails where a drained section does not pause. */
static void test_drain_pauses(gconstpointer data)
{
    BlockDriverState *bs;
    StepJob *s;

    jobs_up(1);
    bs = bdrv_new_ram("disk", any_ctx(GPOINTER_TO_UINT(data)), DISK_BYTES);
    s = step_block_job_new(bs, 1000);
    job_start(&s->common.job);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned steps;

        bdrv_drained_begin(bs);
        steps = qatomic_read(&counts[STEPS]);
        flush_threads();
        g_assert_cmpuint(qatomic_read(&counts[STEPS]), ==, steps);
        bdrv_drained_end(bs);
    }
    wait_for(&counts[STEPS], qatomic_read(&counts[STEPS]) + 1);
    g_assert_cmpint(job_cancel_sync(&s->common.job, true), ==, -ECANCELED);
    bdrv_unref(bs);
    core_down();
}

/* The job follows its node, and its other node follows the job. */
static void test_context_changes(void)
{
    BlockDriverState *bs, *other;
    StepJob *s;

    jobs_up(2);
    bs = bdrv_new_ram("disk", any_ctx(1), DISK_BYTES);
    other = bdrv_new_ram("other", any_ctx(2), DISK_BYTES);
    s = step_block_job_new(bs, 1000);
    block_job_add_bdrv(&s->common, "other", other);
    g_assert_true(bdrv_get_aio_context(other) == any_ctx(1));
    job_start(&s->common.job);
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        AioContext *ctx = any_ctx(i % 3);

        bdrv_try_change_aio_context(i % 2 ? bs : other, ctx);
        g_assert_true(bdrv_get_aio_context(bs) == ctx);
        g_assert_true(bdrv_get_aio_context(other) == ctx);
        WITH_JOB_LOCK_GUARD() {
            g_assert_true(s->common.job.aio_context == ctx);
        }
    }
    g_assert_cmpint(job_cancel_sync(&s->common.job, true), ==, -ECANCELED);
    bdrv_unref(bs);
    bdrv_unref(other);
    core_down();
}

/* Hangs for ten minutes where a higher speed does not end a sleep of the old one. */
static void test_speed_change_ends_the_sleep(void)
{
    BlockDriverState *bs;
    StepJob *s;

    jobs_up(1);
    bs = bdrv_new_ram("disk", thread_ctx(0), DISK_BYTES);
    s = step_block_job_new(bs, FOREVER_NS);
    job_start(&s->common.job);
    wait_for(&counts[STEPS], 1);
    for (unsigned i = 2; i < 10; i++) {
        while (!job_is_idle(&s->common.job)) {
            g_thread_yield();
        }
        WITH_JOB_LOCK_GUARD() {
            g_assert_cmpint(block_job_set_speed_locked(&s->common, -1), ==, -EINVAL);
            g_assert_cmpint(block_job_set_speed_locked(&s->common, i * 1000), ==, 0);
        }
        wait_for(&counts[STEPS], i);
    }
    g_assert_cmpint(job_cancel_sync(&s->common.job, true), ==, -ECANCELED);
    bdrv_unref(bs);
    core_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/job/runs-to-its-end/main-context", GUINT_TO_POINTER(0), test_runs_to_its_end);
    g_test_add_data_func("/job/runs-to-its-end/thread", GUINT_TO_POINTER(1), test_runs_to_its_end);
    g_test_add_func("/job/fails", test_fails);
    g_test_add_func("/job/ids", test_ids);
    g_test_add_func("/job/finalized-and-dismissed-by-hand", test_by_hand);
    g_test_add_data_func("/job/cancel/ends-the-sleep/main-context", GUINT_TO_POINTER(0), test_cancel_ends_the_sleep);
    g_test_add_data_func("/job/cancel/ends-the-sleep/thread", GUINT_TO_POINTER(1), test_cancel_ends_the_sleep);
    g_test_add_func("/job/cancel/before-the-start", test_cancel_before_the_start);
    g_test_add_func("/job/cancel/what-the-user-paused", test_cancel_what_the_user_paused);
    g_test_add_func("/job/cancel/what-is-through", test_cancel_what_is_through);
    g_test_add_func("/job/cancel/all", test_cancel_all);
    g_test_add_func("/job/ready/completes", test_ready_job_completes);
    g_test_add_func("/job/ready/cancelled-softly", test_ready_job_is_cancelled_softly);
    g_test_add_func("/job/pauses-nest", test_pauses_nest);
    g_test_add_func("/job/timer-and-enter-meet", test_timer_and_enter_meet);
    g_test_add_data_func("/block-job/drain-pauses/main-context", GUINT_TO_POINTER(0), test_drain_pauses);
    g_test_add_data_func("/block-job/drain-pauses/thread", GUINT_TO_POINTER(1), test_drain_pauses);
    g_test_add_func("/block-job/context-changes", test_context_changes);
    g_test_add_func("/block-job/speed-change-ends-the-sleep", test_speed_change_ends_the_sleep);
    return g_test_run();
}
