/*
 * The ordered end of the program, on real threads, with clients, a sleeping job and a disk that is served by workers.
 *
 * 20 rounds end after 0 to 19 requests of a client that goes on sending.
 */
#include <errno.h>

#include "core_upper_harness.h"

#include "core/block_backend.h"
#include "core/block_drivers.h"
#include "core/block_job.h"
#include "core/blockdev.h"
#include "core/export.h"
#include "core/monitor.h"
#include "core/rcu.h"
#include "core/runstate.h"
#include "core/shutdown.h"
#include "core/vm_state.h"

#define ROUNDS     20
#define FOREVER_NS (600 * NANOSECONDS_PER_SECOND)

/* Which steps of the end have been seen, in their order. */
typedef enum Step { STEP_NONE, STEP_MACHINE_STOPPED, STEP_JOB_CLEANED, STEP_NODE_CLOSED } Step;
static Step step;
static unsigned cleaned, told;

static void next_step(Step to)
{
    g_assert_cmpint(step, ==, to - 1);
    step = to;
}

/* ---- what is there to be ended */

static void machine_changes(void *opaque, bool running)
{
    (void)opaque;
    g_assert_false(running);
    g_assert_null(blk_exp_find("export"));
    g_assert_cmpuint(bdrv_drain_all_sections(), ==, 0); /* its requests can still run */
    next_step(STEP_MACHINE_STOPPED);
}

static int coroutine_fn sleeping_run(Job *job)
{
    while (!job_is_cancelled(job)) {
        job_sleep_ns(job, FOREVER_NS); /* a drained section ends it too */
    }
    return 0;
}

static void sleeping_clean(Job *job)
{
    (void)job;
    g_assert_cmpuint(bdrv_drain_all_sections(), ==, 1);
    next_step(STEP_JOB_CLEANED);
    cleaned++;
}

static void sleeping_told(void *opaque, int ret)
{
    (void)opaque;
    g_assert_cmpint(ret, ==, -ECANCELED);
    told++;
}

static const BlockJobDriver sleeping_job = {
    .job_driver = {
        .instance_size = sizeof(BlockJob),
        .job_type = "sleeping",
        .run = sleeping_run,
        .clean = sleeping_clean,
        .free = block_job_free,
    },
};

static void watched_close(BlockDriverState *bs)
{
    (void)bs;
    next_step(STEP_NODE_CLOSED);
}

static int coroutine_fn watched_rw(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                   BdrvRequestFlags flags)
{
    (void)bs, (void)offset, (void)bytes, (void)qiov, (void)flags;
    test_co_pause();
    return 0;
}

static const BlockDriver bdrv_watched = {
    .format_name = "watched",
    .instance_size = 1,
    .bdrv_close = watched_close,
    .bdrv_co_preadv = watched_rw,
    .bdrv_co_pwritev = watched_rw,
};

/* ---- a client that never stops by itself */

typedef struct Client {
    BlockExport *export;
    QemuSemaphore done;
    unsigned served; /* atomic */
    unsigned refused;
    uint8_t data[BDRV_SECTOR_SIZE];
} Client;

static void request_done(BlockExportRequest *req, int ret)
{
    Client *client = req->opaque;

    g_assert_true(ret == 0 || ret == -ESHUTDOWN);
    if (ret == 0) {
        qatomic_inc(&client->served);
    } else {
        client->refused++;
    }
    qemu_sem_post(&client->done);
}

static void *client_thread(void *opaque)
{
    Client *client = opaque;

    for (;;) {
        BlockExportRequest req = {
            .bytes = BDRV_SECTOR_SIZE,
            .buf = client->data,
            .done = request_done,
            .opaque = client,
        };

        if (!blk_exp_submit(client->export, &req)) {
            break;
        }
        qemu_sem_wait(&client->done);
    }
    blk_exp_unref(client->export);
    return NULL;
}

/* ---- the tests */

static void shutdown_up(void)
{
    alarm(TEST_SECONDS);
    core_init();
    rcu_init();
    g_assert_cmpint(qemu_init_main_loop(), ==, 0);
    monitor_init_globals();
    harness = (Harness){ .thread_count = 1 };
    harness.threads[0] = iothread_new("io");
    user_creatable_add_iothread(harness.threads[0]);
    step = STEP_NONE;
    cleaned = told = 0;
}

static void shutdown_down(void)
{
    monitor_cleanup_globals();
    rcu_cleanup();
    bdrv_drain_all_end();
    harness.thread_count = 0;
    core_down();
}

static void test_order(void)
{
    VMChangeStateEntry *entry;
    BlockDriverState *bs;

    shutdown_up();
    entry = qemu_add_vm_change_state_handler(machine_changes, NULL);
    bs = bdrv_new(&bdrv_watched, "watched", thread_ctx(0));
    bdrv_set_monitor_owned(bs);
    g_assert_nonnull(blk_exp_add("export", bs, thread_ctx(0), 2));
    job_start(block_job_create("job", &sleeping_job, bs, 0, JOB_DEFAULT, sleeping_told, NULL));
    qemu_cleanup();
    g_assert_cmpint(step, ==, STEP_NODE_CLOSED);
    g_assert_cmpuint(aio_context_live_count(), ==, 2); /* the io thread's is gone */
    g_assert_cmpuint(told, ==, 1);
    g_assert_cmpuint(bdrv_drain_all_sections(), ==, 1);
    qemu_del_vm_change_state_handler(entry);
    shutdown_down();
}

