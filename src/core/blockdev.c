/*
 * The end of the block layer, as blockdev.h tells. Main thread.
 */
#include "core/blockdev.h"

#include "core/aio_wait.h"
#include "core/atomic.h"
#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/fatal.h"
#include "core/graph_lock.h"
#include "core/job.h"
#include "core/main_loop.h"

static TAILQ_HEAD(, BlockDriverState) monitor_bdrv_states = TAILQ_HEAD_INITIALIZER(monitor_bdrv_states);

/* ------------------------------------------------------------------------------------------- the user's nodes */

void bdrv_set_monitor_owned(BlockDriverState *bs)
{
    core_assert(qemu_in_main_thread());
    TAILQ_INSERT_TAIL(&monitor_bdrv_states, bs, monitor_list);
}

BlockDriverState *bdrv_next_monitor_owned(BlockDriverState *bs)
{
    core_assert(qemu_in_main_thread());
    return bs ? TAILQ_NEXT(bs, monitor_list) : TAILQ_FIRST(&monitor_bdrv_states);
}

void blockdev_close_all_bdrv_states(void)
{
    BlockDriverState *bs;

    core_assert(qemu_in_main_thread());
    while ((bs = TAILQ_FIRST(&monitor_bdrv_states))) {
        TAILQ_REMOVE(&monitor_bdrv_states, bs, monitor_list);
        bdrv_unref(bs);
    }
}

/* ------------------------------------------------------------------------------------------- flushing */

typedef struct Flush {
    BlockDriverState *bs;
    int ret;
    bool in_progress; /* atomic */
} Flush;

static void coroutine_fn flush_entry(void *opaque)
{
    Flush *flush = opaque;

    bdrv_graph_co_rdlock();
    flush->ret = bdrv_co_flush(flush->bs);
    bdrv_graph_co_rdunlock();

    /* ORDER: ret before in_progress; flush is gone after this store
     * PAIRS: bdrv_flush()
     * ELSE:  the caller returns an old result */
    qatomic_store_release(&flush->in_progress, false);
    aio_wait_kick();
}

int bdrv_flush(BlockDriverState *bs)
{
    Flush flush = { .bs = bs, .in_progress = true };
    AioContext *ctx = bdrv_get_aio_context(bs);

    core_assert(qemu_in_main_thread() && !qemu_in_coroutine());
    aio_co_enter(ctx, qemu_coroutine_create(flush_entry, &flush));

    /* ORDER: in_progress before ret
     * PAIRS: flush_entry()
     * ELSE:  the caller returns an old result */
    AIO_WAIT_WHILE(ctx, qatomic_load_acquire(&flush.in_progress));
    return flush.ret;
}

/* The next node, with a reference to it instead of one to bs: flushing polls, and meanwhile nodes may go. */
static BlockDriverState *next_with_reference(BlockDriverState *bs)
{
    BlockDriverState *next = bdrv_next_all_states(bs);

    if (next) {
        bdrv_ref(next);
    }
    bdrv_unref(bs);
    return next;
}

int bdrv_flush_all(void)
{
    BlockDriverState *bs = NULL;
    int result = 0;

    while ((bs = next_with_reference(bs))) {
        int ret = bdrv_flush(bs);

        if (result == 0) {
            result = ret;
        }
    }
    return result;
}

/* ------------------------------------------------------------------------------------------- the end */

void bdrv_close_all(void)
{
    core_assert(qemu_in_main_thread());
    WITH_JOB_LOCK_GUARD() {
        core_assert(!job_next_locked(NULL));
    }

    /* What is still under way, such as the requests of a job that was just cancelled, holds references. */
    bdrv_drain_all();

    blk_remove_all_bs();
    blockdev_close_all_bdrv_states();

    if (bdrv_node_count() > 0) {
        core_fatal("leak", "node '%s' has an owner when all nodes are closed", bdrv_next_all_states(NULL)->node_name);
    }
}
