/*
 * BlockBackends: life, names, connection, drain. Requests are in block_backend_io.c; block_backend.h has the
 * invariants.
 *
 * Threads: the main thread, but for the in_flight functions and blk_get_aio_context().
 */
#include <errno.h>

#include "core/atomic.h"
#include "core/block_backend_int.h"
#include "core/block_drain.h"
#include "core/fatal.h"
#include "core/main_loop.h"

typedef TAILQ_HEAD(BlockBackendList, BlockBackend) BlockBackendList;

static BlockBackendList block_backends = TAILQ_HEAD_INITIALIZER(block_backends);
static BlockBackendList monitor_block_backends = TAILQ_HEAD_INITIALIZER(monitor_block_backends);

/* ------------------------------------------------------------------------------------------- life and names */

BlockBackend *blk_new(AioContext *ctx)
{
    BlockBackend *blk = g_new0(BlockBackend, 1);

    core_assert(qemu_in_main_thread());
    blk->refcnt = 1;
    blk->ctx = ctx;
    qemu_mutex_init(&blk->queued_requests_lock);
    qemu_co_queue_init(&blk->queued_requests);
    TAILQ_INSERT_TAIL(&block_backends, blk, link);
    return blk;
}

static void blk_delete(BlockBackend *blk)
{
    core_assert(!blk->name);
    core_assert(!blk->dev_ops);

    if (blk->root) {
        blk_remove_bs(blk);
    }
    core_assert(qatomic_read(&blk->in_flight) == 0);
    core_assert(qemu_co_queue_empty(&blk->queued_requests));
    TAILQ_REMOVE(&block_backends, blk, link);
    qemu_mutex_destroy(&blk->queued_requests_lock);
    g_free(blk);
}

void blk_ref(BlockBackend *blk)
{
    core_assert(qemu_in_main_thread());
    blk->refcnt++;
}

void blk_unref(BlockBackend *blk)
{
    core_assert(qemu_in_main_thread());
    if (!blk) {
        return;
    }
    core_assert(blk->refcnt > 0);
    if (blk->refcnt > 1) {
        blk->refcnt--;
        return;
    }

    /* A callback that runs while the last user drains may take and drop a reference of its own, and must not be the
     * last again. */
    blk_drain(blk);
    core_assert(blk->refcnt == 1);
    blk->refcnt = 0;
    blk_delete(blk);
}

int monitor_add_blk(BlockBackend *blk, const char *name)
{
    core_assert(qemu_in_main_thread());
    core_assert(!blk->name && name[0]);
    if (blk_by_name(name)) {
        return -EEXIST;
    }
    blk->name = g_strdup(name);
    TAILQ_INSERT_TAIL(&monitor_block_backends, blk, monitor_link);
    return 0;
}

void monitor_remove_blk(BlockBackend *blk)
{
    core_assert(qemu_in_main_thread());
    if (blk->name) {
        TAILQ_REMOVE(&monitor_block_backends, blk, monitor_link);
        g_free(blk->name);
        blk->name = NULL;
    }
}

const char *blk_name(const BlockBackend *blk)
{
    return blk->name ? blk->name : "";
}

BlockBackend *blk_next(BlockBackend *blk)
{
    core_assert(qemu_in_main_thread());
    return blk ? TAILQ_NEXT(blk, monitor_link) : TAILQ_FIRST(&monitor_block_backends);
}

BlockBackend *blk_all_next(BlockBackend *blk)
{
    core_assert(qemu_in_main_thread());
    return blk ? TAILQ_NEXT(blk, link) : TAILQ_FIRST(&block_backends);
}

BlockBackend *blk_by_name(const char *name)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        if (strcmp(blk->name, name) == 0) {
            return blk;
        }
    }
    return NULL;
}

unsigned blk_count(void)
{
    BlockBackend *blk;
    unsigned count = 0;

    TAILQ_FOREACH(blk, &block_backends, link) {
        count++;
    }
    return count;
}

void blk_reset(void)
{
    if (blk_count() > 0) {
        core_fatal("leak", "block backend '%s' was not freed", blk_name(TAILQ_FIRST(&block_backends)));
    }
    core_assert(TAILQ_EMPTY(&monitor_block_backends));
}

/* ----------------------------------------------------------------------------------------- what its node sees */

static void blk_root_drained_begin(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    if (qatomic_fetch_inc(&blk->quiesce_counter) == 0 && blk->dev_ops && blk->dev_ops->drained_begin) {
        blk->dev_ops->drained_begin(blk->dev_opaque);
    }
}

static bool blk_root_drained_poll(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;
    bool busy = false;

    core_assert(qatomic_read(&blk->quiesce_counter) > 0);
    if (blk->dev_ops && blk->dev_ops->drained_poll) {
        busy = blk->dev_ops->drained_poll(blk->dev_opaque);
    }
    /* ORDER: in_flight before anything that belonged to the requests
     * PAIRS: blk_dec_in_flight()
     * ELSE:  the drained section reads a half-made result */
    return busy || qatomic_load_acquire(&blk->in_flight) > 0;
}

