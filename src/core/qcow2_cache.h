/*
 * A cache of an image's metadata tables, as the qcow2-like driver has two of: of mapping tables and of reference counts.
 *
 * Threads: coroutines of any thread, one at a time: under the driver's CoMutex, which stays locked while a table is
 * read or written. So does qcow2_cache_clean_unused(), which does not yield.
 *
 * Invariants
 *  1. A table that is in use (got and not yet put) stays where it is.
 *  2. A dirty table leaves the cache only when it has been written.
 *
 * From QEMU: block/qcow2-cache.c.
 */
#ifndef WAKEFUZZ_CORE_QCOW2_CACHE_H
#define WAKEFUZZ_CORE_QCOW2_CACHE_H

#include "core/block_graph.h"

typedef struct Qcow2Cache Qcow2Cache;

/* num_tables tables of table_size bytes each. Any thread. Destroyed when no table is in use or dirty. */
Qcow2Cache *qcow2_cache_create(unsigned num_tables, size_t table_size);
void qcow2_cache_destroy(Qcow2Cache *cache);

/* Let what is written depend on another cache: that one is flushed first. */
void qcow2_cache_set_dependency(Qcow2Cache *cache, Qcow2Cache *dependency);

/* The table at that offset of the file, for use until qcow2_cache_put(). Yields while it is read. 0 or a negative
 * errno: -EBUSY where all tables are in use. */
int coroutine_fn qcow2_cache_get(BlockDriverState *bs, Qcow2Cache *cache, int64_t offset, void **table);
void qcow2_cache_put(Qcow2Cache *cache, void **table);
/* The table, which is in use, has been changed. */
void qcow2_cache_entry_mark_dirty(Qcow2Cache *cache, void *table);

/* Write what is dirty, and what it depends on before. Yields. 0 or a negative errno. */
int coroutine_fn qcow2_cache_write(BlockDriverState *bs, Qcow2Cache *cache);

/* Forget tables that are clean and were not used since the last call. Returns how many. */
unsigned qcow2_cache_clean_unused(Qcow2Cache *cache);

#endif
