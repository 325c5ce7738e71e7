/* A function in a child of the process: what it changes, what it leaves, and how it can end. */
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuzz/forked.h"
#include "sched/sched.h"

extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

/* A sanitizer keeps memory of its own, which is not put back: then each has a child of its own. */
static bool rewinds(void)
{
    return !__asan_init && !__tsan_init;
}

/* In a test of its own: it is run again in a subprocess, which must fail. */
static void ends_the_process(void (*function)(void), ForkedHow how)
{
    if (g_test_subprocess()) {
        forked_run(function, how);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

static int own;
static int *shared, *order;

static void add(void)
{
    own += *order;
    *shared += *order;
}

static void test_memory(void)
{
    own = *shared = 0;
    *order = 3;
    forked_run(add, FORKED_FRESH);
    own = 100; /* no child has this: it is as the process was at the start */
    forked_run(add, FORKED_FRESH);
    g_assert_cmpint(own, ==, 100);
    g_assert_cmpint(*shared, ==, 6);
}

static void ask(void)
{
    void *pcs[] = { (char *)(void *)test_memory + 4 };

    *shared = (int)forked_namer(pcs, 1);
}

/* The name that a child is told is the parent's. */
static void test_namer(void)
{
    void *pcs[] = { (char *)(void *)test_memory + 4 };

    *shared = 0;
    forked_run(ask, FORKED_FRESH);
    g_assert_cmpint(*shared, !=, 0);
    g_assert_cmpint(*shared, ==, (int)forked_namer(pcs, 1));
}

/* ---- children that are rewound */

#define PAGE_BYTES 4096u
#define MANY_PAGES 10000u /* more than are put back */

static int in_data = 1;
static char many[MANY_PAGES * PAGE_BYTES];
static char *block; /* of the heap, from before the start */

/* All kinds of memory are as they were at the start; then they are not. */
static void use_all(void)
{
    char *young = malloc(3000);
    volatile char deep[20000];

    *shared += in_data == 1 && own == 0 && many[0] == 0 && block[0] == 'b' && block[9000] == 'c';
    in_data = 2;
    own = 7;
    block[0] = 'x';
    block[9000] = 'y';
    young[0] = young[2999] = 'z';
    for (size_t i = 0; i < sizeof(deep); i += 500) {
        deep[i] = 1;
    }
    block = young;
    sigprocmask(SIG_BLOCK, &(sigset_t){ { 1u << (SIGUSR1 - 1) } }, NULL);
}

static void test_rewound(void)
{
    uint64_t before = forked_children();

    *shared = 0;
    for (unsigned i = 0; i < 100; i++) {
        forked_run(use_all, FORKED_REWOUND);
    }
    g_assert_cmpint(*shared, ==, 100);
    g_assert_cmpint(in_data, ==, 1);
    g_assert_cmpuint(forked_children() - before, ==, rewinds() ? 1 : 100);
    forked_run(use_all, FORKED_FRESH); /* from the same state */
    g_assert_cmpint(*shared, ==, 101);
}

static void look_at_the_mask(void)
{
    sigset_t mask;

    sigprocmask(SIG_SETMASK, NULL, &mask);
    *shared += sigismember(&mask, SIGUSR1);
}

static void test_signal_mask(void)
{
    *shared = 0;
    forked_run(use_all, FORKED_REWOUND);
    *shared = 0;
    forked_run(look_at_the_mask, FORKED_REWOUND);
    g_assert_cmpint(*shared, ==, 0);
}

static void leave_a_mapping(void)
{
    *shared += mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static void leave_a_descriptor(void)
{
    *shared += dup(0) >= 0;
}

static void leave_a_bigger_heap(void)
{
    *shared += sbrk(PAGE_BYTES) != (void *)-1;
}

static void write_to_many_pages(void)
{
    for (size_t i = 0; i < sizeof(many); i += PAGE_BYTES) {
        *shared += many[i] == 0;
        many[i] = 1;
    }
}

/* What cannot be put back ends the child, and the next one is as at the start. */
static void test_cannot_go_back(void)
{
    static const struct {
        void (*function)(void);
        int adds;
    } cases[] = {
        { leave_a_mapping, 1 }, { leave_a_descriptor, 1 }, { leave_a_bigger_heap, 1 }, { write_to_many_pages, MANY_PAGES }
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t before;

        forked_run(look_at_the_mask, FORKED_REWOUND);
        before = forked_children();
        *shared = 0;
        for (unsigned k = 0; k < 3; k++) {
            forked_run(cases[i].function, FORKED_REWOUND);
        }
        forked_run(use_all, FORKED_REWOUND);
        g_assert_cmpint(*shared, ==, 3 * cases[i].adds + 1);
        g_assert_cmpuint(forked_children() - before, ==, rewinds() ? 3 : 4);
    }
}

#define PAGES_AT_ONCE 100u
#define LONG_RUN      500u /* of executions: each page has its turn five times */

static void write_to_other_pages(void)
{
    for (unsigned i = 0; i < PAGES_AT_ONCE; i++) {
        char *page = &many[((unsigned)*order * PAGES_AT_ONCE + i) % MANY_PAGES * PAGE_BYTES];

        *shared += *page == 0;
        *page = 1;
    }
    *shared += many[0] == (*order % (int)(MANY_PAGES / PAGES_AT_ONCE) == 0);
}

/* Pages that are not written to for long are not copied any more: a child goes on. When they are written to again, they are put back again. */
static void test_pages_in_turn(void)
{
    uint64_t before;

    forked_run(leave_a_mapping, FORKED_REWOUND); /* the last of its child */
    before = forked_children();
    *shared = 0;
    for (*order = 0; *order < (int)LONG_RUN; (*order)++) {
        forked_run(write_to_other_pages, FORKED_REWOUND);
    }
    g_assert_cmpint(*shared, ==, LONG_RUN * (PAGES_AT_ONCE + 1));
    g_assert_cmpuint(forked_children() - before, ==, rewinds() ? 1 : LONG_RUN);
}

static void die_if_others_were_here(void)
{
    if (*order) {
        (*order)--;
        _exit(1);
    }
    *shared = 1;
}

static void write_to_a_young_page(void)
{
    *shared += many[20 * PAGE_BYTES] == 0;
    many[20 * PAGE_BYTES] = 1;
}

/* A fresh child that a rewound one has forked does not spoil it: the next one is run there, on the same page. */
static void test_fresh_between(void)
{
    uint64_t before;

    forked_run(leave_a_mapping, FORKED_REWOUND); /* the last of its child */
    forked_run(look_at_the_mask, FORKED_REWOUND);
    before = forked_children();
    *shared = 0;
    forked_run(write_to_a_young_page, FORKED_FRESH);
    forked_run(write_to_a_young_page, FORKED_REWOUND);
    forked_run(write_to_a_young_page, FORKED_REWOUND);
    g_assert_cmpint(*shared, ==, 3);
    g_assert_cmpuint(forked_children() - before, ==, rewinds() ? 1 : 3);
}

/* Whoever dies in a child that is rewound has another try in a child of its own. */
static void test_second_opinion(void)
{
    *order = rewinds();
    *shared = 0;
    forked_run(die_if_others_were_here, FORKED_REWOUND);
    g_assert_cmpint(*shared, ==, 1);
    forked_run(use_all, FORKED_REWOUND); /* and those after it are as ever */
    g_assert_cmpint(*shared, ==, 2);
}

static void test_dies_twice(void)
{
    *order = 2;
    ends_the_process(die_if_others_were_here, FORKED_REWOUND);
}

/* ---- how a child can end */

static void leave(void)
{
    _exit(*order);
}

static void die(void)
{
    signal(*order, SIG_DFL);
    raise(*order);
}

/* A child that ends in the middle takes the process with it: whatever its status is, even where that looks like success, */
static void test_exit_status(void)
{
    *order = 77;
    ends_the_process(leave, FORKED_FRESH);
    if (!g_test_subprocess()) {
        g_test_trap_assert_stderr("*the execution ended the process with status 77\n*");
    }
}

static void test_exit_status_zero(void)
{
    *order = 0;
    ends_the_process(leave, FORKED_FRESH);
    if (!g_test_subprocess()) {
        g_test_trap_assert_stderr("*the execution ended the process with status 0\n*");
    }
}

/* or by a signal. */
static void test_signal(void)
{
    *order = SIGTERM;
    ends_the_process(die, FORKED_FRESH);
    if (!g_test_subprocess()) {
        g_test_trap_assert_stderr("*ended by signal 15*");
        g_test_trap_assert_stderr_unmatched("*ended the process with status*");
    }
}

static void note_death(void)
{
    *shared = 1234;
}

static void tell_death(void)
{
    fprintf(stderr, "a child has died and left %d\n", *shared);
}

/* What libc ends a process for is told by the child to the process, and by that before it ends, too. */
static void test_death(void)
{
    *shared = 0;
    ends_the_process(abort, FORKED_FRESH);
    if (!g_test_subprocess()) {
        g_test_trap_assert_stderr("*a child has died and left 1234*");
        g_test_trap_assert_stderr_unmatched("*ended the process with status*");
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    shared = forked_alloc(sizeof(*shared));
    order = forked_alloc(sizeof(*order));
    block = g_malloc(10000);
    block[0] = 'b';
    block[9000] = 'c';
    sched_install_fault_handler();
    forked_on_death(note_death, tell_death);
    forked_start();
    g_test_add_func("/fuzz/forked/memory", test_memory);
    g_test_add_func("/fuzz/forked/namer", test_namer);
    g_test_add_func("/fuzz/forked/rewound", test_rewound);
    g_test_add_func("/fuzz/forked/signal-mask", test_signal_mask);
    g_test_add_func("/fuzz/forked/cannot-go-back", test_cannot_go_back);
    g_test_add_func("/fuzz/forked/pages-in-turn", test_pages_in_turn);
    g_test_add_func("/fuzz/forked/fresh-between", test_fresh_between);
    g_test_add_func("/fuzz/forked/second-opinion", test_second_opinion);
    g_test_add_func("/fuzz/forked/dies-twice", test_dies_twice);
    g_test_add_func("/fuzz/forked/exit-status", test_exit_status);
    g_test_add_func("/fuzz/forked/exit-status-zero", test_exit_status_zero);
    g_test_add_func("/fuzz/forked/signal", test_signal);
    g_test_add_func("/fuzz/forked/death", test_death);
    return g_test_run();
}
