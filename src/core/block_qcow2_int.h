/*
 * The inside of the qcow2-like driver: block_qcow2.c opens and closes images and has the cache cleaner,
 * block_qcow2_io.c maps guest sectors and serves requests.
 *
 * Threads and invariants: block_qcow2.h.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_QCOW2_INT_H
#define WAKEFUZZ_CORE_BLOCK_QCOW2_INT_H

#include "core/block_qcow2.h"
#include "core/co_queue.h"
#include "core/co_sleep.h"
#include "core/qcow2_cache.h"

/* A cluster is a sector, and so is each table. The file begins with the header, the first-level table and the
 * reference counts of all clusters. */
#define QCOW2_CLUSTER       BDRV_SECTOR_SIZE
#define QCOW2_L1_OFFSET     (1 * QCOW2_CLUSTER)
#define QCOW2_REFCOUNTS     (2 * QCOW2_CLUSTER)
#define QCOW2_FIRST_FREE    3
#define QCOW2_L2_ENTRIES    (QCOW2_CLUSTER / sizeof(uint64_t))
#define QCOW2_L2_BYTES      ((int64_t)(QCOW2_L2_ENTRIES * QCOW2_CLUSTER))
#define QCOW2_REFCOUNTS_MAX (QCOW2_CLUSTER / sizeof(uint16_t))

typedef struct BDRVQcow2State {
    CoMutex lock; /* protects all but bytes, and the way to the file */
    int64_t bytes;

    uint64_t l1_table[QCOW2_L2_ENTRIES]; /* offsets of mapping tables, 0: none */
    Qcow2Cache *l2_table_cache;          /* NULL: not open */
    Qcow2Cache *refcount_block_cache;

    Coroutine *cache_clean_timer_co;
    unsigned cache_clean_interval; /* seconds; 0: no cleaner, or it is to end */
    QemuCoSleep cache_clean_timer_wake;
    CoQueue cache_clean_timer_exit; /* who waits for its end */
    unsigned cleanings;             /* atomic; for tests */
} BDRVQcow2State;

/* The driver's requests. */
int coroutine_fn qcow2_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov, BdrvRequestFlags flags);
int coroutine_fn qcow2_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                  BdrvRequestFlags flags);
int coroutine_fn qcow2_co_flush(BlockDriverState *bs);
int64_t coroutine_fn qcow2_co_getlength(BlockDriverState *bs);

/* Write all tables that are dirty. Under s->lock, which stays locked. */
int coroutine_fn qcow2_write_caches(BlockDriverState *bs);

/* One cluster of the file, from or to buf. */
int coroutine_fn qcow2_file_pread(BlockDriverState *bs, int64_t offset, void *buf);
int coroutine_fn qcow2_file_pwrite(BlockDriverState *bs, int64_t offset, const void *buf);

#endif
