/*
 * The inside of a BlockBackend, for the two files that implement it.
 *
 * Threads and invariants: block_backend.h.
 */
#ifndef WAKEFUZZ_CORE_BLOCK_BACKEND_INT_H
#define WAKEFUZZ_CORE_BLOCK_BACKEND_INT_H

#include "core/block_backend.h"
#include "core/co_queue.h"

struct BlockBackend {
    char *name; /* NULL: none. Main thread */
    int refcnt; /* main thread */

    /* The edge to the node, or NULL. Written by the main thread under the graph write lock. */
    BdrvChild *root;

    /* Where callbacks belong. Written by the main thread while the backend is drained, read by any. Atomic. */
    AioContext *ctx;

    const BlockDevOps *dev_ops; /* main thread */
    void *dev_opaque;

    /* Drained sections. Written by the main thread, read by requests. Atomic. */
    int quiesce_counter;

    QemuMutex queued_requests_lock; /* protects queued_requests */
    CoQueue queued_requests;
    bool disable_request_queuing; /* atomic */

    /* Requests: see invariants 1 and 2. Any thread; atomic; a kick follows each decrement. */
    unsigned in_flight;

    TAILQ_ENTRY(BlockBackend) link;         /* all backends; main thread */
    TAILQ_ENTRY(BlockBackend) monitor_link; /* those with a name; main thread */
};

#endif
