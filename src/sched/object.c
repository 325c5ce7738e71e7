/*
 * Identities of objects within one execution: ordinals of first use, the same in every flavour and with every address layout.
 *
 * 1. An object on a stack has no identity: frames are laid out differently in each flavour.
 * 2. Freed memory loses its identity (sched_forget), as whether an allocator hands the address out again differs too.
 * 3. The table is emptied by a new epoch, not by clearing.
 */
#include <sys/mman.h>

#include "sched/internal.h"

#define SLOTS      (1u << 15)
#define FULL       (SLOTS / 4 * 3)
#define FORGOTTEN  1u /* key of a slot whose object was freed; no object has the address 1 */
#define LINE_SHIFT 6
#define LINES      (1u << 13)
#define NO_SLOT    UINT16_MAX

/* The objects of the cache lines that share a place here, so that freeing a block looks at its own objects only. */
typedef struct Line {
    uint32_t epoch;
    uint16_t first; /* slot */
} Line;

_Static_assert(SLOTS <= NO_SLOT, "slots are numbered in 16 bits");

static SchedObject *table;
static uint32_t epoch, used, next_id;
static Line lines[LINES];

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
}

static uint32_t slot_of(uintptr_t key)
{
    return (uint32_t)((key * 0x9e3779b97f4a7c15u) >> 49);
}

static Line *line_of(uintptr_t key)
{
    return &lines[(key >> LINE_SHIFT) % LINES];
}

static void line_add(uint32_t slot)
{
    Line *line = line_of(table[slot].key);

    table[slot].next_in_line = line->epoch == epoch ? line->first : NO_SLOT;
    *line = (Line){ .epoch = epoch, .first = (uint16_t)slot };
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
    table[slot] = (SchedObject){ .key = key, .epoch = epoch, .id = ++next_id };
    line_add(slot);
    return &table[slot];
}

/* Forget the objects of one line that lie in [low, high). */
static void forget_line(Line *line, uintptr_t low, uintptr_t high)
{
    uint16_t *link = &line->first;

    while (*link != NO_SLOT) {
        SchedObject *object = &table[*link];

        if (object->key - low < high - low) {
            object->key = FORGOTTEN;
            *link = object->next_in_line;
        } else {
            link = &object->next_in_line;
        }
    }
}

void sched_forget(const void *memory, size_t bytes)
{
    uintptr_t low = (uintptr_t)memory, high = low + bytes;

    if (!engine_here() || !bytes) {
        return;
    }
    for (uintptr_t at = low & ~(uintptr_t)((1u << LINE_SHIFT) - 1); at < high; at += 1u << LINE_SHIFT) {
        Line *line = line_of(at);

        if (UNLIKELY(line->epoch == epoch)) {
            forget_line(line, low, high);
        }
    }
}
