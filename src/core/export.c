/*
 * Exports, as export.h tells.
 *
 * Threads: the main thread makes and frees exports and drains them; the rest runs in the export's context;
 * blk_exp_submit() and the references are for any thread.
 */
#include "core/export.h"

#include <errno.h>

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/lockable.h"
#include "core/main_loop.h"

struct BlockExport {
    char *id;
    BlockBackend *blk;
    unsigned max_requests;
    unsigned refcount; /* any thread; atomic */

    EventNotifier doorbell; /* of the wire; readable: look at it */
    AioContext *doorbell_ctx;

    QemuMutex lock; /* protects the rest */
    STAILQ_HEAD(, BlockExportRequest) wire;
    Coroutine *recv_coroutine; /* the receiver, or NULL */
    bool read_yielding;        /* it sleeps, and may be woken by whoever clears this */
    bool quiescing;
    bool closing;
    unsigned nb_requests;

    LIST_ENTRY(BlockExport) next; /* main thread */
};

/* Main thread. */
static LIST_HEAD(, BlockExport) block_exports = LIST_HEAD_INITIALIZER(block_exports);

static void coroutine_fn export_trip(void *opaque);

/* ------------------------------------------------------------------------------------------- the receiver */

/* Let there be a receiver, if there should be one. Under the lock; any thread. */
static void export_receive_next_request(BlockExport *exp)
{
    if (exp->recv_coroutine || exp->quiescing || exp->closing || exp->nb_requests == exp->max_requests) {
        return;
    }
    blk_exp_ref(exp);

    /* Here and not when it runs: a drain that comes in between must see it (QEMU 9c707525cb). */
    exp->nb_requests++;
    exp->recv_coroutine = qemu_coroutine_create(export_trip, exp);
    aio_co_schedule(blk_get_aio_context(exp->blk), exp->recv_coroutine);
}

/* Wake the receiver if it sleeps. Any thread; nobody else wakes it after the claim. */
static void export_wake_receiver(BlockExport *exp)
{
    Coroutine *co = NULL;

    WITH_QEMU_LOCK_GUARD(&exp->lock) {
        if (exp->read_yielding) {
            exp->read_yielding = false;
            co = exp->recv_coroutine;
        }
    }
    if (co) {
        aio_co_wake(co); /* without the lock: it may run at once */
    }
}

static void export_wake_receiver_bh(void *opaque)
{
    BlockExport *exp = opaque;

    export_wake_receiver(exp);
    blk_exp_unref(exp);
}

/* Get the receiver to look at the new state, in its own context. Main thread, under the lock. */
static void export_schedule_wake(BlockExport *exp)
{
    if (exp->read_yielding) {
        blk_exp_ref(exp);
        aio_bh_schedule_oneshot(blk_get_aio_context(exp->blk), export_wake_receiver_bh, exp);
    }
}

static void export_doorbell_readable(EventNotifier *doorbell)
{
    BlockExport *exp = (BlockExport *)((char *)doorbell - offsetof(BlockExport, doorbell));

    /* Cleared first: a request that comes now rings again. */
    event_notifier_test_and_clear(doorbell);
    export_wake_receiver(exp);
}

/* Receive one request; NULL: none for now. The caller is the receiver, and no longer is on return. */
static BlockExportRequest *coroutine_fn export_receive(BlockExport *exp)
{
    BlockExportRequest *req = NULL;

    qemu_mutex_lock(&exp->lock);
    while (!exp->quiescing && !exp->closing) {
        req = STAILQ_FIRST(&exp->wire);
        if (req) {
            STAILQ_REMOVE_HEAD(&exp->wire, next);
            break;
        }
        exp->read_yielding = true;
        qemu_mutex_unlock(&exp->lock);
        qemu_coroutine_yield();
        qemu_mutex_lock(&exp->lock);
    }
    exp->recv_coroutine = NULL;

    /* The next one can be received while this one is served. */
    export_receive_next_request(exp);
    qemu_mutex_unlock(&exp->lock);
    return req;
}

/* The life of one coroutine: receive a request, serve it. */
static void coroutine_fn export_trip(void *opaque)
{
    BlockExport *exp = opaque;
    BlockExportRequest *req = export_receive(exp);

    if (req) {
        int ret = req->write ? blk_co_pwrite(exp->blk, req->offset, req->bytes, req->buf, 0)
                             : blk_co_pread(exp->blk, req->offset, req->bytes, req->buf, 0);

        req->done(req, ret);
    }

    WITH_QEMU_LOCK_GUARD(&exp->lock) {
        exp->nb_requests--;
        export_receive_next_request(exp);
    }
    aio_wait_kick();
    blk_exp_unref(exp);
}

/* ------------------------------------------------------------------------------------------- drain */

static void export_drained_begin(void *opaque)
{
    BlockExport *exp = opaque;

    QEMU_LOCK_GUARD(&exp->lock);
    exp->quiescing = true;
}

/* An idle receiver would sleep until the client's next request: it is sent home. */
static bool export_drained_poll(void *opaque)
{
    BlockExport *exp = opaque;

    QEMU_LOCK_GUARD(&exp->lock);
    export_schedule_wake(exp);
    return exp->nb_requests > 0;
}

/* The old receiver may still be there, where the section was not polled, or may just be leaving: then it sees to its
 * successor itself. */
