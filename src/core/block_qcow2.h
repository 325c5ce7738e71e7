/*
 * A node with an image format: what QEMU's qcow2 driver is to the event loop. Guest sectors are mapped to sectors of
 * the "file" child by tables that live in the file; two caches keep some of them in memory, and a coroutine, the cache
 * cleaner, throws those out that were not used for a while.
 *
 * The cleaner sleeps in the node's context. It is cancelled by the main thread, which waits until it has ended: when
 * the node is closed, when it moves to another context, when its options change.
 *
 *     canceller (coroutine in the main thread)              cleaner (coroutine in the node's context)
 *     1  s->lock                                            a  s->lock; reads the interval; unlocks
 *     2  interval = 0                                       b  0: to e
 *     3  qemu_co_sleep_wake()                               c  sleeps so long
 *     4  waits in cache_clean_timer_exit, which unlocks     d  s->lock; cleans; back to "reads the interval"
 *     5  goes on                                            e  s->lock; cache_clean_timer_co = NULL; wakes 4; unlocks
 *
 * 3 may come between a and c, since a has let go of the lock: the wake must be remembered (co_sleep.h).
 *
 * The format is this project's own. Invariants
 *  1. The lock protects tables, caches, interval and cleaner; it is held across reads and writes of tables, never
 *     across the sleep or the data's transfer.
 *  2. There is a cleaner if and only if cache_clean_timer_co is not NULL.
 *  3. Reference counts are written before the tables that rely on them.
 *
 * From QEMU: block/qcow2.c (f86dde9a15 for the cleaner as a coroutine).
 */
#ifndef WAKEFUZZ_CORE_BLOCK_QCOW2_H
#define WAKEFUZZ_CORE_BLOCK_QCOW2_H

#include "core/block_graph.h"

/* The largest image, and the smallest file that holds it; both in bytes. */
#define QCOW2_BYTES_MAX      (64 * 64 * BDRV_SECTOR_SIZE)
#define QCOW2_FILE_BYTES_MAX (256 * BDRV_SECTOR_SIZE)

/* QEMU's default, in seconds. */
#define DEFAULT_CACHE_CLEAN_INTERVAL 600

typedef struct Qcow2Options {
    unsigned cache_clean_interval_s; /* 0: no cleaner */
    unsigned l2_cache_tables;        /* 0: the default, 2 */
} Qcow2Options;

/*
 * Open the image in file_bs (takes a reference of its own), which moves to ctx; a file that holds no image, all zeros,
 * becomes an empty one of that many bytes (a multiple of BDRV_SECTOR_SIZE, at most QCOW2_BYTES_MAX). The node has one
 * reference for the caller. NULL with errno set: EINVAL where the file holds something else, or what reading it gave.
 * Main; polls.
 */
BlockDriverState *bdrv_new_qcow2(const char *node_name, AioContext *ctx, BlockDriverState *file_bs, int64_t bytes,
                                 const Qcow2Options *options);

/* Change the options of an open image, as blockdev-reopen does. 0 or a negative errno. Main; polls. */
int bdrv_qcow2_reopen(BlockDriverState *bs, const Qcow2Options *options);

/* How often the cleaner has cleaned since the image was opened. Any thread; for tests. */
unsigned bdrv_qcow2_cleanings(BlockDriverState *bs);

#endif
