/*
 * The backup job: copies a node to another one, by block-copy calls in the background, at the job's speed.
 *
 * The job's coroutine starts a call and sleeps until it has finished. A pause cancels the call, and what is still dirty
 * is the next call's; so does the job's cancellation. A new speed kicks the call, from the main thread, while it may be
 * asleep, or just finishing, in the job's context.
 *
 * Threads and locking: job.h, block_job.h.
 *
 * From QEMU: block/backup.c with sync=full. A cluster that fails ends the job.
 */
#ifndef WAKEFUZZ_CORE_BACKUP_H
#define WAKEFUZZ_CORE_BACKUP_H

#include "core/block_job.h"

typedef struct BackupOptions {
    int64_t cluster_size; /* a multiple of BDRV_SECTOR_SIZE, and the length one of it */
    int64_t speed;        /* bytes a second, 0: as fast as it goes */
    unsigned max_workers; /* clusters at a time, above 0 */
} BackupOptions;

/*
 * Make a job that copies bytes from the start of source to target, which moves to source's context. Start it by
 * job_start(). Flags, cb and errors: job_create(). Main; polls.
 */
BlockJob *backup_job_create(const char *id, BlockDriverState *source, BlockDriverState *target, int64_t bytes,
                            const BackupOptions *options, int flags, void (*cb)(void *opaque, int ret), void *opaque);

#endif
