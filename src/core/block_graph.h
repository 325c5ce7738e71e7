/*
 * The block graph: nodes (BlockDriverState), and edges (BdrvChild) from a parent to the node that it uses.
 *
 * A parent is another node or, at the top, somebody who uses a node: a BlockBackend, a job. What an edge needs from
 * its parent it finds in the edge's class. Nodes live while somebody has a reference; each edge has one.
 *
 *     BlockBackend --root--> overlay --backing--> base
 *                            filter  --file-----> overlay ...
 *
 * Threads: nodes and edges are made and destroyed in the main thread, under the graph write lock where an edge
 * changes. Requests run as coroutines in any thread, under the graph read lock. What each function needs is said
 * there; "main" means the main thread outside coroutines, and such functions may poll the main context.
 *
 * Invariants
 *  1. A node's quiesce_counter is at least the number of edges to its children with quiesced_parent.
 *  2. edge->quiesced_parent if and only if edge->bs has a quiesce_counter above 0, but inside a function that changes
 *     one of the two.
 *  3. While quiesce_counter is above 0 and the drain has been polled, in_flight counts no request; it may count a
 *     drain call that is on its way from a coroutine to the main thread.
 *  4. All nodes that are connected have the same AioContext, and so have their BlockBackends.
 *
 * From QEMU: include/block/block_int-common.h, block.c, block/io.c.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_GRAPH_H
#define WAKEFUZZ_CORE_BLOCK_GRAPH_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/aio_context.h"
#include "core/aio_wait.h"
#include "core/graph_lock.h"
#include "core/qiov.h"
#include "core/queue.h"

#define BDRV_SECTOR_SIZE 512

typedef struct BlockDriverState BlockDriverState;
typedef struct BdrvChild BdrvChild;
typedef int BdrvRequestFlags;

/* What an edge needs from its parent. All in the main thread; absent functions are NULL. */
typedef struct BdrvChildClass {
    bool parent_is_bds; /* opaque is a BlockDriverState; otherwise the parent is a root, such as a BlockBackend */

    /* The node is quiesced: send no more requests. May not poll. */
    void (*drained_begin)(BdrvChild *child);
    /* Does the parent still have requests of its own under way? Called between the other two, again and again. */
    bool (*drained_poll)(BdrvChild *child);
    /* Requests may come again. May not poll. */
    void (*drained_end)(BdrvChild *child);

    /* The edge has got a node, or is about to lose it. Under the graph write lock. */
    void (*attach)(BdrvChild *child);
    void (*detach)(BdrvChild *child);

    /* The node has moved to ctx, and the parent follows. Everything is drained. */
    void (*set_aio_context)(BdrvChild *child, AioContext *ctx);
    /* Where the parent runs. */
    AioContext *(*get_parent_aio_context)(BdrvChild *child);
} BdrvChildClass;

struct BdrvChild {
    BlockDriverState *bs; /* the node that is used; NULL only while it changes. Changes under the graph write lock */
    char *name;           /* "root", "backing", "file" */
    const BdrvChildClass *klass;
    void *opaque; /* the parent */

    /* The parent has been told to be quiet because of this edge. Main thread. */
    bool quiesced_parent;

    LIST_ENTRY(BdrvChild) next;        /* among the parent node's children; graph lock */
    LIST_ENTRY(BdrvChild) next_parent; /* among the node's parents; graph lock */
};

/* What a kind of node does. Absent functions are NULL. */
typedef struct BlockDriver {
    const char *format_name;
    size_t instance_size; /* bytes of BlockDriverState.opaque */
    bool is_filter;       /* passes all through to its "file" child */

    /* Free what the driver has allocated. Main thread, drained. */
    void (*bdrv_close)(BlockDriverState *bs);

    /* One request; any thread, under the graph read lock, with in_flight raised. 0 or a negative errno. The range has
     * been checked. */
    int coroutine_fn (*bdrv_co_preadv)(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags);
    int coroutine_fn (*bdrv_co_pwritev)(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                        BdrvRequestFlags flags);
    int coroutine_fn (*bdrv_co_flush)(BlockDriverState *bs);

    /* Length in bytes, or a negative errno. May yield; any thread, graph read lock; in_flight is not raised. */
    int64_t coroutine_fn (*bdrv_co_getlength)(BlockDriverState *bs);

    /* The node leaves its context, and has come to ctx: for drivers with timers or coroutines of their own. Main thread,
     * everything drained; may poll. */
    void (*bdrv_detach_aio_context)(BlockDriverState *bs);
    void (*bdrv_attach_aio_context)(BlockDriverState *bs, AioContext *ctx);

    /* For drivers that start requests by themselves. Main thread; may not poll. */
    void (*bdrv_drain_begin)(BlockDriverState *bs);
    void (*bdrv_drain_end)(BlockDriverState *bs);
} BlockDriver;

struct BlockDriverState {
    const BlockDriver *drv;
    void *opaque; /* the driver's */
    char *node_name;
    int refcnt; /* main thread */

    /* Where the driver's callbacks run. Written by the main thread while everything is drained, read by any. Atomic. */
    AioContext *aio_context;

    BdrvChild *file, *backing; /* graph lock */
    LIST_HEAD(, BdrvChild) children;
    LIST_HEAD(, BdrvChild) parents;

    TAILQ_ENTRY(BlockDriverState) bs_list;      /* all nodes; main thread */
    TAILQ_ENTRY(BlockDriverState) monitor_list; /* the user's nodes; main thread */

