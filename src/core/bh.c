/*
 * Bottom halves: callbacks that any thread schedules and the context's loop runs.
 *
 * Invariants
 * 1. A BH is in bh_list or in a slice exactly while BH_PENDING is set: whoever sets it puts the BH in, whoever takes
 *    the BH out clears it afterwards. So it is never in twice.
 * 2. BH_SCHEDULED and the rest say what to do with it when it is taken out. They can be set at any time.
 * 3. aio_bh_poll() runs what it finds when it begins; BHs scheduled by its callbacks wait for the next. A nested
 *    call goes on with the slices of the calls around it, oldest first: a callback may wait for any BH that was
 *    scheduled before it.
 * 4. A BH is freed only by the loop, after it was taken out.
 */
#include "core/aio_int.h"
#include "core/atomic.h"
#include "core/fatal.h"

/* While the loop has nothing but idle BHs, it may sleep this long. */
#define IDLE_SLEEP_NS (10 * (int64_t)SCALE_MS)

enum {
    BH_PENDING = 1 << 0,   /* in bh_list or in a slice */
    BH_SCHEDULED = 1 << 1, /* call it */
    BH_DELETED = 1 << 2,   /* free it, and do not call it */
    BH_ONESHOT = 1 << 3,   /* free it after the call */
    BH_IDLE = 1 << 4,      /* no progress; the loop may sleep before */
};

struct QEMUBH {
    AioContext *ctx;
    const char *name;
    QEMUBHFunc *cb;
    void *opaque;
    SLIST_ENTRY(QEMUBH) next; /* of whoever set BH_PENDING, until it is in a list; then of the list's owner */
    unsigned flags;           /* atomic */
};

static void aio_bh_enqueue(QEMUBH *bh, unsigned new_flags)
{
    AioContext *ctx = bh->ctx; /* now: the callback may free bh as soon as it is in the list (924fe1293c) */
    unsigned old_flags;

    /* ORDER: BH_PENDING before the insertion, and what the caller wrote for the callback before the flags
     * PAIRS: aio_bh_dequeue()
     * ELSE:  the BH is taken out, and called, before the flag is set, which then stays set for ever; QEMU e8d3b1a25f */
    old_flags = qatomic_fetch_or(&bh->flags, BH_PENDING | new_flags);
    if (!(old_flags & BH_PENDING)) {
        SLIST_INSERT_HEAD_ATOMIC(&ctx->bh_list, bh, next);
    }

    /* Also when it was pending: it may be in a slice, whose loop was told about it long ago, or be an idle one. */
    aio_notify(ctx);
}

/* Takes the first BH out, with the flags that it had. */
static QEMUBH *aio_bh_dequeue(BHList *list, unsigned *flags)
{
    QEMUBH *bh = SLIST_FIRST_ATOMIC(list);

    if (!bh) {
        return NULL;
    }
    SLIST_REMOVE_HEAD(list, next);

    /* ORDER: the removal, which reads the link, before BH_PENDING is cleared; the flags before the callback reads its
     *        data
     * PAIRS: aio_bh_enqueue()
     * ELSE:  another thread puts the BH into bh_list while this one still reads the link; or the callback misses
     *        what was written before a schedule whose flag this clears; QEMU e8d3b1a25f */
    *flags = qatomic_fetch_and(&bh->flags, ~(unsigned)(BH_PENDING | BH_SCHEDULED | BH_IDLE));
    return bh;
}

QEMUBH *aio_bh_new_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name)
{
    QEMUBH *bh = g_new0(QEMUBH, 1);

    bh->ctx = ctx;
    bh->cb = cb;
    bh->opaque = opaque;
    bh->name = name;
    return bh;
}

void aio_bh_schedule_oneshot_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name)
{
    aio_bh_enqueue(aio_bh_new_full(ctx, cb, opaque, name), BH_SCHEDULED | BH_ONESHOT);
}

void qemu_bh_schedule(QEMUBH *bh)
{
    aio_bh_enqueue(bh, BH_SCHEDULED);
}

void qemu_bh_schedule_idle(QEMUBH *bh)
{
    aio_bh_enqueue(bh, BH_SCHEDULED | BH_IDLE);
}

