/*
 * A guest for targets: one virtual CPU, a thread that writes to a virtio-blk device and reads back, and can be paused as QEMU pauses
 * its virtual CPUs before devices stop.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_GUEST_H
#define WAKEFUZZ_FUZZ_SCENARIO_GUEST_H

#include "core/thread.h"
#include "core/virtio_blk.h"

#define GUEST_REQUESTS_MAX 8u
#define GUEST_SECTOR       512

typedef struct ScenarioGuest {
    VirtIOBlock *device;
    QemuThread thread;
    unsigned request_count, batch; /* batch: requests per kick; the guest waits for them before the next */
    VirtIOBlockReq reqs[GUEST_REQUESTS_MAX];
    uint8_t data[GUEST_REQUESTS_MAX][GUEST_SECTOR];

    /* Raw atomics: no points, no part of the program. */
    unsigned sent, done;
    unsigned kicked; /* so many of the first ones, at least, the device was told of */
    int ended[GUEST_REQUESTS_MAX];

    bool stop; /* atomic */
} ScenarioGuest;

/* Let it run: up to request_count requests on device, whose disk has at least GUEST_REQUESTS_MAX sectors. Main thread. */
void scenario_guest_start(ScenarioGuest *guest, VirtIOBlock *device, unsigned request_count, unsigned batch);

/* Pause it for good and wait until it stands still: it sends nothing more, and leaves what is under way. Main thread; blocks. */
void scenario_guest_pause(ScenarioGuest *guest);

/* After the device has stopped: take what it has completed meanwhile, and check that each request has ended at most once, and each that
 * the device was told of has ended. Main thread. */
void scenario_guest_check(ScenarioGuest *guest);

#endif
