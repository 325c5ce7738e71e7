/*
 * The pool of worker threads, on real threads. Work that has to be under way is held by a semaphore, never by time.
 *
 * 200 requests go through the queue many times over with a few workers: a request that is run twice, not at all, or called back too
 * early shows in the sums.
 */
#include <errno.h>

#include "core_upper_harness.h"

#include "core/block_backend.h"
#include "core/block_drivers.h"
#include "core/thread_pool.h"

#define REQUESTS 200

typedef struct Held {
    QemuSemaphore started, go;
    int at_once, most; /* atomic */
} Held;

static Held held;
static unsigned ran, called_back; /* ran: atomic */

static void pool_up(unsigned thread_count, int max_threads)
{
    core_up(thread_count);
    ran = called_back = 0;
    held.at_once = held.most = 0;
    qemu_sem_init(&held.started, 0);
    qemu_sem_init(&held.go, 0);
    aio_context_set_thread_pool_params(qemu_get_aio_context(), 0, max_threads);
}

static void pool_down(void)
{
    core_down();
    qemu_sem_destroy(&held.started);
    qemu_sem_destroy(&held.go);
}

static int count_work(void *opaque)
{
    qatomic_inc(&ran);
    return GPOINTER_TO_INT(opaque);
}

/* Says that it runs, and ends when it is let go. */
static int held_work(void *opaque)
{
    int now = qatomic_fetch_inc(&held.at_once) + 1;

    while (true) {
        int most = qatomic_read(&held.most);

        if (now <= most || qatomic_cmpxchg(&held.most, most, now) == most) {
            break;
        }
    }
    qemu_sem_post(&held.started);
    qemu_sem_wait(&held.go);
    qatomic_dec(&held.at_once);
    return count_work(opaque);
}

static void expect(void *opaque, int ret)
{
    g_assert_cmpint(ret, ==, GPOINTER_TO_INT(opaque));
    called_back++;
}

static void wait_for_callbacks(unsigned count)
{
    while (called_back < count) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert_cmpuint(called_back, ==, count);
}

static void test_each_request_once(gconstpointer max_threads)
{
    pool_up(0, GPOINTER_TO_INT(max_threads));
    for (int i = 0; i < REQUESTS; i++) {
        thread_pool_submit_aio(count_work, GINT_TO_POINTER(i), expect, GINT_TO_POINTER(i));
    }
    g_assert_cmpuint(called_back, ==, 0); /* never before the caller polls */
    wait_for_callbacks(REQUESTS);
    g_assert_cmpuint(ran, ==, REQUESTS);
    pool_down();
}

static void test_no_more_workers_than_allowed(void)
{
    pool_up(0, 2);
    for (int i = 0; i < 8; i++) {
        thread_pool_submit_aio(held_work, GINT_TO_POINTER(1), expect, GINT_TO_POINTER(1));
    }
    for (unsigned done = 0; done < 8; done += 2) {
        while (qemu_sem_timedwait(&held.started, 0) != 0) {
            aio_poll(qemu_get_aio_context(), false); /* creates the workers */
        }
        qemu_sem_wait(&held.started);
        qemu_sem_post(&held.go);
        qemu_sem_post(&held.go);
        wait_for_callbacks(done + 2);
    }
    g_assert_cmpint(held.most, ==, 2);
    pool_down();
}

/* One request holds the only worker: the next is still in the queue. */
static void test_cancel_in_the_queue(void)
{
    BlockAIOCB *second;

    pool_up(0, 1);
    thread_pool_submit_aio(held_work, GINT_TO_POINTER(3), expect, GINT_TO_POINTER(3));
    while (qemu_sem_timedwait(&held.started, 0) != 0) {
        aio_poll(qemu_get_aio_context(), false);
    }
    second = thread_pool_submit_aio(count_work, GINT_TO_POINTER(0), expect, GINT_TO_POINTER(-ECANCELED));
    bdrv_aio_cancel(second);
    g_assert_cmpuint(called_back, ==, 1);
    qemu_sem_post(&held.go);
    wait_for_callbacks(2);
    g_assert_cmpuint(ran, ==, 1); /* the one that was not cancelled */
    pool_down();
}

