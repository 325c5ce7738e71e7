/* What the files of the network block device's client share. Home thread of the node, unless said otherwise. */
#ifndef WAKEFUZZ_CORE_NBD_CLIENT_INT_H
#define WAKEFUZZ_CORE_NBD_CLIENT_INT_H

#include "core/co_mutex.h"
#include "core/co_queue.h"
#include "core/co_sleep.h"
#include "core/nbd_client.h"

typedef enum NBDClientState {
    NBD_CLIENT_CONNECTING_WAIT,
    NBD_CLIENT_CONNECTING_NOWAIT,
    NBD_CLIENT_CONNECTED,
    NBD_CLIENT_QUIT,
} NBDClientState;

/* What connection_co sleeps for. */
typedef enum NBDWait { NBD_AWAKE, NBD_FOR_DATA_READ, NBD_FOR_REQUESTS, NBD_FOR_DRAINED_END } NBDWait;

typedef struct NBDClientRequest {
    Coroutine *coroutine; /* NULL: the place is free */
    bool receiving;       /* it sleeps for its reply */
} NBDClientRequest;

typedef struct BDRVNBDState {
    BlockDriverState *bs;     /* never changes */
    NBDClientOptions options; /* never change */

    int fd;                          /* -1: none */
    Coroutine *read_co, *write_co;   /* who waits for it */

    CoMutex send_mutex; /* of those who send */
    CoQueue free_sema;  /* requests that wait for room, or for the connection */
    NBDClientState state;
    unsigned in_flight;
    NBDClientRequest requests[NBD_REQUESTS_MAX];
    NBDReply reply; /* the last one whose head was read */

    Coroutine *connection_co; /* NULL: it has ended. Atomic: the main thread waits for that */
    NBDWait connection_waits;
    QemuCoSleep sleep; /* of connection_co, between attempts */
    QEMUTimer *reconnect_delay_timer;

    bool drained; /* written by the main thread; atomic */
    bool closed;  /* main thread */
} BDRVNBDState;

/* ---- nbd_client.c: requests, and the socket ---- */

void nbd_trace(NBDClientEvent event);
/* All of it: 0, or -EIO. idle: who waits for the first byte is not counted as a request. */
int coroutine_fn nbd_read(BDRVNBDState *s, void *buffer, size_t size, bool idle);
/* Is the connection lost, and may come back? */
bool nbd_client_connecting(const BDRVNBDState *s);
/* The connection is lost. connection_co sees the end of the stream, and the rest is its. -EIO: to be connected again; else for good. */
void nbd_channel_error(BDRVNBDState *s, int ret);
NBDClientState nbd_state_when_lost(const BDRVNBDState *s);

/* ---- nbd_connection.c: connection_co, and drained sections ---- */

/* The coroutine; of a BDRVNBDState. */
void coroutine_fn nbd_connection_entry(void *opaque);
/* Let it go on where it sleeps for just that. */
void nbd_connection_wake(BDRVNBDState *s, NBDWait what);
/* Main thread. */
void nbd_client_drain_begin(BlockDriverState *bs);
void nbd_client_drain_end(BlockDriverState *bs);
/* End it, in a drained section. Main thread; polls. */
void nbd_connection_end(BDRVNBDState *s);

#endif
