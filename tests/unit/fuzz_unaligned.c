/* The allocator of foreign programs: no block is aligned by chance, and none costs more than a few tries. */
#include <glib.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fuzz/unaligned.h"

enum { BLOCKS = 64, LARGEST = 9000, SMALL = 48 };

extern void *__libc_malloc(size_t);

/* As many blocks of one size as lie one after the other: aligned is one of them for some size, whatever came before. */
static void test_no_block_is_aligned(void)
{
    for (size_t bytes = UNALIGNED_TO; bytes < LARGEST; bytes += 8) {
        void *blocks[BLOCKS];

        for (unsigned i = 0; i < BLOCKS; i++) {
            blocks[i] = i % 2 ? malloc(bytes) : calloc(1, bytes);
            g_assert_nonnull(blocks[i]);
            g_assert_cmpuint((uintptr_t)blocks[i] % UNALIGNED_TO, !=, 0);
            memset(blocks[i], 1, bytes);
        }
        for (unsigned i = 0; i < BLOCKS; i++) {
            free(blocks[i]);
        }
    }
}

/* First, in a heap that is nearly new: the block that libc would give is aligned, and so is what it has left, from which blocks of the next
 * size come, one after the other. */
static void test_all_that_is_left_is_aligned(void)
{
    for (size_t bytes = UNALIGNED_TO; bytes < LARGEST; bytes += 8) {
        void *aligned = memalign(UNALIGNED_TO, bytes), *before[1000], *block;
        uintptr_t next;
        unsigned n = 0;

        do {
            before[n] = __libc_malloc(SMALL - sizeof(size_t));
            next = (uintptr_t)before[n++] + SMALL;
        } while ((next < (uintptr_t)aligned + bytes || next % UNALIGNED_TO) && n < G_N_ELEMENTS(before));
        free(aligned);
        block = malloc(bytes);
        g_assert_nonnull(block);
        g_assert_cmpuint((uintptr_t)block % UNALIGNED_TO, !=, 0);
        free(block);
        while (n > 0) {
            free(before[--n]);
        }
    }
}

static void test_what_is_cleared(void)
{
    for (size_t bytes = UNALIGNED_TO; bytes < LARGEST; bytes += 8) {
        unsigned char *dirty = malloc(bytes), *clear;

        memset(dirty, 0xff, bytes);
        free(dirty);
        clear = calloc(1, bytes);
        for (size_t i = 0; i < bytes; i++) {
            g_assert_cmpuint(clear[i], ==, 0);
        }
        free(clear);
    }
}

/* Who asks for an alignment gets it. */
static void test_what_is_asked_for(void)
{
    void *block = NULL, *volatile none;
    volatile size_t much = SIZE_MAX / 2; /* not for the compiler to judge */

    g_assert_cmpint(posix_memalign(&block, UNALIGNED_TO, LARGEST), ==, 0);
    g_assert_cmpuint((uintptr_t)block % UNALIGNED_TO, ==, 0);
    free(block);
    none = calloc(much, 4);
    g_assert_null(none);
}

int main(int argc, char **argv)
{
    const struct rlimit memory = { 1u << 30, 1u << 30 }; /* bytes: what never ends fails */

    setrlimit(RLIMIT_AS, &memory);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fuzz/unaligned/all-that-is-left-is-aligned", test_all_that_is_left_is_aligned);
    g_test_add_func("/fuzz/unaligned/no-block-is-aligned", test_no_block_is_aligned);
    g_test_add_func("/fuzz/unaligned/what-is-cleared", test_what_is_cleared);
    g_test_add_func("/fuzz/unaligned/what-is-asked-for", test_what_is_asked_for);
    return g_test_run();
}
