/*
 * Jobs for targets that end while these go on: ones that work and sleep, and a backup of an image.
 *
 * Invariants that they check: each job tells its result, and tells it once: success, or cancellation. Whoever waits until no request is
 * under way has waited for theirs.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_JOBS_H
#define WAKEFUZZ_FUZZ_SCENARIO_JOBS_H

#include "core/block_graph.h"
#include "fuzz/scenario.h"

#define SCENARIO_JOBS_MAX 2u

typedef struct ScenarioJobs {
    Scenario *scenario;
    unsigned made, told;
    unsigned left; /* raw: a bit for each that has not told its result */
    int requests;  /* raw: of jobs at work, under way */
    int begun[SCENARIO_JOBS_MAX], ended[SCENARIO_JOBS_MAX]; /* raw: requests of each */
    int noted[SCENARIO_JOBS_MAX]; /* of begun, in scenario_jobs_note() */
} ScenarioJobs;

/* What a job of work does: rounds of an optional request and a sleep. */
typedef struct ScenarioWork {
    unsigned rounds;
    int64_t sleep_ns;
    bool requests, stays; /* stays: after the last round, until it is cancelled */
} ScenarioWork;

/* Start a job called "job0", "job1", ...; beyond SCENARIO_JOBS_MAX nothing happens. Main thread; they poll. */
void scenario_job_work(ScenarioJobs *jobs, BlockDriverState *bs, const ScenarioWork *work);
/* A backup of bytes from source to a new node in memory, the user's, at that speed in bytes a second; 0: as fast as it goes. */
void scenario_job_backup(ScenarioJobs *jobs, BlockDriverState *source, int64_t bytes, int64_t speed);

/* Note which requests have begun; check that all noted ones have ended. Main thread. */
void scenario_jobs_note(ScenarioJobs *jobs);
void scenario_jobs_check(const ScenarioJobs *jobs);

/* An image with a cache cleaner that comes every interval_s seconds, on a file in memory; both the user's nodes. Main thread; polls. */
BlockDriverState *scenario_image(AioContext *ctx, int64_t bytes, unsigned interval_s);

#endif
