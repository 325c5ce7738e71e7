/*
 * Drained sections, the block graph and exports, with requests on real threads.
 *
 * Numbers of rounds: 200 changes of the graph take about a tenth of a second, and an I/O thread sends some thousand
 * requests meanwhile. That shows a rule that is missing, such as a queue or a kick; windows of a few instructions are
 * for the fuzz targets.
 */
#include <errno.h>

#include "core_upper_harness.h"

#include "core/block_backend.h"
#include "core/block_drivers.h"
#include "core/export.h"

#define ROUNDS     200
#define DISK_BYTES (64 * BDRV_SECTOR_SIZE)

/* ------------------------------------------------------------------------------------------- a driver that counts */

/* A node whose requests pause once, in their own context, and which knows how many have begun and ended. */
typedef struct CountingState {
    unsigned begun, ended; /* atomic */
    int drains;            /* open sections that the driver was told about; main thread */
} CountingState;

static int coroutine_fn counting_co_rw(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags)
{
    CountingState *s = bs->opaque;

    (void)offset, (void)bytes, (void)qiov, (void)flags;
    qatomic_inc(&s->begun);
    test_co_pause();
    qatomic_inc(&s->ended);
    return 0;
}

static void counting_drain_begin(BlockDriverState *bs)
{
    ((CountingState *)bs->opaque)->drains++;
}

static void counting_drain_end(BlockDriverState *bs)
{
    ((CountingState *)bs->opaque)->drains--;
}

static const BlockDriver bdrv_counting = {
    .format_name = "counting",
    .instance_size = sizeof(CountingState),
    .bdrv_co_preadv = counting_co_rw,
    .bdrv_co_pwritev = counting_co_rw,
    .bdrv_drain_begin = counting_drain_begin,
    .bdrv_drain_end = counting_drain_end,
};

static CountingState *counting_state(BlockDriverState *bs)
{
    return bs->opaque;
}

/* ------------------------------------------------------------------------------------------- requests without end */

typedef struct Stream {
    BlockBackend *blk;
    bool stop; /* atomic */
    unsigned done; /* atomic */
    int first_error; /* atomic; the first result that is not 0 */
} Stream;

static void coroutine_fn stream_requests(void *opaque)
{
    Stream *stream = opaque;
    uint8_t buf[BDRV_SECTOR_SIZE] = { 0 };

    while (!qatomic_read(&stream->stop)) {
        int ret = blk_co_pwrite(stream->blk, 0, sizeof(buf), buf, 0);

        if (ret < 0) {
            (void)qatomic_cmpxchg(&stream->first_error, 0, ret);
            test_co_pause();
        }
        qatomic_inc(&stream->done);
        test_co_pause();
    }
}

static void stream_stop(Stream *stream)
{
    qatomic_set(&stream->stop, true);
    test_co_wait_all();
}

/* A backend with a node that counts, and as many streams of requests as there are threads; the test owns the node's
 * reference. */
static BlockDriverState *stream_start(Stream *stream, AioContext *ctx)
{
    BlockDriverState *bs = bdrv_new(&bdrv_counting, "counting", ctx);

    *stream = (Stream){ .blk = blk_new(ctx) };
    blk_insert_bs(stream->blk, bs);
    for (unsigned i = 0; i <= harness.thread_count; i++) {
        test_co_start(any_ctx(i), stream_requests, stream);
    }
    return bs;
}

static void stream_end(Stream *stream, BlockDriverState *bs)
{
    stream_stop(stream);
    g_assert_cmpuint(counting_state(bs)->begun, ==, counting_state(bs)->ended);
    g_assert_cmpuint(bs->in_flight, ==, 0);
    g_assert_cmpuint(blk_in_flight(stream->blk), ==, 0);
    blk_unref(stream->blk);
    g_assert_cmpint(bs->refcnt, ==, 1);
    bdrv_unref(bs);
}

/* ------------------------------------------------------------------------------------------- drain */

