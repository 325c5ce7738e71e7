/*
 * Target qemu_jobs: one block job on a disk that a guest reads and writes from io threads: mirror in both copy modes, backup, stream, commit of
 * the active layer and of the one below. Meanwhile QMP commands pause, resume, cancel, complete and throttle it, change its copy mode, drain,
 * and move the nodes between threads. The disks are files with worker threads or on Linux AIO; the commands are the storage daemon's.
 *
 * Invariants: each request is completed once, and reads what was written. A job that has succeeded has copied what it was to copy: a
 * mirror or a commit all that was written until its end, a backup what was there at its beginning. No node, no request, no drained section is left.
 *
 * The empty scenario mirrors a disk that one guest writes to, and completes when it is told that the mirror is ready.
 */
#include "fuzz/qemu/scenario_image.h"
#include "fuzz/qemu/scenario_qmp.h"

#define REGIONS        6u
#define REGION_BYTES   32768u
#define DISK_BYTES     (REGIONS * REGION_BYTES)
#define CLUSTER_BITS   12
#define CLIENTS_MAX    3u
#define OPERATIONS_MAX 6u
#define OLD            1u /* what all disks' regions hold first; each write of a region is one more */

typedef enum Kind { MIRROR, MIRROR_ACTIVE, BACKUP, STREAM, COMMIT_ACTIVE, COMMIT_BELOW, KINDS } Kind;

typedef enum Ending { WAIT, CANCEL, CANCEL_SOFTLY, CANCEL_ALL, ENDINGS } Ending;

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    Kind kind;
    Ending ending;
    bool native, manual, paused;
    /* For the invariants: no points. A region belongs to one client. */
    uint8_t issued[REGIONS], written[REGIONS];
    uint8_t first_least[REGIONS], first_most[REGIONS]; /* what a backup may hold */
    uint8_t middle[REGIONS];                           /* what the middle of three shows */
    unsigned completed;
    bool succeeded;
} World;

typedef struct Client {
    World *world;
    unsigned region, requests;
    bool writes, pauses;
} Client;

/* ---- the guest */

static void coroutine_fn write_region(World *world, unsigned region)
{
    g_autofree uint8_t *buffer = g_malloc(REGION_BYTES);
    uint8_t pattern = ++world->issued[region];

    memset(buffer, pattern, REGION_BYTES);
    fuzz_check(blk_co_pwrite(world->blk, region * REGION_BYTES, REGION_BYTES, buffer, 0) == 0);
    fuzz_check(world->written[region] == pattern - 1);
    world->written[region] = pattern;
}

static void coroutine_fn read_region(World *world, unsigned region)
{
    g_autofree uint8_t *buffer = g_malloc0(REGION_BYTES);
    int pattern;

    fuzz_check(blk_co_pread(world->blk, region * REGION_BYTES, REGION_BYTES, buffer, 0) == 0);
    pattern = scenario_pattern(buffer, REGION_BYTES);
    if (pattern != world->written[region]) {
        fuzz_violated("region %u reads as %d, and the last write was %u", region, pattern, world->written[region]);
    }
}

static void coroutine_fn client_entry(void *opaque)
{
    Client *client = opaque;

    for (unsigned i = 0; i < client->requests; i++) {
        if (client->writes || i % 2 == 0) {
            write_region(client->world, client->region);
        } else {
            read_region(client->world, client->region);
        }
        __atomic_fetch_add(&client->world->completed, 1, __ATOMIC_SEQ_CST);
        if (client->pauses) {
            scenario_pause();
        }
    }
}

static void coroutine_fn read_all_entry(void *opaque)
{
    for (unsigned i = 0; i < REGIONS; i++) {
        read_region(opaque, i);
    }
}

/* ---- disks: "disk" is the guest's; "middle" and "base" below it, or "target" beside it */

static void add_overlay(World *world, const char *name, const char *file, const char *backing)
{
    g_autofree char *below = g_strdup_printf("%s-file", name);

    scenario_make_qcow2(file, CLUSTER_BITS, DISK_BYTES);
    scenario_add_file(below, file, world->native);
    scenario_qmp_good("{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', 'node-name': %s, 'file': %s, 'backing': %s}}",
                      name, below, backing);
}

