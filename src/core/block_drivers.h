/*
 * The kinds of nodes there are: a disk in memory, and a filter.
 *
 * Threads: nodes are made in the main thread; how a disk completes its requests may be changed by any thread at any
 * time.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_DRIVERS_H
#define WAKEFUZZ_CORE_BLOCK_DRIVERS_H

#include "core/block_graph.h"

/* How a request to a disk in memory completes. Data moves at that moment, not when the request is sent. */
typedef enum RamCompletion {
    RAM_COMPLETE_SYNC,  /* before the driver returns; it never yields */
    RAM_COMPLETE_BH,    /* from a bottom half in the node's context */
    RAM_COMPLETE_TIMER, /* from a timer in the node's context */
    RAM_COMPLETE_POOL,  /* by a worker of the requesting thread's pool */
} RamCompletion;

/*
 * A disk of that many bytes (a multiple of BDRV_SECTOR_SIZE) in memory, all zeros, with one reference for the caller.
 * With a "backing" edge it is an overlay: sectors that were never written show the backing node. Requests complete as
 * RAM_COMPLETE_SYNC. Main thread; does not poll.
 */
BlockDriverState *bdrv_new_ram(const char *node_name, AioContext *ctx, int64_t bytes);

/* How requests that start from now on complete; latency_ns is 0 or more, and counts for RAM_COMPLETE_TIMER only. Any
 * thread. */
void bdrv_ram_set_completion(BlockDriverState *bs, RamCompletion completion, int64_t latency_ns);

/* The next request that completes does so with -error (a positive errno) and moves no data. Any thread. */
void bdrv_ram_fail_next(BlockDriverState *bs, int error);

/*
 * A node that passes all requests to its "file" child: child_bs, to which it takes a reference, or for NULL none yet
 * (for bdrv_append()). Has one reference for the caller. Main thread; polls where child_bs is given: drains everything
 * and takes the graph write lock.
 */
BlockDriverState *bdrv_new_filter(const char *node_name, AioContext *ctx, BlockDriverState *child_bs);

#endif
