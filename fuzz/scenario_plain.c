#include "fuzz/scenario_plain.h"

#include <errno.h>

#include "core/job.h"

#define PLAIN_ID  "plain"
#define SLEEP_NS  (600 * NANOSECONDS_PER_SECOND)
#define PROMPT_NS (50 * NANOSECONDS_PER_SECOND)

enum {
    IN_MAIN = 1,
    PAUSED_BEFORE_ITS_START = 2,
    PAUSED_IN_ITS_SLEEP = 4,
    PAUSED_TWICE = 8,
    BECOMES_READY = 16,
    HEARS_OF_CANCEL = 32,
};

typedef struct PlainJob {
    Job common; /* first */
    uint8_t flags;
    int held;   /* raw: paused before it has begun, and nobody has resumed it */
    int rounds; /* raw: how often it has begun to sleep */
} PlainJob;

/* ---- the job */

static int coroutine_fn plain_run(Job *job)
{
    PlainJob *s = (PlainJob *)job;

    fuzz_check(!scenario_get(&s->held));
    if (s->flags & BECOMES_READY) {
        job_transition_to_ready(job);
    }
    while (!job_cancel_requested(job)) {
        scenario_add(&s->rounds, 1);
        job_sleep_ns(job, SLEEP_NS);
    }
    return 0;
}

/* It comes to a good end, and is not stopped. */
static bool plain_cancel(Job *job, bool force)
{
    (void)job;
    return force;
}

static const JobDriver plain_driver = { .instance_size = sizeof(PlainJob), .job_type = "plain", .run = plain_run };
static const JobDriver hearing_driver = {
    .instance_size = sizeof(PlainJob),
    .job_type = "plain",
    .run = plain_run,
    .cancel = plain_cancel,
};

/* ---- what is done to it */

static void settle_bh(void *opaque)
{
    (void)opaque;
}

/* It sleeps, or is paused, most likely. */
static void settle(PlainJob *s)
{
    AioContext *ctx = s->common.aio_context; /* never changes */

    if (ctx != qemu_get_aio_context()) {
        aio_wait_bh_oneshot(ctx, settle_bh, NULL);
    }
}

static void user_pause(PlainJob *s)
{
    JOB_LOCK_GUARD();
    fuzz_check(job_user_pause_locked(&s->common) == 0);
    fuzz_check(job_user_pause_locked(&s->common) == -EALREADY);
}

static void user_resume(PlainJob *s)
{
    scenario_set(&s->held, 0);
    JOB_LOCK_GUARD();
    fuzz_check(job_user_resume_locked(&s->common) == 0);
}

/* Another reason to pause comes and goes. */
static void pause_again(PlainJob *s)
{
    int rounds = scenario_get(&s->rounds);

    if (job_is_paused(&s->common)) {
        fuzz_reached("job-is-paused-for-two-reasons");
        job_pause(&s->common);
        settle(s);
        fuzz_check(scenario_get(&s->rounds) == rounds);
        job_resume(&s->common);
        settle(s);
        fuzz_check(scenario_get(&s->rounds) == rounds);
    }
}

static void pause_and_resume(PlainJob *s)
{
    if (s->flags & PAUSED_IN_ITS_SLEEP && !scenario_get(&s->held)) {
        user_pause(s);
        settle(s);
    }
    if (s->common.user_paused) { /* this thread alone changes it */
        if (s->flags & PAUSED_TWICE) {
            pause_again(s);
        }
        user_resume(s);
        settle(s);
    }
}

static void complete(PlainJob *s)
{
    JOB_LOCK_GUARD();
    bool ready = job_is_ready_locked(&s->common);

    fuzz_check(job_complete_locked(&s->common) == (ready ? -EBUSY : -EPERM));
    fuzz_check(job_complete_sync_locked(&s->common) == -EBUSY);
}

/* Softly only in its sleep: where it is about to sleep, it would find out afterwards. */
static void cancel(PlainJob *s)
{
    JOB_LOCK_GUARD();
    bool softly = s->flags & HEARS_OF_CANCEL && !s->common.busy;

    if (softly) {
        fuzz_reached("job-is-cancelled-softly-in-its-sleep");
    }
    job_cancel_locked(&s->common, !softly);
}

static bool is_there(void)
{
    JOB_LOCK_GUARD();
    return job_get_locked(PLAIN_ID);
}

void scenario_plain_job(Scenario *scenario, FuzzInput *in)
{
    uint8_t flags = fuzz_byte(in);
    AioContext *ctx = scenario_context(scenario, flags & IN_MAIN ? 0 : 1);
    PlainJob *s = job_create(PLAIN_ID, flags & HEARS_OF_CANCEL ? &hearing_driver : &plain_driver, ctx, JOB_DEFAULT, NULL, NULL);
    uint64_t begin_ns = fuzz_time_ns();

    fuzz_check(s != NULL);
    s->flags = flags;
    if (flags & PAUSED_BEFORE_ITS_START) {
        scenario_set(&s->held, 1);
        user_pause(s);
    }
    job_start(&s->common);
    settle(s);
    pause_and_resume(s);
    complete(s);
    cancel(s);
    while (is_there()) {
        aio_poll(qemu_get_aio_context(), true);
    }
    fuzz_check(fuzz_time_ns() - begin_ns < PROMPT_NS);
}
