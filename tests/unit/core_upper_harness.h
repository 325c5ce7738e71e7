/*
 * What the tests of the core's upper half share: a core that is set up and torn down for each test, threads, and
 * coroutines in them.
 *
 * Everything runs on real threads. A test that hangs is ended by alarm(); nothing else depends on real time.
 */
#ifndef WAKEFUZZ_TESTS_CORE_UPPER_HARNESS_H
#define WAKEFUZZ_TESTS_CORE_UPPER_HARNESS_H

#include <glib.h>
#include <unistd.h>

#include "core/aio_wait.h"
#include "core/atomic.h"
#include "core/block_drain.h"
#include "core/block_graph.h"
#include "core/core.h"
#include "core/coroutine.h"
#include "core/iothread.h"
#include "core/main_loop.h"

#define TEST_SECONDS     120
#define TEST_THREADS_MAX 4

typedef struct Harness {
    IOThread *threads[TEST_THREADS_MAX];
    unsigned thread_count;
    unsigned running; /* coroutines that test_co_start() has started and that have not ended; atomic */
} Harness;

static Harness harness;

static inline AioContext *thread_ctx(unsigned i)
{
    return iothread_get_aio_context(harness.threads[i % harness.thread_count]);
}

/* The main context, as thread 0, or that of an I/O thread. */
static inline AioContext *any_ctx(unsigned i)
{
    return i == 0 ? qemu_get_aio_context() : thread_ctx(i - 1);
}

typedef struct TestCo {
    void (*function)(void *);
    void *opaque;
} TestCo;

static void coroutine_fn test_co_entry(void *opaque)
{
    TestCo co = *(TestCo *)opaque;

    g_free(opaque);
    co.function(co.opaque);

    /* No kick: it would wake a waiter that missed its own. */
    qatomic_dec(&harness.running);
}

/* Run function(opaque) as a coroutine in ctx. */
static inline void test_co_start(AioContext *ctx, void (*function)(void *), void *opaque)
{
    TestCo *co = g_new(TestCo, 1);

    *co = (TestCo){ .function = function, .opaque = opaque };
    qatomic_inc(&harness.running);
    aio_co_schedule(ctx, qemu_coroutine_create(test_co_entry, co));
}

/* Let the other coroutines and handlers of this context have a turn. */
static inline void coroutine_fn test_co_pause(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

static inline void nothing_bh(void *opaque)
{
    (void)opaque;
}

/* Each thread has begun a new round of its loop after this. */
static inline void flush_threads(void)
{
    for (unsigned i = 0; i < harness.thread_count; i++) {
        aio_wait_bh_oneshot(thread_ctx(i), nothing_bh, NULL);
    }
}

/* Until all coroutines of test_co_start() have ended. */
static inline void test_co_wait_all(void)
{
    while (qatomic_load_acquire(&harness.running) > 0) {
        flush_threads();
        aio_poll(qemu_get_aio_context(), false);
    }
}

static inline void core_up(unsigned thread_count)
{
    alarm(TEST_SECONDS);
    core_init();
    g_assert_cmpint(qemu_init_main_loop(), ==, 0);
    harness = (Harness){ .thread_count = thread_count };
    for (unsigned i = 0; i < thread_count; i++) {
        harness.threads[i] = iothread_new("io");
        g_assert_nonnull(harness.threads[i]);
    }
}

/* Ends with a "leak" where the test has left anything behind. */
static inline void core_down(void)
{
    test_co_wait_all();
    flush_threads();
    for (unsigned i = 0; i < harness.thread_count; i++) {
        iothread_destroy(harness.threads[i]);
    }
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* kicks that came after the last wait */
    }
    g_assert_cmpuint(global_aio_wait.num_waiters, ==, 0);
    qemu_cleanup_main_loop();
    block_reset();
    core_reset();
    alarm(0);
}

#endif
