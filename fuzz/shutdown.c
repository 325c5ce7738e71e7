/*
 * Target shutdown: qemu_cleanup() while exports have clients that go on sending requests, a guest uses a device on Linux AIO, QMP
 * commands arrive that cancel jobs and delete exports, jobs work, sleep, or back up an image whose cache is cleaned by a timer, nodes are
 * served by worker threads, and memory waits to be freed by RCU.
 *
 * Invariants, beside those of the scenario's parts: each command is answered once, or refused with QMP's error; each job has told its
 * result once; afterwards there is no export, node, backend, job, thread, coroutine or table.
 *
 * The empty scenario is one export in one io thread, whose client sends one request.
 */
#include <glib.h>

#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/block_qcow2.h"
#include "core/blockdev.h"
#include "core/monitor.h"
#include "core/rcu.h"
#include "core/runstate.h"
#include "core/shutdown.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario_client.h"
#include "fuzz/scenario_jobs.h"
#include "fuzz/scenario_machine.h"
#include "fuzz/scenario_qmp.h"

#define CLIENTS_MAX 2u
#define DISK_BYTES  4096
#define FOREVER_NS  (600 * NANOSECONDS_PER_SECOND)

typedef struct World {
    Scenario scenario;
    BlockDriverState *disk, *image; /* image: NULL until somebody wants it */
    ScenarioTables tables;
    ScenarioClient clients[CLIENTS_MAX];
    unsigned client_count;
    int holds[CLIENTS_MAX]; /* on each export; raw */
    ScenarioJobs jobs;
    ScenarioMachine machine;
    ScenarioQmp qmp;
    bool has_qmp;
} World;

static const char *export_name(unsigned i)
{
    return i == 0 ? "export0" : "export1";
}

static AioContext *last_context(World *world)
{
    return scenario_context(&world->scenario, world->scenario.thread_count);
}

