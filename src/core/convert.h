/*
 * A conversion: coroutines copy one backend to another, cluster by cluster, while both go on serving their other users.
 *
 * With one worker the conversion's own coroutine copies; with more, each cluster has a coroutine, and it waits when all are busy. The source
 * is flushed first. There is no job around it: nothing to pause, cancel or slow down (backup.h has that).
 *
 * Threads: started by any thread; runs in the context given. From QEMU: qemu-img.c's convert, block/aio_task.c.
 */
#ifndef WAKEFUZZ_CORE_CONVERT_H
#define WAKEFUZZ_CORE_CONVERT_H

#include "core/block_backend.h"

typedef struct Convert {
    /* Set by the caller, and not changed until cb is called. */
    BlockBackend *source, *target; /* both are served in ctx */
    int64_t bytes, cluster_bytes;  /* multiples of BDRV_SECTOR_SIZE */
    unsigned max_workers;          /* 1 or more */
    BlockCompletionFunc *cb;       /* in ctx: 0, or the first error, after which nothing more was begun */
    void *opaque;

    /* The conversion's. */
    Coroutine *co;
    unsigned busy_workers;
    bool waiting; /* co has yielded until a worker ends */
    int ret;
} Convert;

/* Begin; returns at once. It must live until its cb has been called. Any thread. */
void convert_start(Convert *convert, AioContext *ctx);

#endif
