/*
 * Identities of objects within one execution: ordinals of first use, the same in every flavour and with every address layout.
 *
 * 1. An object on a stack has no identity: frames are laid out differently in each flavour.
 * 2. Freed memory loses its identity (sched_forget), as whether an allocator hands the address out again differs too.
 * 3. The table is emptied by a new epoch, not by clearing.
 */
#include <string.h>
#include <sys/mman.h>

#include "sched/internal.h"

#define SLOTS      (1u << 15)
#define FULL       (SLOTS / 4 * 3)
#define FORGOTTEN  1u /* key of a slot whose object was freed; no object has the address 1 */
#define LINE_SHIFT 6
#define FILTER_BITS 8192u

static SchedObject *table;
static uint32_t epoch, used, next_id;
static uint64_t filter[FILTER_BITS / 64]; /* cache lines in which an object may lie */

void sched_objects_init(void)
{
    if (!table) {
        table = mmap(NULL, SLOTS * sizeof(*table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (table == MAP_FAILED) {
            table = NULL;
        }
    }
}

void sched_objects_reset(void)
{
    epoch++;
    used = 0;
    next_id = 0;
    memset(filter, 0, sizeof(filter));
}

static uint32_t slot_of(uintptr_t key)
{
    return (uint32_t)((key * 0x9e3779b97f4a7c15u) >> 49);
}

static void filter_add(uintptr_t key)
{
    uint32_t bit = (uint32_t)(key >> LINE_SHIFT) % FILTER_BITS;

    filter[bit / 64] |= 1ull << (bit % 64);
}

static bool filter_has(uintptr_t line)
{
    uint32_t bit = (uint32_t)line % FILTER_BITS;

    return filter[bit / 64] >> (bit % 64) & 1;
}

SchedObject *sched_object_find(uintptr_t key)
{
    uint32_t slot = slot_of(key);

    if (key - sched_stacks_low < sched_stacks_high - sched_stacks_low || key == 0) {
        return NULL;
    }
    for (; table[slot].epoch == epoch; slot = (slot + 1) % SLOTS) {
        if (table[slot].key == key) {
            return &table[slot];
        }
    }
    if (UNLIKELY(used >= FULL)) {
        return NULL;
    }
    used++;
    filter_add(key);
    table[slot] = (SchedObject){ .key = key, .epoch = epoch, .id = ++next_id };
    return &table[slot];
}

static void forget(uintptr_t key)
{
    for (uint32_t slot = slot_of(key); table[slot].epoch == epoch; slot = (slot + 1) % SLOTS) {
        if (table[slot].key == key) {
            table[slot].key = FORGOTTEN;
            return;
        }
    }
}

void sched_forget(const void *memory, size_t bytes)
{
    uintptr_t low = (uintptr_t)memory, high = low + bytes;

    if (!sched_here() || !bytes) {
        return;
    }
    for (uintptr_t line = low >> LINE_SHIFT; line <= (high - 1) >> LINE_SHIFT; line++) {
        if (filter_has(line)) {
            uintptr_t first = line << LINE_SHIFT, last = first + (1u << LINE_SHIFT);

            for (uintptr_t key = first > low ? first : low; key < last && key < high; key++) {
                forget(key);
            }
        }
    }
}
