/*
 * Nodes and edges of the block graph: their life, and how they change. block_graph.h has the invariants; requests are
 * in block_io.c.
 *
 * Threads: the main thread, but for bdrv_get_aio_context().
 */
#include "core/block_graph.h"

#include "core/atomic.h"
#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/fatal.h"
#include "core/job.h"
#include "core/main_loop.h"

static TAILQ_HEAD(, BlockDriverState) all_bdrv_states = TAILQ_HEAD_INITIALIZER(all_bdrv_states);

void block_reset(void)
{
    if (bdrv_node_count() > 0) {
        core_fatal("leak", "node '%s' was not freed", TAILQ_FIRST(&all_bdrv_states)->node_name);
    }
    blk_reset();
    job_reset();
    bdrv_drain_reset();
    bdrv_graph_lock_reset();
    aio_wait_reset();
}

/* ------------------------------------------------------------------------------------------- nodes */

BlockDriverState *bdrv_new(const BlockDriver *drv, const char *node_name, AioContext *ctx)
{
    BlockDriverState *bs = g_new0(BlockDriverState, 1);

    core_assert(qemu_in_main_thread());
    bs->drv = drv;
    bs->opaque = g_malloc0(drv->instance_size);
    bs->node_name = g_strdup(node_name);
    bs->refcnt = 1;
    bs->aio_context = ctx;
    LIST_INIT(&bs->children);
    LIST_INIT(&bs->parents);

    /* Whoever has drained everything must not find a node that is not. */
    for (unsigned i = 0; i < bdrv_drain_all_sections(); i++) {
        bdrv_drained_begin(bs);
    }
    TAILQ_INSERT_TAIL(&all_bdrv_states, bs, bs_list);
    return bs;
}

BlockDriverState *bdrv_next_all_states(BlockDriverState *bs)
{
    core_assert(qemu_in_main_thread());
    return bs ? TAILQ_NEXT(bs, bs_list) : TAILQ_FIRST(&all_bdrv_states);
}

BlockDriverState *bdrv_find_node(const char *node_name)
{
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_all_states(bs))) {
        if (strcmp(bs->node_name, node_name) == 0) {
            return bs;
        }
    }
    return NULL;
}

unsigned bdrv_node_count(void)
{
    BlockDriverState *bs;
    unsigned count = 0;

    TAILQ_FOREACH(bs, &all_bdrv_states, bs_list) {
        count++;
    }
    return count;
}

/* Everything that hangs below the node goes, and the driver with it. */
static void bdrv_close(BlockDriverState *bs)
{
    BdrvChild *child;
    BdrvChild *next;

    bdrv_drained_begin(bs);
    if (bs->drv->bdrv_close) {
        bs->drv->bdrv_close(bs);
    }

    bdrv_graph_wrlock();
    LIST_FOREACH_SAFE(child, &bs->children, next, next) {
        bdrv_unref_child(bs, child);
    }
    bdrv_graph_wrunlock();

    bdrv_drained_end(bs);
}

static void bdrv_delete(BlockDriverState *bs)
{
    core_assert(bs->refcnt == 0);
    core_assert(LIST_EMPTY(&bs->parents));

    /* From here on the sections over all nodes no longer find it. Those that are open have quiesced it; they end last,
     * for the driver must stay quiet until it is closed. */
    TAILQ_REMOVE(&all_bdrv_states, bs, bs_list);
    bdrv_close(bs);
    if (qatomic_read(&bs->quiesce_counter) > 0) {
        bdrv_drain_all_end_quiesce(bs);
    }

    g_free(bs->node_name);
    g_free(bs->opaque);
    g_free(bs);
}

void bdrv_ref(BlockDriverState *bs)
{
    core_assert(qemu_in_main_thread());
    bs->refcnt++;
}

void bdrv_unref(BlockDriverState *bs)
{
    core_assert(qemu_in_main_thread());
    if (!bs) {
        return;
    }
    core_assert(bs->refcnt > 0);
    if (--bs->refcnt == 0) {
        bdrv_delete(bs);
    }
}

static void bdrv_schedule_unref_bh(void *opaque)
{
    bdrv_unref(opaque);
}

void bdrv_schedule_unref(BlockDriverState *bs)
{
    aio_bh_schedule_oneshot(qemu_get_aio_context(), bdrv_schedule_unref_bh, bs);
}

/* ------------------------------------------------------------------------------------------- nodes as parents */