/* What a guest has written before there was another overlay. */
static void write_middle(World *world)
{
    BlockBackend *blk = scenario_new_backend(&world->scenario, 0, bdrv_find_node("middle"));
    g_autofree uint8_t *buffer = g_malloc(REGION_BYTES);

    for (unsigned i = 0; i < REGIONS; i += 2) {
        memset(buffer, ++world->issued[i], REGION_BYTES);
        world->written[i]++;
        fuzz_check(blk_pwrite(blk, i * REGION_BYTES, REGION_BYTES, buffer, 0) == 0);
    }
    memcpy(world->middle, world->written, sizeof(world->middle));
    blk_unref(blk);
}

static void add_disks(World *world)
{
    memset(world->issued, OLD, sizeof(world->issued));
    memset(world->written, OLD, sizeof(world->written));
    if (world->kind <= BACKUP) {
        scenario_make_raw("disk.raw", DISK_BYTES, OLD);
        scenario_make_raw("target.raw", DISK_BYTES, 0);
        scenario_add_file("disk", "disk.raw", world->native);
        scenario_add_file("target", "target.raw", world->native);
    } else {
        scenario_make_raw("base.raw", DISK_BYTES, OLD);
        scenario_add_file("base", "base.raw", world->native);
        if (world->kind == COMMIT_BELOW) {
            add_overlay(world, "middle", "middle.qcow2", "base");
            write_middle(world);
        }
        add_overlay(world, "disk", "disk.qcow2", world->kind == COMMIT_BELOW ? "middle" : "base");
    }
}

/* ---- the job */

/* buf-size: more than the disk, and not the 16 MiB that it would be. */
static const char *const starts[KINDS] = {
    [MIRROR] =
        "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'job', 'device': 'disk', 'target': 'target', 'sync': 'full',"
        "'granularity': 32768, 'buf-size': 262144, 'copy-mode': 'background', 'auto-finalize': %i, 'auto-dismiss': %i}}",
    [MIRROR_ACTIVE] =
        "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'job', 'device': 'disk', 'target': 'target', 'sync': 'full',"
        "'granularity': 32768, 'buf-size': 262144, 'copy-mode': 'write-blocking', 'auto-finalize': %i, 'auto-dismiss': %i}}",
    [BACKUP] =
        "{'execute': 'blockdev-backup', 'arguments': {'job-id': 'job', 'device': 'disk', 'target': 'target', 'sync': 'full',"
        "'auto-finalize': %i, 'auto-dismiss': %i}}",
    [STREAM] =
        "{'execute': 'block-stream', 'arguments': {'job-id': 'job', 'device': 'disk', 'auto-finalize': %i, 'auto-dismiss': %i}}",
    [COMMIT_ACTIVE] = "{'execute': 'block-commit', 'arguments': {'job-id': 'job', 'device': 'disk', 'auto-finalize': %i,"
                      "'auto-dismiss': %i}}",
    [COMMIT_BELOW] = "{'execute': 'block-commit', 'arguments': {'job-id': 'job', 'device': 'disk', 'top-node': 'middle',"
                     "'base-node': 'base', 'auto-finalize': %i, 'auto-dismiss': %i}}",
};

/* Events: the scenario answers each, as a management program does over QMP. Commands run in the context that no nested loop polls. */

static void complete_bh(void *unused)
{
    scenario_qmp("{'execute': 'job-complete', 'arguments': {'id': 'job'}}");
}

static void finalize_bh(void *unused)
{
    scenario_qmp("{'execute': 'job-finalize', 'arguments': {'id': 'job'}}");
}

static void dismiss_bh(void *unused)
{
    scenario_qmp("{'execute': 'job-dismiss', 'arguments': {'id': 'job'}}");
}

typedef struct Event {
    Notifier notifier;
    World *world;
    QEMUBHFunc *answer;
} Event;

static Event ready, pending, completed, cancelled;

static void event_answer(Notifier *notifier, void *job)
{
    aio_bh_schedule_oneshot(iohandler_get_aio_context(), container_of(notifier, Event, notifier)->answer, NULL);
}

static void event_completed(Notifier *notifier, void *opaque)
{
    Job *job = opaque;

    container_of(notifier, Event, notifier)->world->succeeded = job->ret == 0;
    event_answer(notifier, job);
}

