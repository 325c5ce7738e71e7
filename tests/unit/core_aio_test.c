/*
 * Deferred calls; Linux AIO on the real kernel, on files that are cached and on files that are not; extents; the device.
 *
 * Everything runs on real threads and on files below the folder that the test runs in.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#include "core_upper_harness.h"
#include "os_folder.h"

#include "core/block_backend.h"
#include "core/block_drivers.h"
#include "core/block_extents.h"
#include "core/block_file.h"
#include "core/convert.h"
#include "core/defer_call.h"
#include "core/linux_aio.h"
#include "core/virtio_blk.h"

#define DISK_BYTES (64 * BDRV_SECTOR_SIZE)

/* ------------------------------------------------------------------------------------------- deferred calls */

static char calls[64];

static void call(void *opaque)
{
    g_strlcat(calls, opaque, sizeof(calls));
}

static void expect_calls(const char *expected)
{
    g_assert_cmpstr(calls, ==, expected);
    calls[0] = '\0';
}

static void call_and_defer(void *opaque)
{
    call(opaque);
    defer_call(call, "c");
}

static void test_defer_outside(void)
{
    defer_call(call, "a");
    expect_calls("a"); /* at once */
    defer_call(call, "a");
    expect_calls("a");
}

static void test_defer_once_in_order(void)
{
    defer_call_begin();
    defer_call(call, "b");
    defer_call(call, "a");
    defer_call(call, "b");
    expect_calls("");
    defer_call_begin();
    defer_call(call, "c");
    defer_call_end();
    expect_calls(""); /* the inner section is none of its own */
    defer_call_end();
    expect_calls("bac");
    g_assert_cmpuint(defer_call_nesting(), ==, 0);
    defer_call_begin();
    defer_call_end();
    expect_calls(""); /* nothing is left of the first */
    core_thread_reset();
}

/* A deferred function is outside of the section already. */
static void test_defer_from_deferred(void)
{
    defer_call_begin();
    defer_call(call_and_defer, "a");
    defer_call(call, "b");
    defer_call_end();
    expect_calls("acb");
    core_thread_reset();
}

/* ------------------------------------------------------------------------------------------- Linux AIO */

static unsigned events[LAIO_RESUBMITTED + 1];
static unsigned deepest;

static void count_event(LinuxAioEvent event)
{
    events[event]++;
}

static BlockDriverState *new_file(const char *name, AioContext *ctx, int64_t bytes, int flags)
{
    BlockDriverState *bs = bdrv_new_file(name, ctx, name, bytes, flags);

    g_assert_nonnull(bs);
    unlink(name);
    return bs;
}

typedef struct Disk {
    BlockDriverState *bs;
    BlockBackend *blk;
} Disk;

static Disk disk_new(BlockDriverState *bs)
{
    Disk disk = { bs, blk_new(bdrv_get_aio_context(bs)) };

    blk_insert_bs(disk.blk, bs);
    return disk;
}

static void disk_free(Disk *disk)
{
    blk_unref(disk->blk);
    bdrv_unref(disk->bs);
}

static void coroutine_fn write_and_read(void *opaque)
{
    BlockBackend *blk = opaque;
    uint8_t *out = g_malloc(DISK_BYTES), *in = g_malloc0(DISK_BYTES);

    for (unsigned i = 0; i < DISK_BYTES; i++) {
        out[i] = (uint8_t)(i / 7);
    }
    g_assert_cmpint(blk_co_pread(blk, 0, DISK_BYTES, in, 0), ==, 0);
    g_assert_cmpint(in[0], ==, 0);
    g_assert_cmpint(blk_co_pwrite(blk, 0, DISK_BYTES / 2, out, 0), ==, 0);
    g_assert_cmpint(blk_co_flush(blk), ==, 0);
    g_assert_cmpint(blk_co_pwrite(blk, DISK_BYTES / 2, DISK_BYTES / 2, out + DISK_BYTES / 2, 0), ==, 0);
    g_assert_cmpint(blk_co_pread(blk, 0, DISK_BYTES, in, 0), ==, 0);
    g_assert_cmpmem(in, DISK_BYTES, out, DISK_BYTES);
    g_assert_cmpint(blk_co_pread(blk, DISK_BYTES, BDRV_SECTOR_SIZE, in, 0), ==, -EIO);
    g_free(out);
    g_free(in);
}

