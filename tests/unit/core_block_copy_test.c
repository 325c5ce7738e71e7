/*
 * Copying from node to node, on real threads: data, failures, overlapping calls, and sleeps for the speed that are kicked and cancelled.
 *
 * The speeds that must not be felt are of one byte a second: a cluster then takes 51 s and more, and alarm() ends the test where a kick does
 * nothing. Numbers of rounds: 200 copies take a few tenths of a second.
 */
#include <errno.h>

#include "core_upper_harness.h"

#include "core/block_copy.h"
#include "core/block_drivers.h"

#define CLUSTER    BDRV_SECTOR_SIZE
#define DISK_BYTES (16 * CLUSTER)
#define ROUNDS     200

typedef struct Copy {
    BlockDriverState *source, *target;
    BdrvChild *source_edge, *target_edge;
    BlockCopyState *s;
    BlockCopyCallState *call;
    uint64_t timeout_ns;
    int ret;
    int64_t dirty;
    bool finished; /* atomic */
} Copy;

/* ---- two disks, and a parent that owns the edges */

static AioContext *owner_ctx;

static AioContext *owner_get_aio_context(BdrvChild *child)
{
    (void)child;
    return owner_ctx;
}

static const BdrvChildClass owner = { .get_parent_aio_context = owner_get_aio_context };

static void copy_up(Copy *copy, RamCompletion completion)
{
    core_up(1);
    owner_ctx = thread_ctx(0);
    *copy = (Copy){ .ret = 1 };
    copy->source = bdrv_new_ram("source", owner_ctx, DISK_BYTES);
    copy->target = bdrv_new_ram("target", owner_ctx, DISK_BYTES);
    bdrv_ram_set_completion(copy->source, completion, 1000);
    bdrv_ram_set_completion(copy->target, completion, 1000);
    bdrv_graph_wrlock_drained();
    bdrv_ref(copy->source);
    bdrv_ref(copy->target);
    copy->source_edge = bdrv_root_attach_child(copy->source, "source", &owner, NULL);
    copy->target_edge = bdrv_root_attach_child(copy->target, "target", &owner, NULL);
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
    copy->s = block_copy_state_new(copy->source_edge, copy->target_edge, DISK_BYTES, CLUSTER);
}

static void copy_down(Copy *copy)
{
    block_copy_state_free(copy->s);
    bdrv_graph_wrlock_drained();
    bdrv_root_unref_child(copy->source_edge);
    bdrv_root_unref_child(copy->target_edge);
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
    bdrv_unref(copy->source);
    bdrv_unref(copy->target);
    core_down();
}

/* ---- what runs in the copy's thread */

static void coroutine_fn fill_entry(void *opaque)
{
    Copy *copy = opaque;
    uint8_t buf[DISK_BYTES];
    QEMUIOVector qiov;

    for (unsigned i = 0; i < DISK_BYTES; i++) {
        buf[i] = (uint8_t)(i / CLUSTER + 1);
    }
    qemu_iovec_init_buf(&qiov, buf, sizeof(buf));
    GRAPH_RDLOCK_GUARD();
    g_assert_cmpint(bdrv_co_pwritev(copy->source_edge, 0, DISK_BYTES, &qiov, 0), ==, 0);
    block_copy_set_dirty(copy->s, 0, DISK_BYTES);
}

static void coroutine_fn compare_entry(void *opaque)
{
    Copy *copy = opaque;
    uint8_t buf[DISK_BYTES];
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, sizeof(buf));
    GRAPH_RDLOCK_GUARD();
    g_assert_cmpint(bdrv_co_preadv(copy->target_edge, 0, DISK_BYTES, &qiov, 0), ==, 0);
    for (unsigned i = 0; i < DISK_BYTES; i++) {
        g_assert_cmpint(buf[i], ==, (uint8_t)(i / CLUSTER + 1));
    }
    copy->dirty = block_copy_dirty_clusters_count(copy->s);
}

static void coroutine_fn copy_entry(void *opaque)
{
    Copy *copy = opaque;

    copy->ret = block_copy(copy->s, 0, DISK_BYTES, !copy->timeout_ns, copy->timeout_ns);
    copy->dirty = block_copy_dirty_clusters_count(copy->s);
}

static void coroutine_fn count_entry(void *opaque)
{
    Copy *copy = opaque;

    copy->dirty = block_copy_dirty_clusters_count(copy->s);
}

static void copy_finished(void *opaque)
{
    qatomic_store_release(&((Copy *)opaque)->finished, true);
}

static void coroutine_fn async_entry(void *opaque)
{
    Copy *copy = opaque;

    qatomic_store_release(&copy->call, block_copy_async(copy->s, 0, DISK_BYTES, 2, copy_finished, copy));
}

static void run_co(Copy *copy, void (*function)(void *))
{
    test_co_start(owner_ctx, function, copy);
    test_co_wait_all();
}

static void wait_finished(Copy *copy)
{
    while (!qatomic_load_acquire(&copy->finished)) {
        flush_threads();
    }
}

/* ---- tests */

static void test_copies(gconstpointer data)
{
    Copy copy;

    copy_up(&copy, (RamCompletion)GPOINTER_TO_UINT(data));
    run_co(&copy, fill_entry);
    run_co(&copy, copy_entry);
    g_assert_cmpint(copy.ret, ==, 0);
    run_co(&copy, compare_entry);
    g_assert_cmpint(copy.dirty, ==, 0);
    copy_down(&copy);
}

