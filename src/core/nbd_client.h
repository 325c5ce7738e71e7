/*
 * A client of a network block device: one connection with several requests under way, which is made anew when it is lost.
 *
 *     request, in a coroutine                    connection_co
 *     1  send_mutex; no room, or the connection
 *        is to come back: into free_sema
 *     2  in_flight + 1, takes a place, sends
 *     3  sleeps for its reply                    a  reads the head of a reply; wakes the request that it is for; sleeps
 *     4  reads the data; wakes connection_co
 *     5  in_flight - 1; wakes the next in free_sema
 *
 * When the connection is lost, connection_co wakes all that sleep in 3, waits until none is in flight, and connects again, at
 * growing intervals. Meanwhile new requests, and those that want to try again, wait in free_sema for reconnect_delay_ns and no
 * longer (NBD_CLIENT_CONNECTING_WAIT), or fail at once (NBD_CLIENT_CONNECTING_NOWAIT).
 *
 * Inside a drained section connection_co connects to nobody: it waits for the end. So those that wait for it have to be let go when the
 * section begins, since it waits for them (QEMU 8c517de24a, dd1ec1a4af; fault nbd-drain-waits-for-the-connection).
 *
 * Invariants
 *  1. in_flight counts the requests from 2 to 5; each has one of max_requests places.
 *  2. Whoever leaves, with an error too, wakes the next in free_sema (QEMU 6690302b84; fault nbd-error-wakes-nobody).
 *  3. connection_co is woken only for what it sleeps for; so it is never woken twice.
 *  4. One coroutine reads from the socket at a time, and one writes; it is closed only when none is in flight.
 *  5. connection_co is counted in the node's in_flight, but for the time in which it waits for the head of a reply or for the end of a section.
 *
 * Threads: everything belongs to the home thread of the node's context, which the node does not leave; the main thread makes, drains and closes.
 *
 * From QEMU: block/nbd.c as of 5.1 to 6.1, where a coroutine of its own reconnects. Of the protocol only what these need, in the
 * machine's byte order.
 */
#ifndef WAKEFUZZ_CORE_NBD_CLIENT_H
#define WAKEFUZZ_CORE_NBD_CLIENT_H

#include "core/block_graph.h"

#define NBD_REQUESTS_MAX 16u

enum { NBD_CMD_READ, NBD_CMD_WRITE };

/* What is sent; the data of a write follows. */
typedef struct NBDRequest {
    uint64_t cookie; /* never 0 */
    uint64_t from;   /* bytes */
    uint32_t len;    /* bytes */
    uint32_t type;
} NBDRequest;

/* What comes back, in any order; the data of a read follows where error is 0. */
typedef struct NBDReply {
    uint64_t cookie;
    uint32_t error; /* a positive errno */
    uint32_t zero;
} NBDReply;

typedef struct NBDClientOptions {
    int64_t bytes;               /* of the disk; a multiple of BDRV_SECTOR_SIZE */
    unsigned max_requests;       /* in flight; 1 to NBD_REQUESTS_MAX */
    uint64_t reconnect_delay_ns; /* how long requests wait for the connection when it is lost; 0: they fail */
    uint64_t retry_ns;           /* between two attempts to connect, at first; it doubles up to 16 times that */
    /* A stream socket that is connected to the server, or a negative errno. Main thread at first, then the home thread; not concurrently. */
    int (*connect)(void *opaque);
    void *opaque;
} NBDClientOptions;

/* A node for that disk, with one reference for the caller. It connects at once, and goes on to try where that fails. Main thread; does not poll. */
BlockDriverState *bdrv_new_nbd(const char *node_name, AioContext *ctx, const NBDClientOptions *options);

/* An event of this kind, for a target that counts the windows that it enters; NULL by default. In the home thread. */
typedef enum NBDClientEvent {
    NBD_REQUEST_BEGINS,
    NBD_REQUEST_WAITS_FOR_ROOM,
    NBD_REQUEST_WAITS_FOR_CONNECTION,
    NBD_LOST_WITH_REQUESTS, /* in flight */
    NBD_CONNECTED_AGAIN,
    NBD_DELAY_IS_OVER, /* requests need not wait any longer */
    NBD_DRAIN_LETS_WAITERS_GO,
    NBD_DRAINED_WHILE_LOST, /* connection_co waits for the end of the section */
} NBDClientEvent;
extern void (*nbd_client_trace_hook)(NBDClientEvent event);

#endif