void qemu_bh_cancel(QEMUBH *bh)
{
    /* ORDER: the flag before what the caller reads next
     * PAIRS: aio_bh_enqueue()
     * ELSE:  the caller sees no new work, and the late clearing wipes out the schedule that came with it; QEMU
     *        ef6dada8b4 */
    qatomic_and(&bh->flags, ~(unsigned)BH_SCHEDULED);
}

void qemu_bh_delete(QEMUBH *bh)
{
    aio_bh_enqueue(bh, BH_DELETED);
}

void aio_bh_call(QEMUBH *bh)
{
    bh->cb(bh->opaque);
}

/* Runs one BH that was taken out, and frees it where its flags say so. Returns whether that was progress. */
static bool aio_bh_run(QEMUBH *bh, unsigned flags)
{
    bool call = (flags & (BH_SCHEDULED | BH_DELETED)) == BH_SCHEDULED;

    if (call) {
        aio_bh_call(bh);
    }
    if (flags & (BH_DELETED | BH_ONESHOT)) {
        g_free(bh);
    }
    return call && !(flags & BH_IDLE);
}

int aio_bh_poll(AioContext *ctx)
{
    BHListSlice own, *slice;
    int progress = 0;

    SLIST_MOVE_ATOMIC(&own.bh_list, &ctx->bh_list);
    STAILQ_INSERT_TAIL(&ctx->bh_slice_list, &own, next);

    while ((slice = STAILQ_FIRST(&ctx->bh_slice_list))) {
        unsigned flags;
        QEMUBH *bh = aio_bh_dequeue(&slice->bh_list, &flags);

        if (bh) {
            progress |= aio_bh_run(bh, flags);
        } else {
            STAILQ_REMOVE_HEAD(&ctx->bh_slice_list, next);
        }
    }
    return progress;
}

/* ---- what is waiting ---- */

bool aio_bh_is_scheduled(const QEMUBH *bh)
{
    return (__atomic_load_n(&bh->flags, __ATOMIC_RELAXED) & (BH_SCHEDULED | BH_DELETED)) == BH_SCHEDULED;
}

typedef enum BHWaiting { BH_NONE, BH_IDLE_ONLY, BH_NOW } BHWaiting;

static BHWaiting waiting_in(BHList *list)
{
    BHWaiting result = BH_NONE;
    QEMUBH *bh;

    for (bh = SLIST_FIRST_ATOMIC(list); bh; bh = SLIST_NEXT(bh, next)) {
        unsigned flags = qatomic_read(&bh->flags);

        if ((flags & (BH_SCHEDULED | BH_DELETED)) == BH_SCHEDULED) {
            if (!(flags & BH_IDLE)) {
                return BH_NOW;
            }
            result = BH_IDLE_ONLY;
        }
    }
    return result;
}

static BHWaiting waiting(AioContext *ctx)
{
    BHWaiting result = waiting_in(&ctx->bh_list);
    BHListSlice *slice;

    STAILQ_FOREACH(slice, &ctx->bh_slice_list, next) {
        BHWaiting in_slice;

        if (result == BH_NOW) {
            break;
        }
        in_slice = waiting_in(&slice->bh_list);
        result = MAX(result, in_slice);
    }
    return result;
}

bool aio_bh_pending(AioContext *ctx)
{
    return waiting(ctx) != BH_NONE;
}

int64_t aio_compute_timeout(AioContext *ctx)
{
    BHWaiting bhs = waiting(ctx);

    if (bhs == BH_NOW) {
        return 0;
    }
    return qemu_soonest_timeout(bhs == BH_IDLE_ONLY ? IDLE_SLEEP_NS : -1, timerlist_deadline_ns(&ctx->timer_list));
}

void aio_bh_finalize(AioContext *ctx)
{
    unsigned flags;
    QEMUBH *bh;

    while ((bh = aio_bh_dequeue(&ctx->bh_list, &flags))) {
        if (!(flags & BH_DELETED)) {
            core_fatal("leak", "BH '%s' was not deleted before its AioContext was freed", bh->name);
        }
        g_free(bh);
    }
}
