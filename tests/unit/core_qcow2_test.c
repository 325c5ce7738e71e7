/*
 * The qcow2-like driver: data, and the cache cleaner, on real threads.
 *
 * The cleaner's sleeps are of ten minutes: where cancelling does not end one, alarm() ends the test. Numbers of rounds: 200 cancellations
 * take a few tenths of a second.
 */
#include <errno.h>

#include "core_upper_harness.h"

#include "core/block_backend.h"
#include "core/block_drivers.h"
#include "core/block_qcow2.h"

#define ROUNDS      200
#define IMAGE_BYTES (128 * BDRV_SECTOR_SIZE)

static const Qcow2Options with_cleaner = { .cache_clean_interval_s = DEFAULT_CACHE_CLEAN_INTERVAL };
static const Qcow2Options without_cleaner = { .cache_clean_interval_s = 0, .l2_cache_tables = 1 };

static BlockDriverState *new_file(void)
{
    return bdrv_new_ram("file", qemu_get_aio_context(), QCOW2_FILE_BYTES_MAX);
}

static BlockDriverState *open_image(BlockDriverState *file, AioContext *ctx, const Qcow2Options *options)
{
    BlockDriverState *bs = bdrv_new_qcow2("image", ctx, file, IMAGE_BYTES, options);

    g_assert_nonnull(bs);
    return bs;
}

static void close_image(BlockDriverState *bs)
{
    bdrv_unref(bs);
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* the file's reference goes in a bottom half */
    }
}

/* ------------------------------------------------------------------------------------------- data */

typedef struct Pattern {
    BlockBackend *blk;
    int64_t first, step; /* sectors */
    uint8_t seed;
    bool writes;
    unsigned wrong;
    int ret;
} Pattern;

static void coroutine_fn pattern_entry(void *opaque)
{
    Pattern *p = opaque;

    for (int64_t sector = p->first; sector < IMAGE_BYTES / BDRV_SECTOR_SIZE; sector += p->step) {
        uint8_t buf[BDRV_SECTOR_SIZE], expected[BDRV_SECTOR_SIZE];
        int ret;

        memset(expected, p->seed ? (int)(p->seed + sector) : 0, sizeof(expected));
        memcpy(buf, expected, sizeof(buf));
        ret = p->writes ? blk_co_pwrite(p->blk, sector * BDRV_SECTOR_SIZE, sizeof(buf), buf, 0)
                        : blk_co_pread(p->blk, sector * BDRV_SECTOR_SIZE, sizeof(buf), buf, 0);
        p->ret = p->ret ? p->ret : ret;
        p->wrong += memcmp(buf, expected, sizeof(buf)) != 0;
    }
}

static void run_pattern(Pattern *p)
{
    test_co_start(blk_get_aio_context(p->blk), pattern_entry, p);
    test_co_wait_all();
    g_assert_cmpint(p->ret, ==, 0);
    g_assert_cmpuint(p->wrong, ==, 0);
}

/* Every third sector, so that tables are thrown out of the cache and come again; then closed, and opened in another context. */
static void test_data_survives(gconstpointer data)
{
    BlockDriverState *file, *bs;
    BlockBackend *blk;

    core_up(1);
    file = new_file();
    bdrv_ram_set_completion(file, RAM_COMPLETE_BH, 0);
    blk = blk_new(thread_ctx(0));
    for (unsigned i = 0; i < 2; i++) {
        Pattern mine = { .blk = blk, .step = 3, .seed = 7, .writes = i == 0 };
        Pattern never_written = { .blk = blk, .first = 1, .step = 3 };

        bs = open_image(file, any_ctx(i), data);
        blk_insert_bs(blk, bs);
        run_pattern(&mine);
        run_pattern(&never_written);
        blk_remove_bs(blk);
        close_image(bs);
    }
    blk_unref(blk);
    bdrv_unref(file);
    core_down();
}

static void test_not_an_image(void)
{
    BlockDriverState *file;
    BlockBackend *blk;
    Pattern rubbish;

    core_up(0);
    file = new_file();
    blk = blk_new(qemu_get_aio_context());
    blk_insert_bs(blk, file);
    rubbish = (Pattern){ .blk = blk, .step = 1, .seed = 9, .writes = true };
    run_pattern(&rubbish);
    blk_remove_bs(blk);
    blk_unref(blk);
    errno = 0;
    g_assert_null(bdrv_new_qcow2("image", qemu_get_aio_context(), file, IMAGE_BYTES, &with_cleaner));
    g_assert_cmpint(errno, ==, EINVAL);
    bdrv_unref(file);
    core_down();
}

/* ------------------------------------------------------------------------------------------- the cleaner */

/* Hangs where the cleaner is not there yet, or asleep, or on its way, when it is cancelled. */
static void test_close_ends_the_cleaner(gconstpointer data)
{
    BlockDriverState *file;

    core_up(1);
    file = new_file();
    for (unsigned i = 0; i < ROUNDS; i++) {
        close_image(open_image(file, any_ctx(GPOINTER_TO_UINT(data)), &with_cleaner));
    }
    bdrv_unref(file);
    core_down();
}

static void test_move_ends_and_starts_the_cleaner(void)
{
    BlockDriverState *file, *bs;

    core_up(2);
    file = new_file();
    bs = open_image(file, any_ctx(0), &with_cleaner);
    for (unsigned i = 1; i < ROUNDS; i++) {
        bdrv_try_change_aio_context(bs, any_ctx(i % 3));
    }
    close_image(bs);
    bdrv_unref(file);
    core_down();
}

static void test_reopen_changes_the_interval(void)
{
    BlockDriverState *file, *bs;

    core_up(1);
    file = new_file();
    bs = open_image(file, thread_ctx(0), &without_cleaner);
    for (unsigned i = 0; i < ROUNDS; i++) {
        g_assert_cmpint(bdrv_qcow2_reopen(bs, i % 3 ? &with_cleaner : &without_cleaner), ==, 0);
    }
    close_image(bs);
    bdrv_unref(file);
    core_down();
}

/* The only test that waits for a real second: the cleaner's unit. Fails where the cleaner does not work, or does not survive a move. */
static void test_cleans(void)
{
    static const Qcow2Options every_second = { .cache_clean_interval_s = 1 };
    BlockDriverState *file, *bs;

    core_up(2);
    file = new_file();
    bs = open_image(file, thread_ctx(0), &every_second);
    bdrv_try_change_aio_context(bs, thread_ctx(1));
    while (bdrv_qcow2_cleanings(bs) == 0) {
        aio_poll(qemu_get_aio_context(), false);
        g_usleep(1000);
    }
    close_image(bs);
    bdrv_unref(file);
    core_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qcow2/data-survives/cleaner", &with_cleaner, test_data_survives);
    g_test_add_data_func("/qcow2/data-survives/small-cache", &without_cleaner, test_data_survives);
    g_test_add_func("/qcow2/not-an-image", test_not_an_image);
    g_test_add_data_func("/qcow2/close-ends-the-cleaner/main-context", GUINT_TO_POINTER(0), test_close_ends_the_cleaner);
    g_test_add_data_func("/qcow2/close-ends-the-cleaner/thread", GUINT_TO_POINTER(1), test_close_ends_the_cleaner);
    g_test_add_func("/qcow2/move-ends-and-starts-the-cleaner", test_move_ends_and_starts_the_cleaner);
    g_test_add_func("/qcow2/reopen-changes-the-interval", test_reopen_changes_the_interval);
    g_test_add_func("/qcow2/cleaner-cleans-and-survives-a-move", test_cleans);
    return g_test_run();
}
