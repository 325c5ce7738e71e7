/*
 * Drained sections, as block_drain.h tells.
 *
 * Threads: bdrv_co_yield_to_drain() runs in coroutines of any thread, everything else in the main thread.
 */
#include "core/block_drain.h"

#include "core/aio_wait.h"
#include "core/atomic.h"
#include "core/block_graph.h"
#include "core/fatal.h"
#include "core/main_loop.h"

/* Open bdrv_drain_all sections. Main thread. */
static unsigned bdrv_drain_all_count;

/* ------------------------------------------------------------------------------------------- parents */

void bdrv_parent_drained_begin_single(BdrvChild *child)
{
    core_assert(!child->quiesced_parent);
    child->quiesced_parent = true;
    if (child->klass->drained_begin) {
        child->klass->drained_begin(child);
    }
}

void bdrv_parent_drained_end_single(BdrvChild *child)
{
    core_assert(child->quiesced_parent);
    child->quiesced_parent = false;
    if (child->klass->drained_end) {
        child->klass->drained_end(child);
    }
}

static bool bdrv_parent_drained_poll_single(BdrvChild *child)
{
    return child->klass->drained_poll && child->klass->drained_poll(child);
}

static void bdrv_parent_drained_begin(BlockDriverState *bs, BdrvChild *ignore)
{
    BdrvChild *child;

    LIST_FOREACH(child, &bs->parents, next_parent) {
        if (child != ignore) {
            bdrv_parent_drained_begin_single(child);
        }
    }
}

static void bdrv_parent_drained_end(BlockDriverState *bs, BdrvChild *ignore)
{
    BdrvChild *child;

    LIST_FOREACH(child, &bs->parents, next_parent) {
        if (child != ignore) {
            bdrv_parent_drained_end_single(child);
        }
    }
}

/* Asks every parent even when one is busy: asking is what sets some of them in motion. */
static bool bdrv_parent_drained_poll(BlockDriverState *bs, BdrvChild *ignore, bool ignore_bds_parents)
{
    BdrvChild *child;
    bool busy = false;

    LIST_FOREACH(child, &bs->parents, next_parent) {
        if (child == ignore || (ignore_bds_parents && child->klass->parent_is_bds)) {
            continue;
        }
        busy |= bdrv_parent_drained_poll_single(child);
    }
    return busy;
}

bool bdrv_drain_poll(BlockDriverState *bs, BdrvChild *ignore_parent, bool ignore_bds_parents)
{
    if (bdrv_parent_drained_poll(bs, ignore_parent, ignore_bds_parents)) {
        return true;
    }
    /* ORDER: in_flight before anything that belonged to the requests
     * PAIRS: bdrv_dec_in_flight()
     * ELSE:  the drained section reads a half-made result */
    return qatomic_load_acquire(&bs->in_flight) > 0;
}

static bool bdrv_drain_poll_top_level(BlockDriverState *bs, BdrvChild *ignore_parent)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return bdrv_drain_poll(bs, ignore_parent, false);
}

/* ------------------------------------------------------------------------------------------- out of a coroutine */

/* A drain call that travels from a coroutine to the main thread; on the coroutine's stack. */
typedef struct BdrvCoDrainData {
    Coroutine *co;
    BlockDriverState *bs; /* NULL: all nodes */
    BdrvChild *parent;
    bool begin;
    bool poll;
    bool done;
} BdrvCoDrainData;

static void bdrv_do_drained_begin(BlockDriverState *bs, BdrvChild *parent, bool poll);
static void bdrv_do_drained_end(BlockDriverState *bs, BdrvChild *parent);

static void bdrv_co_drain_bh_cb(void *opaque)
{
    BdrvCoDrainData *data = opaque;
    Coroutine *co = data->co;

    if (data->bs) {
        /* From now on the section itself is what counts; it would wait for this very call otherwise. */
        bdrv_dec_in_flight(data->bs);
        if (data->begin) {
            bdrv_do_drained_begin(data->bs, data->parent, data->poll);
        } else {
            bdrv_do_drained_end(data->bs, data->parent);
        }
    } else if (data->begin) {
        bdrv_drain_all_begin();
    } else {
        bdrv_drain_all_end();
    }

    /* data is gone as soon as the coroutine runs, which may be at once in its own thread. */
    data->done = true;
    aio_co_wake(co);
}

static void coroutine_fn bdrv_co_yield_to_drain(BlockDriverState *bs, bool begin, BdrvChild *parent, bool poll)
{
    BdrvCoDrainData data = {
        .co = qemu_coroutine_self(),
        .bs = bs,
        .parent = parent,
        .begin = begin,
        .poll = poll,
    };

    core_assert(qemu_in_coroutine());

    /* The node may not go away before the main thread gets to it. */
    if (bs) {
        bdrv_inc_in_flight(bs);
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), bdrv_co_drain_bh_cb, &data);
    qemu_coroutine_yield();

    /* Whoever else has woken this coroutine had no right to. */
    core_assert(data.done);
}

