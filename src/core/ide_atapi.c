/* The CD-ROM drive; see ide_atapi.h. Under the big lock. */
#include "core/ide_atapi.h"

#include <string.h>

#include "core/aio_wait.h"
#include "core/fatal.h"

typedef void EndTransferFunc(IDEState *s);

struct IDEState {
    BlockBackend *blk;
    const IDEAdapterOps *ops;
    void *opaque;

    uint8_t status;
    unsigned lba;
    unsigned byte_count_limit;
    size_t packet_transfer_size;
    size_t elementary_transfer_size;
    size_t io_buffer_index;
    QEMUIOVector qiov;
    uint8_t io_buffer[ATAPI_SECTOR_SIZE];

    /* What the guest may read at the data port, and what to do when it has. */
    const uint8_t *data_ptr, *data_end;
    EndTransferFunc *end_transfer_func;
};

static void ide_atapi_cmd_reply_end(IDEState *s);

/* ------------------------------------------------------------------------------------------- transfers */

/* Returns whether the data is taken already: then end_transfer_func is not called, and the caller goes on. */
static bool ide_transfer_start_norecurse(IDEState *s, const uint8_t *data, size_t size, EndTransferFunc *end_transfer_func)
{
    s->data_ptr = data;
    s->data_end = data + size;
    s->status |= DRQ_STAT;
    if (!s->ops->pio_transfer) {
        s->end_transfer_func = end_transfer_func;
        return false;
    }
    s->ops->pio_transfer(s->opaque, data, size);
    s->status &= (uint8_t)~DRQ_STAT;
    return true;
}

size_t ide_data_read(IDEState *s, void *buffer, size_t size)
{
    size_t count = MIN(size, (size_t)(s->data_end - s->data_ptr));

    if (!(s->status & DRQ_STAT)) {
        return 0;
    }
    memcpy(buffer, s->data_ptr, count);
    s->data_ptr += count;
    if (s->data_ptr == s->data_end) {
        s->status &= (uint8_t)~DRQ_STAT;
        s->end_transfer_func(s);
    }
    return count;
}

static void ide_atapi_cmd_end(IDEState *s, uint8_t status)
{
    s->status = status;
    s->data_ptr = s->data_end = s->io_buffer;
    s->packet_transfer_size = 0;
    s->ops->set_irq(s->opaque, status);
}

static void ide_atapi_io_error(IDEState *s)
{
    ide_atapi_cmd_end(s, READY_STAT | ERR_STAT);
}

/* ------------------------------------------------------------------------------------------- sectors */

static void cd_sector_is_read(IDEState *s)
{
    s->lba++;
    s->io_buffer_index = 0;
    s->status &= (uint8_t)~BUSY_STAT;
}

static void cd_read_sector_cb(void *opaque, int ret)
{
    IDEState *s = opaque;

    if (ret < 0) {
        ide_atapi_io_error(s);
        return;
    }
    cd_sector_is_read(s);
    ide_atapi_cmd_reply_end(s);
}

static void cd_read_sector(IDEState *s)
{
    qemu_iovec_init_buf(&s->qiov, s->io_buffer, ATAPI_SECTOR_SIZE);
    blk_aio_preadv(s->blk, (int64_t)s->lba * ATAPI_SECTOR_SIZE, &s->qiov, 0, cd_read_sector_cb, s);
    s->status |= BUSY_STAT;
}

typedef struct SyncRead {
    bool done;
    int ret;
} SyncRead;

static void cd_read_sector_sync_cb(void *opaque, int ret)
{
    *(SyncRead *)opaque = (SyncRead){ .done = true, .ret = ret };
}

/* In a callback of the disk, which runs in its request's coroutine, it yields; elsewhere it polls. */
static int cd_read_sector_sync(IDEState *s)
{
    int64_t offset = (int64_t)s->lba * ATAPI_SECTOR_SIZE;
    SyncRead read = { .done = false };

    s->status |= BUSY_STAT;
    qemu_iovec_init_buf(&s->qiov, s->io_buffer, ATAPI_SECTOR_SIZE);
    if (qemu_in_coroutine()) {
        read.ret = blk_co_preadv(s->blk, offset, ATAPI_SECTOR_SIZE, &s->qiov, 0);
    } else {
        blk_aio_preadv(s->blk, offset, &s->qiov, 0, cd_read_sector_sync_cb, &read);
        AIO_WAIT_WHILE_UNLOCKED(blk_get_aio_context(s->blk), !read.done);
    }
    if (read.ret == 0) {
        cd_sector_is_read(s);
    }
    return read.ret;
}

/* ------------------------------------------------------------------------------------------- the command */

/* How many bytes of the sector come next. */
static size_t ide_atapi_next_size(IDEState *s)
{
    if (s->elementary_transfer_size == 0) {
        s->elementary_transfer_size = MIN(s->packet_transfer_size, s->byte_count_limit);
        s->ops->set_irq(s->opaque, s->status | DRQ_STAT);
    }
    return MIN(s->elementary_transfer_size, ATAPI_SECTOR_SIZE - s->io_buffer_index);
}

static void ide_atapi_cmd_reply_end(IDEState *s)
{
    while (s->packet_transfer_size > 0) {
        size_t size;

        if (s->io_buffer_index >= ATAPI_SECTOR_SIZE) {
            if (s->elementary_transfer_size == 0) {
                cd_read_sector(s);
                return;
            }
            if (cd_read_sector_sync(s) < 0) {
                ide_atapi_io_error(s);
                return;
            }
        }
        size = ide_atapi_next_size(s);
        s->packet_transfer_size -= size;
        s->elementary_transfer_size -= size;
        s->io_buffer_index += size;
        if (!ide_transfer_start_norecurse(s, s->io_buffer + s->io_buffer_index - size, size, ide_atapi_cmd_reply_end)) {
            return;
        }
    }
    ide_atapi_cmd_end(s, READY_STAT);
}

void ide_atapi_cmd_read(IDEState *s, unsigned lba, unsigned nb_sectors, unsigned byte_count_limit)
{
    core_assert(s->status == READY_STAT || s->status == (READY_STAT | ERR_STAT));
    core_assert(nb_sectors >= 1 && byte_count_limit >= 2 && byte_count_limit <= 65534 && byte_count_limit % 2 == 0);
    s->status = READY_STAT;
    s->lba = lba;
    s->byte_count_limit = byte_count_limit;
    s->packet_transfer_size = (size_t)nb_sectors * ATAPI_SECTOR_SIZE;
    s->elementary_transfer_size = 0;
    s->io_buffer_index = ATAPI_SECTOR_SIZE; /* nothing was read yet */
    ide_atapi_cmd_reply_end(s);
}

uint8_t ide_status(const IDEState *s)
{
    return s->status;
}

IDEState *ide_atapi_new(BlockBackend *blk, const IDEAdapterOps *ops, void *opaque)
{
    IDEState *s = g_new0(IDEState, 1);

    s->blk = blk;
    s->ops = ops;
    s->opaque = opaque;
    s->status = READY_STAT;
    s->data_ptr = s->data_end = s->io_buffer;
    return s;
}

void ide_atapi_free(IDEState *s)
{
    core_assert(s->packet_transfer_size == 0);
    g_free(s);
}
