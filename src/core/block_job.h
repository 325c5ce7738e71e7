/*
 * Jobs on block nodes: a job that is a parent of the nodes that it works on, pauses while they are drained, follows them
 * to another context, and may have a speed.
 *
 * Threads and locking: job.h. Main means the main thread outside coroutines.
 *
 * Invariants
 *  1. A drained section of a node pauses the job; it waits until the job is idle. An idle job is paused already, or
 *     comes to a pause point as soon as it is entered.
 *  2. Becoming idle is followed by a kick: somebody may drain (QEMU 34dc97b9a0).
 *
 * From QEMU: blockjob.c, include/block/blockjob.h.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_JOB_H
#define WAKEFUZZ_CORE_BLOCK_JOB_H

#include "core/block_graph.h"
#include "core/job.h"
#include "core/ratelimit.h"

typedef struct BlockJob {
    Job job; /* first */
    RateLimit limit;
    int64_t speed; /* units a second, 0: no limit; main thread */
    GSList *nodes; /* the edges to nodes; main thread */
} BlockJob;

typedef struct BlockJobDriver {
    JobDriver job_driver; /* first; its free is block_job_free(), or calls it */

    /* The job is busy, and a node is drained: has it requests under way? Absent: yes. Main. */
    bool (*drained_poll)(BlockJob *job);
    /* The speed has changed. Main, without job_mutex. */
    void (*set_speed)(BlockJob *job, int64_t speed);
} BlockJobDriver;

/*
 * Like job_create(), in the context of bs, which becomes the first node ("main node"), with a limit of speed units (0:
 * none) a second. Main; polls: drains everything and takes the graph write lock. NULL with errno set.
 */
void *block_job_create(const char *id, const BlockJobDriver *driver, BlockDriverState *bs, int64_t speed, int flags,
                       void (*cb)(void *opaque, int ret), void *opaque);

/* Let the job be a parent of bs too, which moves to its context; returns the edge. Main; polls, as above. */
BdrvChild *block_job_add_bdrv(BlockJob *job, const char *name, BlockDriverState *bs);
void block_job_remove_all_bdrv(BlockJob *job); /* main; polls */

/* JobDriver.free of a block job. */
void block_job_free(Job *job);

/* Change the speed; a job that sleeps for its old one goes on. 0, -EPERM in the wrong status, or -EINVAL. Main. */
int block_job_set_speed_locked(BlockJob *job, int64_t speed);

/* Account for n units of work, and sleep as long as the speed demands, or yield to a pause. In the job's coroutine. */
void coroutine_fn block_job_ratelimit_processed_bytes(BlockJob *job, uint64_t n);
void coroutine_fn block_job_ratelimit_sleep(BlockJob *job);

#endif