/* ------------------------------------------------------------------------------------------- one node */

void bdrv_do_drained_begin_quiesce(BlockDriverState *bs, BdrvChild *parent)
{
    bdrv_do_drained_begin(bs, parent, false);
}

static void bdrv_do_drained_begin(BlockDriverState *bs, BdrvChild *parent, bool poll)
{
    if (qemu_in_coroutine()) {
        bdrv_co_yield_to_drain(bs, true, parent, poll);
        return;
    }
    core_assert(qemu_in_main_thread());

    /* First those who send requests, then the node that sends some by itself. */
    if (qatomic_fetch_inc(&bs->quiesce_counter) == 0) {
        GRAPH_RDLOCK_GUARD_MAINLOOP();
        bdrv_parent_drained_begin(bs, parent);
        if (bs->drv->bdrv_drain_begin) {
            bs->drv->bdrv_drain_begin(bs);
        }
    }

    /* Once all of them know: polling in between could let one start what another has just stopped, and the graph could
     * change under the walk over the parents. */
    if (poll) {
        AIO_WAIT_WHILE(bdrv_get_aio_context(bs), bdrv_drain_poll_top_level(bs, parent));
    }
}

static void bdrv_do_drained_end(BlockDriverState *bs, BdrvChild *parent)
{
    if (qemu_in_coroutine()) {
        bdrv_co_yield_to_drain(bs, false, parent, false);
        return;
    }
    core_assert(qemu_in_main_thread());
    core_assert(qatomic_read(&bs->quiesce_counter) > 0);

    /* The other way round: parents send requests from the moment they hear of it. */
    if (qatomic_fetch_dec(&bs->quiesce_counter) == 1) {
        GRAPH_RDLOCK_GUARD_MAINLOOP();
        if (bs->drv->bdrv_drain_end) {
            bs->drv->bdrv_drain_end(bs);
        }
        bdrv_parent_drained_end(bs, parent);
    }
}

void bdrv_drained_begin(BlockDriverState *bs)
{
    bdrv_do_drained_begin(bs, NULL, true);
}

void bdrv_drained_end(BlockDriverState *bs)
{
    bdrv_do_drained_end(bs, NULL);
}

void bdrv_drain(BlockDriverState *bs)
{
    bdrv_drained_begin(bs);
    bdrv_drained_end(bs);
}

/* ------------------------------------------------------------------------------------------- all nodes */

static bool bdrv_drain_all_poll(void)
{
    BlockDriverState *bs = NULL;
    bool busy = false;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    /* Each node is asked itself, so that nobody has to ask it on behalf of its children. */
    while ((bs = bdrv_next_all_states(bs))) {
        busy |= bdrv_drain_poll(bs, NULL, true);
    }
    return busy;
}

void no_coroutine_fn bdrv_drain_all_begin_nopoll(void)
{
    BlockDriverState *bs = NULL;

    core_assert(qemu_in_main_thread());
    core_assert(!qemu_in_coroutine());

    /* Counted first: nodes that are made from now on begin as drained. */
    bdrv_drain_all_count++;
    while ((bs = bdrv_next_all_states(bs))) {
        bdrv_do_drained_begin(bs, NULL, false);
    }
}

void bdrv_drain_all_begin(void)
{
    if (qemu_in_coroutine()) {
        bdrv_co_yield_to_drain(NULL, true, NULL, true);
        return;
    }
    bdrv_drain_all_begin_nopoll();
    AIO_WAIT_WHILE_UNLOCKED(NULL, bdrv_drain_all_poll());
}

void bdrv_drain_all_end(void)
{
    BlockDriverState *bs = NULL;

    if (qemu_in_coroutine()) {
        bdrv_co_yield_to_drain(NULL, false, NULL, false);
        return;
    }
    core_assert(qemu_in_main_thread());
    core_assert(bdrv_drain_all_count > 0);

    while ((bs = bdrv_next_all_states(bs))) {
        bdrv_do_drained_end(bs, NULL);
    }
    bdrv_drain_all_count--;
}

void bdrv_drain_all(void)
{
    bdrv_drain_all_begin();
    bdrv_drain_all_end();
}

void bdrv_drain_all_end_quiesce(BlockDriverState *bs)
{
    core_assert(qemu_in_main_thread());
    core_assert(bs->refcnt == 0);
    /* The sections themselves may be over: one that ends while the node is being closed does not find it any more. */

    while (qatomic_read(&bs->quiesce_counter) > 0) {
        bdrv_do_drained_end(bs, NULL);
    }
}

unsigned bdrv_drain_all_sections(void)
{
    return bdrv_drain_all_count;
}

void bdrv_drain_reset(void)
{
    core_assert(bdrv_drain_all_count == 0);
}
