/*
 * Guests of a vhost-user-blk export, at the wire: a front-end that speaks vhost-user over a simulated socket, and a virtio-blk driver on a ring
 * in memory that it shares with the export. A guest connects, sets up its ring, reads, writes, flushes and discards blocks of its own, three requests
 * at a time, stops and restarts the ring, and leaves, with all done or in the middle; it may come back. Two guests take turns: the
 * export serves one connection at a time.
 *
 * Its descriptors are numbered as if it were another process (fuzz_other_process()).
 *
 * Invariants, checked by the guest: each request is completed once, with what was written; a ring that is stopped with nothing under way says so; it
 * loses its connection only when the export is removed.
 *
 * Main thread only.
 */
#ifndef WAKEFUZZ_FUZZ_QEMU_SCENARIO_VHOST_H
#define WAKEFUZZ_FUZZ_QEMU_SCENARIO_VHOST_H

#include "fuzz/qemu/scenario.h"

#include "qemu/event_notifier.h"

/* Whether this QEMU has such exports. */
#ifdef CONFIG_VHOST_USER_BLK_SERVER
#define SCENARIO_VHOST 1
#else
#define SCENARIO_VHOST 0
#endif

#define SCENARIO_VHOST_GUESTS_MAX  2u
#define SCENARIO_VHOST_DEPTH       3u /* requests of a guest that are under way at once */
#define SCENARIO_VHOST_BLOCK_BYTES 512u
#define SCENARIO_VHOST_DISK_BYTES  (SCENARIO_VHOST_GUESTS_MAX * SCENARIO_VHOST_DEPTH * SCENARIO_VHOST_BLOCK_BYTES)
#define SCENARIO_VHOST_SOCKET      "vhost.socket"

typedef struct VhostServer {
    EventNotifier ended; /* by each guest, so that the main loop looks */
    unsigned running;    /* guests */
    bool removed;        /* the export, once at least, or about to be; for the invariant: no point */
} VhostServer;

typedef enum VhostEnd {
    VHOST_STOPS,       /* the ring, and closes the connection */
    VHOST_LEAVES,      /* closes it */
    VHOST_LEAVES_EARLY /* closes it with requests under way */
} VhostEnd;

typedef struct VhostGuest {
    VhostServer *server;
    unsigned number, sessions, rounds, round;
    uint8_t types; /* two bits for each request of a round; they change places from round to round */
    VhostEnd end;
    bool event_index; /* notifications by index (VIRTIO_RING_F_EVENT_IDX) */
    bool kicks_often; /* after each request, and without one */
    bool restarts;    /* the ring, after each round */
    bool restarts_early; /* with requests under way */
    bool started;
    QemuThread thread;
    struct VhostSession *session;
    uint8_t patterns[SCENARIO_VHOST_DEPTH]; /* what its blocks hold */
    bool doubts[SCENARIO_VHOST_DEPTH];      /* or one more: it left while it was written */
} VhostGuest;

/* Before the export is added, and after the last guest has ended. */
void scenario_vhost_begin(VhostServer *server);
void scenario_vhost_end(VhostServer *server);

/* What guest number (from 0) will do: two bytes. */
void scenario_vhost_read(VhostGuest *guest, unsigned number, FuzzInput *in);

/* Start the guest, which connects to SCENARIO_VHOST_SOCKET. */
void scenario_vhost_start(VhostServer *server, VhostGuest *guest);

/* When the export is gone: wait for the guest's thread, if it was started, and see that the file holds what was written. */
void scenario_vhost_join(VhostGuest *guest, const char *file);

#endif
