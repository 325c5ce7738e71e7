/*
 * An export: serves requests of a client that is no part of the block layer, as an NBD server or a vhost-user device
 * does.
 *
 * The client, in any thread, puts requests on the wire: a queue with an eventfd as its doorbell. In the export's
 * context a coroutine receives one request, hands the reception on to a new coroutine, and serves its own. A drained
 * section makes the receiver end; the end of the section makes a new one. A receiver is never scheduled a second time:
 * two sections in a row would do it before it has run once (QEMU 411132c979, f148ae7d36; fault
 * export-drain-schedules-twice).
 *
 *     drain (main thread)                              receiver (export's context)
 *     1  drained_begin: quiescing                      a  lock; wire empty: read_yielding, unlock, yield
 *     2  drained_poll: nb_requests > 0: busy; and
 *        read_yielding: wake it by a bottom half       b  lock; quiescing: no receiver any more, unlock
 *     3  poll until not busy                           c  lock; nb_requests - 1; unlock; kick; end
 *     4  drained_end: not quiescing; no receiver:
 *        nb_requests + 1, create one, schedule it      d  run at last: as a
 *
 * Invariants
 *  1. nb_requests counts coroutines from before they are scheduled until they have nothing more to do (QEMU
 *     9c707525cb): there is no moment at which a request is on its way and a drain sees 0.
 *  2. At most one coroutine is the receiver. read_yielding is set by it alone, and cleared by whoever claims the right
 *     to wake it.
 *  3. Each coroutine, and each bottom half, has a reference to the export.
 *
 * From QEMU: nbd/server.c, block/export/export.c.
 */
#ifndef WAKEFUZZ_CORE_EXPORT_H
#define WAKEFUZZ_CORE_EXPORT_H

#include "core/block_backend.h"

typedef struct BlockExport BlockExport;

/* One request of a client. Belongs to the export from blk_exp_submit() until done() is called. */
typedef struct BlockExportRequest {
    bool write;
    int64_t offset; /* offset and bytes are multiples of BDRV_SECTOR_SIZE */
    int64_t bytes;
    void *buf;

    /* The request has ended with 0 or a negative errno. Called exactly once, in a coroutine of the export's context;
     * or, for requests that the export did not get to (-ESHUTDOWN), in the main thread. May submit again, and may free
     * the request. */
    void (*done)(struct BlockExportRequest *req, int ret);
    void *opaque;

    STAILQ_ENTRY(BlockExportRequest) next; /* the export's */
} BlockExportRequest;

/*
 * Export a node, by a backend of its own that moves it to ctx, with up to max_requests (at least 1) requests at a
 * time. id is copied. The reference that is returned belongs to the export itself, and blk_exp_request_shutdown()
 * gives it up. ctx must outlive the export. NULL with errno where the kernel has no more descriptors. Main thread
 * outside coroutines; polls.
 */
BlockExport *blk_exp_add(const char *id, BlockDriverState *bs, AioContext *ctx, unsigned max_requests);

/* Put a request on the wire. Any thread that has a reference; does not block. Returns false, and keeps away from the
 * request, after blk_exp_request_shutdown(). */
bool blk_exp_submit(BlockExport *exp, BlockExportRequest *req);

/* Take no more requests, end those that run, and then free the export. Returns at once; the rest happens in bottom
 * halves. Main thread; twice is harmless as long as the caller has a reference. */
void blk_exp_request_shutdown(BlockExport *exp);

/* Shut down all exports and wait until they are gone. Main thread outside coroutines; polls. Whoever has a reference
 * must give it up meanwhile. */
void blk_exp_close_all(void);

/* Take or drop a reference. Any thread. */
void blk_exp_ref(BlockExport *exp);
void blk_exp_unref(BlockExport *exp);

/* The export of that id, or NULL, without a reference. Main thread. */
BlockExport *blk_exp_find(const char *id);

/* Has blk_exp_request_shutdown() been called? Main thread. */
bool blk_exp_is_shutting_down(BlockExport *exp);

/* Has anybody a reference beside the export itself: a client, or a coroutine that receives or serves? May change at any time. Main
 * thread. */
bool blk_exp_is_in_use(BlockExport *exp);

/* The backend of the export. Main thread. */
BlockBackend *blk_exp_blk(BlockExport *exp);

#endif
