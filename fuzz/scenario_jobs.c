#include "fuzz/scenario_jobs.h"

#include <errno.h>
#include <glib.h>

#include "core/backup.h"
#include "core/block_backend.h"
#include "core/block_drivers.h"
#include "core/block_qcow2.h"
#include "core/blockdev.h"
#include "fuzz/fuzz.h"

#define SECTOR 512

/* A job's end is told with the job's own number. */
typedef struct Told {
    ScenarioJobs *jobs;
    unsigned number;
    uint64_t begin_ns, least_ns; /* it needs so long to come to a good end */
} Told;

static void told(void *opaque, int ret)
{
    Told told = *(Told *)opaque;
    unsigned bit = 1u << told.number;

    g_free(opaque);
    fuzz_check(ret == 0 || ret == -ECANCELED);
    fuzz_check(ret < 0 || fuzz_time_ns() - told.begin_ns >= told.least_ns);
    fuzz_check(__atomic_fetch_and(&told.jobs->left, ~bit, __ATOMIC_SEQ_CST) & bit);
    told.jobs->told++;
    if (scenario_is_ending(told.jobs->scenario) && ret == -ECANCELED) {
        fuzz_reached("job-cancelled-while-cleaning-up");
    }
}

static Told *next_job(ScenarioJobs *jobs, char *id, size_t size)
{
    Told *opaque = g_new(Told, 1);

    *opaque = (Told){ .jobs = jobs, .number = jobs->made, .begin_ns = fuzz_time_ns() };
    g_snprintf(id, size, "job%u", jobs->made);
    __atomic_fetch_or(&jobs->left, 1u << jobs->made++, __ATOMIC_SEQ_CST);
    return opaque;
}

/* ---- work */

typedef struct WorkJob {
    BlockJob common; /* first */
    BlockBackend *blk;
    ScenarioJobs *jobs;
    unsigned number;
    ScenarioWork work;
} WorkJob;

static int coroutine_fn work_run(Job *job)
{
    WorkJob *s = (WorkJob *)job;
    uint8_t sector[SECTOR];
    int ret = 0;

    for (unsigned i = 0; i < s->work.rounds && !job_is_cancelled(job) && ret == 0; i++) {
        if (s->work.requests) {
            scenario_add(&s->jobs->requests, 1);
            scenario_add(&s->jobs->begun[s->number], 1);
            ret = blk_co_pread(s->blk, 0, SECTOR, sector, 0);
            scenario_add(&s->jobs->ended[s->number], 1);
            scenario_add(&s->jobs->requests, -1);
        }
        job_sleep_ns(job, s->work.sleep_ns);
    }
    while (s->work.stays && !job_is_cancelled(job)) {
        job_yield(job);
    }
    return ret;
}

static void work_clean(Job *job)
{
    WorkJob *s = (WorkJob *)job;

    blk_unref(s->blk);
    s->blk = NULL;
}

static const BlockJobDriver work_driver = {
    .job_driver = {
        .instance_size = sizeof(WorkJob),
        .job_type = "work",
        .run = work_run,
        .clean = work_clean,
        .free = block_job_free,
    },
};

void scenario_job_work(ScenarioJobs *jobs, BlockDriverState *bs, const ScenarioWork *work)
{
    char id[16];
    WorkJob *s;
    Told *opaque;

    if (jobs->made == SCENARIO_JOBS_MAX) {
        return;
    }
    opaque = next_job(jobs, id, sizeof(id));
    s = block_job_create(id, &work_driver, bs, 0, JOB_DEFAULT, told, opaque);
    fuzz_check(s != NULL);
    s->jobs = jobs;
    s->number = opaque->number;
    s->work = *work;

    /* A job's own requests go on while its node is drained: it is the job that pauses. */
    s->blk = blk_new(bdrv_get_aio_context(bs));
    blk_set_disable_request_queuing(s->blk, true);
    blk_insert_bs(s->blk, bs);
    job_start(&s->common.job);
}

void scenario_jobs_note(ScenarioJobs *jobs)
{
    for (unsigned i = 0; i < SCENARIO_JOBS_MAX; i++) {
        jobs->noted[i] = scenario_get(&jobs->begun[i]);
    }
}

void scenario_jobs_check(const ScenarioJobs *jobs)
{
    for (unsigned i = 0; i < SCENARIO_JOBS_MAX; i++) {
        fuzz_check(scenario_get(&jobs->ended[i]) >= jobs->noted[i]);
    }
}

/* ---- backup */

void scenario_job_backup(ScenarioJobs *jobs, BlockDriverState *source, int64_t bytes, int64_t speed)
{
    BackupOptions options = { .cluster_size = SECTOR, .speed = speed, .max_workers = 2 };
    BlockDriverState *target;
    BlockJob *job;
    Told *opaque;
    char id[16];

    if (jobs->made == SCENARIO_JOBS_MAX) {
        return;
    }
    opaque = next_job(jobs, id, sizeof(id));
    if (speed) {
        opaque->least_ns = (uint64_t)((bytes - SECTOR) / speed) * NANOSECONDS_PER_SECOND; /* the first sector does not wait */
    }
    target = bdrv_new_ram("target", bdrv_get_aio_context(source), bytes);
    bdrv_set_monitor_owned(target);
    job = backup_job_create(id, source, target, bytes, &options, JOB_DEFAULT, told, opaque);
    fuzz_check(job != NULL);
    job_start(&job->job);
}

BlockDriverState *scenario_image(AioContext *ctx, int64_t bytes, unsigned interval_s)
{
    Qcow2Options options = { .cache_clean_interval_s = interval_s };
    BlockDriverState *file = bdrv_new_ram("file", ctx, QCOW2_FILE_BYTES_MAX);
    BlockDriverState *image;

    bdrv_ram_set_completion(file, RAM_COMPLETE_BH, 0);
    image = bdrv_new_qcow2("image", ctx, file, bytes, &options);
    fuzz_check(image != NULL);
    bdrv_set_monitor_owned(file);
    bdrv_set_monitor_owned(image);
    return image;
}