static void check_idle(void *opaque)
{
    LinuxAioInfo info = laio_info(aio_setup_linux_aio(opaque));

    g_assert_cmpuint(info.in_queue + info.in_flight + info.submit_depth + info.blocked, ==, 0);
}

static void run_on_file(gconstpointer flags)
{
    Disk disk;

    core_up(1);
    disk = disk_new(new_file("disk", thread_ctx(0), DISK_BYTES, GPOINTER_TO_INT(flags)));
    for (unsigned i = 0; i < 4; i++) {
        test_co_start(thread_ctx(0), write_and_read, disk.blk);
        test_co_wait_all();
    }
    aio_wait_bh_oneshot(thread_ctx(0), check_idle, thread_ctx(0));
    disk_free(&disk);
    core_down();
}

static void test_extents(void)
{
    BlockDriverState *files[2], *image;
    Disk disk;

    core_up(1);
    files[0] = new_file("extent0", thread_ctx(0), bdrv_extent_bytes(DISK_BYTES, 2), 0);
    files[1] = new_file("extent1", thread_ctx(0), bdrv_extent_bytes(DISK_BYTES, 2), 0);
    image = bdrv_new_extents("image", thread_ctx(0), DISK_BYTES, files, 2);
    disk = disk_new(image);
    test_co_start(thread_ctx(0), write_and_read, disk.blk);
    test_co_wait_all();
    disk_free(&disk);
    bdrv_unref(files[0]);
    bdrv_unref(files[1]);
    core_down();
}

static void coroutine_fn look_at_depth(void *opaque)
{
    BlockBackend *blk = opaque;
    uint8_t sector[BDRV_SECTOR_SIZE];

    g_assert_cmpint(blk_co_flush(blk), ==, 0); /* asynchronous: from here on the completions of a loop wake this coroutine */
    for (unsigned i = 0; i < 200; i++) {
        unsigned depth;

        g_assert_cmpint(blk_co_pread(blk, 0, sizeof(sector), sector, 0), ==, 0);
        depth = laio_info(aio_get_linux_aio(qemu_get_current_aio_context())).submit_depth;
        deepest = MAX(deepest, depth);
    }
}

/*
 * 200 requests in a row that complete at once: the bound is reached, kept, and nothing is left behind it. A kernel that has done the flush
 * before io_submit() returns wakes nobody, and the requests do not nest: then once more.
 */
static void test_depth_bound(void)
{
    Disk disk;

    core_up(1);
    memset(events, 0, sizeof(events));
    deepest = 0;
    laio_trace_hook = count_event;
    disk = disk_new(new_file("disk", thread_ctx(0), DISK_BYTES, 0));
    for (unsigned i = 0; deepest == 0 && i < 100; i++) {
        test_co_start(thread_ctx(0), look_at_depth, disk.blk);
        test_co_wait_all();
    }
    g_assert_cmpuint(deepest, ==, IOQ_SUBMIT_MAX_DEPTH);
    g_assert_cmpuint(events[LAIO_SUBMIT_DEPTH_REACHED], >, 0);
    laio_trace_hook = NULL;
    disk_free(&disk);
    core_down();
}

typedef struct Pair {
    AioContext *ctx;
    int fds[2];
    QEMUIOVector qiov[2];
    uint8_t data[2][BDRV_SECTOR_SIZE];
    int rets[2];
    unsigned done;
    bool polls;
} Pair;

static void pair_done(Pair *pair, unsigned i, int ret)
{
    pair->rets[i] = ret;
    pair->done++;
    while (pair->polls && pair->done < 2) {
        aio_poll(pair->ctx, true);
    }
}