static void test_cancel_too_late(void)
{
    BlockAIOCB *request;

    pool_up(0, 1);
    request = thread_pool_submit_aio(held_work, GINT_TO_POINTER(5), expect, GINT_TO_POINTER(5));
    while (qemu_sem_timedwait(&held.started, 0) != 0) {
        aio_poll(qemu_get_aio_context(), false);
    }
    bdrv_aio_cancel_async(request);
    qemu_sem_post(&held.go);
    wait_for_callbacks(1);
    g_assert_cmpuint(ran, ==, 1);
    pool_down();
}

static void expect_after_all_others(void *opaque, int ret)
{
    expect(opaque, ret);
    wait_for_callbacks(REQUESTS); /* nested: all the others end inside this callback, or have ended */
}

/* The workers have finished all before the home thread looks for the first time. */
static void test_callback_polls_for_the_others(void)
{
    pool_up(0, 4);
    for (int i = 0; i < REQUESTS; i++) {
        thread_pool_submit_aio(count_work, NULL, i == REQUESTS - 1 ? expect_after_all_others : expect, NULL);
    }
    while (qatomic_read(&ran) == 0) {
        aio_poll(qemu_get_aio_context(), false);
    }
    while (qatomic_read(&ran) < REQUESTS) {
        g_thread_yield();
    }
    wait_for_callbacks(REQUESTS);
    pool_down();
}

static void coroutine_fn submit_and_yield(void *opaque)
{
    (void)opaque;
    for (int i = 0; i < REQUESTS; i++) {
        AioContext *home = qemu_get_current_aio_context();

        g_assert_cmpint(thread_pool_submit_co(count_work, GINT_TO_POINTER(-i)), ==, -i);
        g_assert_true(qemu_get_current_aio_context() == home);
    }
}

static void test_coroutines_of_two_contexts(void)
{
    pool_up(1, 4);
    test_co_start(any_ctx(0), submit_and_yield, NULL);
    test_co_start(any_ctx(1), submit_and_yield, NULL);
    test_co_wait_all();
    g_assert_cmpuint(ran, ==, 2 * REQUESTS);
    pool_down();
}

/* Workers are left when their pool is freed, some with nothing to do, some just asked for. */
static void test_free_with_idle_workers(void)
{
    for (int i = 0; i < REQUESTS / 4; i++) {
        pool_up(0, 4);
        aio_context_set_thread_pool_params(qemu_get_aio_context(), i % 4, 4);
        for (int k = 0; k < 4; k++) {
            thread_pool_submit_aio(count_work, NULL, expect, NULL);
        }
        wait_for_callbacks(4);
        pool_down();
    }
}

static void coroutine_fn write_and_read(void *opaque)
{
    uint8_t out[BDRV_SECTOR_SIZE], in[BDRV_SECTOR_SIZE];

    memset(out, 0x5a, sizeof(out));
    g_assert_cmpint(blk_co_pwrite(opaque, 0, sizeof(out), out, 0), ==, 0);
    g_assert_cmpint(blk_co_pread(opaque, 0, sizeof(in), in, 0), ==, 0);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
}

static void test_a_disk_served_by_workers(void)
{
    BlockBackend *blk;
    BlockDriverState *bs;

    pool_up(1, 4);
    blk = blk_new(any_ctx(1));
    bs = bdrv_new_ram("disk", any_ctx(1), 4 * BDRV_SECTOR_SIZE);
    bdrv_ram_set_completion(bs, RAM_COMPLETE_POOL, 0);
    blk_insert_bs(blk, bs);
    test_co_start(any_ctx(1), write_and_read, blk);
    test_co_wait_all();
    blk_remove_bs(blk);
    bdrv_unref(bs);
    blk_unref(blk);
    pool_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/thread-pool/each-request-once/1-worker", GINT_TO_POINTER(1), test_each_request_once);
    g_test_add_data_func("/thread-pool/each-request-once/8-workers", GINT_TO_POINTER(8), test_each_request_once);
    g_test_add_func("/thread-pool/no-more-workers-than-allowed", test_no_more_workers_than_allowed);
    g_test_add_func("/thread-pool/cancel/in-the-queue", test_cancel_in_the_queue);
    g_test_add_func("/thread-pool/cancel/too-late", test_cancel_too_late);
    g_test_add_func("/thread-pool/callback-polls-for-the-others", test_callback_polls_for_the_others);
    g_test_add_func("/thread-pool/coroutines-of-two-contexts", test_coroutines_of_two_contexts);
    g_test_add_func("/thread-pool/free-with-idle-workers", test_free_with_idle_workers);
    g_test_add_func("/thread-pool/a-disk-served-by-workers", test_a_disk_served_by_workers);
    return g_test_run();
}
