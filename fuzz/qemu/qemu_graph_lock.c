/*
 * Target qemu_graph_lock: QEMU's own graph lock. Readers in io threads, some of which ask a real node of the null-co driver, against writers
 * in the main thread: bare write sections, media that are taken out and put back, nodes that come and go, drained sections.
 * Requests are another protocol, and another target: qemu_drain.
 *
 * Invariants: while the writer writes nobody reads; the node answers.
 *
 * The empty scenario is one reader with one short section against one plain write section: enough for QEMU's e3082ab3b3.
 */
#include "fuzz/qemu/scenario.h"

#define READERS_MAX 4u
#define DISK_BYTES  4096

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk; /* NULL: the plainest scenario has no node at all */
    ScenarioCounter readers, writing; /* for the invariants */
} World;

typedef struct Reader {
    World *world;
    unsigned rounds;
    bool pauses, asks;
} Reader;

/* ---- readers */

static void coroutine_fn read_section(Reader *reader)
{
    World *world = reader->world;

    bdrv_graph_co_rdlock();
    scenario_count(&world->readers, 1);
    fuzz_check(scenario_count(&world->writing, 0) == 0);
    if (reader->asks) {
        fuzz_check(bdrv_co_getlength(world->disk) == DISK_BYTES);
    }
    if (reader->pauses) {
        scenario_pause();
    }
    fuzz_check(scenario_count(&world->writing, 0) == 0);
    scenario_count(&world->readers, -1);
    bdrv_graph_co_rdunlock();
}

static void coroutine_fn reader_entry(void *opaque)
{
    Reader *reader = opaque;

    for (unsigned i = 0; i < reader->rounds; i++) {
        read_section(reader);
    }
}

/* ---- the writer */

static void write_section(World *world)
{
    if (scenario_count(&world->readers, 0)) {
        fuzz_reached("writer-comes-while-readers-read");
    }
    bdrv_graph_wrlock();
    scenario_count(&world->writing, 1);
    fuzz_check(scenario_count(&world->readers, 0) == 0);
    scenario_count(&world->writing, -1);
    bdrv_graph_wrunlock();
}

static void change_medium(World *world)
{
    blk_remove_bs(world->blk);
    fuzz_check(blk_insert_bs(world->blk, world->disk, &error_fatal) == 0);
}

static void come_and_go(World *world)
{
    bdrv_unref(scenario_open_null("passer-by", DISK_BYTES, 0));
}

static void drain(World *world)
{
    bdrv_drain_all();
}

static void drain_one(World *world)
{
    bdrv_drained_begin(world->disk);
    bdrv_drained_end(world->disk);
}

static void serve(World *world)
{
    main_loop_wait(true);
}

static void (*const operations[])(World *) = { write_section, change_medium, come_and_go, drain, drain_one, serve };

/* ---- the scenario */

static void set_up_disk(World *world, unsigned choice)
{
    world->disk = scenario_open_null("disk", DISK_BYTES, 0);
    world->blk = scenario_new_backend(&world->scenario, 1 + choice % world->scenario.thread_count, world->disk);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    Reader readers[READERS_MAX];
    unsigned threads = 1 + fuzz_choice(in, 3);
    unsigned reader_count = 1 + fuzz_choice(in, READERS_MAX);
    unsigned operation_count = 1 + fuzz_choice(in, 3);
    unsigned disk = fuzz_byte(in);

    scenario_begin(&world.scenario, threads);
    if (disk) {
        set_up_disk(&world, disk);
    }
    for (unsigned i = 0; i < reader_count; i++) {
        uint8_t flags = fuzz_byte(in);

        readers[i] = (Reader){ &world, 1 + ((flags & 3) == 3), flags & 4, disk && flags & 8 };
    }
    for (unsigned i = 0; i < reader_count; i++) {
        scenario_start(&world.scenario, 1 + i % threads, reader_entry, &readers[i]);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operations[disk ? fuzz_choice(in, G_N_ELEMENTS(operations)) : 0](&world);
    }
    scenario_wait(&world.scenario);
    if (disk) {
        blk_remove_bs(world.blk);
        bdrv_unref(world.disk);
        blk_unref(world.blk);
    }
    scenario_end(&world.scenario);
}

static const char *const windows[] = { "writer-comes-while-readers-read", NULL };

const FuzzTarget fuzz_target = { .name = "qemu_graph_lock", .run = run, .windows = windows };
