/*
 * Drained sections: between begin and end no request runs in a part of the block graph, or in all of it.
 *
 * Begin has two halves. Quiescing tells everybody who sends requests to stop: the node's parents, through their edges,
 * up to the roots (a BlockBackend puts requests that come now into a queue). Polling waits, in the main thread, until
 * what was under way has ended.
 *
 *     drain (main thread)                            request (any thread)
 *     1  quiesce_counter + 1, for all above          a  in_flight + 1
 *     2  num_waiters + 1, full barrier               b  barrier; quiesce_counter > 0: in_flight - 1, kick, queue
 *     3  in_flight > 0: aio_poll(), back to 3        c  run
 *                                                    d  in_flight - 1, full barrier, num_waiters > 0: kick
 *
 * Invariants
 *  1. All calls reach the main thread: a coroutine that drains is put to sleep, and a bottom half of the main context
 *     does it. Until then, and only until then, it counts as in flight.
 *  2. Only roots count requests that nobody has handed to a node yet; a request that was handed over is counted before
 *     the one that handed it over counts itself out.
 *  3. Sections nest, and overlap: each begin has one end.
 *
 * From QEMU: block/io.c, include/block/block-io.h, docs/devel/multiple-iothreads.rst.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_DRAIN_H
#define WAKEFUZZ_CORE_BLOCK_DRAIN_H

#include <stdbool.h>

#include "core/graph_lock.h"

typedef struct BlockDriverState BlockDriverState;
typedef struct BdrvChild BdrvChild;

/*
 * Begin and end a drained section of bs and all above it. The main thread, where begin polls, or a coroutine in any
 * thread, where both yield. The node must stay alive until the end.
 */
void bdrv_drained_begin(BlockDriverState *bs);
void bdrv_drained_end(BlockDriverState *bs);

/* Only the first half of bdrv_drained_begin(): no new requests, those under way go on. Main thread outside coroutines;
 * does not poll. */
void bdrv_do_drained_begin_quiesce(BlockDriverState *bs, BdrvChild *parent);

/* Wait once until nothing is under way in bs and above it. As bdrv_drained_begin(). */
void bdrv_drain(BlockDriverState *bs);

/*
 * The same for all nodes, those made later included. bdrv_drain_all_begin(): the main thread, where it polls, or a
 * coroutine, which yields; so does bdrv_drain_all_end(). bdrv_drain_all_begin_nopoll() does the first half: main
 * thread, does not poll.
 */
void bdrv_drain_all_begin(void);
void no_coroutine_fn bdrv_drain_all_begin_nopoll(void);
void bdrv_drain_all_end(void);
void bdrv_drain_all(void);

/* A node that is being deleted leaves all the bdrv_drain_all sections that it is in. Main thread. */
void bdrv_drain_all_end_quiesce(BlockDriverState *bs);

/* Open bdrv_drain_all sections. Main thread. */
unsigned bdrv_drain_all_sections(void);

/*
 * Is something under way in bs, or above it? ignore_parent is an edge whose parent is not asked; ignore_bds_parents
 * leaves out all parents that are nodes (because they are asked themselves). Main thread; does not block.
 */
bool bdrv_drain_poll(BlockDriverState *bs, BdrvChild *ignore_parent, bool ignore_bds_parents);

/* Tell the parent of one edge to be quiet, or that it may go on. Main thread; does not poll. For those who make and
 * change edges. */
void bdrv_parent_drained_begin_single(BdrvChild *child);
void bdrv_parent_drained_end_single(BdrvChild *child);

/* The initial state; no section may be open. See block_reset(). */
void bdrv_drain_reset(void);

#endif