static void first_done(void *opaque, int ret)
{
    pair_done(opaque, 0, ret);
}

static void second_done(void *opaque, int ret)
{
    pair_done(opaque, 1, ret);
}

/* Both in one batch. */
static void pair_submit(Pair *pair)
{
    LinuxAioState *s = aio_setup_linux_aio(pair->ctx);

    g_assert_nonnull(s);
    defer_call_begin();
    for (unsigned i = 0; i < 2; i++) {
        qemu_iovec_init_buf(&pair->qiov[i], pair->data[i], sizeof(pair->data[i]));
        laio_submit(s, pair->fds[i], 0, &pair->qiov[i], QEMU_AIO_READ, i ? second_done : first_done, pair);
    }
    g_assert_cmpuint(laio_info(s).in_queue, ==, 2);
    g_assert_cmpuint(pair->done, ==, 0);
    defer_call_end();
}

static void run_pair(Pair *pair)
{
    core_up(0);
    pair->ctx = qemu_get_aio_context();
    pair_submit(pair);
    while (pair->done < 2) {
        aio_poll(pair->ctx, true);
    }
    check_idle(pair->ctx);
    core_down();
}

/* The second event was fetched with the first, whose callback waits for it. */
static void test_nested_poll(void)
{
    int fd = open("pair", O_RDWR | O_CREAT, 0600);
    Pair pair = { .fds = { fd, fd }, .polls = true };

    g_assert_cmpint(ftruncate(fd, DISK_BYTES), ==, 0);
    memset(events, 0, sizeof(events));
    laio_trace_hook = count_event;
    run_pair(&pair);
    g_assert_cmpuint(events[LAIO_COMPLETIONS_NESTED], >, 0);
    laio_trace_hook = NULL;
    g_assert_cmpint(pair.rets[0] | pair.rets[1], ==, 0);
    close(fd);
    unlink("pair");
}

/* The kernel refuses the first of a batch, and nothing is in flight: the second is submitted all the same. */
static void test_refused_first(void)
{
    int fd = open("pair", O_RDWR | O_CREAT, 0600);
    Pair pair = { .fds = { 9999, fd } };

    run_pair(&pair);
    g_assert_cmpint(pair.rets[0], ==, -EBADF);
    g_assert_cmpint(pair.rets[1], ==, 0); /* behind the end: zeros */
    close(fd);
    unlink("pair");
}

/* A queue of one: what does not fit waits, and is submitted by completions. */
static void test_small_queue(void)
{
    int fd = open("pair", O_RDWR | O_CREAT, 0600);
    Pair pair = { .fds = { fd, fd } };

    g_assert_cmpint(ftruncate(fd, DISK_BYTES), ==, 0);
    core_up(0);
    laio_set_max_events(1);
    memset(events, 0, sizeof(events));
    laio_trace_hook = count_event;
    pair.ctx = qemu_get_aio_context();
    for (unsigned i = 0; i < 2; i++) {
        qemu_iovec_init_buf(&pair.qiov[i], pair.data[i], sizeof(pair.data[i]));
    }
    defer_call_begin();
    laio_submit(aio_setup_linux_aio(pair.ctx), fd, 0, &pair.qiov[0], QEMU_AIO_READ, first_done, &pair);
    laio_submit(aio_setup_linux_aio(pair.ctx), fd, 0, &pair.qiov[1], QEMU_AIO_READ, second_done, &pair);
    defer_call_end();
    while (pair.done < 2) {
        aio_poll(pair.ctx, true);
    }
    laio_trace_hook = NULL;
    core_down();
    close(fd);
    unlink("pair");
}

/* ------------------------------------------------------------------------------------------- conversion */

static int converted;

static void convert_done(void *opaque, int ret)
{
    (void)ret;
    g_assert_cmpint(ret, ==, 0);
    qatomic_store_release((int *)opaque, 1);
}

