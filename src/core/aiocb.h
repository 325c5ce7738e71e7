/*
 * BlockAIOCB: an asynchronous request that its owner can name, for instance to cancel it.
 *
 * Whoever starts a request gets it with one reference, which belongs to the request itself: it is gone once the callback
 * has been called. The count is a plain number: only the home thread of the request's context touches it.
 *
 * From QEMU: include/block/aio.h, util/aiocb.c.
 */
#ifndef WAKEFUZZ_CORE_AIOCB_H
#define WAKEFUZZ_CORE_AIOCB_H

#include <stddef.h>

typedef struct BlockAIOCB BlockAIOCB;
typedef void BlockCompletionFunc(void *opaque, int ret);

/* What a kind of request does. */
typedef struct AIOCBInfo {
    size_t aiocb_size;                       /* of the structure that begins with a BlockAIOCB */
    void (*cancel_async)(BlockAIOCB *acb);   /* NULL: it cannot be cancelled */
} AIOCBInfo;

/* First in the structure of each kind of request. */
struct BlockAIOCB {
    const AIOCBInfo *aiocb_info;
    BlockCompletionFunc *cb;
    void *opaque;
    unsigned refcnt;
};

/* A zeroed request of this kind with one reference. Any thread. */
void *qemu_aio_get(const AIOCBInfo *info, BlockCompletionFunc *cb, void *opaque);

/* Take or drop a reference; the last one frees. The home thread of the request. */
void qemu_aio_ref(void *acb);
void qemu_aio_unref(void *acb);

/* End the request early if its kind can do that and it is not too late; its callback is called either way, later. The
 * home thread of the request; does not block. */
void bdrv_aio_cancel_async(BlockAIOCB *acb);

/* The same, and wait until the callback has been called. Main thread outside coroutines, for requests of the main
 * context; polls. */
void bdrv_aio_cancel(BlockAIOCB *acb);

#endif