static void bdrv_child_cb_drained_begin(BdrvChild *child)
{
    bdrv_do_drained_begin_quiesce(child->opaque, NULL);
}

static bool bdrv_child_cb_drained_poll(BdrvChild *child)
{
    return bdrv_drain_poll(child->opaque, NULL, false);
}

static void bdrv_child_cb_drained_end(BdrvChild *child)
{
    bdrv_drained_end(child->opaque);
}

static void bdrv_child_cb_attach(BdrvChild *child)
{
    BlockDriverState *bs = child->opaque;

    LIST_INSERT_HEAD(&bs->children, child, next);
    if (strcmp(child->name, "file") == 0) {
        core_assert(!bs->file);
        bs->file = child;
    } else if (strcmp(child->name, "backing") == 0) {
        core_assert(!bs->backing);
        bs->backing = child;
    }
}

static void bdrv_child_cb_detach(BdrvChild *child)
{
    BlockDriverState *bs = child->opaque;

    LIST_REMOVE(child, next);
    if (bs->file == child) {
        bs->file = NULL;
    } else if (bs->backing == child) {
        bs->backing = NULL;
    }
}

static AioContext *bdrv_child_cb_get_parent_aio_context(BdrvChild *child)
{
    return bdrv_get_aio_context(child->opaque);
}

/* A node that is a parent is reached by the walk over nodes in bdrv_change_aio_context_drained(), and needs no
 * set_aio_context. */
const BdrvChildClass child_of_bds = {
    .parent_is_bds = true,
    .drained_begin = bdrv_child_cb_drained_begin,
    .drained_poll = bdrv_child_cb_drained_poll,
    .drained_end = bdrv_child_cb_drained_end,
    .attach = bdrv_child_cb_attach,
    .detach = bdrv_child_cb_detach,
    .get_parent_aio_context = bdrv_child_cb_get_parent_aio_context,
};

/* ------------------------------------------------------------------------------------------- edges */

/*
 * Let an edge end at new_bs, or nowhere. The parent must already be quiet because of this edge, as it could not be
 * made so here: that may need polling, and the graph is about to change. Where new_bs is not drained the parent may go
 * on at the end.
 */
static void bdrv_replace_child_noperm(BdrvChild *child, BlockDriverState *new_bs)
{
    BlockDriverState *old_bs = child->bs;

    assert_bdrv_graph_writable();
    core_assert(!new_bs || child->quiesced_parent);

    if (old_bs) {
        if (child->klass->detach) {
            child->klass->detach(child);
        }
        LIST_REMOVE(child, next_parent);
    }
    child->bs = new_bs;
    if (new_bs) {
        LIST_INSERT_HEAD(&new_bs->parents, child, next_parent);
        if (child->klass->attach) {
            child->klass->attach(child);
        }
    }

    /* Only now, or the parent would send its requests to the old node. */
    if (child->quiesced_parent && !(new_bs && qatomic_read(&new_bs->quiesce_counter) > 0)) {
        bdrv_parent_drained_end_single(child);
    }
}

BdrvChild *bdrv_root_attach_child(BlockDriverState *child_bs, const char *name, const BdrvChildClass *klass, void *opaque)
{
    BdrvChild *child = g_new0(BdrvChild, 1);

    assert_bdrv_graph_writable();
    child->name = g_strdup(name);
    child->klass = klass;
    child->opaque = opaque;

    bdrv_change_aio_context_drained(child_bs, klass->get_parent_aio_context(child));

    /* Whether child_bs is drained or not: see bdrv_replace_child_noperm(). */
    bdrv_parent_drained_begin_single(child);
    bdrv_replace_child_noperm(child, child_bs);
    return child;
}

BdrvChild *bdrv_attach_child(BlockDriverState *parent_bs, BlockDriverState *child_bs, const char *name)
{
    return bdrv_root_attach_child(child_bs, name, &child_of_bds, parent_bs);
}

void bdrv_root_unref_child(BdrvChild *child)
{
    BlockDriverState *child_bs = child->bs;

    bdrv_replace_child_noperm(child, NULL);
    g_free(child->name);
    g_free(child);

    /* The last reference takes the graph lock, which the caller holds. */
    bdrv_schedule_unref(child_bs);
}

void bdrv_unref_child(BlockDriverState *parent_bs, BdrvChild *child)
{
    core_assert(child->opaque == parent_bs);
    bdrv_root_unref_child(child);
}

