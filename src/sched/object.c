/*
 * Identities of objects within one execution: ordinals of first use, the same in every flavour and with every address layout.
 *
 * 1. An object on a stack has no identity: frames are laid out differently in each flavour.
 * 2. Freed memory loses its identity (sched_forget), as whether an allocator hands the address out again differs too.
 * 3. The tables are emptied by a new epoch, not by clearing.
 * 4. The objects lie one after the other in order of first use, and neighbours in the program's memory are neighbours in the index: what
 *    an execution looks at again and again stays in the first cache, wherever an allocator that never reuses memory soon has put it.
 */
#include <string.h>

#include "sched/internal.h"

#define SLOTS       (1u << 15)
#define OBJECTS_MAX (SLOTS / 4 * 3)
#define FORGOTTEN   1u /* key of an object that was freed; no object has the address 1 */
#define LINE_SHIFT  6
#define LINES       (1u << 13)
#define LINE_SLOTS  16u /* of the index, for the words of a cache line */

/* An entry of the index: an object of this execution, or free. */
typedef struct Entry {
    uint16_t epoch;
    uint16_t id;
} Entry;

/* The objects of the cache lines that share a place here, so that freeing a block looks at its own objects only. */
typedef struct Line {
    uint16_t epoch;
    uint16_t first; /* id */
} Line;

_Static_assert(OBJECTS_MAX <= UINT16_MAX, "objects are numbered in 16 bits");
_Static_assert(sizeof(SchedObject) == 32, "see internal.h");

static Entry entries[SLOTS]; /* open addressing; nothing is removed from it within an execution */
static SchedObject objects[OBJECTS_MAX + 1] __attribute__((aligned(64))); /* by id */
static Line lines[LINES];
static uint16_t epoch, used;

void sched_objects_reset(void)
{
    used = 0;
    if (++epoch == 0) {
        memset(entries, 0, sizeof(entries));
        memset(lines, 0, sizeof(lines));
        epoch = 1;
    }
}

/* The line decides where the search begins, the word where in it; the lowest bits, which are 0 but for small objects, count for a line. */
static uint32_t slot_of(uintptr_t key)
{
    uint64_t word = key >> 2 | (uint64_t)key << 62;

    return (uint32_t)((word / LINE_SLOTS * 0x9e3779b97f4a7c15u) >> 53) * LINE_SLOTS + (uint32_t)(word % LINE_SLOTS);
}

_Static_assert((1u << (64 - 53)) * LINE_SLOTS == SLOTS, "slot_of() shifts for this many slots");

static Line *line_of(uintptr_t key)
{
    return &lines[(key >> LINE_SHIFT) % LINES];
}

static void line_add(SchedObject *object)
{
    Line *line = line_of(object->key);

    object->next_in_line = line->epoch == epoch ? line->first : 0;
    *line = (Line){ .epoch = epoch, .first = object->id };
}

SchedObject *sched_object_find(uintptr_t key)
{
    uint32_t slot = slot_of(key);
    SchedObject *object;

    if (key - sched_stacks_low < sched_stacks_high - sched_stacks_low || key == 0) {
        return NULL;
    }
    for (; entries[slot].epoch == epoch; slot = (slot + 1) % SLOTS) {
        object = &objects[entries[slot].id];
        if (LIKELY(object->key == key)) {
            return object;
        }
    }
    if (UNLIKELY(used == OBJECTS_MAX)) {
        return NULL;
    }
    used++;
    entries[slot] = (Entry){ .epoch = epoch, .id = used };
    object = &objects[used];
    *object = (SchedObject){ .key = key, .id = used };
    line_add(object);
    return object;
}

/* Forget the objects of one line that lie in [low, high). */
static void forget_line(Line *line, uintptr_t low, uintptr_t high)
{
    uint16_t *link = &line->first;

    while (*link) {
        SchedObject *object = &objects[*link];

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
