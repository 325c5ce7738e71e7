/*
 * The cache of metadata tables, as qcow2_cache.h tells.
 *
 * Threads: under the driver's CoMutex.
 */
#include "core/qcow2_cache.h"

#include <errno.h>

#include "core/fatal.h"

typedef struct Qcow2CachedTable {
    int64_t offset; /* 0: empty; no table lies at the start of the file */
    uint64_t lru_counter;
    unsigned ref; /* in use by so many */
    bool dirty;
} Qcow2CachedTable;

struct Qcow2Cache {
    unsigned size;
    size_t table_size;
    uint64_t lru_counter;             /* the last use of any table */
    uint64_t cache_clean_lru_counter; /* what it was at the last cleaning */
    Qcow2Cache *depends;
    uint8_t *data; /* size tables of table_size */
    Qcow2CachedTable entries[];
};

static uint8_t *table_of(const Qcow2Cache *cache, unsigned i)
{
    return cache->data + i * cache->table_size;
}

static Qcow2CachedTable *entry_of(Qcow2Cache *cache, const void *table)
{
    size_t distance = (size_t)((const uint8_t *)table - cache->data);

    core_assert(distance % cache->table_size == 0 && distance / cache->table_size < cache->size);
    return &cache->entries[distance / cache->table_size];
}

/* ---- life ---- */

Qcow2Cache *qcow2_cache_create(unsigned num_tables, size_t table_size)
{
    Qcow2Cache *cache = g_malloc0(sizeof(*cache) + num_tables * sizeof(cache->entries[0]));

    cache->size = num_tables;
    cache->table_size = table_size;
    cache->data = g_malloc0(num_tables * table_size);
    return cache;
}

void qcow2_cache_destroy(Qcow2Cache *cache)
{
    for (unsigned i = 0; i < cache->size; i++) {
        core_assert(cache->entries[i].ref == 0);
    }
    g_free(cache->data);
    g_free(cache);
}

void qcow2_cache_set_dependency(Qcow2Cache *cache, Qcow2Cache *dependency)
{
    cache->depends = dependency;
}

/* ---- writing ---- */

static int coroutine_fn qcow2_cache_entry_write(BlockDriverState *bs, Qcow2Cache *cache, unsigned i)
{
    Qcow2CachedTable *entry = &cache->entries[i];
    QEMUIOVector qiov;
    int ret;

    if (!entry->dirty) {
        return 0;
    }
    if (cache->depends) {
        ret = qcow2_cache_write(bs, cache->depends);
        if (ret < 0) {
            return ret;
        }
    }
    qemu_iovec_init_buf(&qiov, table_of(cache, i), cache->table_size);
    ret = bdrv_co_pwritev(bs->file, entry->offset, (int64_t)cache->table_size, &qiov, 0);
    if (ret == 0) {
        entry->dirty = false;
    }
    return ret;
}

int coroutine_fn qcow2_cache_write(BlockDriverState *bs, Qcow2Cache *cache)
{
    int ret = 0;

    for (unsigned i = 0; i < cache->size; i++) {
        int one = qcow2_cache_entry_write(bs, cache, i);

        ret = ret < 0 ? ret : one;
    }
    return ret;
}

/* ---- reading ---- */

/* The entry that has the table; else, for size, the one to be given up for it: empty, or not used for the longest. */
static int find(const Qcow2Cache *cache, int64_t offset, unsigned *victim)
{
    uint64_t oldest = UINT64_MAX;

    *victim = cache->size;
    for (unsigned i = 0; i < cache->size; i++) {
        const Qcow2CachedTable *entry = &cache->entries[i];

        if (entry->offset == offset) {
            return (int)i;
        }
        if (entry->ref == 0 && entry->lru_counter < oldest) {
            oldest = entry->lru_counter;
            *victim = i;
        }
    }
    return -1;
}

static int coroutine_fn qcow2_cache_load(BlockDriverState *bs, Qcow2Cache *cache, unsigned i, int64_t offset)
{
    Qcow2CachedTable *entry = &cache->entries[i];
    QEMUIOVector qiov;
    int ret = qcow2_cache_entry_write(bs, cache, i);

    if (ret < 0) {
        return ret;
    }
    entry->offset = 0; /* half a table is none */
    qemu_iovec_init_buf(&qiov, table_of(cache, i), cache->table_size);
    ret = bdrv_co_preadv(bs->file, offset, (int64_t)cache->table_size, &qiov, 0);
    if (ret == 0) {
        entry->offset = offset;
    }
    return ret;
}

int coroutine_fn qcow2_cache_get(BlockDriverState *bs, Qcow2Cache *cache, int64_t offset, void **table)
{
    unsigned victim;
    int i = find(cache, offset, &victim);

    core_assert(offset > 0);
    if (i < 0) {
        int ret;

        if (victim == cache->size) {
            return -EBUSY;
        }
        ret = qcow2_cache_load(bs, cache, victim, offset);
        if (ret < 0) {
            return ret;
        }
        i = (int)victim;
    }
    cache->entries[i].ref++;
    *table = table_of(cache, (unsigned)i);
    return 0;
}

void qcow2_cache_put(Qcow2Cache *cache, void **table)
{
    Qcow2CachedTable *entry = entry_of(cache, *table);

    core_assert(entry->ref > 0);
    if (--entry->ref == 0) {
        entry->lru_counter = ++cache->lru_counter;
    }
    *table = NULL;
}

void qcow2_cache_entry_mark_dirty(Qcow2Cache *cache, void *table)
{
    Qcow2CachedTable *entry = entry_of(cache, table);

    core_assert(entry->ref > 0);
    entry->dirty = true;
}

/* ---- cleaning ---- */

unsigned qcow2_cache_clean_unused(Qcow2Cache *cache)
{
    unsigned cleaned = 0;

    for (unsigned i = 0; i < cache->size; i++) {
        Qcow2CachedTable *entry = &cache->entries[i];

        if (entry->ref == 0 && !entry->dirty && entry->offset && entry->lru_counter <= cache->cache_clean_lru_counter) {
            *entry = (Qcow2CachedTable){ 0 };
            cleaned++;
        }
    }
    cache->cache_clean_lru_counter = cache->lru_counter;
    return cleaned;
}
