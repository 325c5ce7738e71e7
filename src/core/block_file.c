/* The file driver; see block_file.h. */
#include "core/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/linux_aio.h"

#define ALIGNMENT 4096u /* of memory, where the file is opened with O_DIRECT: enough for every disk */

typedef struct BDRVRawState {
    int fd;         /* never changes */
    bool direct;    /* never changes */
    int64_t bytes;  /* never changes */
    uint64_t max_batch; /* atomic */
} BDRVRawState;

/* ------------------------------------------------------------------------------------------- requests */

static bool raw_memory_aligned(const QEMUIOVector *qiov)
{
    for (int i = 0; i < qiov->niov; i++) {
        if ((uintptr_t)qiov->iov[i].iov_base % BDRV_SECTOR_SIZE || qiov->iov[i].iov_len % BDRV_SECTOR_SIZE) {
            return false;
        }
    }
    return true;
}

static int coroutine_fn raw_submit(BlockDriverState *bs, int64_t offset, QEMUIOVector *qiov, int type)
{
    BDRVRawState *s = bs->opaque;

    if (!aio_setup_linux_aio(qemu_get_current_aio_context())) {
        return -errno;
    }
    return laio_co_submit(s->fd, (uint64_t)offset, qiov, type, qatomic_read(&s->max_batch));
}

/* O_DIRECT with memory that is not aligned: through some that is. */
static int coroutine_fn raw_bounced(BlockDriverState *bs, int64_t offset, QEMUIOVector *qiov, int type)
{
    QEMUIOVector aligned;
    void *buffer = NULL;
    int ret;

    if (posix_memalign(&buffer, ALIGNMENT, qiov->size)) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&aligned, buffer, qiov->size);
    if (type == QEMU_AIO_WRITE) {
        qemu_iovec_to_buf(qiov, 0, buffer, qiov->size);
    }
    ret = raw_submit(bs, offset, &aligned, type);
    if (ret == 0 && type == QEMU_AIO_READ) {
        qemu_iovec_from_buf(qiov, 0, buffer, qiov->size);
    }
    free(buffer);
    return ret;
}

static int coroutine_fn raw_co_prw(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov, int type)
{
    BDRVRawState *s = bs->opaque;

    core_assert((size_t)bytes == qiov->size);
    if (bytes > s->bytes || offset > s->bytes - bytes) {
        return -EIO;
    }
    if (s->direct && !raw_memory_aligned(qiov)) {
        return raw_bounced(bs, offset, qiov, type);
    }
    return raw_submit(bs, offset, qiov, type);
}

static int coroutine_fn raw_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                      BdrvRequestFlags flags)
{
    (void)flags;
    return raw_co_prw(bs, offset, bytes, qiov, QEMU_AIO_READ);
}

static int coroutine_fn raw_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags)
{
    (void)flags;
    return raw_co_prw(bs, offset, bytes, qiov, QEMU_AIO_WRITE);
}

static int coroutine_fn raw_co_flush(BlockDriverState *bs)
{
    return raw_submit(bs, 0, NULL, QEMU_AIO_FLUSH);
}

static int64_t coroutine_fn raw_co_getlength(BlockDriverState *bs)
{
    BDRVRawState *s = bs->opaque;

    return s->bytes;
}

/* ------------------------------------------------------------------------------------------- life */

static void raw_close(BlockDriverState *bs)
{
    BDRVRawState *s = bs->opaque;

    close(s->fd);
}

static const BlockDriver bdrv_file = {
    .format_name = "file",
    .instance_size = sizeof(BDRVRawState),
    .bdrv_close = raw_close,
    .bdrv_co_preadv = raw_co_preadv,
    .bdrv_co_pwritev = raw_co_pwritev,
    .bdrv_co_flush = raw_co_flush,
    .bdrv_co_getlength = raw_co_getlength,
};

BlockDriverState *bdrv_new_file(const char *node_name, AioContext *ctx, const char *filename, int64_t bytes, int flags)
{
    int fd = open(filename, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | (flags & BDRV_O_NOCACHE ? O_DIRECT : 0), 0600);
    BlockDriverState *bs;
    BDRVRawState *s;

    core_assert(bytes >= 0 && bytes % BDRV_SECTOR_SIZE == 0);
    if (fd >= 0 && ftruncate(fd, bytes) < 0) {
        int error = errno;

        close(fd);
        errno = error;
        fd = -1;
    }
    if (fd < 0) {
        return NULL;
    }
    bs = bdrv_new(&bdrv_file, node_name, ctx);
    s = bs->opaque;
    s->fd = fd;
    s->bytes = bytes;
    s->direct = flags & BDRV_O_NOCACHE;
    return bs;
}

void bdrv_file_set_max_batch(BlockDriverState *bs, uint64_t max_batch)
{
    BDRVRawState *s = bs->opaque;

    core_assert(bs->drv == &bdrv_file);
    qatomic_set(&s->max_batch, max_batch);
}

int bdrv_file_fd(BlockDriverState *bs)
{
    BDRVRawState *s = bs->opaque;

    core_assert(bs->drv == &bdrv_file);
    return s->fd;
}