/* Inside a section: nothing runs, and nothing begins while all loops go round. */
static void assert_quiet(BlockDriverState *bs)
{
    CountingState *s = counting_state(bs);
    unsigned begun = qatomic_load_acquire(&s->begun);

    g_assert_cmpuint(begun, ==, qatomic_load_acquire(&s->ended));
    g_assert_cmpint(s->drains, ==, 1);
    flush_threads();
    aio_poll(qemu_get_aio_context(), false);
    g_assert_cmpuint(begun, ==, qatomic_load_acquire(&s->begun));
}

/* Requests go on after a section. */
static void wait_for_progress(Stream *stream)
{
    unsigned done = qatomic_read(&stream->done);

    while (qatomic_read(&stream->done) == done) {
        aio_poll(qemu_get_aio_context(), false);
    }
}

static void test_drain_one_node(gconstpointer data)
{
    Stream stream;
    BlockDriverState *bs;

    core_up(GPOINTER_TO_UINT(data));
    bs = stream_start(&stream, any_ctx(harness.thread_count));
    for (unsigned i = 0; i < ROUNDS; i++) {
        bdrv_drained_begin(bs);
        assert_quiet(bs);
        bdrv_drained_end(bs);
        wait_for_progress(&stream);
    }
    stream_end(&stream, bs);
    core_down();
}

static void test_drain_all_nodes(void)
{
    Stream stream;
    BlockDriverState *bs;

    core_up(2);
    bs = stream_start(&stream, thread_ctx(0));
    for (unsigned i = 0; i < ROUNDS; i++) {
        BlockDriverState *late;

        bdrv_drain_all_begin();
        assert_quiet(bs);
        late = bdrv_new(&bdrv_counting, "late", thread_ctx(0));
        g_assert_cmpint(counting_state(late)->drains, ==, 1);
        bdrv_drain_all_end();
        g_assert_cmpint(counting_state(late)->drains, ==, 0);
        bdrv_unref(late);
        wait_for_progress(&stream);
    }
    stream_end(&stream, bs);
    core_down();
}

static void test_drain_sections_nest_and_overlap(void)
{
    Stream stream;
    BlockDriverState *bs;

    core_up(1);
    bs = stream_start(&stream, thread_ctx(0));
    for (unsigned i = 0; i < ROUNDS; i++) {
        bdrv_drained_begin(bs);
        bdrv_drain_all_begin();
        bdrv_drained_end(bs);
        assert_quiet(bs);
        bdrv_drained_begin(bs);
        bdrv_drain_all_end();
        assert_quiet(bs);
        bdrv_drained_end(bs);
    }
    stream_end(&stream, bs);
    core_down();
}

typedef struct DrainInCo {
    BlockDriverState *bs;
    Stream *stream;
} DrainInCo;

static void coroutine_fn drain_in_coroutine(void *opaque)
{
    DrainInCo *d = opaque;
    CountingState *s = counting_state(d->bs);

    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned begun;

        bdrv_drained_begin(d->bs);
        begun = qatomic_read(&s->begun);
        g_assert_cmpuint(begun, ==, qatomic_read(&s->ended));
        test_co_pause();
        g_assert_cmpuint(begun, ==, qatomic_read(&s->begun));
        bdrv_drained_end(d->bs);
        test_co_pause();
    }
    qatomic_set(&d->stream->stop, true);
}

static void test_drain_from_a_coroutine(void)
{
    Stream stream;
    DrainInCo d = { .stream = &stream };

    core_up(2);
    d.bs = stream_start(&stream, thread_ctx(0));
    test_co_start(thread_ctx(1), drain_in_coroutine, &d);
    test_co_wait_all();
    stream_end(&stream, d.bs);
    core_down();
}

/* A section ends, and another begins before the requests in the queue had a chance to run: it must wait for them. */
static void coroutine_fn one_request(void *opaque)
{
    Stream *stream = opaque;
    uint8_t buf[BDRV_SECTOR_SIZE] = { 0 };

    g_assert_cmpint(blk_co_pwrite(stream->blk, 0, sizeof(buf), buf, 0), ==, 0);
    qatomic_inc(&stream->done);
}

