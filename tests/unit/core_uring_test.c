/*
 * The loop's own ring, on real threads and the real kernel. What a real disk does not do when it is asked (a short read) is for target luring.
 */
#include "core_upper_harness.h"

#include <stdlib.h>
#include <string.h>

#include "core/aio_uring.h"

#define BLOCK    512
#define REQUESTS 100u

typedef struct Test {
    AioContext *ctx;
    int fd;
    unsigned count; /* atomic: requests that have ended */
} Test;

typedef struct Request {
    Test *test;
    unsigned number;
    int ret;
} Request;

static void setup(void *opaque)
{
    Test *test = opaque;

    g_assert_cmpint(aio_uring_setup(test->ctx), ==, 0);
}

static void cleanup(void *opaque)
{
    Test *test = opaque;

    g_assert_cmpuint(aio_uring_queued(test->ctx), ==, 0);
    aio_uring_cleanup(test->ctx);
}

static void up(Test *test, unsigned context)
{
    char path[] = "/tmp/wakefuzz-uring-XXXXXX";

    core_up(1);
    *test = (Test){ .ctx = any_ctx(context) };
    test->fd = mkstemp(path);
    g_assert_cmpint(test->fd, >=, 0);
    unlink(path);
    aio_wait_bh_oneshot(test->ctx, setup, test);
}

static void down(Test *test)
{
    aio_wait_bh_oneshot(test->ctx, cleanup, test);
    close(test->fd);
    core_down();
}

static int coroutine_fn transfer(Test *test, unsigned number, uint8_t *data, int type)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, data, BLOCK);
    return aio_uring_co_submit(test->fd, (uint64_t)number * BLOCK, &qiov, type);
}

static void coroutine_fn write_and_read(void *opaque)
{
    Request *request = opaque;
    uint8_t out[BLOCK], in[BLOCK];

    memset(out, (int)request->number + 1, sizeof(out));
    request->ret = transfer(request->test, request->number, out, QEMU_AIO_WRITE);
    g_assert_cmpint(aio_uring_co_submit(request->test->fd, 0, NULL, QEMU_AIO_FLUSH), ==, 0);
    g_assert_cmpint(transfer(request->test, request->number, in, QEMU_AIO_READ), ==, 0);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
}

/* More than a batch, in a context with a home thread of its own, and in the main one. */
static void test_each_request_once(gconstpointer context)
{
    Test test;
    Request requests[REQUESTS];

    up(&test, GPOINTER_TO_UINT(context));
    for (unsigned i = 0; i < REQUESTS; i++) {
        requests[i] = (Request){ .test = &test, .number = i, .ret = 1 };
        test_co_start(test.ctx, write_and_read, &requests[i]);
    }
    test_co_wait_all();
    for (unsigned i = 0; i < REQUESTS; i++) {
        g_assert_cmpint(requests[i].ret, ==, 0);
    }
    down(&test);
}

static void coroutine_fn read_behind_the_end(void *opaque)
{
    Test *test = opaque;
    uint8_t in[BLOCK];

    memset(in, 0xff, sizeof(in));
    g_assert_cmpint(transfer(test, 7, in, QEMU_AIO_READ), ==, 0);
    for (unsigned i = 0; i < BLOCK; i++) {
        g_assert_cmpint(in[i], ==, 0);
    }
    qatomic_inc(&test->count);
}

static void test_zeros_behind_the_end(void)
{
    Test test;

    up(&test, 1);
    test_co_start(test.ctx, read_behind_the_end, &test);
    test_co_wait_all();
    down(&test);
}

static void coroutine_fn read_across_the_end(void *opaque)
{
    Test *test = opaque;
    uint8_t in[BLOCK];

    memset(in, 0xff, sizeof(in));
    g_assert_cmpint(transfer(test, 0, in, QEMU_AIO_READ), ==, 0);
    for (unsigned i = 0; i < BLOCK; i++) {
        g_assert_cmpint(in[i], ==, i < BLOCK / 2 ? 0x5a : 0);
    }
}

/* A short read goes on behind what it has; from the start again, it would be short again, without end. */
static void test_zeros_across_the_end(void)
{
    uint8_t half[BLOCK / 2];
    Test test;

    up(&test, 1);
    memset(half, 0x5a, sizeof(half));
    g_assert_cmpint(pwrite(test.fd, half, sizeof(half), 0), ==, (int)sizeof(half));
    test_co_start(test.ctx, read_across_the_end, &test);
    test_co_wait_all();
    down(&test);
}

/* A coroutine puts its request into the queue and no more; the loop's next round submits it, also one that does not block. */
static void test_loop_submits(void)
{
    Test test;

    up(&test, 0);
    for (unsigned i = 0; i < 3; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(read_behind_the_end, &test));
        g_assert_cmpuint(aio_uring_queued(test.ctx), ==, i + 1);
    }
    aio_poll(test.ctx, false);
    g_assert_cmpuint(aio_uring_queued(test.ctx), ==, 0);
    while (qatomic_read(&test.count) < 3) {
        aio_poll(test.ctx, true);
    }
    down(&test);
}

static void *vcpu(void *opaque)
{
    Test *test = opaque;

    bql_lock();
    qemu_coroutine_enter(qemu_coroutine_create(read_behind_the_end, test));
    bql_unlock();
    return NULL;
}

/* The big lock is free only while the main thread sleeps: so it sleeps when the thread adds its request. */
static void test_vcpu_wakes_the_main_loop(void)
{
    QemuThread thread;
    Test test;

    up(&test, 0);
    qemu_thread_create(&thread, "vcpu", vcpu, &test, QEMU_THREAD_JOINABLE);
    while (!qatomic_read(&test.count)) {
        main_loop_wait(false);
    }
    qemu_thread_join(&thread);
    down(&test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/uring/each-request-once/main", GUINT_TO_POINTER(0), test_each_request_once);
    g_test_add_data_func("/uring/each-request-once/iothread", GUINT_TO_POINTER(1), test_each_request_once);
    g_test_add_func("/uring/zeros-behind-the-end", test_zeros_behind_the_end);
    g_test_add_func("/uring/zeros-across-the-end", test_zeros_across_the_end);
    g_test_add_func("/uring/loop-submits", test_loop_submits);
    g_test_add_func("/uring/vcpu-wakes-the-main-loop", test_vcpu_wakes_the_main_loop);
    return g_test_run();
}
