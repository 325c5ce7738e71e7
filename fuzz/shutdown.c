/*
 * Target shutdown: qemu_cleanup() while exports have clients that go on sending requests, a guest uses a device on Linux AIO, QMP
 * commands arrive, jobs work or sleep, nodes are served by worker threads, and memory waits to be freed by RCU.
 *
 * Invariants: each request is completed once, or refused; what the device took from its ring has ended when it stops; each job has told
 * its result once; tables are freed once, and never under a reader; afterwards there is no export, node, backend, job, thread or
 * coroutine.
 *
 * The empty scenario is one export in one io thread, whose client sends one request.
 */
#include <glib.h>
#include <errno.h>
#include <unistd.h>

#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/block_file.h"
#include "core/block_job.h"
#include "core/blockdev.h"
#include "core/export.h"
#include "core/rcu.h"
#include "core/shutdown.h"
#include "core/monitor.h"
#include "core/runstate.h"
#include "core/vm_state.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"
#include "fuzz/scenario_guest.h"
#include "fuzz/scenario_qmp.h"

#define CLIENTS_MAX  2u
#define REQUESTS_MAX 4u
#define JOBS_MAX     2u
#define DISK_BYTES   4096
#define SECTOR       512
#define FOREVER_NS   (600 * NANOSECONDS_PER_SECOND)

/* What a client looks its buffers up in, as a virtual CPU does in its memory map. */
typedef struct Table {
    struct rcu_head rcu;
    struct World *world;
    int alive;
} Table;

typedef struct Client {
    struct World *world;
    QemuThread thread;
    BlockExport *export;
    BlockExportRequest requests[REQUESTS_MAX];
    uint8_t data[REQUESTS_MAX][SECTOR];
    unsigned request_count;
    bool waits; /* for each request before the next */
    unsigned times_done[REQUESTS_MAX]; /* raw atomics, like all that only the invariants need */
    QemuMutex lock;
    QemuCond ended;
    unsigned under_way; /* under lock */
} Client;

typedef struct Work {
    BlockJob common; /* first */
    BlockBackend *blk;
    struct World *world;
    unsigned rounds;
    int64_t sleep_ns; /* after each round */
    bool requests;    /* in each round */
    bool stays;       /* after the last one, until it is cancelled */
} Work;

/* The guest's disk: in memory, or a file on Linux AIO. */
typedef enum GuestDisk { MEMORY, CACHED, DIRECT, GUEST_DISKS } GuestDisk;

typedef struct World {
    Scenario scenario;
    BlockDriverState *disk, *guest_disk; /* guest_disk: NULL without a guest */
    BlockBackend *blk;                   /* the device's */
    VirtIOBlock *device;
    ScenarioGuest guest;
    bool guest_paused;
    VMChangeStateEntry *handlers[3];
    ScenarioQmp qmp;
    bool has_qmp;
    Client clients[CLIENTS_MAX];
    unsigned client_count;
    Table *table; /* RCU */
    unsigned tables_made, tables_freed;
    unsigned jobs_made, jobs_told, job_requests; /* the last one raw */
    int cleaning_up, outstanding;                /* raw */
} World;

static int raw(const void *number)
{
    return __atomic_load_n((const int *)number, __ATOMIC_SEQ_CST);
}

/* ---- RCU */

static void table_free(struct rcu_head *head)
{
    Table *table = (Table *)head;

    fuzz_check(bql_locked());
    __atomic_store_n(&table->alive, 0, __ATOMIC_SEQ_CST);
    table->world->tables_freed++;
    g_free(table);
}

static void replace_table(World *world)
{
    Table *old = world->table, *table = g_new0(Table, 1);

    table->world = world;
    table->alive = 1;
    world->tables_made++;
    qatomic_rcu_set(&world->table, table);
    if (old) {
        call_rcu(old, table_free, rcu);
    }
}

static void look_up(World *world)
{
    Table *table;

    rcu_read_lock();
    table = qatomic_rcu_read(&world->table);
    fuzz_check(raw(&table->alive));
    rcu_read_unlock();
}

/* ---- clients: threads of their own */

static void request_done(BlockExportRequest *request, int ret)
{
    Client *client = request->opaque;
    unsigned times = __atomic_add_fetch(&client->times_done[request - client->requests], 1, __ATOMIC_SEQ_CST);

    fuzz_check(times == 1);
    fuzz_check(ret == 0 || ret == -ESHUTDOWN);
    if (ret == -ESHUTDOWN) {
        fuzz_reached("request-on-the-wire-when-its-export-closes");
    }
    __atomic_fetch_sub(&client->world->outstanding, 1, __ATOMIC_SEQ_CST);
    qemu_mutex_lock(&client->lock);
    client->under_way--;
    qemu_cond_signal(&client->ended);
    qemu_mutex_unlock(&client->lock);
}

