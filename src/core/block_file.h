/*
 * A node on a file, by Linux AIO.
 *
 * With BDRV_O_NOCACHE the file is opened with O_DIRECT, and requests whose memory is not aligned go through a buffer that is. Without it
 * they go through the page cache, and Linux completes them inside io_submit(2).
 *
 * Threads: made in the main thread; requests in any context, each of which gets a LinuxAioState at its first request. From QEMU:
 * block/file-posix.c.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_FILE_H
#define WAKEFUZZ_CORE_BLOCK_FILE_H

#include "core/block_graph.h"

#define BDRV_O_NOCACHE 0x0020

/*
 * A node on the file of that name, which is created or emptied, with bytes (a multiple of BDRV_SECTOR_SIZE) of zeros. One reference for
 * the caller. NULL with errno. Main thread; does not poll.
 */
BlockDriverState *bdrv_new_file(const char *node_name, AioContext *ctx, const char *filename, int64_t bytes, int flags);

/* The descriptor, for those who submit by themselves. Any thread. */
int bdrv_file_fd(BlockDriverState *bs);

/* The largest batch that suits the file, 0 for none in particular. Any thread; for requests to come. */
void bdrv_file_set_max_batch(BlockDriverState *bs, uint64_t max_batch);

#endif