static void test_convert(void)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        uint8_t in[DISK_BYTES], out[DISK_BYTES];
        Disk source, target;
        Convert convert;

        core_up(1);
        source = disk_new(new_file("source", thread_ctx(0), DISK_BYTES, 0));
        target = disk_new(new_file("target", thread_ctx(0), DISK_BYTES, 0));
        memset(in, (int)workers, sizeof(in));
        g_assert_cmpint(pwrite(bdrv_file_fd(source.bs), in, sizeof(in), 0), ==, sizeof(in));
        converted = 0;
        convert = (Convert){ source.blk, target.blk, DISK_BYTES, 3 * BDRV_SECTOR_SIZE, workers, convert_done, &converted };
        convert_start(&convert, thread_ctx(0));
        while (!qatomic_load_acquire(&converted)) {
            flush_threads();
        }
        g_assert_cmpint(pread(bdrv_file_fd(target.bs), out, sizeof(out), 0), ==, sizeof(out));
        g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
        disk_free(&source);
        disk_free(&target);
        core_down();
    }
}

/* ------------------------------------------------------------------------------------------- the device */

static bool interrupted(VirtIOBlock *dev, int timeout_ms)
{
    struct pollfd request = { .fd = event_notifier_get_fd(virtio_blk_guest_notifier(dev)), .events = POLLIN };

    return poll(&request, 1, timeout_ms) == 1 && event_notifier_test_and_clear(virtio_blk_guest_notifier(dev));
}

static void guest_request(VirtIOBlock *dev, VirtIOBlockReq *req)
{
    virtio_blk_submit(dev, &req, 1);
    while (!virtio_blk_reap(dev)) {
        g_assert_true(interrupted(dev, -1));
    }
    g_assert_cmpint(req->ret, ==, 0);
}

static void test_device(gconstpointer polls)
{
    uint8_t data[BDRV_SECTOR_SIZE] = "data", back[BDRV_SECTOR_SIZE];
    VirtIOBlockReq write = { .type = VIRTIO_BLK_WRITE, .bytes = sizeof(data), .buf = data };
    VirtIOBlockReq read = { .type = VIRTIO_BLK_READ, .bytes = sizeof(back), .buf = back };
    VirtIOBlockReq flush = { .type = VIRTIO_BLK_FLUSH }, *list = &read, *served;
    VirtIOBlock *dev;
    Disk disk;

    core_up(1);
    aio_context_set_poll_params(thread_ctx(0), polls ? 16 : 0);
    disk = disk_new(new_file("disk", thread_ctx(0), DISK_BYTES, 0));
    dev = virtio_blk_new(disk.blk, GPOINTER_TO_INT(polls));
    for (unsigned i = 0; i < 20; i++) {
        guest_request(dev, &write);
        guest_request(dev, &flush);
        memset(back, 0, sizeof(back));
        guest_request(dev, &read);
        g_assert_cmpmem(back, sizeof(back), data, sizeof(data));
    }

    /* what is put into the ring while the handler is away is served afterwards */
    bdrv_drained_begin(disk.bs);
    virtio_blk_submit(dev, &list, 1);
    flush_threads();
    g_assert_null(virtio_blk_reap(dev));
    bdrv_drained_end(disk.bs);
    while (!(served = virtio_blk_reap(dev))) {
        g_assert_true(interrupted(dev, -1)); /* perhaps for the request before, which was reaped first */
    }
    g_assert_true(served == &read);

    /* an interrupt under a mask comes when the mask goes; those before it have come by now */
    flush_threads();
    interrupted(dev, 0);
    virtio_blk_mask_irq(dev, true);
    virtio_blk_submit(dev, &list, 1);
    while (!virtio_blk_reap(dev)) {
        flush_threads();
    }
    flush_threads();
    g_assert_false(interrupted(dev, 0));
    virtio_blk_mask_irq(dev, false);
    g_assert_true(interrupted(dev, 0));
    g_assert_false(interrupted(dev, 0));
    virtio_blk_free(dev);
    disk_free(&disk);
    core_down();
}

