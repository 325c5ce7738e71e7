/*
 * Identities of objects within one execution: ordinals of first use, the same in every flavour and with every address layout.
 *
 * 1. An object on a stack has no identity: frames are laid out differently in each flavour.
 * 2. Freed memory loses its identity (sched_forget), as whether an allocator hands the address out again differs too.
 * 3. The tables are emptied by a new epoch, not by clearing. The index has an epoch of its own: growing begins a new one.
 * 4. The objects lie one after the other in order of first use, and neighbours in the program's memory are neighbours in the index: what
 *    an execution looks at again and again stays in the first cache, wherever an allocator that never reuses memory soon has put it.
 */
#include <string.h>

#include "sched/engine.h"

#define FORGOTTEN  UINTPTR_MAX /* key of an object that was freed; no object has this address */
#define LINE_SHIFT 6
#define LINES      (1u << 13)

/* The objects of the cache lines that share a place here, so that freeing a block looks at its own objects only. */
typedef struct Line {
    uint16_t epoch; /* of the execution */
    uint16_t first; /* id */
} Line;

_Static_assert(SCHED_OBJECTS_MAX <= UINT16_MAX, "objects are numbered in 16 bits");
_Static_assert(sizeof(SchedObject) == 32, "see internal.h");
_Static_assert(SCHED_LINE_SLOTS << (SCHED_OBJECT_LINES_LG + 4) == SCHED_OBJECT_SLOTS, "grow() comes to the whole index");

SchedObjects sched_objects_;
static Line lines[LINES];

static uint16_t execution; /* the epoch of the lines */

#define objects sched_objects_.objects
#define entries sched_objects_.entries

static uint32_t slots(void)
{
    return SCHED_LINE_SLOTS << (64 - sched_objects_.shift);
}

static void next_epoch(void)
{
    if (++sched_objects_.epoch == 0) {
        memset(entries, 0, sizeof(entries));
        sched_objects_.epoch = 1;
    }
}

void sched_objects_reset(void)
{
    sched_objects_.used = 0;
    sched_objects_.shift = 64 - SCHED_OBJECT_LINES_LG;
    next_epoch();
    if (++execution == 0) {
        memset(lines, 0, sizeof(lines));
        execution = 1;
    }
}

/* The first slot for the key that is free. */
static void enter(uintptr_t key, uint16_t id)
{
    uint32_t slot = sched_object_slot(key);

    while (entries[slot].epoch == sched_objects_.epoch) {
        slot = (slot + 1) % slots();
    }
    entries[slot] = (SchedObjectEntry){ .epoch = sched_objects_.epoch, .id = id };
}

static void grow(void)
{
    sched_objects_.shift -= 2;
    next_epoch();
    for (uint16_t id = 1; id <= sched_objects_.used; id++) {
        if (objects[id].key != FORGOTTEN) {
            enter(objects[id].key, id);
        }
    }
}

static Line *line_of(uintptr_t key)
{
    return &lines[(key >> LINE_SHIFT) % LINES];
}

static void line_add(SchedObject *object)
{
    Line *line = line_of(object->key);

    object->next_in_line = line->epoch == execution ? line->first : 0;
    *line = (Line){ .epoch = execution, .first = object->id };
}

SchedObject *sched_object_search(uintptr_t key)
{
    uint32_t slot = sched_object_slot(key);
    SchedObject *object;

    if (key - sched_stacks_low < sched_stacks_high - sched_stacks_low || key == 0) {
        return NULL;
    }
    for (; entries[slot].epoch == sched_objects_.epoch; slot = (slot + 1) % slots()) {
        object = &objects[entries[slot].id];
        if (object->key == key) {
            return object;
        }
    }
    if (UNLIKELY(sched_objects_.used == SCHED_OBJECTS_MAX)) {
        return NULL;
    }
    if (UNLIKELY(sched_objects_.used >= slots() / 2 && slots() < SCHED_OBJECT_SLOTS)) {
        grow();
    }
    object = &objects[++sched_objects_.used];
    *object = (SchedObject){ .key = key, .id = sched_objects_.used };
    enter(key, object->id);
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

    if (UNLIKELY(sched_engine_.open_store) && sched_trace_.steps[sched_engine_.open_store - 1].object - low < bytes) {
        sched_engine_.open_store = 0; /* what it has become cannot be read any more */
        sched_set_stop_step();
    }
    if (!engine_here() || !bytes) {
        return;
    }
    if (bytes >> LINE_SHIFT >= sched_objects_.used) { /* fewer objects than lines */
        for (uint16_t id = 1; id <= sched_objects_.used; id++) {
            if (objects[id].key - low < bytes) {
                forget_line(line_of(objects[id].key), low, high);
            }
        }
        return;
    }
    for (uintptr_t at = low & ~(uintptr_t)((1u << LINE_SHIFT) - 1); at < high; at += 1u << LINE_SHIFT) {
        Line *line = line_of(at);

        if (UNLIKELY(line->epoch == execution)) {
            forget_line(line, low, high);
        }
    }
}
