/*
 * Conversion; see convert.h. All in its context.
 *
 * Invariants
 * 1. busy_workers counts worker coroutines that have been entered and have not ended.
 * 2. waiting is set by the conversion just before it yields; the worker that clears it wakes it: one wake for each wait.
 */
#include "core/convert.h"

#include "core/fatal.h"

typedef struct ConvertTask {
    Convert *convert;
    int64_t offset;
} ConvertTask;

static int coroutine_fn convert_copy_cluster(Convert *c, int64_t offset)
{
    int64_t bytes = MIN(c->cluster_bytes, c->bytes - offset);
    void *buffer = g_malloc(bytes);
    int ret = blk_co_pread(c->source, offset, bytes, buffer, 0);

    if (ret == 0) {
        ret = blk_co_pwrite(c->target, offset, bytes, buffer, 0);
    }
    g_free(buffer);
    return ret;
}

static void convert_note_error(Convert *c, int ret)
{
    if (ret < 0 && c->ret == 0) {
        c->ret = ret;
    }
}

static void coroutine_fn convert_worker(void *opaque)
{
    ConvertTask task = *(ConvertTask *)opaque;
    Convert *c = task.convert;

    g_free(opaque);
    convert_note_error(c, convert_copy_cluster(c, task.offset));
    c->busy_workers--;
    if (c->waiting) {
        c->waiting = false;
        aio_co_wake(c->co);
    }
}

static void coroutine_fn convert_wait_for_worker(Convert *c)
{
    c->waiting = true;
    qemu_coroutine_yield();
    core_assert(!c->waiting);
}

static void coroutine_fn convert_start_worker(Convert *c, int64_t offset)
{
    ConvertTask *task = g_new(ConvertTask, 1);

    core_assert(c->busy_workers < c->max_workers);
    *task = (ConvertTask){ .convert = c, .offset = offset };
    c->busy_workers++;
    qemu_coroutine_enter(qemu_coroutine_create(convert_worker, task));
}

static void coroutine_fn convert_run(void *opaque)
{
    Convert *c = opaque;

    c->co = qemu_coroutine_self();
    convert_note_error(c, blk_co_flush(c->source));
    for (int64_t offset = 0; offset < c->bytes && c->ret == 0; offset += c->cluster_bytes) {
        if (c->max_workers == 1) {
            convert_note_error(c, convert_copy_cluster(c, offset));
            continue;
        }
        while (c->busy_workers == c->max_workers) {
            convert_wait_for_worker(c);
        }
        convert_start_worker(c, offset);
    }
    while (c->busy_workers) {
        convert_wait_for_worker(c);
    }
    c->cb(c->opaque, c->ret);
}

void convert_start(Convert *c, AioContext *ctx)
{
    core_assert(c->max_workers > 0 && c->cluster_bytes > 0);
    c->busy_workers = 0;
    c->waiting = false;
    c->ret = 0;
    aio_co_schedule(ctx, qemu_coroutine_create(convert_run, c));
}
