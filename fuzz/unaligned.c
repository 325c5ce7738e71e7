/*
 * malloc() and calloc() of a foreign program: what asked for no alignment never gets the disk's by chance. Such a program may take another
 * way with a buffer that happens to be aligned as O_DIRECT asks, and where a block lies depends on all that was allocated before.
 *
 * The program frees blocks by libc's free(). Linked where no sanitizer has its own allocator.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/unaligned.h"

#define STEP 16u /* of libc's sizes */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void __libc_free(void *);

static bool aligned_by_chance(const void *block, size_t bytes)
{
    return block && bytes >= UNALIGNED_TO && (uintptr_t)block % UNALIGNED_TO == 0;
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

void *malloc(size_t bytes)
{
    return not_aligned(__libc_malloc(bytes), bytes);
}

void *calloc(size_t n, size_t bytes)
{
    void *block = __libc_calloc(n, bytes);

    if (aligned_by_chance(block, n * bytes)) {
        block = not_aligned(block, n * bytes);
        if (block) {
            memset(block, 0, n * bytes);
        }
    }
    return block;
}