static void wait_until_under_way(Client *client, unsigned most)
{
    qemu_mutex_lock(&client->lock);
    while (client->under_way > most) {
        qemu_cond_wait(&client->ended, &client->lock);
    }
    qemu_mutex_unlock(&client->lock);
}

static bool send_request(Client *client, unsigned i)
{
    BlockExportRequest *request = &client->requests[i];

    look_up(client->world);
    *request = (BlockExportRequest){
        .write = i & 1,
        .offset = (int64_t)(i % (DISK_BYTES / SECTOR)) * SECTOR,
        .bytes = SECTOR,
        .buf = client->data[i],
        .done = request_done,
        .opaque = client,
    };
    qemu_mutex_lock(&client->lock);
    client->under_way++;
    qemu_mutex_unlock(&client->lock);
    __atomic_fetch_add(&client->world->outstanding, 1, __ATOMIC_SEQ_CST);
    if (blk_exp_submit(client->export, request)) {
        return true;
    }
    fuzz_reached("request-refused");
    __atomic_fetch_sub(&client->world->outstanding, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&client->times_done[i], 1, __ATOMIC_SEQ_CST);
    qemu_mutex_lock(&client->lock);
    client->under_way--;
    qemu_mutex_unlock(&client->lock);
    return false;
}

static void *client_thread(void *opaque)
{
    Client *client = opaque;
    unsigned sent = 0;

    rcu_register_thread();
    while (sent < client->request_count && send_request(client, sent)) {
        sent++;
        if (raw(&client->world->cleaning_up)) {
            fuzz_reached("request-accepted-while-cleaning-up");
        }
        if (client->waits) {
            wait_until_under_way(client, 0);
        }
    }
    wait_until_under_way(client, 0);
    for (unsigned i = 0; i < sent; i++) {
        fuzz_check(raw(&client->times_done[i]) == 1);
    }
    blk_exp_unref(client->export);
    rcu_unregister_thread();
    return NULL;
}

/* ---- jobs */

static int coroutine_fn work_run(Job *job)
{
    Work *work = (Work *)job;
    uint8_t sector[SECTOR];
    int ret = 0;

    for (unsigned i = 0; i < work->rounds && !job_is_cancelled(job) && ret == 0; i++) {
        if (work->requests) {
            __atomic_fetch_add(&work->world->job_requests, 1, __ATOMIC_SEQ_CST);
            ret = blk_co_pread(work->blk, 0, SECTOR, sector, 0);
            __atomic_fetch_sub(&work->world->job_requests, 1, __ATOMIC_SEQ_CST);
        }
        job_sleep_ns(job, work->sleep_ns);
    }
    while (work->stays && !job_is_cancelled(job)) {
        job_yield(job);
    }
    return ret;
}

static void work_clean(Job *job)
{
    Work *work = (Work *)job;

    blk_unref(work->blk);
    work->blk = NULL;
}

static void work_told(void *opaque, int ret)
{
    World *world = opaque;

    fuzz_check(ret == 0 || ret == -ECANCELED);
    world->jobs_told++;
    if (raw(&world->cleaning_up) && ret == -ECANCELED) {
        fuzz_reached("job-cancelled-while-cleaning-up");
    }
}

static const BlockJobDriver work_driver = {
    .job_driver = {
        .instance_size = sizeof(Work),
        .job_type = "work",
        .run = work_run,
        .clean = work_clean,
        .free = block_job_free,
    },
};

static void start_job(World *world, uint8_t flags)
{
    BlockDriverState *bs = flags & 16 && world->guest_disk ? world->guest_disk : world->disk;
    char id[16];
    Work *work;

    if (world->jobs_made == JOBS_MAX) {
        return;
    }
    g_snprintf(id, sizeof(id), "job%u", world->jobs_made);
    work = block_job_create(id, &work_driver, bs, 0, JOB_DEFAULT, work_told, world);
    fuzz_check(work != NULL);
    world->jobs_made++;
    work->world = world;
    work->stays = !(flags & 1);
    work->rounds = 1 + (flags >> 1 & 1);
    work->sleep_ns = flags & 4 ? 1000 : FOREVER_NS;
    work->requests = flags & 8;

    /* A job's own requests go on while its node is drained: it is the job that pauses. */
    work->blk = blk_new(bdrv_get_aio_context(bs));
    blk_set_disable_request_queuing(work->blk, true);
    blk_insert_bs(work->blk, bs);
    job_start(&work->common.job);
}

/* ---- the guest */

