/*
 * Target ide: a guest reads a CD-ROM, sector by sector, in pieces of its choice: through the data port, or by an adapter that takes the data
 * right away; while the main thread runs its loop and polls.
 *
 * Invariants: each command ends once, with all bytes in order, or with an error where the disk had one; an interrupt comes with each
 * piece, and with the end; meanwhile the drive is busy or has data, and it is not busy when it interrupts.
 *
 * The empty scenario is one sector through the data port in one piece.
 */
#include <glib.h>
#include <errno.h>
#include <string.h>

#include "core/block_backend.h"
#include "core/block_drivers.h"
#include "core/ide_atapi.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define SECTORS       8u
#define COMMANDS_MAX  4u
#define PIECE_MAX     65534u
#define RECURSION_MAX 32u /* the fixed core makes no turn at all; a sector has up to 64 pieces */
#define LOOKS         4u
#define TRUSTED       128u /* bytes of each sector that are looked at are multiples of that */

typedef struct Command {
    unsigned lba, sectors, limit;
    unsigned port_bytes; /* in one read of the data port */
    bool fails;
    bool fails_later; /* the sector after the first piece; at the data port, where none is read before the guest wants it */
    bool looks;       /* the guest looks at the status as long as it has nothing better to do */
} Command;

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk;
    IDEState *drive;
    bool adapter_takes;
    Command commands[COMMANDS_MAX];
    unsigned command_count;
    QemuThread guest;

    QemuMutex lock; /* of the rest */
    QemuCond interrupted;
    unsigned interrupts; /* not seen yet */
    unsigned total;      /* of the command */
    uint8_t status;      /* with the last one */
    bool over;           /* the command has ended */
    uint8_t memory[SECTORS * ATAPI_SECTOR_SIZE];
    size_t received;
    bool ended; /* the guest has done all */
} World;

/* What the disk holds. */
static uint8_t pattern(size_t position)
{
    return (uint8_t)(position / TRUSTED + 1);
}

/* ---- the adapter: under the big lock */

static void receive(World *world, const uint8_t *data, size_t size)
{
    fuzz_check(world->received + size <= sizeof(world->memory));
    memcpy(world->memory + world->received, data, size);
    world->received += size;
}

static void adapter_takes(void *opaque, const uint8_t *data, size_t size)
{
    World *world = opaque;

    qemu_mutex_lock(&world->lock);
    receive(world, data, size);
    qemu_mutex_unlock(&world->lock);
}

static void adapter_interrupts(void *opaque, uint8_t status)
{
    World *world = opaque;

    qemu_mutex_lock(&world->lock);
    world->interrupts++;
    world->total++;
    world->status = status;
    world->over = !(status & DRQ_STAT);
    fuzz_check(!(status & BUSY_STAT));
    qemu_cond_signal(&world->interrupted);
    qemu_mutex_unlock(&world->lock);
}

static const IDEAdapterOps port_ops = { .set_irq = adapter_interrupts };
static const IDEAdapterOps direct_ops = { .pio_transfer = adapter_takes, .set_irq = adapter_interrupts };

/* ---- the guest: a vCPU thread */

/* Returns the status that came with it. */
static uint8_t await_interrupt(World *world)
{
    uint8_t status;

    qemu_mutex_lock(&world->lock);
    while (!world->interrupts) {
        qemu_cond_wait(&world->interrupted, &world->lock);
    }
    world->interrupts = 0;
    status = world->status;
    qemu_mutex_unlock(&world->lock);
    return status;
}

/* Some looks, as a driver takes them that hopes that it will not be long. */
static void look_at_status(World *world)
{
    bool over = false;

    for (unsigned i = 0; i < LOOKS && !over; i++) {
        uint8_t status;

        bql_lock();
        status = ide_status(world->drive);
        qemu_mutex_lock(&world->lock);
        over = world->over || world->interrupts;
        qemu_mutex_unlock(&world->lock);
        bql_unlock();
        if (!over) {
            fuzz_check(status & (BUSY_STAT | DRQ_STAT));
            fuzz_reached("guest-sees-a-busy-drive");
        }
    }
}

/* What is there, without waiting for more. */
static void read_port(World *world, const Command *command)
{
    uint8_t buffer[ATAPI_SECTOR_SIZE];
    size_t count;

    do {
        bql_lock();
        count = ide_data_read(world->drive, buffer, command->port_bytes);
        qemu_mutex_lock(&world->lock);
        receive(world, buffer, count);
        qemu_mutex_unlock(&world->lock);
        bql_unlock();
    } while (count > 0);
}

static void start_command(World *world, const Command *command)
{
    bql_lock();
    world->received = world->total = 0;
    world->over = false;
    if (command->fails) {
        bdrv_ram_fail_next(world->disk, EIO);
    }
    ide_atapi_cmd_read(world->drive, command->lba, command->sectors, command->limit);
    fuzz_check(ide_status(world->drive) & BUSY_STAT); /* nobody else had the big lock: the disk has not answered */
    bql_unlock();
}

static void fail_next(World *world)
{
    fuzz_reached("command-fails-after-its-first-sector");
    bql_lock();
    bdrv_ram_fail_next(world->disk, EIO);
    bql_unlock();
}