static void test_drain_waits_for_requests_that_leave_the_queue(void)
{
    core_up(1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        Stream stream = { .blk = blk_new(thread_ctx(0)) };
        BlockDriverState *bs = bdrv_new(&bdrv_counting, "counting", thread_ctx(0));

        blk_insert_bs(stream.blk, bs);
        bdrv_drained_begin(bs);
        test_co_start(thread_ctx(0), one_request, &stream);
        flush_threads();
        flush_threads();
        g_assert_cmpuint(counting_state(bs)->begun, ==, 0);
        g_assert_cmpuint(blk_in_flight(stream.blk), ==, 0);

        bdrv_drained_end(bs);
        bdrv_drained_begin(bs);
        g_assert_cmpuint(qatomic_read(&counting_state(bs)->ended), ==, 1);
        bdrv_drained_end(bs);

        test_co_wait_all();
        blk_unref(stream.blk);
        bdrv_unref(bs);
    }
    core_down();
}

static void count_call(void *opaque, int ret)
{
    g_assert_cmpint(ret, ==, 0);
    qatomic_inc((unsigned *)opaque);
}

static void test_drain_waits_for_callbacks(gconstpointer data)
{
    RamCompletion completion = GPOINTER_TO_UINT(data);
    uint8_t buf[BDRV_SECTOR_SIZE] = { 1 };
    QEMUIOVector qiov;

    core_up(1);
    qemu_iovec_init_buf(&qiov, buf, sizeof(buf));
    for (unsigned i = 0; i < ROUNDS; i++) {
        BlockBackend *blk = blk_new(thread_ctx(0));
        BlockDriverState *bs = bdrv_new_ram("disk", thread_ctx(0), DISK_BYTES);
        unsigned calls = 0;

        bdrv_ram_set_completion(bs, completion, 1000);
        blk_insert_bs(blk, bs);
        blk_aio_pwritev(blk, 0, &qiov, 0, count_call, &calls);
        blk_aio_pwritev(blk, BDRV_SECTOR_SIZE, &qiov, 0, count_call, &calls);
        g_assert_cmpuint(calls, ==, 0);
        bdrv_drained_begin(bs);
        g_assert_cmpuint(calls, ==, 2);
        bdrv_drained_end(bs);
        blk_unref(blk);
        bdrv_unref(bs);
    }
    core_down();
}

/* ------------------------------------------------------------------------------------------- graph */

typedef struct DiskUser {
    BlockBackend *blk;
    unsigned sector;
    bool stop; /* atomic */
    unsigned rounds; /* atomic */
} DiskUser;

/* What was written is read back, wherever the nodes are by then. */
static void coroutine_fn use_disk(void *opaque)
{
    DiskUser *user = opaque;
    int64_t offset = user->sector * BDRV_SECTOR_SIZE;
    uint8_t out[BDRV_SECTOR_SIZE], in[BDRV_SECTOR_SIZE];

    for (unsigned i = 0; !qatomic_read(&user->stop); i++) {
        memset(out, i, sizeof(out));
        g_assert_cmpint(blk_co_pwrite(user->blk, offset, sizeof(out), out, 0), ==, 0);
        g_assert_cmpint(blk_co_getlength(user->blk), ==, DISK_BYTES);
        g_assert_cmpint(blk_co_pread(user->blk, offset, sizeof(in), in, 0), ==, 0);
        g_assert_cmpmem(out, sizeof(out), in, sizeof(in));
        qatomic_inc(&user->rounds);
        test_co_pause();
    }
}

static BlockDriverState *disk_new(const char *name, AioContext *ctx, RamCompletion completion)
{
    BlockDriverState *bs = bdrv_new_ram(name, ctx, DISK_BYTES);

    bdrv_ram_set_completion(bs, completion, 1000);
    return bs;
}

/* One user in the main thread and in each I/O thread. */
static BlockBackend *disk_users_start(DiskUser *users, BlockDriverState *bs)
{
    BlockBackend *blk = blk_new(bdrv_get_aio_context(bs));

    blk_insert_bs(blk, bs);
    for (unsigned i = 0; i <= harness.thread_count; i++) {
        users[i] = (DiskUser){ .blk = blk, .sector = i };
        test_co_start(any_ctx(i), use_disk, &users[i]);
    }
    return blk;
}