static void export_drained_end(void *opaque)
{
    BlockExport *exp = opaque;

    QEMU_LOCK_GUARD(&exp->lock);
    exp->quiescing = false;
    export_receive_next_request(exp);
}

static const BlockDevOps export_dev_ops = {
    .drained_begin = export_drained_begin,
    .drained_poll = export_drained_poll,
    .drained_end = export_drained_end,
};

/* ------------------------------------------------------------------------------------------- life */

BlockExport *blk_exp_add(const char *id, BlockDriverState *bs, AioContext *ctx, unsigned max_requests)
{
    BlockExport *exp = g_new0(BlockExport, 1);
    int ret = event_notifier_init(&exp->doorbell, false);

    core_assert(qemu_in_main_thread());
    core_assert(max_requests > 0);
    if (ret < 0) {
        g_free(exp);
        errno = -ret;
        return NULL;
    }
    exp->id = g_strdup(id);
    exp->refcount = 1;
    exp->max_requests = max_requests;
    exp->doorbell_ctx = ctx;
    qemu_mutex_init(&exp->lock);
    STAILQ_INIT(&exp->wire);
    LIST_INSERT_HEAD(&block_exports, exp, next);

    /* An export stops its requests itself, and waits for them in drained_poll: one in the queue of the backend would
     * be waited for, and would wait. */
    exp->blk = blk_new(ctx);
    blk_set_disable_request_queuing(exp->blk, true);
    blk_insert_bs(exp->blk, bs);
    blk_set_dev_ops(exp->blk, &export_dev_ops, exp);

    aio_set_event_notifier(ctx, &exp->doorbell, export_doorbell_readable, NULL, NULL);
    WITH_QEMU_LOCK_GUARD(&exp->lock) {
        export_receive_next_request(exp);
    }
    return exp;
}

/* In the home thread of the doorbell: on return no handler is running and none will. */
static void export_remove_doorbell_bh(void *opaque)
{
    BlockExport *exp = opaque;

    aio_set_event_notifier(exp->doorbell_ctx, &exp->doorbell, NULL, NULL, NULL);
}

static void blk_exp_delete_bh(void *opaque)
{
    BlockExport *exp = opaque;

    core_assert(exp->nb_requests == 0);
    core_assert(STAILQ_EMPTY(&exp->wire));
    aio_wait_bh_oneshot(exp->doorbell_ctx, export_remove_doorbell_bh, exp);
    event_notifier_cleanup(&exp->doorbell);

    blk_set_dev_ops(exp->blk, NULL, NULL);
    blk_unref(exp->blk);
    LIST_REMOVE(exp, next);
    qemu_mutex_destroy(&exp->lock);
    g_free(exp->id);
    g_free(exp);
    aio_wait_kick(); /* blk_exp_close_all() waits for the list */
}

void blk_exp_ref(BlockExport *exp)
{
    core_assert(qatomic_fetch_inc(&exp->refcount) > 0);
}

void blk_exp_unref(BlockExport *exp)
{
    if (qatomic_fetch_dec(&exp->refcount) == 1) {
        /* What is left polls and takes the graph lock: not for a coroutine in an I/O thread. */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), blk_exp_delete_bh, exp);
    }
}

bool blk_exp_submit(BlockExport *exp, BlockExportRequest *req)
{
    WITH_QEMU_LOCK_GUARD(&exp->lock) {
        if (exp->closing) {
            return false;
        }
        STAILQ_INSERT_TAIL(&exp->wire, req, next);
    }
    event_notifier_set(&exp->doorbell);
    return true;
}

/* Nobody receives what is still on the wire, and a client may hold its reference until its requests have ended. */
static void export_fail_wire(BlockExport *exp)
{
    BlockExportRequest *req;

    do {
        WITH_QEMU_LOCK_GUARD(&exp->lock) {
            req = STAILQ_FIRST(&exp->wire);
            if (req) {
                STAILQ_REMOVE_HEAD(&exp->wire, next);
            }
        }
        if (req) {
            req->done(req, -ESHUTDOWN); /* without the lock: it may try to submit again */
        }
    } while (req);
}

void blk_exp_request_shutdown(BlockExport *exp)
{
    core_assert(qemu_in_main_thread());
    WITH_QEMU_LOCK_GUARD(&exp->lock) {
        if (exp->closing) {
            return;
        }
        exp->closing = true;
        export_schedule_wake(exp);
    }
    export_fail_wire(exp);
    blk_exp_unref(exp);
}

void blk_exp_close_all(void)
{
    BlockExport *exp;

    core_assert(qemu_in_main_thread());
    LIST_FOREACH(exp, &block_exports, next) {
        blk_exp_request_shutdown(exp);
    }
    AIO_WAIT_WHILE_UNLOCKED(NULL, !LIST_EMPTY(&block_exports));
}

BlockExport *blk_exp_find(const char *id)
{
    BlockExport *exp;

    LIST_FOREACH(exp, &block_exports, next) {
        if (strcmp(exp->id, id) == 0) {
            return exp;
        }
    }
    return NULL;
}

bool blk_exp_is_shutting_down(BlockExport *exp)
{
    QEMU_LOCK_GUARD(&exp->lock);
    return exp->closing;
}

bool blk_exp_is_in_use(BlockExport *exp)
{
    return qatomic_read(&exp->refcount) > 1;
}

BlockBackend *blk_exp_blk(BlockExport *exp)
{
    return exp->blk;
}