    /* Requests under way, and drain calls that travel to the main thread. Any thread; atomic; a kick follows each
     * decrement. */
    unsigned in_flight;

    /* Drained sections that the node is in. Written by the main thread, read by any. Atomic. */
    int quiesce_counter;
};

extern const BdrvChildClass child_of_bds;

/* ------------------------------------------------------------------------------------------- nodes */

/*
 * Make a node of this kind, with opaque zeroed and ctx as its context, and one reference for the caller. Main.
 * node_name is copied. A node that is made inside a bdrv_drain_all section is drained from the start.
 */
BlockDriverState *bdrv_new(const BlockDriver *drv, const char *node_name, AioContext *ctx);

/* The node of that name, or NULL; without a reference. Main. */
BlockDriverState *bdrv_find_node(const char *node_name);

/* Any node after bs, or the first for NULL; NULL at the end. Without references. Main. */
BlockDriverState *bdrv_next_all_states(BlockDriverState *bs);

/* Take or drop a reference. Main. The last unref drains the node and closes it: it polls and takes the graph write
 * lock, so that it must not be called under that lock. NULL is ignored by bdrv_unref(). */
void bdrv_ref(BlockDriverState *bs);
void bdrv_unref(BlockDriverState *bs);

/* bdrv_unref() from a bottom half of the main context. For those who hold the graph write lock. Main thread. */
void bdrv_schedule_unref(BlockDriverState *bs);

/* ------------------------------------------------------------------------------------------- edges */

/*
 * Make an edge from a root parent (opaque), or from parent_bs, to child_bs. Main, under the graph write lock,
 * everything drained. Takes over the caller's reference to child_bs. child_bs, with all that is connected to it, moves
 * to the parent's context. bdrv_attach_child() sets parent_bs->file or ->backing where the name says so.
 */
BdrvChild *bdrv_root_attach_child(BlockDriverState *child_bs, const char *name, const BdrvChildClass *klass, void *opaque);
BdrvChild *bdrv_attach_child(BlockDriverState *parent_bs, BlockDriverState *child_bs, const char *name);

/* Remove an edge and give up its reference. Main, under the graph write lock. */
void bdrv_root_unref_child(BdrvChild *child);
void bdrv_unref_child(BlockDriverState *parent_bs, BdrvChild *child);

/* Let an edge end at another node. Main; polls: drains everything and takes the graph write lock. */
void bdrv_replace_child_bs(BdrvChild *child, BlockDriverState *new_bs);

/* Let bs have backing_bs, or nothing for NULL, behind it. Main; polls: drains everything, takes the write lock. */
void bdrv_set_backing_hd(BlockDriverState *bs, BlockDriverState *backing_bs);

/*
 * Put bs_new on top of bs_top: all who used bs_top use bs_new, and bs_new has bs_top as its "file" (a filter) or
 * "backing". bs_new has no parent and not that child yet. Main; polls: drains everything and takes the graph write
 * lock.
 */
void bdrv_append(BlockDriverState *bs_new, BlockDriverState *bs_top);

/* The opposite for a filter: all who used it use its child. Main; polls: drains everything and takes the graph write
 * lock. */
void bdrv_drop_filter(BlockDriverState *bs);

/* ------------------------------------------------------------------------------------------- contexts */

/* The context of a node. Any thread; for NULL the main context. */
AioContext *bdrv_get_aio_context(BlockDriverState *bs);

/* Move a node, and all that is connected to it, to another context. Main; polls: drains everything. */
void bdrv_try_change_aio_context(BlockDriverState *bs, AioContext *ctx);

/* The same, inside a section in which everything is drained. Main; polls where a driver does. */
void bdrv_change_aio_context_drained(BlockDriverState *bs, AioContext *ctx);

/* ------------------------------------------------------------------------------------------- requests */

/* Count a request in or out; bdrv_dec_in_flight() wakes those who drain. Any thread; bs may be gone as soon as it is
 * counted out. */
void bdrv_inc_in_flight(BlockDriverState *bs);
void bdrv_dec_in_flight(BlockDriverState *bs);

/* Wake those who wait for a condition on bs. Any thread. */
void bdrv_wakeup(BlockDriverState *bs);

/*
 * One request to the node behind an edge. Coroutines of any thread, with the graph read lock, which they keep
 * meanwhile; may yield. offset and bytes are multiples of BDRV_SECTOR_SIZE; qiov holds at least bytes. 0, or a
 * negative errno: -EIO outside the node, -EINVAL for an odd range, or what the driver says.
 */
int coroutine_fn bdrv_co_preadv(BdrvChild *child, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags);
int coroutine_fn bdrv_co_pwritev(BdrvChild *child, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags);
int coroutine_fn bdrv_co_flush(BlockDriverState *bs);

/* The node's length in bytes, or a negative errno. Like the above, but no request: a drained section does not wait for
 * it. */
int64_t coroutine_fn bdrv_co_getlength(BlockDriverState *bs);

/* ------------------------------------------------------------------------------------------- the layer as a whole */

/* How many nodes there are. Main. For tests and the leak oracle. */
unsigned bdrv_node_count(void);

/*
 * Bring the globals of the upper half (wait object, graph lock, drain, nodes, backends) to their initial value. Call
 * it between two executions, on any thread, when no other thread of the core runs and all contexts are freed. Ends
 * with "leak" where a node or a backend is left.
 */
void block_reset(void);

#endif