static void watch(NotifierList *list, Event *event, World *world, void (*notify)(Notifier *, void *), QEMUBHFunc *answer)
{
    *event = (Event){ .notifier.notify = notify, .world = world, .answer = answer };
    notifier_list_add(list, &event->notifier);
}

/* What came before anybody watched. With the job lock held. */
static void answer_now(World *world, Job *job)
{
    if (job->status == JOB_STATUS_READY || job->status == JOB_STATUS_STANDBY) {
        event_answer(&ready.notifier, job);
    } else if (job->status == JOB_STATUS_PENDING) {
        event_answer(&pending.notifier, job);
    } else if (job->status == JOB_STATUS_CONCLUDED) {
        event_completed(&completed.notifier, job);
    }
}

static void start_job(World *world)
{
    Job *job;

    memcpy(world->first_least, world->written, sizeof(world->written));
    scenario_qmp_good(starts[world->kind], !world->manual, !world->manual);
    memcpy(world->first_most, world->issued, sizeof(world->issued));
    job = scenario_find_job("job");
    if (job) { /* one without auto-dismiss, or one that has something left to do */
        job_lock();
        watch(&job->on_ready, &ready, world, event_answer, complete_bh);
        watch(&job->on_pending, &pending, world, event_answer, finalize_bh);
        watch(&job->on_finalize_completed, &completed, world, event_completed, dismiss_bh);
        watch(&job->on_finalize_cancelled, &cancelled, world, event_answer, dismiss_bh);
        answer_now(world, job);
        job_unlock();
    }
}

/* ---- what a management program does meanwhile; most of it fails at times, by the job's state */

static void pause_job(World *world)
{
    world->paused = scenario_qmp("{'execute': 'job-pause', 'arguments': {'id': 'job'}}") || world->paused;
}

static void resume_job(World *world)
{
    world->paused = !scenario_qmp("{'execute': 'job-resume', 'arguments': {'id': 'job'}}") && world->paused;
}

static void cancel_job(World *world)
{
    scenario_qmp("{'execute': 'job-cancel', 'arguments': {'id': 'job'}}");
}

static void cancel_softly(World *world)
{
    scenario_qmp("{'execute': 'block-job-cancel', 'arguments': {'device': 'job', 'force': false}}");
}

static void complete_job(World *world)
{
    complete_bh(NULL);
}

static void throttle(World *world)
{
    scenario_qmp("{'execute': 'block-job-set-speed', 'arguments': {'device': 'job', 'speed': 65536}}");
}

static void unthrottle(World *world)
{
    scenario_qmp("{'execute': 'block-job-set-speed', 'arguments': {'device': 'job', 'speed': 0}}");
}

static void change_mode(World *world)
{
    scenario_qmp("{'execute': 'block-job-change', 'arguments': {'id': 'job', 'type': 'mirror', 'copy-mode': 'write-blocking'}}");
}

static void move_here(World *world)
{
    scenario_qmp("{'execute': 'x-blockdev-set-iothread', 'arguments': {'node-name': 'disk', 'iothread': null, 'force': true}}");
}

static void move_there(World *world)
{
    g_autofree char *name = g_strdup_printf("iothread%u", world->scenario.thread_count - 1);

    scenario_qmp("{'execute': 'x-blockdev-set-iothread', 'arguments': {'node-name': 'disk', 'iothread': %s, 'force': true}}",
                 name);
}

static void drain_disk(World *world)
{
    BlockDriverState *bs = blk_bs(world->blk);

    bdrv_ref(bs);
    bdrv_drained_begin(bs);
    bdrv_drained_end(bs);
    bdrv_unref(bs);
}

static void drain_all(World *world)
{
    bdrv_drain_all_begin();
    bdrv_drain_all_end();
}

static void serve(World *world)
{
    main_loop_wait(true);
}

static void (*const operations[])(World *) = { serve,        pause_job,  resume_job, cancel_job,  cancel_softly,
                                               complete_job, throttle,   unthrottle, change_mode, move_here,
                                               move_there,   drain_disk, drain_all };

/* ---- the end */

static void end_job(World *world)
{
    static void (*const cancels[ENDINGS])(World *) = { [CANCEL] = cancel_job, [CANCEL_SOFTLY] = cancel_softly };

    if (world->ending == CANCEL_ALL) {
        job_cancel_sync_all();
        return;
    }
    if (cancels[world->ending]) {
        cancels[world->ending](world);
    }
    if (world->paused) {
        resume_job(world);
    }
    unthrottle(world);
    while (scenario_find_job("job")) {
        main_loop_wait(false);
    }
}

