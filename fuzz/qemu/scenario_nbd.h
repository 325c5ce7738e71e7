/*
 * NBD over simulated sockets: a server that takes connections by their descriptors, as qemu-nbd does, and clients that speak the protocol at
 * the wire. A client shakes hands, writes and reads blocks of its own, two requests at a time, and leaves with or without a word.
 *
 * Invariants, checked by the client: each request is answered once, with what was written; it loses its connection only when the export
 * is removed, or during the handshake, for which it has little time.
 *
 * Main thread only.
 */
#ifndef WAKEFUZZ_FUZZ_QEMU_SCENARIO_NBD_H
#define WAKEFUZZ_FUZZ_QEMU_SCENARIO_NBD_H

#include "fuzz/qemu/scenario.h"

#define SCENARIO_NBD_PEERS_MAX   2u
#define SCENARIO_NBD_DEPTH       2u /* requests of a client that are under way at once */
#define SCENARIO_NBD_BLOCK_BYTES 512u
#define SCENARIO_NBD_DISK_BYTES  (SCENARIO_NBD_PEERS_MAX * SCENARIO_NBD_DEPTH * SCENARIO_NBD_BLOCK_BYTES)

typedef struct NbdConnection NbdConnection;

typedef struct NbdServer {
    NbdConnection *connections; /* NULL: none */
    bool removed;               /* the export "disk", once at least, or about to be; for the invariant: no point */
} NbdServer;

typedef struct NbdPeer {
    NbdServer *server;
    int fd;
    unsigned number, rounds;
    uint8_t types; /* two bits for each request of a round */
    bool leaves_early, says_so, connected;
    QemuThread thread;
    uint8_t patterns[SCENARIO_NBD_DEPTH]; /* what its blocks hold */
} NbdPeer;

/* Before an export of type nbd is added. */
void scenario_nbd_begin(NbdServer *server);

/* What client number (from 0) will do: one byte. */
void scenario_nbd_read(NbdPeer *peer, unsigned number, FuzzInput *in);

/* Start the client, and give the server its connection. */
void scenario_nbd_connect(NbdServer *server, NbdPeer *peer);

/* Hang up all that are connected yet, and wait until the server is done with them: as nbd-server-stop does, after it has closed the exports. */
void scenario_nbd_hang_up(NbdServer *server);

/* Wait for the client's thread, if it was started. */
void scenario_nbd_join(NbdPeer *peer);

#endif