/* Each has got through at least once: hangs otherwise. */
static void disk_users_stop(DiskUser *users)
{
    for (unsigned i = 0; i <= harness.thread_count; i++) {
        while (qatomic_read(&users[i].rounds) == 0) {
            aio_poll(qemu_get_aio_context(), false);
        }
        qatomic_set(&users[i].stop, true);
    }
    test_co_wait_all();
}

static void test_graph_nodes_come_and_go(gconstpointer data)
{
    DiskUser users[TEST_THREADS_MAX + 1];
    BlockDriverState *disk;
    BlockBackend *blk;

    core_up(2);
    disk = disk_new("disk", thread_ctx(0), GPOINTER_TO_UINT(data));
    blk = disk_users_start(users, disk);
    for (unsigned i = 0; i < ROUNDS; i++) {
        BlockDriverState *filter = bdrv_new_filter("filter", qemu_get_aio_context(), NULL);
        BlockBackend *second = blk_new(thread_ctx(0));

        bdrv_append(filter, disk);
        g_assert_true(blk_bs(blk) == filter);
        g_assert_true(bdrv_get_aio_context(filter) == thread_ctx(0));
        blk_insert_bs(second, disk);
        aio_poll(qemu_get_aio_context(), false);
        bdrv_drop_filter(filter);
        g_assert_true(blk_bs(blk) == disk);
        bdrv_unref(filter);
        g_assert_null(bdrv_find_node("filter"));
        blk_remove_bs(second);
        blk_unref(second);
    }
    disk_users_stop(users);
    blk_unref(blk);
    bdrv_unref(disk);
    core_down();
}

static void test_graph_overlays_keep_the_data(void)
{
    DiskUser users[TEST_THREADS_MAX + 1];
    BlockDriverState *chain[8];
    BlockBackend *blk;

    core_up(2);
    chain[0] = disk_new("0", thread_ctx(0), RAM_COMPLETE_BH);
    blk = disk_users_start(users, chain[0]);
    for (unsigned i = 1; i < G_N_ELEMENTS(chain); i++) {
        chain[i] = disk_new("overlay", thread_ctx(1), RAM_COMPLETE_SYNC);
        bdrv_append(chain[i], chain[i - 1]);
        g_assert_true(bdrv_get_aio_context(chain[i]) == thread_ctx(0));
        for (unsigned j = 0; j < 10; j++) {
            aio_poll(qemu_get_aio_context(), false);
        }
    }
    disk_users_stop(users);
    for (unsigned i = 0; i < G_N_ELEMENTS(chain); i++) {
        bdrv_unref(chain[i]);
    }
    g_assert_cmpuint(bdrv_node_count(), ==, G_N_ELEMENTS(chain));
    blk_unref(blk);
    g_assert_cmpuint(bdrv_node_count(), ==, 0);
    core_down();
}

static void test_graph_context_changes_under_load(void)
{
    DiskUser users[TEST_THREADS_MAX + 1];
    BlockDriverState *disk, *filter;
    BlockBackend *blk;

    core_up(2);
    disk = disk_new("disk", thread_ctx(0), RAM_COMPLETE_BH);
    filter = bdrv_new_filter("filter", thread_ctx(0), disk);
    blk = disk_users_start(users, filter);
    for (unsigned i = 0; i < ROUNDS; i++) {
        blk_set_aio_context(blk, any_ctx(i % 3));
        g_assert_true(bdrv_get_aio_context(disk) == any_ctx(i % 3));
        g_assert_true(bdrv_get_aio_context(filter) == any_ctx(i % 3));
        g_assert_true(blk_get_aio_context(blk) == any_ctx(i % 3));
        aio_poll(qemu_get_aio_context(), false);
    }
    disk_users_stop(users);
    blk_unref(blk);
    bdrv_unref(filter);
    bdrv_unref(disk);
    core_down();
}

