/*
 * What the user, and not a device or a job, owns in the block layer, and how all of it goes at the end.
 *
 * Main thread outside coroutines. From QEMU: blockdev.c, bdrv_close_all() in block.c, bdrv_flush_all() in block/io.c.
 */
#ifndef WAKEFUZZ_CORE_BLOCKDEV_H
#define WAKEFUZZ_CORE_BLOCKDEV_H

#include "core/block_graph.h"

/* The caller's reference to bs becomes the user's: bdrv_close_all() drops it. The node must not be the user's yet. */
void bdrv_set_monitor_owned(BlockDriverState *bs);

/* The user's node after bs, or the first for NULL; NULL at the end. Without references. */
BlockDriverState *bdrv_next_monitor_owned(BlockDriverState *bs);

/* Drop the user's references. Polls. */
void blockdev_close_all_bdrv_states(void);

/* Flush one node, or all of them. Polls. 0, or the first negative errno. */
int bdrv_flush(BlockDriverState *bs);
int bdrv_flush_all(void);

/*
 * Close all nodes: there must be no job; then all backends lose their nodes, and the user's references go. A node that is still
 * there afterwards has an owner that should have gone before: fails as "leak". Polls.
 */
void bdrv_close_all(void);

#endif