/* The reference of the edge moves with it. */
static void bdrv_replace_child_ref(BdrvChild *child, BlockDriverState *new_bs)
{
    BlockDriverState *old_bs = child->bs;

    bdrv_ref(new_bs);
    bdrv_replace_child_noperm(child, new_bs);
    bdrv_schedule_unref(old_bs);
}

void bdrv_replace_child_bs(BdrvChild *child, BlockDriverState *new_bs)
{
    bdrv_graph_wrlock_drained();
    bdrv_change_aio_context_drained(new_bs, bdrv_get_aio_context(child->bs));
    bdrv_replace_child_ref(child, new_bs);
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
}

/* All who use `from` use `to`, but for `to` itself. Graph write lock, everything drained. */
static void bdrv_replace_node_noperm(BlockDriverState *from, BlockDriverState *to)
{
    BdrvChild *child;
    BdrvChild *next;

    LIST_FOREACH_SAFE(child, &from->parents, next_parent, next) {
        if (child->opaque != to) {
            bdrv_replace_child_ref(child, to);
        }
    }
}

void bdrv_set_backing_hd(BlockDriverState *bs, BlockDriverState *backing_bs)
{
    bdrv_graph_wrlock_drained();
    if (bs->backing) {
        bdrv_unref_child(bs, bs->backing);
    }
    if (backing_bs) {
        bdrv_ref(backing_bs);
        bdrv_attach_child(bs, backing_bs, "backing");
    }
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
}

void bdrv_append(BlockDriverState *bs_new, BlockDriverState *bs_top)
{
    core_assert(LIST_EMPTY(&bs_new->parents));

    bdrv_graph_wrlock_drained();

    /* The parents of bs_top stay where they are: the newcomer moves. */
    bdrv_change_aio_context_drained(bs_new, bdrv_get_aio_context(bs_top));
    bdrv_ref(bs_top);
    bdrv_attach_child(bs_new, bs_top, bs_new->drv->is_filter ? "file" : "backing");
    bdrv_replace_node_noperm(bs_top, bs_new);
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
}

void bdrv_drop_filter(BlockDriverState *bs)
{
    core_assert(bs->drv->is_filter && bs->file);

    bdrv_graph_wrlock_drained();
    bdrv_replace_node_noperm(bs, bs->file->bs);
    bdrv_graph_wrunlock();
    bdrv_drain_all_end();
}

/* ------------------------------------------------------------------------------------------- contexts */

AioContext *bdrv_get_aio_context(BlockDriverState *bs)
{
    return bs ? qatomic_read(&bs->aio_context) : qemu_get_aio_context();
}

/* Depth first over everything that is connected. A node that has ctx already has been visited, by invariant 4. */
static void bdrv_change_aio_context_recurse(BlockDriverState *bs, AioContext *ctx)
{
    BdrvChild *child;

    if (bdrv_get_aio_context(bs) == ctx) {
        return;
    }
    core_assert(qatomic_read(&bs->quiesce_counter) > 0);
    if (bs->drv->bdrv_detach_aio_context) {
        bs->drv->bdrv_detach_aio_context(bs);
    }
    qatomic_set(&bs->aio_context, ctx);
    if (bs->drv->bdrv_attach_aio_context) {
        bs->drv->bdrv_attach_aio_context(bs, ctx);
    }

    LIST_FOREACH(child, &bs->children, next) {
        bdrv_change_aio_context_recurse(child->bs, ctx);
    }
    LIST_FOREACH(child, &bs->parents, next_parent) {
        if (child->klass->parent_is_bds) {
            bdrv_change_aio_context_recurse(child->opaque, ctx);
        } else if (child->klass->set_aio_context) {
            child->klass->set_aio_context(child, ctx);
        }
    }
}

void bdrv_change_aio_context_drained(BlockDriverState *bs, AioContext *ctx)
{
    core_assert(qemu_in_main_thread());
    bdrv_change_aio_context_recurse(bs, ctx);
}

void bdrv_try_change_aio_context(BlockDriverState *bs, AioContext *ctx)
{
    core_assert(qemu_in_main_thread());
    bdrv_drain_all_begin();
    bdrv_graph_rdlock_main_loop();
    bdrv_change_aio_context_drained(bs, ctx);
    bdrv_graph_rdunlock_main_loop();
    bdrv_drain_all_end();
}
