/*
 * Stack memory: one reserved region of the address space, from which the stacks of fibers and coroutines are cut, each with a guard
 * page below. Any thread.
 *
 * 1. Stacks are not given back: their users pool them. All that are younger than a mark can be cut off, by whoever puts the whole memory back.
 * 2. An address in the region never gets an identity, as the layout of frames differs between flavours.
 */
#include <errno.h>
#include <sys/mman.h>

#include "sched/internal.h"

#define REGION_BYTES (64ull << 30)
#define PAGE_BYTES   4096u

uintptr_t sched_stacks_low, sched_stacks_high;
static uintptr_t next_free;

int sched_stacks_init(void)
{
    /* a limit on the address space (ulimit -v) may forbid the whole; a smaller one still serves many threads */
    for (uint64_t bytes = REGION_BYTES; bytes >= REGION_BYTES >> 8; bytes >>= 1) {
        void *region = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (region != MAP_FAILED) {
            sched_stacks_low = next_free = (uintptr_t)region;
            sched_stacks_high = sched_stacks_low + bytes;
            return 0;
        }
    }
    return -errno;
}

void *sched_stack_alloc(size_t bytes)
{
    size_t usable = (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
    uintptr_t guard = __atomic_fetch_add(&next_free, usable + SCHED_GUARD_BYTES, __ATOMIC_RELAXED);
    void *low = (void *)(guard + SCHED_GUARD_BYTES);

    if (!guard || guard + SCHED_GUARD_BYTES + usable > sched_stacks_high) {
        errno = ENOMEM;
        return NULL;
    }
    if (mprotect(low, usable, PROT_READ | PROT_WRITE)) {
        return NULL;
    }
    return low;
}

void *sched_stacks_mark(void)
{
    return (void *)next_free;
}

void sched_stacks_cut(void *mark)
{
    size_t bytes = next_free - (uintptr_t)mark;

    if (bytes) {
        madvise(mark, bytes, MADV_DONTNEED);
        mprotect(mark, bytes, PROT_NONE);
        next_free = (uintptr_t)mark;
    }
}

bool sched_is_stack(uintptr_t address)
{
    return address - sched_stacks_low < sched_stacks_high - sched_stacks_low;
}