static BlockDriverState *image_of(World *world, bool is_cleaned_often)
{
    if (!world->image) {
        world->image = scenario_image(last_context(world), DISK_BYTES, is_cleaned_often ? 1 : DEFAULT_CACHE_CLEAN_INTERVAL);
    }
    return world->image;
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

static void op_start_job(World *world, uint8_t flags)
{
    if (flags & 32) {
        scenario_job_backup(&world->jobs, image_of(world, flags & 4), DISK_BYTES, flags & 8 ? CLIENT_SECTOR : 0);
    } else {
        ScenarioWork work = {
            .stays = !(flags & 1),
            .rounds = 1 + (flags >> 1 & 1),
            .sleep_ns = flags & 4 ? 1000 : FOREVER_NS,
            .requests = flags & 8,
        };

        scenario_job_work(&world->jobs, flags & 16 && world->machine.disk ? world->machine.disk : world->disk, &work);
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
    scenario_table_replace(&world->tables);
    if (argument & 1) {
        drain_call_rcu();
        scenario_tables_check(&world->tables, 1);
    }
}

static void op_close_export(World *world, uint8_t argument)
{
    BlockExport *export = blk_exp_find(export_name(argument % world->client_count));

    if (export) {
        blk_exp_request_shutdown(export);
    }
}

static void (*const operations[])(World *, uint8_t) = { op_serve, op_drain, op_start_job, op_filter, op_table, op_close_export };

/* ---- the scenario */

static void add_export(World *world, unsigned i, uint8_t flags)
{
    AioContext *ctx = scenario_context(&world->scenario, flags & 1 ? 0 : 1 + i % world->scenario.thread_count);
    BlockDriverState *bs = flags & 32 ? image_of(world, flags & 64) : world->disk;
    BlockExport *export = blk_exp_add(export_name(i), bs, ctx, 1 + (flags >> 4 & 1));

    fuzz_check(export != NULL);
    scenario_client_init(&world->clients[i], &world->scenario, &world->tables, export, &world->holds[i], 1 + (flags >> 1 & 3),
                         flags & 8, flags & 128);
}

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
    scenario_qmp_start(&world->qmp, chr, &world->holds[0], commands, count, flags & 1, flags & 64 ? count : 1);
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
    scenario_machine_begin(&world->machine, &world->scenario, &world->jobs);
    world->jobs.scenario = &world->scenario;
    scenario_table_replace(&world->tables);
    world->disk = bdrv_new_ram("disk", qemu_get_aio_context(), DISK_BYTES);
    bdrv_ram_set_completion(world->disk, (RamCompletion)(setup >> 2 & 3), 1000);
    bdrv_set_monitor_owned(world->disk);
    world->client_count = 1 + (setup >> 4 & 1);
    for (unsigned i = 0; i < world->client_count; i++) {
        add_export(world, i, fuzz_byte(in));
    }
    if (setup & 32) {
        uint8_t guest = fuzz_byte(in);

        scenario_machine_plug(&world->machine, last_context(world), (ScenarioDisk)((setup >> 6) % SCENARIO_DISKS), DISK_BYTES,
                              guest & 1, 1 + (guest >> 1) % GUEST_REQUESTS_MAX, 1 + (guest >> 4 & 3));
    }
    if (more & 1) {
        start_qmp(world, in, more >> 1);
    }
    for (unsigned i = 0; i < world->client_count; i++) {
        scenario_client_start(&world->clients[i]);
    }
}

/* In which state the world is when its end begins. */
static void note_end(World *world)
{
    unsigned exports = 0;

    for (unsigned i = 0; i < world->client_count; i++) {
        exports |= blk_exp_find(export_name(i)) ? 1u << i : 0;
        if (scenario_client_busy(&world->clients[i])) {
            fuzz_reached("cleanup-with-a-request-under-way");
        }
    }
    if (world->has_qmp) {
        if (scenario_qmp_busy(&world->qmp)) {
            fuzz_reached("cleanup-with-a-command-under-way");
        }
        scenario_qmp_note_end(&world->qmp, __atomic_load_n(&world->jobs.left, __ATOMIC_SEQ_CST), exports);
    }
    if (scenario_get(&world->jobs.requests)) {
        fuzz_reached("cleanup-with-a-job's-request-under-way");
    }
    if (world->image && world->jobs.left) {
        fuzz_reached("cleanup-with-a-job-and-an-image");
    }
    if (world->tables.freed + 1 < world->tables.made) {
        fuzz_reached("cleanup-with-a-callback-of-rcu-to-come");
    }
    scenario_set(&world->scenario.ending, 1);
}

static void end(World *world)
{
    bql_unlock();
    for (unsigned i = 0; i < world->client_count; i++) {
        scenario_client_join(&world->clients[i]);
    }
    if (world->has_qmp) {
        scenario_qmp_join(&world->qmp);
    }
    bql_lock();
    scenario_machine_end(&world->machine);
    monitor_cleanup_globals();
    scenario_tables_give_up(&world->tables);
    rcu_cleanup();
    scenario_tables_check(&world->tables, 0);
    bdrv_drain_all_end(); /* QEMU ends here, with the section open */
    world->scenario.thread_count = 0;
    scenario_end(&world->scenario);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    uint8_t setup = fuzz_byte(in), more = fuzz_byte(in);

    begin(&world, in, setup, more);
    for (unsigned i = 0; i < (more >> 4 & 7u); i++) {
        unsigned operation = fuzz_choice(in, G_N_ELEMENTS(operations));

        operations[operation](&world, fuzz_byte(in));
    }
    while (world.has_qmp && !main_loop_should_exit()) {
        main_loop_wait(false);
    }
    fuzz_check(!world.has_qmp || scenario_qmp_asked_to_end(&world.qmp));
    scenario_machine_check(&world.machine);
    note_end(&world);
    qemu_cleanup();
    fuzz_check(world.jobs.told == world.jobs.made);
    scenario_machine_unplug(&world.machine);
    fuzz_check(bdrv_node_count() == 0 && blk_count() == 0);
    fuzz_check(!blk_exp_find(export_name(0)) && !blk_exp_find(export_name(1)));
    end(&world);
}

static const char *const windows[] = {
    "cleanup-with-a-request-under-way",
    "cleanup-with-a-job's-request-under-way",
    "cleanup-with-a-job-and-an-image",
    "cleanup-with-a-callback-of-rcu-to-come",
    "request-on-the-wire-when-its-export-closes",
    "request-refused",
    "request-accepted-while-cleaning-up",
    "job-cancelled-while-cleaning-up",
    "cleanup-with-a-command-under-way",
    "guest-paused-with-a-request-under-way",
    "request-left-in-the-ring",
    "job-cancelled-by-a-command",
    "export-deleted-by-a-command",
    "export-in-use-is-kept",
    "export-is-closing-already",
    "job-gone-when-its-command-comes-during-cleanup",
    "export-gone-when-its-command-comes-during-cleanup",
    "table-replaced-while-it-is-read",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "shutdown", .run = run, .windows = windows };