/* Requests keep coming while the node is taken away and given back: each ends with 0 or -ENOMEDIUM. */
static void test_graph_remove_and_insert(void)
{
    Stream stream;
    BlockDriverState *bs;

    core_up(2);
    bs = stream_start(&stream, thread_ctx(0));
    for (unsigned i = 0; i < ROUNDS; i++) {
        blk_remove_bs(stream.blk);
        g_assert_cmpuint(counting_state(bs)->begun, ==, counting_state(bs)->ended);
        g_assert_cmpint(bs->refcnt, ==, 1);
        wait_for_progress(&stream);
        blk_insert_bs(stream.blk, bs);
        wait_for_progress(&stream);
    }
    g_assert_cmpint(qatomic_read(&stream.first_error), ==, -ENOMEDIUM); /* the streams go on */
    stream_end(&stream, bs);
    core_down();
}

static void coroutine_fn backing_shows_through(void *opaque)
{
    BlockBackend **blks = opaque; /* overlay, base */
    uint8_t a[2 * BDRV_SECTOR_SIZE], b[2 * BDRV_SECTOR_SIZE];

    memset(a, 0xaa, sizeof(a));
    memset(b, 0xbb, sizeof(b));
    g_assert_cmpint(blk_co_pwrite(blks[1], 0, sizeof(a), a, 0), ==, 0);
    g_assert_cmpint(blk_co_pwrite(blks[0], BDRV_SECTOR_SIZE, BDRV_SECTOR_SIZE, b, 0), ==, 0);
    g_assert_cmpint(blk_co_pread(blks[0], 0, sizeof(b), b, 0), ==, 0);
    g_assert_cmpuint(b[0], ==, 0xaa);
    g_assert_cmpuint(b[BDRV_SECTOR_SIZE], ==, 0xbb);

    /* Beyond the end of the shorter base: zeros. Beyond the end of the overlay: an error. */
    g_assert_cmpint(blk_co_pread(blks[0], DISK_BYTES / 2, sizeof(b), b, 0), ==, 0);
    g_assert_cmpuint(b[0], ==, 0);
    g_assert_cmpint(blk_co_pread(blks[0], DISK_BYTES - BDRV_SECTOR_SIZE, sizeof(b), b, 0), ==, -EIO);
    g_assert_cmpint(blk_co_pread(blks[0], 1, BDRV_SECTOR_SIZE, b, 0), ==, -EINVAL);

    bdrv_ram_fail_next(bdrv_find_node("overlay"), ENOSPC);
    g_assert_cmpint(blk_co_pwrite(blks[0], 0, sizeof(a), a, 0), ==, -ENOSPC);
    g_assert_cmpint(blk_co_flush(blks[0]), ==, 0);
}

static void test_graph_backing_shows_through(void)
{
    BlockDriverState *nodes[2];
    BlockBackend *blks[2];

    core_up(0);
    nodes[0] = disk_new("overlay", qemu_get_aio_context(), RAM_COMPLETE_BH);
    nodes[1] = bdrv_new_ram("base", qemu_get_aio_context(), DISK_BYTES / 2);
    bdrv_set_backing_hd(nodes[0], nodes[1]);
    for (unsigned i = 0; i < 2; i++) {
        blks[i] = blk_new(qemu_get_aio_context());
        blk_insert_bs(blks[i], nodes[i]);
    }
    test_co_start(qemu_get_aio_context(), backing_shows_through, blks);
    test_co_wait_all();
    bdrv_set_backing_hd(nodes[0], NULL);
    g_assert_null(nodes[0]->backing);
    for (unsigned i = 0; i < 2; i++) {
        blk_unref(blks[i]);
        bdrv_unref(nodes[i]);
    }
    core_down();
}

static void test_graph_names(void)
{
    BlockBackend *a, *b;

    core_up(0);
    a = blk_new(qemu_get_aio_context());
    b = blk_new(qemu_get_aio_context());
    g_assert_cmpint(monitor_add_blk(a, "a"), ==, 0);
    g_assert_cmpint(monitor_add_blk(b, "a"), ==, -EEXIST);
    g_assert_true(blk_by_name("a") == a);
    g_assert_cmpstr(blk_name(b), ==, "");
    g_assert_true(blk_next(NULL) == a);
    g_assert_null(blk_next(a));
    monitor_remove_blk(a);
    g_assert_null(blk_by_name("a"));
    blk_unref(a);
    blk_unref(b);
    core_down();
}

