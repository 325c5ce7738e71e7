/*
 * A CD-ROM drive, read through the data port and by an adapter that takes the data right away. On real threads, of which these tests need
 * only one.
 */
#include "core_upper_harness.h"

#include <errno.h>
#include <string.h>

#include "core/block_drivers.h"
#include "core/ide_atapi.h"

#define SECTORS 6u

typedef struct Guest {
    BlockBackend *blk;
    BlockDriverState *disk;
    IDEState *drive;
    uint8_t memory[SECTORS * ATAPI_SECTOR_SIZE];
    size_t received;
    unsigned interrupts;
    uint8_t status;                 /* with the last interrupt */
    uintptr_t highest, lowest;      /* where the adapter's stack was */
} Guest;

static void take(void *opaque, const uint8_t *data, size_t size)
{
    Guest *guest = opaque;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    guest->highest = MAX(guest->highest, here);
    guest->lowest = MIN(guest->lowest, here);
    g_assert_cmpuint(guest->received + size, <=, sizeof(guest->memory));
    memcpy(guest->memory + guest->received, data, size);
    guest->received += size;
}

static void interrupt(void *opaque, uint8_t status)
{
    Guest *guest = opaque;

    guest->interrupts++;
    guest->status = status;
}

static const IDEAdapterOps port_ops = { .set_irq = interrupt };
static const IDEAdapterOps direct_ops = { .pio_transfer = take, .set_irq = interrupt };

static void coroutine_fn fill(void *opaque)
{
    Guest *guest = opaque;
    uint8_t data[ATAPI_SECTOR_SIZE];

    for (unsigned i = 0; i < SECTORS; i++) {
        memset(data, (int)i + 1, sizeof(data));
        g_assert_cmpint(blk_co_pwrite(guest->blk, i * (int64_t)sizeof(data), sizeof(data), data, 0), ==, 0);
    }
}

static void up(Guest *guest, const IDEAdapterOps *ops)
{
    *guest = (Guest){ .lowest = UINTPTR_MAX };
    core_up(1);
    guest->blk = blk_new(any_ctx(0));
    guest->disk = bdrv_new_ram("disk", any_ctx(0), sizeof(guest->memory));
    blk_insert_bs(guest->blk, guest->disk);
    test_co_start(any_ctx(0), fill, guest);
    test_co_wait_all();
    bdrv_ram_set_completion(guest->disk, RAM_COMPLETE_BH, 0);
    guest->drive = ide_atapi_new(guest->blk, ops, guest);
}

static void down(Guest *guest)
{
    ide_atapi_free(guest->drive);
    blk_remove_bs(guest->blk);
    bdrv_unref(guest->disk);
    blk_unref(guest->blk);
    core_down();
}

/* Returns how many interrupts came. */
static unsigned run_command(Guest *guest, unsigned lba, unsigned sectors, unsigned limit, size_t port_bytes)
{
    uint8_t buffer[ATAPI_SECTOR_SIZE];

    guest->received = guest->interrupts = 0;
    ide_atapi_cmd_read(guest->drive, lba, sectors, limit);
    while (ide_status(guest->drive) & (DRQ_STAT | BUSY_STAT)) {
        size_t count = ide_data_read(guest->drive, buffer, port_bytes);

        memcpy(guest->memory + guest->received, buffer, count);
        guest->received += count;
        if (count == 0) {
            aio_poll(qemu_get_aio_context(), true);
        }
    }
    g_assert_cmpint(guest->status, ==, ide_status(guest->drive));
    return guest->interrupts;
}

static void check_sectors(const Guest *guest, unsigned lba, unsigned sectors)
{
    g_assert_cmpuint(guest->received, ==, sectors * ATAPI_SECTOR_SIZE);
    for (size_t i = 0; i < guest->received; i++) {
        g_assert_cmpint(guest->memory[i], ==, lba + i / ATAPI_SECTOR_SIZE + 1);
    }
}

static void test_pieces_of_any_size(gconstpointer ops)
{
    static const unsigned limits[] = { 2, 126, 512, ATAPI_SECTOR_SIZE, 3 * ATAPI_SECTOR_SIZE, 5000, 65534 };
    Guest guest;

    up(&guest, ops);
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        unsigned bytes = 5 * ATAPI_SECTOR_SIZE, pieces = (bytes + limits[i] - 1) / limits[i];
        unsigned interrupts = run_command(&guest, 1, 5, limits[i], 512);

        check_sectors(&guest, 1, 5);
        g_assert_cmpint(guest.status, ==, READY_STAT);
        if (ATAPI_SECTOR_SIZE % limits[i] == 0 || limits[i] > ATAPI_SECTOR_SIZE) {
            g_assert_cmpuint(interrupts, ==, pieces + 1);
        }
    }
    down(&guest);
}

/* However many pieces a sector has, the adapter is called from the same depth. */
static void test_adapter_is_called_without_recursion(void)
{
    Guest guest;

    up(&guest, &direct_ops);
    run_command(&guest, 0, 1, 2, 0);
    check_sectors(&guest, 0, 1);
    g_assert_cmpuint(guest.highest, ==, guest.lowest);
    down(&guest);
}

static void test_disk_fails(gconstpointer ops)
{
    Guest guest;

    up(&guest, ops);
    bdrv_ram_fail_next(guest.disk, EIO);
    run_command(&guest, 2, 2, 512, 512);
    g_assert_cmpint(guest.status, ==, READY_STAT | ERR_STAT);
    g_assert_cmpuint(guest.received, ==, 0);
    run_command(&guest, 2, 2, 512, 512);
    check_sectors(&guest, 2, 2);
    down(&guest);
}

/* The first sector is there, the second is waited for in the middle of the piece. */
static void test_disk_fails_in_a_piece(void)
{
    Guest guest;
    uint8_t buffer[ATAPI_SECTOR_SIZE];

    up(&guest, &port_ops);
    ide_atapi_cmd_read(guest.drive, 0, 2, 2 * ATAPI_SECTOR_SIZE);
    while (!(ide_status(guest.drive) & DRQ_STAT)) {
        aio_poll(qemu_get_aio_context(), true);
    }
    bdrv_ram_fail_next(guest.disk, EIO);
    g_assert_cmpuint(ide_data_read(guest.drive, buffer, sizeof(buffer)), ==, sizeof(buffer));
    g_assert_cmpint(ide_status(guest.drive), ==, READY_STAT | ERR_STAT);
    g_assert_cmpuint(ide_data_read(guest.drive, buffer, sizeof(buffer)), ==, 0);
    down(&guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/ide/pieces-of-any-size/port", &port_ops, test_pieces_of_any_size);
    g_test_add_data_func("/ide/pieces-of-any-size/adapter", &direct_ops, test_pieces_of_any_size);
    g_test_add_func("/ide/adapter-is-called-without-recursion", test_adapter_is_called_without_recursion);
    g_test_add_data_func("/ide/disk-fails/port", &port_ops, test_disk_fails);
    g_test_add_data_func("/ide/disk-fails/adapter", &direct_ops, test_disk_fails);
    g_test_add_func("/ide/disk-fails/in-a-piece", test_disk_fails_in_a_piece);
    return g_test_run();
}
