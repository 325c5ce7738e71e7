/*
 * A CD-ROM drive that the guest reads through its adapter, piece by piece (ATAPI by PIO).
 *
 * A command asks for some sectors. The drive reads a sector from its disk, gives the guest as much of it as the guest wants at a time,
 * raises an interrupt for each such transfer, and goes on when the guest has taken it:
 *
 *     ide_atapi_cmd_reply_end > ide_transfer_start_norecurse > the adapter
 *     the guest has taken the data > end_transfer_func, which is ide_atapi_cmd_reply_end again
 *
 * An adapter like AHCI takes the data right away, inside of the second call. So the third must not come from there: it would be a turn of
 * recursion for each piece (QEMU c173723f24; fault ide-atapi-transfers-recurse). The call says that the data is taken, and the
 * function that made it goes round.
 *
 * Invariants
 *  1. One command at a time, from ide_atapi_cmd_read() to the interrupt with neither BUSY nor DRQ.
 *  2. packet_transfer_size is what is left of the command, elementary_transfer_size what is left of the piece that the guest was told of;
 *     io_buffer_index is where in the sector that was read the next byte is.
 *  3. A sector is waited for only in the middle of a piece that the guest was told of.
 *
 * Threads: the main thread, or one that holds the big lock in its place.
 *
 * From QEMU: hw/ide/atapi.c, hw/ide/core.c, as far as a READ by PIO goes.
 */
#ifndef WAKEFUZZ_CORE_IDE_ATAPI_H
#define WAKEFUZZ_CORE_IDE_ATAPI_H

#include "core/block_backend.h"

#define ATAPI_SECTOR_SIZE 2048u

enum { ERR_STAT = 0x01, DRQ_STAT = 0x08, READY_STAT = 0x40, BUSY_STAT = 0x80 };

typedef struct IDEState IDEState;

typedef struct IDEAdapterOps {
    /* Take the data for the guest now. NULL: the guest reads the data port. May not call the drive. */
    void (*pio_transfer)(void *opaque, const uint8_t *data, size_t size);
    /* There is data, or the command has ended: the status says which. May not call the drive. */
    void (*set_irq)(void *opaque, uint8_t status);
} IDEAdapterOps;

/* A drive with this disk, whose context is the main one. */
IDEState *ide_atapi_new(BlockBackend *blk, const IDEAdapterOps *ops, void *opaque);
/* No command is under way. */
void ide_atapi_free(IDEState *s);

/*
 * The guest wants nb_sectors (1 or more) from lba on, at most byte_count_limit (2 to 65534, even) bytes at a time. What the disk cannot
 * read ends the command with ERR_STAT. May block where byte_count_limit is more than a sector.
 */
void ide_atapi_cmd_read(IDEState *s, unsigned lba, unsigned nb_sectors, unsigned byte_count_limit);

/* The guest reads the data port: up to size bytes. Returns how many. May block like ide_atapi_cmd_read(). */
size_t ide_data_read(IDEState *s, void *buffer, size_t size);

uint8_t ide_status(const IDEState *s);

#endif
