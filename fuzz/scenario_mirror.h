/*
 * A job of a mirror's kind for targets: it copies or reads in rounds at some speed, may become ready and stay so until it is told to complete,
 * and tells what its driver was asked.
 *
 * Invariants that it checks: a driver's callbacks come in job.h's order and number: prepare before commit; of commit and abort one, then clean,
 * then the result, each once; what fails is not committed, and what is finalized by hand not before somebody asks; a pause has ended when the
 * job goes on; complete() only where the job is ready; it is not faster than its speed while nobody asks for another one, and not slower than the
 * disk where it has none; a copy that has ended well has nothing under way, and leaves nothing dirty in its range.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_MIRROR_H
#define WAKEFUZZ_FUZZ_SCENARIO_MIRROR_H

#include "core/block_job.h"
#include "fuzz/scenario.h"

#define MIRROR_ID "mirror"

/* What it does. The target of a job that copies is as large as its source. */
typedef struct MirrorPlan {
    unsigned rounds;
    int64_t speed;         /* bytes a second; 0: no limit */
    bool copies;           /* each round is a copy to the target; else it reads a sector */
    bool own_limit;        /* the copy has no limit beside the job's */
    uint64_t timeout_ns;   /* of a copy; 0: none */
    bool twice;            /* beside each copy there is another one of a part of it, and then there are two of a part each */
    bool becomes_ready;    /* after the rounds; then it stays until it is to end */
    bool waits_in_queue;   /* its reads wait while its node is drained, and the drain does not wait for them */
    bool prepare_fails;
    bool looks; /* its callbacks in the main thread take job_mutex; one that fails is cancelled once more in its clean-up */
    int flags; /* JobCreateFlags */
} MirrorPlan;

/* What became of it. Main thread but for the raw numbers; lives longer than the job. */
typedef struct Mirror {
    MirrorPlan plan;
    unsigned prepared, told, committed, aborted, cleaned;
    bool may_finalize; /* somebody has asked for it */
    unsigned user_resumes;
    int ret; /* that it told */
    int pauses, resumes; /* raw */
    int timeouts, failures; /* raw */
    int ends; /* raw: it does not wait any longer to be told so */
    unsigned speeds; /* how often its driver heard of another one */
    int speeds_asked; /* raw: how often somebody has begun to ask for one */
} Mirror;

/* Make it, not started yet; NULL where there is one already. Main thread; polls. */
Job *scenario_mirror_new(Mirror *mirror, BlockDriverState *source, BlockDriverState *target, int64_t bytes);

/* It goes without having been started. Main thread; polls. */
void scenario_mirror_early_fail(Job *job);

/* At the end, when the job has gone. */
void scenario_mirror_check(const Mirror *mirror, bool started);

#endif
