/*
 * libc's heap, with three changes.
 *
 * 1. Freed memory loses the identities of the objects in it: see memory.c.
 * 2. What asked for no alignment never gets the disk's by chance. A program may take another way with a buffer that happens to be aligned
 *    as O_DIRECT asks, and where a block lies depends on all that was allocated before.
 * 3. It can be left, by who tells of a crash, or of an execution that was ended in the middle of libc: see os_heap_leave(). What is allocated then is
 *    never given back, and 1 and 2 do not hold any more; the process reports, and runs no other input.
 */
#include "os/heap.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sched/sched.h"

#define STEP 16u /* of libc's sizes */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

/* ---- no alignment by chance */

static bool aligned_by_chance(const void *block, size_t bytes)
{
    return block && bytes >= OS_HEAP_UNALIGNED_TO && (uintptr_t)block % OS_HEAP_UNALIGNED_TO == 0;
}

/*
 * Another block instead. Each one tried is bigger than the one before: of blocks of one size that is a multiple of the alignment, and
 * lie one after the other, all or none are aligned.
 */
static void *not_aligned(void *block, size_t bytes)
{
    void *held = NULL; /* linked through their first words */
    size_t more = 0;

    while (aligned_by_chance(block, bytes)) {
        *(void **)block = held;
        held = block;
        more += STEP;
        block = __libc_malloc(bytes + more);
    }
    while (held) {
        void *next = *(void **)held;

        __libc_free(held);
        held = next;
    }
    return block;
}

/* Likewise, with what is in it; the block itself where there is no memory. */
static void *moved(void *block, size_t bytes)
{
    void *other = not_aligned(__libc_malloc(bytes), bytes);

    if (!other) {
        return block;
    }
    memcpy(other, block, bytes);
    __libc_free(block);
    return other;
}

/* ---- apart */

typedef struct Apart {
    size_t bytes;
    char block[] __attribute__((aligned(STEP)));
} Apart;

static char *apart; /* where libc's heap was left */
static _Atomic size_t apart_used;

void os_heap_leave(void)
{
    long place;

    if (!apart) {
        place = syscall(SYS_mmap, NULL, (size_t)OS_HEAP_APART_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
        apart = place == -1 ? NULL : (char *)place; /* without it all is as it was */
    }
}

static bool is_apart(const void *block)
{
    return (uintptr_t)block - (uintptr_t)apart < OS_HEAP_APART_BYTES;
}

static void *take_apart(size_t bytes)
{
    size_t whole = (bytes + sizeof(Apart) + STEP - 1) / STEP * STEP;
    size_t from;
    Apart *taken;

    if (bytes > OS_HEAP_APART_BYTES || (from = atomic_fetch_add(&apart_used, whole)) + whole > OS_HEAP_APART_BYTES) {
        return NULL;
    }
    taken = (Apart *)(apart + from);
    taken->bytes = bytes;
    return taken->block;
}

static size_t bytes_of(void *block)
{
    return is_apart(block) ? ((Apart *)((char *)block - sizeof(Apart)))->bytes : malloc_usable_size(block);
}

/* ---- the calls */

static void forget(void *block)
{
    if (block && sched_here()) {
        sched_forget(block, malloc_usable_size(block));
    }
}

void *malloc(size_t bytes)
{
    return apart ? take_apart(bytes) : not_aligned(__libc_malloc(bytes), bytes);
}

void *calloc(size_t n, size_t bytes)
{
    size_t all;
    void *block;

    if (apart) {
        return __builtin_mul_overflow(n, bytes, &all) ? NULL : take_apart(all); /* never used before: zero */
    }
    block = __libc_calloc(n, bytes);
    if (aligned_by_chance(block, n * bytes)) {
        block = not_aligned(block, n * bytes);
        if (block) {
            memset(block, 0, n * bytes);
        }
    }
    return block;
}

void *realloc(void *old, size_t bytes)
{
    void *block;
    size_t before;

    if (!apart) {
        forget(old);
        block = __libc_realloc(old, bytes);
        return aligned_by_chance(block, bytes) ? moved(block, bytes) : block;
    }
    block = take_apart(bytes);
    if (block && old) {
        before = bytes_of(old);
        memcpy(block, old, before < bytes ? before : bytes);
    }
    return block;
}

void free(void *block)
{
    if (!apart) {
        forget(block);
        __libc_free(block);
    }
}