static void test_clients_go_on_sending(gconstpointer completion)
{
    unsigned served = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        Client client = { 0 };
        BlockDriverState *bs;
        QemuThread thread;

        shutdown_up();
        bs = bdrv_new_ram("disk", thread_ctx(0), 4 * BDRV_SECTOR_SIZE);
        bdrv_ram_set_completion(bs, (RamCompletion)GPOINTER_TO_INT(completion), 1000);
        bdrv_set_monitor_owned(bs);
        client.export = blk_exp_add("export", bs, thread_ctx(0), 2);
        blk_exp_ref(client.export);
        qemu_sem_init(&client.done, 0);
        qemu_thread_create(&thread, "client", client_thread, &client, QEMU_THREAD_JOINABLE);
        while (qatomic_read(&client.served) < i) {
            main_loop_wait(true);
        }
        qemu_cleanup();
        qemu_thread_join(&thread);
        qemu_sem_destroy(&client.done);
        served += client.served;
        g_assert_cmpuint(client.served, >=, i);
        g_assert_cmpuint(client.refused, <=, 1);
        shutdown_down();
    }
    g_test_message("%u requests were served in %u rounds", served, ROUNDS);
}

typedef struct Ordered {
    unsigned number;
    bool running;
} Ordered;

static unsigned calls;

static void ordered_change(void *opaque, bool running)
{
    Ordered *ordered = opaque;

    g_assert_cmpuint(ordered->number, ==, running ? calls : 1 - calls);
    calls++;
}

/* Devices stop in the opposite order of their start. */
static void test_handlers_in_order(void)
{
    Ordered first = { 0, false }, second = { 1, false };
    VMChangeStateEntry *entries[2];

    shutdown_up();
    entries[0] = qemu_add_vm_change_state_handler(ordered_change, &first);
    entries[1] = qemu_add_vm_change_state_handler(ordered_change, &second);
    calls = 0;
    vm_state_notify(true);
    g_assert_cmpuint(calls, ==, 2);
    calls = 0;
    vm_state_notify(false);
    g_assert_cmpuint(calls, ==, 2);
    qemu_del_vm_change_state_handler(entries[0]);
    qemu_del_vm_change_state_handler(entries[1]);
    qemu_cleanup();
    shutdown_down();
}

static void test_flush_all(void)
{
    BlockDriverState *bs;

    shutdown_up();
    bs = bdrv_new_ram("disk", thread_ctx(0), 4 * BDRV_SECTOR_SIZE);
    bdrv_set_monitor_owned(bs);
    g_assert_cmpint(bdrv_flush_all(), ==, 0);
    bdrv_ram_fail_next(bs, EIO);
    g_assert_cmpint(bdrv_flush_all(), ==, -EIO);
    g_assert_true(bdrv_next_monitor_owned(NULL) == bs);
    g_assert_null(bdrv_next_monitor_owned(bs));
    qemu_cleanup();
    g_assert_null(bdrv_next_monitor_owned(NULL));
    shutdown_down();
}

/* Also where it was paused before: nothing lets it go on any more. */
static void test_machine_is_shut_down_for_good(void)
{
    for (unsigned paused = 0; paused < 2; paused++) {
        shutdown_up();
        g_assert_true(runstate_is_running());
        if (paused) {
            g_assert_cmpint(vm_stop(), ==, 0);
            vm_start();
            g_assert_true(runstate_is_running());
            g_assert_cmpint(vm_stop(), ==, 0);
            g_assert_cmpint(runstate_get(), ==, RUN_STATE_PAUSED);
        }
        qemu_cleanup();
        g_assert_cmpint(runstate_get(), ==, RUN_STATE_SHUTDOWN);
        shutdown_down();
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/shutdown/order", test_order);
    g_test_add_data_func("/shutdown/clients-go-on-sending/bh", GINT_TO_POINTER(RAM_COMPLETE_BH), test_clients_go_on_sending);
    g_test_add_data_func("/shutdown/clients-go-on-sending/timer", GINT_TO_POINTER(RAM_COMPLETE_TIMER),
                         test_clients_go_on_sending);
    g_test_add_data_func("/shutdown/clients-go-on-sending/pool", GINT_TO_POINTER(RAM_COMPLETE_POOL), test_clients_go_on_sending);
    g_test_add_func("/shutdown/handlers-in-order", test_handlers_in_order);
    g_test_add_func("/shutdown/flush-all", test_flush_all);
    g_test_add_func("/shutdown/machine-is-shut-down-for-good", test_machine_is_shut_down_for_good);
    return g_test_run();
}
