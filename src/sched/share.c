/*
 * Executions in children of the process: their trace, what is learned from them, and the names of calls lie in memory that parent and
 * children share.
 *
 * 1. One child runs at a time, and the parent waits for it: nothing here needs a lock.
 * 2. Pointers in the shared memory are into static storage (sites, code), which is at the same address in both.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "sched/internal.h"

typedef struct Shared {
    size_t trace_count;
    uint64_t trace_hash;
} Shared;

static Shared *shared;

/* Put shared pages in the place of private ones, with the same contents. */
static int share(void *memory, size_t bytes, size_t used)
{
    void *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (copy == MAP_FAILED) {
        return -errno;
    }
    memcpy(copy, memory, used);
    return mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, memory) == MAP_FAILED ? -errno : 0;
}

int sched_share_with_children(void)
{
    size_t bytes;
    void *memory;
    int error;

    if (shared) {
        return 0;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        shared = NULL;
        return -errno;
    }
    memory = sched_learn_memory(&bytes);
    error = share(memory, bytes, bytes);
    if (!error) {
        memory = sched_sites_memory(&bytes);
        error = share(memory, bytes, bytes);
    }
    if (!error) {
        memory = sched_trace_memory(&bytes);
        error = share(memory, bytes, sched_trace_.count * sizeof(SchedStep));
    }
    return error;
}

void sched_share_publish(void)
{
    shared->trace_count = sched_trace_.count;
    shared->trace_hash = sched_trace_.hash;
}

void sched_share_clear(void)
{
    shared->trace_count = 0;
}

void sched_share_collect(void)
{
    sched_trace_.count = shared->trace_count;
    sched_trace_.hash = shared->trace_hash;
}