/* Once and for all: what the target is about is the end. */
static void pause_guest(void *opaque, bool running)
{
    World *world = opaque;

    if (running || world->guest_paused) {
        return;
    }
    world->guest_paused = true;
    if (raw(&world->guest.done) < raw(&world->guest.sent)) {
        fuzz_reached("guest-paused-with-a-request-under-way");
    }
    scenario_guest_pause(&world->guest);
}

static void change_device(void *opaque, bool running)
{
    World *world = opaque;

    if (running) {
        virtio_blk_start(world->device);
        return;
    }
    virtio_blk_stop(world->device);
    fuzz_check(virtio_blk_is_idle(world->device));
    scenario_guest_check(&world->guest);
    if (raw(&world->guest.done) < raw(&world->guest.sent)) {
        fuzz_reached("request-left-in-the-ring");
    }
}

static void start_guest(World *world, GuestDisk kind, uint8_t flags)
{
    AioContext *ctx = scenario_context(&world->scenario, world->scenario.thread_count);

    if (kind == MEMORY) {
        world->guest_disk = bdrv_new_ram("guest", ctx, DISK_BYTES);
        bdrv_ram_set_completion(world->guest_disk, RAM_COMPLETE_BH, 0);
    } else {
        const char *path = fuzz_file("guest");

        world->guest_disk = bdrv_new_file("guest", ctx, path, DISK_BYTES, kind == DIRECT ? BDRV_O_NOCACHE : 0);
        fuzz_check(world->guest_disk != NULL);
        unlink(path);
    }
    bdrv_set_monitor_owned(world->guest_disk);
    world->blk = blk_new(ctx);
    blk_insert_bs(world->blk, world->guest_disk);
    world->device = virtio_blk_new(world->blk, flags & 1);
    fuzz_check(world->device != NULL);

    /* Called in the opposite order when the machine stops: virtual CPUs first. */
    world->handlers[0] = qemu_add_vm_change_state_handler(change_device, world);
    world->handlers[1] = qemu_add_vm_change_state_handler(pause_guest, world);
    scenario_guest_start(&world->guest, world->device, 1 + (flags >> 1) % GUEST_REQUESTS_MAX, 1 + (flags >> 4 & 3));
}

/* QEMU ends with its devices. */
static void free_guest(World *world)
{
    qemu_del_vm_change_state_handler(world->handlers[0]);
    qemu_del_vm_change_state_handler(world->handlers[1]);
    virtio_blk_free(world->device);
    blk_unref(world->blk);
}

/* ---- the machine */

static void machine_changed(void *opaque, bool running)
{
    World *world = opaque;

    fuzz_check(!running || !raw(&world->cleaning_up));
}

/* ---- QMP */

static void start_qmp(World *world, FuzzInput *in, uint8_t flags)
{
    Chardev *chr = qemu_chr_new_socket("monitor");
    uint8_t commands[SCENARIO_QMP_COMMANDS_MAX];
    unsigned count = 1 + ((flags >> 1) + 1) % SCENARIO_QMP_COMMANDS_MAX;

    fuzz_check(chr != NULL);
    for (unsigned i = 0; i < count; i++) {
        commands[i] = fuzz_byte(in);
    }
    world->has_qmp = true;
    monitor_init_qmp(chr);
    scenario_qmp_start(&world->qmp, chr, commands, count, flags & 1, flags & 64 ? count : 1);
}

/* ---- what the main thread does before it cleans up */

static void op_serve(World *world, uint8_t argument)
{
    (void)world;
    for (unsigned i = 0; i <= argument % 4; i++) {
        main_loop_wait(true);
    }
}

static void op_drain(World *world, uint8_t argument)
{
    if (argument & 1) {
        bdrv_drain_all();
    } else {
        bdrv_drained_begin(world->disk);
        bdrv_drained_end(world->disk);
    }
}

static void op_filter(World *world, uint8_t argument)
{
    BlockDriverState *filter = bdrv_new_filter("filter", bdrv_get_aio_context(world->disk), NULL);

    (void)argument;
    bdrv_append(filter, world->disk);
    bdrv_drop_filter(filter);
    bdrv_unref(filter);
}

static void op_table(World *world, uint8_t argument)
{
    replace_table(world);
    if (argument & 1) {
        drain_call_rcu();
        fuzz_check(world->tables_freed == world->tables_made - 1);
    }
}

static void op_close_export(World *world, uint8_t argument)
{
    BlockExport *export = blk_exp_find(argument % world->client_count ? "export1" : "export0");

    if (export) {
        blk_exp_request_shutdown(export);
    }
}

static void (*const operations[])(World *, uint8_t) = { op_serve, op_drain, start_job, op_filter, op_table, op_close_export };

/* ---- the scenario */

