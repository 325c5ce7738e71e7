/*
 * BlockBackend: how a device, an export or a job uses the block graph; a root of it.
 *
 * A backend has at most one edge, "root", to a node. Requests through a backend that is drained are put into a queue
 * and go on when the section ends.
 *
 * Threads: backends are made, named, connected and destroyed in the main thread ("main": outside coroutines; such
 * functions may poll the main context). Requests come from any thread.
 *
 * Invariants
 *  1. blk->in_flight counts each request from before it looks at quiesce_counter until its callback has returned, but
 *     for the time that it spends in the queue.
 *  2. A request that leaves the queue is counted by whoever takes it out, not by itself: it may be far from running
 *     (QEMU 8eeaa706ba).
 *  3. A request gets into the queue under queued_requests_lock, which it takes before it counts itself out: the end of
 *     the section either finds it there or comes before.
 *
 * From QEMU: block/block-backend.c, include/system/block-backend.h.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_BACKEND_H
#define WAKEFUZZ_CORE_BLOCK_BACKEND_H

#include "core/aiocb.h"
#include "core/block_graph.h"

typedef struct BlockBackend BlockBackend;

/* What a device wants to know. All in the main thread, none may poll; absent functions are NULL. */
typedef struct BlockDevOps {
    /* The outermost drained section begins: send no more requests. */
    void (*drained_begin)(void *opaque);
    /* Has the device requests under way that the backend does not know of? Called again and again, may set things in
     * motion. */
    bool (*drained_poll)(void *opaque);
    /* The last drained section has ended. */
    void (*drained_end)(void *opaque);
} BlockDevOps;

/* ------------------------------------------------------------------------------------------- life */

/* Make a backend with one reference, no node and no name. Main. */
BlockBackend *blk_new(AioContext *ctx);

/* Take or drop a reference. Main. The last unref removes the node and so polls; the backend must have no name any
 * more. NULL is ignored by blk_unref(). */
void blk_ref(BlockBackend *blk);
void blk_unref(BlockBackend *blk);

/* Put the backend into the list of names, or take it out. Main. The list has no reference. Names are unique;
 * monitor_add_blk() returns 0 or -EEXIST. */
int monitor_add_blk(BlockBackend *blk, const char *name);
void monitor_remove_blk(BlockBackend *blk);

/* The name, or "" for none; the backend of that name, or NULL. Main. */
const char *blk_name(const BlockBackend *blk);
BlockBackend *blk_by_name(const char *name);

/* The named backend after blk, or the first for NULL; NULL at the end. Main. */
BlockBackend *blk_next(BlockBackend *blk);

/* The backend after blk, named or not, or the first for NULL; NULL at the end. Main. */
BlockBackend *blk_all_next(BlockBackend *blk);

/* Remove the node of each backend that has one. Main; polls. */
void blk_remove_all_bs(void);

/* How many backends there are, named or not. Main. */
unsigned blk_count(void);

/* The initial state; fails as "leak" where a backend is left. See block_reset(). */
void blk_reset(void);

/* ------------------------------------------------------------------------------------------- the node */

/*
 * Connect to bs (takes a reference of its own), or remove the connection, or change it. Main; polls. blk_insert_bs()
 * and blk_replace_bs() drain everything; blk_remove_bs() drains the backend; all take the graph write lock.
 */
void blk_insert_bs(BlockBackend *blk, BlockDriverState *bs);
void blk_remove_bs(BlockBackend *blk);
void blk_replace_bs(BlockBackend *blk, BlockDriverState *new_bs);

/* The node, or NULL. Main, or under the graph read lock. */
BlockDriverState *blk_bs(BlockBackend *blk);

/* Where the backend's callbacks belong. Any thread; it may change while the backend is drained. */
AioContext *blk_get_aio_context(BlockBackend *blk);

/* Move the backend with all that is connected to it. Main; polls: drains everything. */
void blk_set_aio_context(BlockBackend *blk, AioContext *ctx);

/* ------------------------------------------------------------------------------------------- drain */

/* Who uses the backend: at most one at a time, NULL for none. Main. Called inside a drained section,
 * ops->drained_begin() is called at once. */
void blk_set_dev_ops(BlockBackend *blk, const BlockDevOps *ops, void *opaque);

/* Let requests through while the backend is drained: for users that stop their requests by themselves, and for
 * requests that are part of one that is under way. Any thread, while no request is under way. */
void blk_set_disable_request_queuing(BlockBackend *blk, bool disable);

/* Wait until no request is under way in the backend, and in its node and all above it. Main; polls. */
void blk_drain(BlockBackend *blk);

/* Count a request in or out. Any thread; blk_dec_in_flight() wakes those who drain. For users with requests of their
 * own kind. */
void blk_inc_in_flight(BlockBackend *blk);
void blk_dec_in_flight(BlockBackend *blk);
unsigned blk_in_flight(BlockBackend *blk);

/* Is the backend in a drained section? A request may sleep in its queue then. Any thread; true for certain only in the
 * main thread. */
bool blk_is_quiesced(BlockBackend *blk);

/* ------------------------------------------------------------------------------------------- requests */

/*
 * One request. Coroutines of any thread, without the graph lock; may yield, and waits as long as the backend is
 * drained. offset and bytes are multiples of BDRV_SECTOR_SIZE. Returns 0 or a negative errno: -ENOMEDIUM without a
 * node, and those of bdrv_co_preadv().
 */
int coroutine_fn blk_co_preadv(BlockBackend *blk, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags);
int coroutine_fn blk_co_pwritev(BlockBackend *blk, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags);
int coroutine_fn blk_co_pread(BlockBackend *blk, int64_t offset, int64_t bytes, void *buf, BdrvRequestFlags flags);
int coroutine_fn blk_co_pwrite(BlockBackend *blk, int64_t offset, int64_t bytes, const void *buf, BdrvRequestFlags flags);
int coroutine_fn blk_co_flush(BlockBackend *blk);

/* Length in bytes, or a negative errno. Coroutines of any thread; may yield. It reads the graph and is no request: a
 * drained section does not wait for it, a graph writer does. */
int64_t coroutine_fn blk_co_getlength(BlockBackend *blk);

/*
 * The same requests for callers outside coroutines: cb(opaque, ret) is called when the request has ended, in the
 * calling thread, and never before the call has returned. Any thread that has an AioContext; does not block. qiov must
 * live until then.
 */
void blk_aio_preadv(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, BdrvRequestFlags flags, BlockCompletionFunc *cb,
                    void *opaque);
void blk_aio_pwritev(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, BdrvRequestFlags flags, BlockCompletionFunc *cb,
                     void *opaque);
void blk_aio_flush(BlockBackend *blk, BlockCompletionFunc *cb, void *opaque);

#endif