static void test_failure_leaves_it_dirty(void)
{
    Copy copy;

    copy_up(&copy, RAM_COMPLETE_BH);
    run_co(&copy, fill_entry);
    bdrv_ram_fail_next(copy.target, EIO);
    run_co(&copy, copy_entry);
    g_assert_cmpint(copy.ret, ==, -EIO);
    g_assert_cmpint(copy.dirty, >=, 1);
    run_co(&copy, copy_entry);
    g_assert_cmpint(copy.ret, ==, 0);
    run_co(&copy, compare_entry);
    copy_down(&copy);
}

/*
 * The first of two tasks fails while a third waits for room: that one is given up and not started. So the second cluster is copied, and
 * no other.
 */
static void test_failure_stops_who_waits_for_room(void)
{
    Copy copy;

    copy_up(&copy, RAM_COMPLETE_BH);
    run_co(&copy, fill_entry);
    bdrv_ram_fail_next(copy.target, EIO);
    run_co(&copy, async_entry);
    wait_finished(&copy);
    g_assert_cmpint(block_copy_call_status(copy.call), ==, -EIO);
    block_copy_call_unref(copy.call);
    run_co(&copy, count_entry);
    g_assert_cmpint(copy.dirty, ==, DISK_BYTES / CLUSTER - 1);
    copy_down(&copy);
}

/* Two calls over the same range: both return when all of it is there, whoever copied it. */
static void test_calls_overlap(void)
{
    Copy copy;

    copy_up(&copy, RAM_COMPLETE_BH);
    for (unsigned i = 0; i < ROUNDS; i++) {
        run_co(&copy, fill_entry);
        test_co_start(owner_ctx, copy_entry, &copy);
        test_co_start(owner_ctx, copy_entry, &copy);
        test_co_wait_all();
        g_assert_cmpint(copy.ret, ==, 0);
        run_co(&copy, compare_entry);
        g_assert_cmpint(copy.dirty, ==, 0);
    }
    copy_down(&copy);
}

static void start_slow_copy(Copy *copy)
{
    block_copy_set_speed(copy->s, 1);
    copy->finished = false;
    copy->call = NULL;
    run_co(copy, fill_entry);
    run_co(copy, async_entry);
}

/* Hangs for a minute where the sleep for the old speed is not ended. */
static void test_kick_after_new_speed(void)
{
    Copy copy;

    copy_up(&copy, RAM_COMPLETE_SYNC);
    start_slow_copy(&copy);
    g_assert_false(block_copy_call_finished(copy.call));
    block_copy_set_speed(copy.s, 0);
    block_copy_kick(copy.call);
    wait_finished(&copy);
    g_assert_true(block_copy_call_succeeded(copy.call));
    block_copy_call_unref(copy.call);
    run_co(&copy, compare_entry);
    copy_down(&copy);
}

static void test_kick_alone_changes_nothing(void)
{
    Copy copy;

    copy_up(&copy, RAM_COMPLETE_SYNC);
    start_slow_copy(&copy);
    for (unsigned i = 0; i < 10; i++) {
        block_copy_kick(copy.call);
        flush_threads();
    }
    g_assert_false(block_copy_call_finished(copy.call));
    block_copy_call_cancel(copy.call);
    wait_finished(&copy);
    block_copy_call_unref(copy.call);
    copy_down(&copy);
}

static void test_cancel(void)
{
    Copy copy;

    copy_up(&copy, RAM_COMPLETE_BH);
    for (unsigned i = 0; i < ROUNDS; i++) {
        start_slow_copy(&copy);
        block_copy_call_cancel(copy.call);
        wait_finished(&copy);
        g_assert_true(block_copy_call_cancelled(copy.call));
        g_assert_false(block_copy_call_succeeded(copy.call));
        g_assert_cmpint(block_copy_call_status(copy.call), ==, 0);
        block_copy_call_unref(copy.call);
    }
    copy_down(&copy);
}

static void test_timeout(void)
{
    Copy copy;

    copy_up(&copy, RAM_COMPLETE_BH);
    block_copy_set_speed(copy.s, 1);
    copy.timeout_ns = SCALE_MS;
    run_co(&copy, fill_entry);
    run_co(&copy, copy_entry);
    g_assert_cmpint(copy.ret, ==, -ETIMEDOUT);
    while (coroutine_live_count()) {
        flush_threads();
    }
    copy_down(&copy);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/block-copy/copies/sync", GUINT_TO_POINTER(RAM_COMPLETE_SYNC), test_copies);
    g_test_add_data_func("/block-copy/copies/bh", GUINT_TO_POINTER(RAM_COMPLETE_BH), test_copies);
    g_test_add_data_func("/block-copy/copies/timer", GUINT_TO_POINTER(RAM_COMPLETE_TIMER), test_copies);
    g_test_add_func("/block-copy/failure-leaves-it-dirty", test_failure_leaves_it_dirty);
    g_test_add_func("/block-copy/failure-stops-who-waits-for-room", test_failure_stops_who_waits_for_room);
    g_test_add_func("/block-copy/calls-overlap", test_calls_overlap);
    g_test_add_func("/block-copy/kick-after-new-speed", test_kick_after_new_speed);
    g_test_add_func("/block-copy/kick-alone-changes-nothing", test_kick_alone_changes_nothing);
    g_test_add_func("/block-copy/cancel", test_cancel);
    g_test_add_func("/block-copy/timeout", test_timeout);
    return g_test_run();
}
