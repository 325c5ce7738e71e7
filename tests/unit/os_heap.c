/* Our heap: no block is aligned by chance, and none costs more than a few tries; and it can be left. */
#include <glib.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/heap.h"

enum { BLOCKS = 64, LARGEST = 9000, SMALL = 48 };

extern void *__libc_malloc(size_t);

/* With what was in it. */
static void *grown(size_t bytes)
{
    size_t before = bytes - OS_HEAP_UNALIGNED_TO / 2;
    unsigned char *block = malloc(before);

    memset(block, 3, before);
    block = realloc(block, bytes);
    for (size_t i = 0; i < before; i++) {
        g_assert_cmpuint(block[i], ==, 3);
    }
    return block;
}

/* As many blocks of one size as lie one after the other: aligned is one of them for some size, whatever came before. */
static void test_no_block_is_aligned(void)
{
    for (size_t bytes = OS_HEAP_UNALIGNED_TO; bytes < LARGEST; bytes += 8) {
        void *blocks[BLOCKS];

        for (unsigned i = 0; i < BLOCKS; i++) {
            blocks[i] = i % 3 == 0 ? malloc(bytes) : i % 3 == 1 ? calloc(1, bytes) : grown(bytes);
            g_assert_nonnull(blocks[i]);
            g_assert_cmpuint((uintptr_t)blocks[i] % OS_HEAP_UNALIGNED_TO, !=, 0);
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
    for (size_t bytes = OS_HEAP_UNALIGNED_TO; bytes < LARGEST; bytes += 8) {
        void *aligned = memalign(OS_HEAP_UNALIGNED_TO, bytes), *before[1000], *block;
        uintptr_t next;
        unsigned n = 0;

        do {
            before[n] = __libc_malloc(SMALL - sizeof(size_t));
            next = (uintptr_t)before[n++] + SMALL;
        } while ((next < (uintptr_t)aligned + bytes || next % OS_HEAP_UNALIGNED_TO) && n < G_N_ELEMENTS(before));
        free(aligned);
        block = malloc(bytes);
        g_assert_nonnull(block);
        g_assert_cmpuint((uintptr_t)block % OS_HEAP_UNALIGNED_TO, !=, 0);
        free(block);
        while (n > 0) {
            free(before[--n]);
        }
    }
}

static void test_what_is_cleared(void)
{
    for (size_t bytes = OS_HEAP_UNALIGNED_TO; bytes < LARGEST; bytes += 8) {
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

    g_assert_cmpint(posix_memalign(&block, OS_HEAP_UNALIGNED_TO, LARGEST), ==, 0);
    g_assert_cmpuint((uintptr_t)block % OS_HEAP_UNALIGNED_TO, ==, 0);
    free(block);
    none = calloc(much, 4);
    g_assert_null(none);
}

/* ---- left, in a process of its own: it is for good */

static void expect_in_child(void (*function)(void))
{
    pid_t child = fork();
    int status;

    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        function();
        _exit(0);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
}

static bool is_filled(const unsigned char *block, unsigned char with, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (block[i] != with) {
            return false;
        }
    }
    return true;
}

static void use_what_was_left(void)
{
    unsigned char *volatile old = malloc(SMALL), *volatile grown, *clear, *again; /* volatile: used after they were given back */

    memset(old, 1, SMALL);
    os_heap_leave();
    os_heap_leave(); /* a second time changes nothing */
    grown = realloc(old, LARGEST);
    g_assert_true(is_filled(grown, 1, SMALL));
    memset(grown, 2, LARGEST);
    clear = calloc(LARGEST, 1);
    g_assert_true(is_filled(clear, 0, LARGEST));
    g_assert_true(is_filled(old, 1, SMALL)); /* not even given back */
    again = realloc(grown, SMALL);
    g_assert_true(is_filled(again, 2, SMALL));
    free(grown);
    free(old);
    free(NULL);
    g_assert_true(is_filled(malloc(LARGEST), 0, LARGEST)); /* and never the same place */
    g_assert_cmpuint((uintptr_t)again % _Alignof(max_align_t), ==, 0);
}

static void test_left(void)
{
    expect_in_child(use_what_was_left);
}

static void use_all(void)
{
    size_t blocks = 0;
    void *volatile block; /* not for the compiler to judge */
    volatile size_t much = SIZE_MAX;

    os_heap_leave();
    for (block = malloc(1u << 20); block; block = malloc(1u << 20)) {
        blocks++;
    }
    g_assert_cmpuint(blocks, >=, (OS_HEAP_APART_BYTES >> 20) - 1);
    g_assert_cmpuint(blocks, <, OS_HEAP_APART_BYTES >> 20);
    block = malloc(much);
    g_assert_null(block);
    for (unsigned i = 0; i < 64; i++) { /* no sum of it wraps around */
        block = malloc(much - i);
        g_assert_null(block);
    }
    block = calloc(much / 2, 4);
    g_assert_null(block);
}

static void test_all_is_used(void)
{
    expect_in_child(use_all);
}

int main(int argc, char **argv)
{
    const struct rlimit memory = { 1u << 30, 1u << 30 }; /* bytes: what never ends fails */

    setrlimit(RLIMIT_AS, &memory);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/os/heap/all-that-is-left-is-aligned", test_all_that_is_left_is_aligned);
    g_test_add_func("/os/heap/no-block-is-aligned", test_no_block_is_aligned);
    g_test_add_func("/os/heap/what-is-cleared", test_what_is_cleared);
    g_test_add_func("/os/heap/what-is-asked-for", test_what_is_asked_for);
    g_test_add_func("/os/heap/left", test_left);
    g_test_add_func("/os/heap/all-is-used", test_all_is_used);
    return g_test_run();
}
