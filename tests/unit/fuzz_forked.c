/* A function in a child of the process: what it changes, what it leaves, and how it can end. */
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuzz/forked.h"

static int own;
static int *shared;

static void add(void *amount)
{
    own += *(int *)amount;
    *shared += *(int *)amount;
}

static void test_memory(void)
{
    int amount = 3;

    own = *shared = 0;
    forked_run(add, &amount);
    forked_run(add, &amount);
    g_assert_cmpint(own, ==, 0);
    g_assert_cmpint(*shared, ==, 6);
}

static void ask(void *code)
{
    void *pcs[] = { code };

    *shared = (int)forked_namer(pcs, 1);
}

/* The name that a child is told is the parent's. */
static void test_namer(void)
{
    void *pcs[] = { (char *)(void *)test_memory + 4 };

    *shared = 0;
    forked_run(ask, pcs[0]);
    g_assert_cmpint(*shared, !=, 0);
    g_assert_cmpint(*shared, ==, (int)forked_namer(pcs, 1));
}

static void leave(void *status)
{
    _exit(*(int *)status);
}

static void die(void *number)
{
    signal(*(int *)number, SIG_DFL);
    raise(*(int *)number);
}

/* A child that ends in the middle takes the process with it: with its status, even where that looks like success, */
static void test_exit_status(void)
{
    int status = 77;

    if (g_test_subprocess()) {
        forked_run(leave, &status);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("");
}

static void test_exit_status_zero(void)
{
    int status = 0;

    if (g_test_subprocess()) {
        forked_run(leave, &status);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

/* or by the same signal. */
static void test_signal(void)
{
    int number = SIGTERM;

    if (g_test_subprocess()) {
        forked_run(die, &number);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    shared = forked_alloc(sizeof(*shared));
    g_test_add_func("/fuzz/forked/memory", test_memory);
    g_test_add_func("/fuzz/forked/namer", test_namer);
    g_test_add_func("/fuzz/forked/exit-status", test_exit_status);
    g_test_add_func("/fuzz/forked/exit-status-zero", test_exit_status_zero);
    g_test_add_func("/fuzz/forked/signal", test_signal);
    return g_test_run();
}
