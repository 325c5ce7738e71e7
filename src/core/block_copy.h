/*
 * Copying what is marked dirty from one node to another, in clusters, with a speed: the engine of backup jobs.
 *
 * A call copies a range. It takes dirty clusters, marks them clean and copies each by a task; a task that fails marks
 * its cluster dirty again. Calls may overlap: one waits for the tasks of others before it looks again. Where the speed
 * is used up the call sleeps, and holds the graph lock meanwhile: block_copy_kick() ends the sleep, so that it looks
 * at its cancellation, or at a new speed.
 *
 * Threads: calls run as coroutines in the context of the nodes, which does not change meanwhile; any thread may kick,
 * cancel, and ask whether a call has finished.
 *
 * Invariants
 *  1. A cluster is dirty, or in the range of one task, or clean.
 *  2. A call that has finished is in no list any more; it only reads its callback, and calls it. So the reference by which its
 *     owner has it must not go before the callback has come.
 *
 * From QEMU: block/block-copy.c, include/block/block-copy.h. Whole clusters by bounce buffer only.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_COPY_H
#define WAKEFUZZ_CORE_BLOCK_COPY_H

#include "core/block_graph.h"

typedef struct BlockCopyState BlockCopyState;
typedef struct BlockCopyCallState BlockCopyCallState;
typedef void (*BlockCopyAsyncCallbackFunc)(void *opaque);

#define BLOCK_COPY_MAX_WORKERS 64

/*
 * For bytes from the start of source to target; both edges belong to the caller, and end at nodes in one context. All
 * is clean at first. cluster_size is a multiple of BDRV_SECTOR_SIZE, and bytes of it. Any thread. Freed when no call is
 * under way.
 */
BlockCopyState *block_copy_state_new(BdrvChild *source, BdrvChild *target, int64_t bytes, int64_t cluster_size);
void block_copy_state_free(BlockCopyState *s);

/* Bytes a second from now on, 0: as fast as it goes. A call that sleeps goes on sleeping: kick it. Any thread. */
void block_copy_set_speed(BlockCopyState *s, uint64_t speed);

/* Mark clusters dirty. offset and bytes are multiples of the cluster size. Coroutines. */
void coroutine_fn block_copy_set_dirty(BlockCopyState *s, int64_t offset, int64_t bytes);
/* How many clusters are dirty. Coroutines. */
int64_t coroutine_fn block_copy_dirty_clusters_count(BlockCopyState *s);

/*
 * Copy a range, and wait. timeout_ns: 0, or for how long to wait; the copy is then cancelled and ends later. 0, the
 * error of the first cluster that failed, or -ETIMEDOUT. Coroutines in the nodes' context, without the graph lock;
 * yields.
 */
int coroutine_fn block_copy(BlockCopyState *s, int64_t offset, int64_t bytes, bool ignore_ratelimit, uint64_t timeout_ns);

/* Start copying a range; cb(opaque) is called in the copy's coroutine when it has finished. In the nodes' home thread,
 * or in a coroutine there. The caller has a reference, and gives it up when the call has finished. */
BlockCopyCallState *block_copy_async(BlockCopyState *s, int64_t offset, int64_t bytes, unsigned max_workers,
                                     BlockCopyAsyncCallbackFunc cb, void *cb_opaque);
void block_copy_call_ref(BlockCopyCallState *call);
void block_copy_call_unref(BlockCopyCallState *call); /* NULL is ignored */

/* End the call's sleep, or the next one; ask it to stop soon, which it may have done already. Any thread; they do not
 * wait. The caller has a reference: where another thread may give up the last one, one of its own. */
void block_copy_kick(BlockCopyCallState *call);
void block_copy_call_cancel(BlockCopyCallState *call);

/* Any thread. The result is there when the call has finished. */
bool block_copy_call_finished(BlockCopyCallState *call);
bool block_copy_call_cancelled(BlockCopyCallState *call);
bool block_copy_call_succeeded(BlockCopyCallState *call);
int block_copy_call_status(BlockCopyCallState *call);

#endif
