/*
 * Asynchronous requests with a name, as aiocb.h tells. The home thread of each request.
 */
#include "core/aiocb.h"

#include <glib.h>

#include "core/aio_wait.h"
#include "core/fatal.h"
#include "core/main_loop.h"

void *qemu_aio_get(const AIOCBInfo *info, BlockCompletionFunc *cb, void *opaque)
{
    BlockAIOCB *acb = g_malloc0(info->aiocb_size);

    acb->aiocb_info = info;
    acb->cb = cb;
    acb->opaque = opaque;
    acb->refcnt = 1;
    return acb;
}

void qemu_aio_ref(void *acb)
{
    ((BlockAIOCB *)acb)->refcnt++;
}

void qemu_aio_unref(void *opaque)
{
    BlockAIOCB *acb = opaque;

    core_assert(acb->refcnt > 0);
    if (--acb->refcnt == 0) {
        g_free(acb);
    }
}

void bdrv_aio_cancel_async(BlockAIOCB *acb)
{
    if (acb->aiocb_info->cancel_async) {
        acb->aiocb_info->cancel_async(acb);
    }
}

void bdrv_aio_cancel(BlockAIOCB *acb)
{
    core_assert(qemu_in_main_thread());
    qemu_aio_ref(acb);
    bdrv_aio_cancel_async(acb);

    /* The request's own reference goes when its callback has returned. */
    AIO_WAIT_WHILE_UNLOCKED(NULL, acb->refcnt > 1);
    qemu_aio_unref(acb);
}