static void check_file(World *world, const char *name, const uint8_t *least, const uint8_t *most)
{
    for (unsigned i = 0; i < REGIONS; i++) {
        uint8_t pattern = scenario_file_pattern(name, i * REGION_BYTES, REGION_BYTES);

        if (pattern < least[i] || pattern > most[i]) {
            fuzz_violated("%s: region %u holds write %u; it must be one of %u to %u", name, i, pattern, least[i], most[i]);
        }
    }
}

/* After the disks are closed. What the guest sees was read back before. */
static void check_copies(World *world)
{
    if (!world->succeeded) {
        return;
    }
    fuzz_reached(world->kind == BACKUP ? "backup-done" : world->kind == STREAM ? "stream-done" : "mirror-or-commit-done");
    switch (world->kind) {
    case MIRROR:
    case MIRROR_ACTIVE: /* one that was cancelled softly holds what the disk held then */
        check_file(world, "target.raw", world->first_least, world->written);
        break;
    case BACKUP:
        check_file(world, "target.raw", world->first_least, world->first_most);
        break;
    case STREAM: { /* the base is as it was */
        uint8_t old[REGIONS];

        memset(old, OLD, sizeof(old));
        check_file(world, "base.raw", old, old);
        break;
    }
    case COMMIT_BELOW: /* the middle's writes are in the base, and none of the disk's */
        check_file(world, "base.raw", world->middle, world->middle);
        break;
    default:
        break;
    }
}

/* ---- the scenario */

static unsigned read_clients(World *world, Client *clients, unsigned count, FuzzInput *in)
{
    unsigned wanted = 0;

    for (unsigned i = 0; i < count; i++) {
        uint8_t flags = fuzz_byte(in);

        clients[i] = (Client){ world, (flags >> 4) % (REGIONS / CLIENTS_MAX) * CLIENTS_MAX + i, 1 + (flags & 3), !(flags & 4),
                               flags & 8 };
        wanted += clients[i].requests;
    }
    return wanted;
}

static void run(FuzzInput *in)
{
    static const char *const nodes[] = { "disk", "disk-file", "middle", "middle-file", "base", "target", NULL };
    World world = { .kind = fuzz_choice(in, KINDS), .ending = fuzz_choice(in, ENDINGS) };
    Client clients[CLIENTS_MAX];
    uint8_t flags = fuzz_byte(in);
    unsigned threads = 1 + (flags & 1);
    unsigned client_count = 1 + fuzz_choice(in, CLIENTS_MAX);
    unsigned operation_count = fuzz_choice(in, OPERATIONS_MAX + 1);
    bool early = flags & 2;
    unsigned wanted = read_clients(&world, clients, client_count, in);

    world.manual = flags & 4;
    world.native = flags & 8;
    scenario_begin_named(&world.scenario, threads);
    add_disks(&world);
    world.blk = scenario_new_backend(&world.scenario, flags & 16 ? 0 : 1, bdrv_find_node("disk"));
    if (world.kind == BACKUP || world.kind == STREAM) { /* as a guest's device is; docs/findings.md, L2 */
        blk_set_allow_aio_context_change(world.blk, false);
    }
    if (early) {
        start_job(&world);
    }
    for (unsigned i = 0; i < client_count; i++) {
        scenario_start(&world.scenario, 1 + i % threads, client_entry, &clients[i]);
    }
    if (!early) {
        start_job(&world);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operations[fuzz_choice(in, G_N_ELEMENTS(operations))](&world);
    }
    end_job(&world);
    scenario_wait(&world.scenario);
    fuzz_check(world.completed == wanted);
    scenario_start(&world.scenario, 1, read_all_entry, &world);
    scenario_wait(&world.scenario);
    blk_remove_bs(world.blk);
    blk_unref(world.blk);
    scenario_delete_nodes(nodes);
    check_copies(&world);
    scenario_qmp_end();
    scenario_end(&world.scenario);
}

static const char *const windows[] = { "mirror-or-commit-done", "backup-done", "stream-done", NULL };

const FuzzTarget fuzz_target = { .name = "qemu_jobs", .run = run, .windows = windows };
