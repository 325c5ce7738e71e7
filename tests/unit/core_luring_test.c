/*
 * Requests by two rings, on real threads and the real kernel. What a real disk does not do when it is asked (a short read) is for target luring.
 */
#include "core_upper_harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/defer_call.h"
#include "core/luring.h"

#define BLOCK    512
#define REQUESTS 100u

typedef struct Test {
    LuringState *ring;
    int fd;
    unsigned count;
} Test;

typedef struct Request {
    Test *test;
    unsigned number;
    int ret;
} Request;

static void attach(void *opaque)
{
    Test *test = opaque;

    luring_attach_aio_context(test->ring, thread_ctx(0));
}

static void detach(void *opaque)
{
    Test *test = opaque;

    g_assert_cmpuint(luring_in_queue(test->ring), ==, 0);
    luring_detach_aio_context(test->ring, thread_ctx(0));
}

static void up(Test *test, unsigned entries)
{
    char path[] = "/tmp/wakefuzz-luring-XXXXXX";

    core_up(1);
    test->fd = mkstemp(path);
    g_assert_cmpint(test->fd, >=, 0);
    unlink(path);
    test->ring = luring_init(entries);
    g_assert_nonnull(test->ring);
    aio_wait_bh_oneshot(thread_ctx(0), attach, test);
}

static void down(Test *test)
{
    aio_wait_bh_oneshot(thread_ctx(0), detach, test);
    luring_cleanup(test->ring);
    close(test->fd);
    core_down();
}

static int coroutine_fn transfer(Test *test, unsigned number, uint8_t *data, int type)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, data, BLOCK);
    return luring_co_submit(test->ring, test->fd, (uint64_t)number * BLOCK, &qiov, type);
}

static void coroutine_fn write_and_read(void *opaque)
{
    Request *request = opaque;
    uint8_t out[BLOCK], in[BLOCK];

    memset(out, (int)request->number + 1, sizeof(out));
    request->ret = transfer(request->test, request->number, out, QEMU_AIO_WRITE);
    g_assert_cmpint(luring_co_submit(request->test->ring, request->test->fd, 0, NULL, QEMU_AIO_FLUSH), ==, 0);
    g_assert_cmpint(transfer(request->test, request->number, in, QEMU_AIO_READ), ==, 0);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
}

static void test_each_request_once(gconstpointer entries)
{
    Test test;
    Request requests[REQUESTS];

    up(&test, GPOINTER_TO_UINT(entries));
    for (unsigned i = 0; i < REQUESTS; i++) {
        requests[i] = (Request){ .test = &test, .number = i, .ret = 1 };
        test_co_start(thread_ctx(0), write_and_read, &requests[i]);
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
}

static void test_zeros_behind_the_end(void)
{
    Test test;

    up(&test, 4);
    test_co_start(thread_ctx(0), read_behind_the_end, &test);
    test_co_wait_all();
    down(&test);
}

static void coroutine_fn one_read(void *opaque)
{
    Test *test = opaque;
    uint8_t in[BLOCK];

    g_assert_cmpint(transfer(test, 0, in, QEMU_AIO_READ), ==, 0);
    qatomic_inc(&test->count);
}

/* Nothing is submitted before the section ends. */
static void batch(void *opaque)
{
    Test *test = opaque;

    defer_call_begin();
    for (unsigned i = 0; i < 3; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(one_read, test));
    }
    g_assert_cmpuint(luring_in_queue(test->ring), ==, 3);
    defer_call_end();
    g_assert_cmpuint(luring_in_queue(test->ring), ==, 0);
}

static void test_section_submits_at_its_end(void)
{
    Test test = { .count = 0 };

    up(&test, 8);
    aio_wait_bh_oneshot(thread_ctx(0), batch, &test);
    while (qatomic_read(&test.count) < 3) {
        flush_threads();
    }
    down(&test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/luring/each-request-once/2-entries", GUINT_TO_POINTER(2), test_each_request_once);
    g_test_add_data_func("/luring/each-request-once/128-entries", GUINT_TO_POINTER(128), test_each_request_once);
    g_test_add_func("/luring/zeros-behind-the-end", test_zeros_behind_the_end);
    g_test_add_func("/luring/section-submits-at-its-end", test_section_submits_at_its_end);
    return g_test_run();
}