static void add_export(World *world, unsigned i, uint8_t flags)
{
    Client *client = &world->clients[i];
    AioContext *ctx = scenario_context(&world->scenario, flags & 1 ? 0 : 1 + i % world->scenario.thread_count);

    client->world = world;
    client->request_count = 1 + (flags >> 1 & 3) % REQUESTS_MAX;
    client->waits = flags & 8;
    client->export = blk_exp_add(i ? "export1" : "export0", world->disk, ctx, 1 + (flags >> 4 & 1));
    fuzz_check(client->export != NULL);
    blk_exp_ref(client->export);
    qemu_mutex_init(&client->lock);
    qemu_cond_init(&client->ended);
}

static void begin(World *world, FuzzInput *in, uint8_t setup, uint8_t more)
{
    unsigned threads = 1 + (setup & 1);

    rcu_init();
    scenario_begin(&world->scenario, threads);
    for (unsigned i = 0; i < threads; i++) {
        aio_context_set_poll_params(scenario_context(&world->scenario, 1 + i), setup & 2 ? 2 : 0);
        user_creatable_add_iothread(world->scenario.threads[i]);
    }
    monitor_init_globals();
    world->handlers[2] = qemu_add_vm_change_state_handler(machine_changed, world);
    replace_table(world);
    world->disk = bdrv_new_ram("disk", qemu_get_aio_context(), DISK_BYTES);
    bdrv_ram_set_completion(world->disk, (RamCompletion)(setup >> 2 & 3), 1000);
    bdrv_set_monitor_owned(world->disk);
    world->client_count = 1 + (setup >> 4 & 1);
    for (unsigned i = 0; i < world->client_count; i++) {
        add_export(world, i, fuzz_byte(in));
    }
    if (setup & 32) {
        start_guest(world, (GuestDisk)((setup >> 6) % GUEST_DISKS), fuzz_byte(in));
    }
    if (more & 1) {
        start_qmp(world, in, more >> 1);
    }
}

static void note_windows(World *world)
{
    if (raw(&world->outstanding)) {
        fuzz_reached("cleanup-with-a-request-under-way");
    }
    if (world->has_qmp && scenario_qmp_busy(&world->qmp)) {
        fuzz_reached("cleanup-with-a-command-under-way");
    }
    if (raw(&world->job_requests)) {
        fuzz_reached("cleanup-with-a-job's-request-under-way");
    }
    if (world->tables_freed + 1 < world->tables_made) {
        fuzz_reached("cleanup-with-a-callback-of-rcu-to-come");
    }
}

static void end(World *world)
{
    bql_unlock();
    for (unsigned i = 0; i < world->client_count; i++) {
        qemu_thread_join(&world->clients[i].thread);
        qemu_cond_destroy(&world->clients[i].ended);
        qemu_mutex_destroy(&world->clients[i].lock);
    }
    if (world->has_qmp) {
        scenario_qmp_join(&world->qmp);
    }
    bql_lock();
    qemu_del_vm_change_state_handler(world->handlers[2]);
    monitor_cleanup_globals();
    call_rcu(world->table, table_free, rcu);
    rcu_cleanup();
    fuzz_check(world->tables_freed == world->tables_made);
    bdrv_drain_all_end(); /* QEMU ends here, with the section open */
    world->scenario.thread_count = 0;
    scenario_end(&world->scenario);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    uint8_t setup = fuzz_byte(in), more = fuzz_byte(in);
    unsigned operation_count = more >> 4 & 7;

    begin(&world, in, setup, more);
    for (unsigned i = 0; i < world.client_count; i++) {
        qemu_thread_create(&world.clients[i].thread, "client", client_thread, &world.clients[i], QEMU_THREAD_JOINABLE);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        unsigned operation = fuzz_choice(in, G_N_ELEMENTS(operations));

        operations[operation](&world, fuzz_byte(in));
    }
    while (world.has_qmp && !main_loop_should_exit()) {
        main_loop_wait(false);
    }
    note_windows(&world);
    __atomic_store_n(&world.cleaning_up, 1, __ATOMIC_SEQ_CST);
    qemu_cleanup();
    fuzz_check(world.jobs_told == world.jobs_made);
    if (world.device) {
        free_guest(&world);
    }
    fuzz_check(bdrv_node_count() == 0 && blk_count() == 0);
    fuzz_check(!blk_exp_find("export0") && !blk_exp_find("export1"));
    end(&world);
}

static const char *const windows[] = {
    "cleanup-with-a-request-under-way",
    "cleanup-with-a-job's-request-under-way",
    "cleanup-with-a-callback-of-rcu-to-come",
    "request-on-the-wire-when-its-export-closes",
    "request-refused",
    "request-accepted-while-cleaning-up",
    "job-cancelled-while-cleaning-up",
    "cleanup-with-a-command-under-way",
    "guest-paused-with-a-request-under-way",
    "request-left-in-the-ring",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "shutdown", .run = run, .windows = windows };
