/*
 * An image in several files, after the way of VMDK: a request is cut at the borders of grains, each part goes to the extent in which its
 * grain lies, one after the other, and a table at the head of each extent says which grains were ever written.
 *
 *     extent 0:  table | grain 0 | grain 2 | ...          extent 1:  table | grain 1 | grain 3 | ...
 *
 * A request to a cached file completes synchronously; so one guest request is many synchronous ones in a row, with a CoMutex around those
 * that look at the table or change it.
 *
 * Threads: made in the main thread; requests in the context of the node. From QEMU: block/vmdk.c.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_EXTENTS_H
#define WAKEFUZZ_CORE_BLOCK_EXTENTS_H

#include "core/block_graph.h"

#define BLOCK_EXTENTS_MAX    4u
#define BLOCK_EXTENTS_GRAIN  BDRV_SECTOR_SIZE
#define BLOCK_EXTENTS_GRAINS BDRV_SECTOR_SIZE /* a byte of the table for each: 1 for written */

/*
 * A node of bytes (a multiple of the grain) on count extents: nodes of at least bdrv_extent_bytes() bytes each, zeroed, to each of which
 * it takes a reference. One reference for the caller. Main thread; polls: drains everything and takes the graph write lock.
 */
BlockDriverState *bdrv_new_extents(const char *node_name, AioContext *ctx, int64_t bytes, BlockDriverState **extents,
                                   unsigned count);
int64_t bdrv_extent_bytes(int64_t bytes, unsigned count);

#endif
