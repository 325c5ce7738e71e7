/* Frames of a stack, found by frame pointers: recursion without bound, and the identity of a wait. */
#include "sched/engine.h"

#define FRAME_BYTES_MIN 16 /* the caller's frame pointer and the return address */

/* Up to most return addresses; fewer than least where the rest of the stack has no room for so many: then the walk may stop early. */
static unsigned walk_frames(const SchedThread *self, void *frame, void **pcs, unsigned least, unsigned most)
{
    char **at = frame;
    unsigned count = 0;

    while ((char *)at >= self->stack_low && (char *)at < self->stack_high - FRAME_BYTES_MIN && ((uintptr_t)at & 7) == 0 &&
           count < most) {
        if (count + (size_t)(self->stack_high - (char *)at) / FRAME_BYTES_MIN < least) {
            break;
        }
        pcs[count++] = at[1];
        if ((char *)*at <= (char *)at) {
            break;
        }
        at = (char **)*at;
    }
    return count;
}

/* The number of levels decides, not the bytes: frames differ between flavours, and a verdict must not. */
void sched_check_recursion(SchedThread *self, void *frame)
{
    enum { MOST = 16384, KINDS = 64 };
    static void *pcs[MOST];
    unsigned limit = sched_engine_.limits.recursion;
    unsigned count = walk_frames(self, frame, pcs, limit, MOST);

    for (unsigned i = 0; i < KINDS && i + limit <= count; i++) { /* where fewer are left, none stands there so often */
        unsigned times = 0;

        for (unsigned j = i; j < count; j++) {
            times += pcs[j] == pcs[i];
        }
        if (times >= limit) {
            sched_end(SCHED_STACK_OVERFLOW, self);
        }
    }
}

uint64_t sched_hash_frames(const SchedThread *self, void *frame)
{
    enum { MOST = 48 };
    void *pcs[MOST];
    unsigned count = walk_frames(self, frame, pcs, 0, MOST);
    uint64_t hash = count;

    for (unsigned i = 0; i < count; i++) {
        hash = sched_mix64(hash ^ (uintptr_t)pcs[i]);
    }
    return hash;
}