/*
 * Let those in the queue go on. Each is counted here: it runs later, perhaps in another thread, and the next section
 * must wait for it from this moment on (QEMU 8eeaa706ba).
 */
static void blk_resume_queued_requests(BlockBackend *blk)
{
    QEMU_LOCK_GUARD(&blk->queued_requests_lock);

    while (!qemu_co_queue_empty(&blk->queued_requests)) {
        blk_inc_in_flight(blk);
        qemu_co_enter_next(&blk->queued_requests, &blk->queued_requests_lock);
    }
}

static void blk_root_drained_end(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    core_assert(qatomic_read(&blk->quiesce_counter) > 0);
    if (qatomic_fetch_dec(&blk->quiesce_counter) == 1) {
        if (blk->dev_ops && blk->dev_ops->drained_end) {
            blk->dev_ops->drained_end(blk->dev_opaque);
        }
        blk_resume_queued_requests(blk);
    }
}

static void blk_root_set_aio_context(BdrvChild *child, AioContext *ctx)
{
    BlockBackend *blk = child->opaque;

    qatomic_set(&blk->ctx, ctx);
}

static AioContext *blk_root_get_parent_aio_context(BdrvChild *child)
{
    return blk_get_aio_context(child->opaque);
}

static const BdrvChildClass child_root = {
    .drained_begin = blk_root_drained_begin,
    .drained_poll = blk_root_drained_poll,
    .drained_end = blk_root_drained_end,
    .set_aio_context = blk_root_set_aio_context,
    .get_parent_aio_context = blk_root_get_parent_aio_context,
};

/* ------------------------------------------------------------------------------------------- connection */

void blk_insert_bs(BlockBackend *blk, BlockDriverState *bs)
{
    core_assert(qemu_in_main_thread());
    core_assert(!blk->root);

    bdrv_ref(bs);
    bdrv_graph_wrlock_drained();
    blk->root = bdrv_root_attach_child(bs, "root", &child_root, blk);
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
}

void blk_remove_bs(BlockBackend *blk)
{
    BdrvChild *root = blk->root;

    core_assert(qemu_in_main_thread());
    core_assert(root);

    /* Requests that run now still find their node; those that come later find none, and fail. */
    blk_drain(blk);

    bdrv_graph_wrlock();
    blk->root = NULL;
    bdrv_root_unref_child(root);
    bdrv_graph_wrunlock();
}

void blk_remove_all_bs(void)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_all_next(blk))) {
        if (blk->root) {
            blk_remove_bs(blk);
        }
    }
}

void blk_replace_bs(BlockBackend *blk, BlockDriverState *new_bs)
{
    core_assert(blk->root);
    bdrv_replace_child_bs(blk->root, new_bs);
}

BlockDriverState *blk_bs(BlockBackend *blk)
{
    return blk->root ? blk->root->bs : NULL;
}

AioContext *blk_get_aio_context(BlockBackend *blk)
{
    return qatomic_read(&blk->ctx);
}

void blk_set_aio_context(BlockBackend *blk, AioContext *ctx)
{
    if (blk_bs(blk)) {
        bdrv_try_change_aio_context(blk_bs(blk), ctx);
    } else {
        qatomic_set(&blk->ctx, ctx);
    }
}

/* ------------------------------------------------------------------------------------------- drain */

void blk_set_dev_ops(BlockBackend *blk, const BlockDevOps *ops, void *opaque)
{
    core_assert(qemu_in_main_thread());
    blk->dev_ops = ops;
    blk->dev_opaque = opaque;

    /* The sections that are open end for the newcomer too. */
    if (ops && ops->drained_begin && qatomic_read(&blk->quiesce_counter) > 0) {
        ops->drained_begin(opaque);
    }
}

void blk_set_disable_request_queuing(BlockBackend *blk, bool disable)
{
    qatomic_set(&blk->disable_request_queuing, disable);
}

bool blk_is_quiesced(BlockBackend *blk)
{
    return qatomic_read(&blk->quiesce_counter) > 0;
}

void blk_inc_in_flight(BlockBackend *blk)
{
    qatomic_inc(&blk->in_flight);
}

void blk_dec_in_flight(BlockBackend *blk)
{
    /* ORDER: the request's effects before in_flight, and in_flight before the kick reads num_waiters
     * PAIRS: blk_root_drained_poll()
     * ELSE:  the drain ends too early, or never */
    qatomic_dec(&blk->in_flight);
    aio_wait_kick();
}

unsigned blk_in_flight(BlockBackend *blk)
{
    return qatomic_load_acquire(&blk->in_flight);
}

void blk_drain(BlockBackend *blk)
{
    BlockDriverState *bs = blk_bs(blk);

    core_assert(qemu_in_main_thread());
    if (bs) {
        bdrv_ref(bs);
        bdrv_drained_begin(bs);
    }

    /* Requests that found no node are not covered by the section. */
    AIO_WAIT_WHILE(blk_get_aio_context(blk), blk_in_flight(blk) > 0);

    if (bs) {
        bdrv_drained_end(bs);
        bdrv_unref(bs);
    }
}
