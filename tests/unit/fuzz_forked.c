/* A function in a child of the process: what it changes, what it leaves, and how it can end. */
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuzz/forked.h"

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
    forked_run(add);
    own = 100; /* no child has this: it is as the process was at the start */
    forked_run(add);
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
    forked_run(ask);
    g_assert_cmpint(*shared, !=, 0);
    g_assert_cmpint(*shared, ==, (int)forked_namer(pcs, 1));
}

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
    if (g_test_subprocess()) {
        forked_run(leave);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

static void test_exit_status_zero(void)
{
    *order = 0;
    if (g_test_subprocess()) {
        forked_run(leave);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

/* or by a signal. */
static void test_signal(void)
{
    *order = SIGTERM;
    if (g_test_subprocess()) {
        forked_run(die);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*ended by signal 15*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    shared = forked_alloc(sizeof(*shared));
    order = forked_alloc(sizeof(*order));
    forked_start();
    g_test_add_func("/fuzz/forked/memory", test_memory);
    g_test_add_func("/fuzz/forked/namer", test_namer);
    g_test_add_func("/fuzz/forked/exit-status", test_exit_status);
    g_test_add_func("/fuzz/forked/exit-status-zero", test_exit_status_zero);
    g_test_add_func("/fuzz/forked/signal", test_signal);
    return g_test_run();
}