/* A kick that was given before the device stops is served. */
static void test_last_kick(void)
{
    uint8_t data[BDRV_SECTOR_SIZE] = "data";
    VirtIOBlockReq write = { .type = VIRTIO_BLK_WRITE, .bytes = sizeof(data), .buf = data }, *list = &write;

    for (unsigned i = 0; i < 100; i++) { /* the home thread is mostly late once */
        VirtIOBlock *dev;
        Disk disk;

        core_up(1);
        disk = disk_new(new_file("disk", thread_ctx(0), DISK_BYTES, 0));
        dev = virtio_blk_new(disk.blk, false);
        virtio_blk_submit(dev, &list, 1);
        virtio_blk_stop(dev);
        g_assert_true(virtio_blk_reap(dev) == &write);
        virtio_blk_free(dev);
        disk_free(&disk);
        core_down();
    }
}

/* One section after the other, while *opaque. */
static void drain_again(void *opaque)
{
    bdrv_drain_all();
    if (*(bool *)opaque) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), drain_again, opaque);
    }
}

/* In virtio_blk_stop() sections come and go, as one does when a job ends: the device stays stopped. */
static void test_section_while_stopping(void)
{
    uint8_t data[BDRV_SECTOR_SIZE] = "data";
    VirtIOBlockReq write = { .type = VIRTIO_BLK_WRITE, .bytes = sizeof(data), .buf = data }, *list = &write;
    bool drains = true;
    VirtIOBlock *dev;
    Disk disk;

    core_up(1);
    disk = disk_new(new_file("disk", thread_ctx(0), DISK_BYTES, 0));
    dev = virtio_blk_new(disk.blk, false);
    flush_threads();
    aio_bh_schedule_oneshot(qemu_get_aio_context(), drain_again, &drains);
    virtio_blk_stop(dev);
    drains = false;
    virtio_blk_put(dev, &list, 1);
    flush_threads();
    g_assert_null(virtio_blk_reap(dev));

    /* and what was put there is served when it starts again */
    g_assert_cmpint(virtio_blk_start(dev), ==, 0);
    while (!virtio_blk_reap(dev)) {
        g_assert_true(interrupted(dev, -1));
    }
    virtio_blk_free(dev);
    disk_free(&disk);
    core_down();
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    folder_enter();
    g_test_add_func("/core/defer-call/outside-of-a-section-at-once", test_defer_outside);
    g_test_add_func("/core/defer-call/once-each-in-order", test_defer_once_in_order);
    g_test_add_func("/core/defer-call/deferred-from-deferred", test_defer_from_deferred);
    g_test_add_data_func("/core/linux-aio/cached", GINT_TO_POINTER(0), run_on_file);
    if (folder_direct()) {
        g_test_add_data_func("/core/linux-aio/direct", GINT_TO_POINTER(BDRV_O_NOCACHE), run_on_file);
    } else {
        printf("# /core/linux-aio/direct is left out: the file system of this folder does not do O_DIRECT in blocks\n");
    }
    g_test_add_func("/core/linux-aio/depth-bound", test_depth_bound);
    g_test_add_func("/core/linux-aio/callback-polls", test_nested_poll);
    g_test_add_func("/core/linux-aio/refused-first-of-a-batch", test_refused_first);
    g_test_add_func("/core/linux-aio/queue-of-one", test_small_queue);
    g_test_add_func("/core/extents/write-and-read", test_extents);
    g_test_add_func("/core/convert/workers", test_convert);
    g_test_add_data_func("/core/virtio-blk/by-kicks", GINT_TO_POINTER(0), test_device);
    g_test_add_data_func("/core/virtio-blk/by-polling", GINT_TO_POINTER(1), test_device);
    g_test_add_func("/core/virtio-blk/stop/last-kick-is-served", test_last_kick);
    g_test_add_func("/core/virtio-blk/stop/section-while-it-stops", test_section_while_stopping);
    status = g_test_run();
    folder_leave();
    return status;
}