static void check_command(World *world, const Command *command, uint8_t status)
{
    size_t first = (size_t)command->lba * ATAPI_SECTOR_SIZE, bytes = (size_t)command->sectors * ATAPI_SECTOR_SIZE;

    fuzz_check(status == READY_STAT || ((command->fails || command->fails_later) && status == (READY_STAT | ERR_STAT)));
    fuzz_check(status & ERR_STAT || world->received == bytes);
    fuzz_check(status & ERR_STAT || world->total == (bytes + command->limit - 1) / command->limit + 1);
    for (size_t i = 0; i < world->received; i += TRUSTED) {
        fuzz_check(world->memory[i] == pattern(first + i));
    }
}

static void run_command(World *world, const Command *command)
{
    bool fails_later = command->fails_later;
    uint8_t status;

    start_command(world, command);
    do {
        if (command->looks) {
            look_at_status(world);
        }
        status = await_interrupt(world);
        fuzz_check(!(status & DRQ_STAT) || !(status & ERR_STAT));
        if (fails_later && status & DRQ_STAT) {
            fail_next(world);
            fails_later = false;
        }
        if (!world->adapter_takes) {
            read_port(world, command);
        }
    } while (status & (DRQ_STAT | BUSY_STAT));
    check_command(world, command, status);
}

static void *guest_thread(void *opaque)
{
    World *world = opaque;

    for (unsigned i = 0; i < world->command_count; i++) {
        run_command(world, &world->commands[i]);
    }
    bql_lock();
    world->ended = true;
    qemu_notify_event();
    bql_unlock();
    return NULL;
}

/* ---- the scenario */

/* Pieces of these sizes: a few words, parts of a sector, more than one. */
static const uint16_t limits[] = { ATAPI_SECTOR_SIZE, 32, 512, 3 * ATAPI_SECTOR_SIZE, 126, 1536, PIECE_MAX, 2046 };

static void read_command(FuzzInput *in, World *world, Command *command)
{
    uint8_t where = fuzz_byte(in), how = fuzz_byte(in);

    command->lba = where % SECTORS;
    command->sectors = 1 + (where >> 3) % (SECTORS - command->lba);
    command->limit = limits[how & 7];
    command->port_bytes = 1u << (11 - (how >> 3 & 3));
    command->fails = how & 128;
    command->fails_later = how & 64 && !command->fails && command->sectors > 1 && !world->adapter_takes;
    command->looks = how & 32;
    if (command->limit > ATAPI_SECTOR_SIZE) {
        fuzz_reached("piece-of-more-than-a-sector");
    }
    if (command->limit < ATAPI_SECTOR_SIZE / 32) {
        fuzz_reached("sector-in-many-pieces");
    }
}

static void coroutine_fn fill_disk(void *opaque)
{
    World *world = opaque;
    uint8_t data[ATAPI_SECTOR_SIZE];

    for (size_t sector = 0; sector < SECTORS; sector++) {
        for (size_t i = 0; i < sizeof(data); i += TRUSTED) {
            memset(data + i, pattern(sector * sizeof(data) + i), TRUSTED);
        }
        fuzz_check(blk_co_pwrite(world->blk, (int64_t)(sector * sizeof(data)), sizeof(data), data, 0) == 0);
    }
}

static void world_begin(World *world, unsigned disk)
{
    scenario_begin(&world->scenario, 0);
    qemu_mutex_init(&world->lock);
    qemu_cond_init(&world->interrupted);
    world->blk = blk_new(qemu_get_aio_context());
    world->disk = bdrv_new_ram("disk", qemu_get_aio_context(), SECTORS * ATAPI_SECTOR_SIZE);
    blk_insert_bs(world->blk, world->disk);
    scenario_start(&world->scenario, 0, fill_disk, world);
    scenario_wait(&world->scenario);
    bdrv_ram_set_completion(world->disk, (RamCompletion)(disk & 3), 1000);
    world->drive = ide_atapi_new(world->blk, world->adapter_takes ? &direct_ops : &port_ops, world);
}

static void world_end(World *world)
{
    ide_atapi_free(world->drive);
    blk_remove_bs(world->blk);
    bdrv_unref(world->disk);
    blk_unref(world->blk);
    qemu_cond_destroy(&world->interrupted);
    qemu_mutex_destroy(&world->lock);
    scenario_end(&world->scenario);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    uint8_t shape = fuzz_byte(in);
    unsigned polls;

    world.command_count = 1 + (shape >> 2) % COMMANDS_MAX;
    world.adapter_takes = shape & 16;
    polls = shape >> 5;
    for (unsigned i = 0; i < world.command_count; i++) {
        read_command(in, &world, &world.commands[i]);
    }
    if (world.adapter_takes) {
        fuzz_reached("adapter-takes-the-data");
    }
    world_begin(&world, shape);
    qemu_thread_create(&world.guest, "vcpu", guest_thread, &world, QEMU_THREAD_JOINABLE);
    while (!world.ended) {
        main_loop_wait(false);
        if (polls) {
            polls--;
            aio_poll(qemu_get_aio_context(), false);
        }
    }
    bql_unlock();
    qemu_thread_join(&world.guest);
    bql_lock();
    world_end(&world);
}

static const char *const windows[] = {
    "adapter-takes-the-data",  "piece-of-more-than-a-sector",
    "sector-in-many-pieces",   "command-fails-after-its-first-sector",
    "guest-sees-a-busy-drive", NULL,
};

const FuzzTarget fuzz_target = { .name = "ide", .run = run, .recursion_max = RECURSION_MAX, .windows = windows };