/* ------------------------------------------------------------------------------------------- export */

typedef struct Client {
    BlockExport *exp;
    unsigned submitted, done, failed; /* atomic */
    bool stop;                        /* atomic */
    uint8_t buf[BDRV_SECTOR_SIZE];
} Client;

static void client_request_done(BlockExportRequest *req, int ret)
{
    Client *client = req->opaque;

    qatomic_inc(ret == 0 ? &client->done : &client->failed);
    g_assert_true(ret == 0 || ret == -ESHUTDOWN);
    g_free(req);
    aio_wait_kick();
}

static bool client_submit(Client *client)
{
    BlockExportRequest *req = g_new0(BlockExportRequest, 1);

    req->bytes = sizeof(client->buf);
    req->buf = client->buf;
    req->write = true;
    req->done = client_request_done;
    req->opaque = client;
    if (!blk_exp_submit(client->exp, req)) {
        g_free(req);
        return false;
    }
    qatomic_inc(&client->submitted);
    return true;
}

static void coroutine_fn client_run(void *opaque)
{
    Client *client = opaque;

    while (!qatomic_read(&client->stop) && client_submit(client)) {
        do {
            test_co_pause();
        } while (client->submitted - qatomic_read(&client->done) - qatomic_read(&client->failed) > 8);
    }
    blk_exp_unref(client->exp);
}

/* The client runs in the last thread and has a reference; the export is in the first. */
static BlockDriverState *client_start(Client *client, unsigned max_requests, bool idle)
{
    BlockDriverState *bs = bdrv_new(&bdrv_counting, "counting", qemu_get_aio_context());

    *client = (Client){ 0 };
    client->exp = blk_exp_add("export", bs, thread_ctx(0), max_requests);
    g_assert_true(blk_exp_find("export") == client->exp);
    g_assert_true(bdrv_get_aio_context(bs) == thread_ctx(0));
    if (!idle) {
        blk_exp_ref(client->exp);
        test_co_start(thread_ctx(harness.thread_count - 1), client_run, client);
    }
    return bs;
}

static void client_end(Client *client, BlockDriverState *bs)
{
    blk_exp_close_all();
    test_co_wait_all();
    g_assert_cmpuint(client->submitted, ==, client->done + client->failed);
    g_assert_cmpuint(counting_state(bs)->ended, ==, client->done);
    g_assert_null(blk_exp_find("export"));
    bdrv_unref(bs);
    core_down();
}

static void test_export_serves_every_request_once(gconstpointer data)
{
    Client client;
    BlockDriverState *bs;

    core_up(2);
    bs = client_start(&client, GPOINTER_TO_UINT(data), false);
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&client.done) < ROUNDS);
    qatomic_set(&client.stop, true);
    test_co_wait_all();
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&client.done) < qatomic_read(&client.submitted));
    client_end(&client, bs);
    g_assert_cmpuint(client.failed, ==, 0);
}

static void test_export_stays_quiet_while_drained(gconstpointer data)
{
    Client client;
    BlockDriverState *bs;

    core_up(2);
    bs = client_start(&client, GPOINTER_TO_UINT(data), false);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned done;

        bdrv_drained_begin(bs);
        assert_quiet(bs);
        bdrv_drained_end(bs);
        done = qatomic_read(&client.done);
        AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&client.done) == done);
    }
    client_end(&client, bs);
}

/* The export's thread gets no chance to run between the sections: its receiver may only be scheduled once. */
static void test_export_consecutive_drains(gconstpointer idle)
{
    Client client;
    BlockDriverState *bs;

    core_up(1);
    bs = client_start(&client, 2, idle != NULL);
    for (unsigned i = 0; i < ROUNDS; i++) {
        bdrv_drained_begin(bs);
        bdrv_drained_end(bs);
        bdrv_drained_begin(bs);
        bdrv_drained_end(bs);
        bdrv_graph_wrlock(); /* sections that are not polled */
        bdrv_graph_wrunlock();
        bdrv_graph_wrlock();
        bdrv_graph_wrunlock();
    }
    if (!idle) {
        AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&client.done) == 0);
    }
    client_end(&client, bs);
}

