/*
 * A disk device as virtio-blk is one, and its guest: each queue has a ring in shared memory, an eventfd to kick, an io thread that serves it, and
 * a virtual CPU of its own.
 *
 *     virtual CPU                                     io thread of the queue
 *     puts a batch of requests into the ring, kicks
 *                                                     hears it, or sees it as it polls; in a section of deferred calls: takes what is in the ring,
 *                                                     starts each by blk_aio_*()
 *                                                     the completion callback defers an interrupt
 *     waits until all have ended; looks at them
 *
 * While the backend is drained the device does not listen. A request that has failed ends with its error or, with stops, waits until the
 * machine goes on, and is started again. Only -ENOMEDIUM may be the error.
 *
 * Invariants: each request ends once; what is read is what was written.
 *
 * In which order of which calls: hw/block/virtio-blk.c, which is no part of the storage daemon. Main thread only.
 */
#ifndef WAKEFUZZ_FUZZ_QEMU_SCENARIO_DEVICE_H
#define WAKEFUZZ_FUZZ_QEMU_SCENARIO_DEVICE_H

#include "fuzz/qemu/scenario.h"

#include "qemu/event_notifier.h"

#define DEVICE_QUEUES_MAX   2u
#define DEVICE_BATCH_MAX    3u
#define DEVICE_SECTOR_BYTES 512u
#define DEVICE_DISK_BYTES   (8 * DEVICE_SECTOR_BYTES)

typedef struct Device Device;
typedef struct DeviceQueue DeviceQueue;

typedef struct DeviceRequest {
    DeviceQueue *queue;
    enum { DEVICE_WRITE, DEVICE_READ, DEVICE_FLUSH } type;
    int64_t offset;
    QEMUIOVector qiov;
    int result;
    bool under_way;
    QSLIST_ENTRY(DeviceRequest) next_failed;
    uint8_t pattern; /* what its sector holds */
    uint8_t buffer[DEVICE_SECTOR_BYTES] __attribute__((aligned(512)));
} DeviceRequest;

struct DeviceQueue {
    Device *device;
    AioContext *context;
    EventNotifier kick;
    DeviceRequest requests[DEVICE_BATCH_MAX];
    unsigned available; /* how many the guest has put there; atomic */
    unsigned taken;     /* how many the device has taken; the context's */
    QemuMutex lock;
    QemuCond interrupt;
    unsigned ended; /* under lock */
    QemuThread guest;
    unsigned batch, rounds;
    uint8_t types; /* two bits for each request of a round after the first, which writes */
};

struct Device {
    Scenario *scenario;
    BlockBackend *blk;
    DeviceQueue queues[DEVICE_QUEUES_MAX];
    unsigned queue_count;
    bool started, stops, forgets; /* stops: under lock */
    QemuMutex lock;
    QSLIST_HEAD(, DeviceRequest) failed; /* under lock */
    unsigned resizes;
};

/* What the guest will do. */
void scenario_device_read(Device *device, FuzzInput *in);

/* Set up the device on this backend and start it and the guest. A medium that forgets reads as zeroes whatever was written. */
void scenario_device_begin(Device *device, Scenario *scenario, BlockBackend *blk, bool forgets);

/* As the machine starts: the queues are served by io threads from this one on, and the backend is moved to the first one's, if it lets itself. */
void scenario_device_start(Device *device, unsigned first);

/* As the machine stops: no queue is served, no request is under way, and the backend is main's. */
void scenario_device_stop(Device *device);

/* As the machine goes on: start what has failed again. */
void scenario_device_restart(Device *device);

/* With a medium in the backend and the device started: wait until the guest has all its answers, stop, and leave the backend. */
void scenario_device_end(Device *device);

/* After the io threads have ended. */
void scenario_device_destroy(Device *device);

#endif