static void test_export_added_inside_a_drained_section(void)
{
    Client client;
    BlockDriverState *bs;

    core_up(1);
    bdrv_drain_all_begin();
    bs = client_start(&client, 2, false);
    flush_threads();
    g_assert_cmpuint(qatomic_read(&counting_state(bs)->begun), ==, 0);
    bdrv_drain_all_end();
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&client.done) == 0);
    client_end(&client, bs);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/drain/nothing-runs-inside/main-context", GUINT_TO_POINTER(0), test_drain_one_node);
    g_test_add_data_func("/drain/nothing-runs-inside/1-thread", GUINT_TO_POINTER(1), test_drain_one_node);
    g_test_add_data_func("/drain/nothing-runs-inside/3-threads", GUINT_TO_POINTER(3), test_drain_one_node);
    g_test_add_func("/drain/all-nodes-and-new-ones", test_drain_all_nodes);
    g_test_add_func("/drain/sections-nest-and-overlap", test_drain_sections_nest_and_overlap);
    g_test_add_func("/drain/from-a-coroutine", test_drain_from_a_coroutine);
    g_test_add_func("/drain/waits-for-requests-that-leave-the-queue", test_drain_waits_for_requests_that_leave_the_queue);
    g_test_add_data_func("/drain/waits-for-callbacks/sync", GUINT_TO_POINTER(RAM_COMPLETE_SYNC), test_drain_waits_for_callbacks);
    g_test_add_data_func("/drain/waits-for-callbacks/bh", GUINT_TO_POINTER(RAM_COMPLETE_BH), test_drain_waits_for_callbacks);
    g_test_add_data_func("/drain/waits-for-callbacks/timer", GUINT_TO_POINTER(RAM_COMPLETE_TIMER),
                         test_drain_waits_for_callbacks);
    g_test_add_data_func("/graph/nodes-come-and-go/sync", GUINT_TO_POINTER(RAM_COMPLETE_SYNC), test_graph_nodes_come_and_go);
    g_test_add_data_func("/graph/nodes-come-and-go/bh", GUINT_TO_POINTER(RAM_COMPLETE_BH), test_graph_nodes_come_and_go);
    g_test_add_data_func("/graph/nodes-come-and-go/timer", GUINT_TO_POINTER(RAM_COMPLETE_TIMER), test_graph_nodes_come_and_go);
    g_test_add_func("/graph/overlays-keep-the-data", test_graph_overlays_keep_the_data);
    g_test_add_func("/graph/context-changes-under-load", test_graph_context_changes_under_load);
    g_test_add_func("/graph/remove-and-insert", test_graph_remove_and_insert);
    g_test_add_func("/graph/backing-shows-through", test_graph_backing_shows_through);
    g_test_add_func("/graph/names", test_graph_names);
    g_test_add_data_func("/export/serves-every-request-once/1", GUINT_TO_POINTER(1), test_export_serves_every_request_once);
    g_test_add_data_func("/export/serves-every-request-once/4", GUINT_TO_POINTER(4), test_export_serves_every_request_once);
    g_test_add_data_func("/export/stays-quiet-while-drained/1", GUINT_TO_POINTER(1), test_export_stays_quiet_while_drained);
    g_test_add_data_func("/export/stays-quiet-while-drained/4", GUINT_TO_POINTER(4), test_export_stays_quiet_while_drained);
    g_test_add_data_func("/export/consecutive-drains/busy", NULL, test_export_consecutive_drains);
    g_test_add_data_func("/export/consecutive-drains/idle", GUINT_TO_POINTER(1), test_export_consecutive_drains);
    g_test_add_func("/export/added-inside-a-drained-section", test_export_added_inside_a_drained_section);
    return g_test_run();
}
