/*
 * A disk in clusters that say what they are, for targets, and who uses it: a guest that writes to a virtio-blk device and reads back, batch
 * by batch, and a client without coroutines that polls in its callbacks.
 *
 * Invariants that they check: each request is completed once; what the guest reads is what it wrote; no interrupt comes while they are masked;
 * what the client reads is what was there at the start, or what the guest wrote.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_DISK_H
#define WAKEFUZZ_FUZZ_SCENARIO_DISK_H

#include "core/qiov.h"
#include "core/virtio_blk.h"
#include "fuzz/scenario.h"

#define CLUSTERS         20u
#define CLUSTER          512
#define DISK_BYTES       ((int64_t)CLUSTERS * CLUSTER)
#define WRITER_BATCH_MAX 4u

/* Let the file hold the clusters that are there at the start. fd may be O_DIRECT. */
void scenario_disk_fill(int fd);

/* What the cluster of that number holds: what was there at the start, by scenario_disk_fill() or, where not filled, zeros; or, where a guest
 * writes, what that wrote. */
void scenario_disk_check_cluster(const uint8_t *data, unsigned cluster, bool filled, bool guest_writes);

/* ---- the guest: a thread that rings the device and sleeps until it is interrupted */

typedef struct ScenarioWriter {
    VirtIOBlock *device;
    QemuThread thread;
    unsigned batches, batch; /* batch: requests in each */
    bool repeats; /* each batch of writes is to the same clusters */
    bool faults; /* requests may fail */
    VirtIOBlockReq reqs[WRITER_BATCH_MAX];
    uint8_t data[WRITER_BATCH_MAX][CLUSTER];
    bool written[CLUSTERS]; /* by a request that did not fail, and by none that failed after it */
    int masks; /* raw: of its interrupts, begun and ended: odd while they are masked */
    int interrupted; /* masks, when it was last interrupted all the same */
} ScenarioWriter;

/* Start it, and wait until it has sent all. Main thread; the latter blocks. */
void scenario_writer_start(ScenarioWriter *guest, VirtIOBlock *device, unsigned batches, unsigned batch, bool repeats,
                           bool faults);
void scenario_writer_join(ScenarioWriter *guest);

/* Mask its interrupts, of which it then sees one at most, that was there before; or let them come. Main thread. */
void scenario_writer_mask(ScenarioWriter *guest, bool masked);

/* In its place, when it has ended: ask the device for a flush, which returns whether that wanted to be told; wait for the flush. Main thread; the
 * latter polls. */
bool scenario_writer_flush_begin(ScenarioWriter *guest);
void scenario_writer_flush_end(ScenarioWriter *guest);

/* ---- the client that polls */

/* More than submission goes deep: each round is submitted in a callback of the one before, which came inside of its submission. */
#define POLLER_ROUNDS_MAX 12u

/* It submits two reads at once, and its first callback waits for the second. That may submit the next two, and so on: from then on each
 * callback looks once at what has happened, without waiting. */
typedef struct ScenarioPoller {
    Scenario *scenario;
    AioContext *ctx;
    int fd;
    unsigned rounds;
    bool faults; /* requests may fail */
    QEMUIOVector qiov[2];
    uint8_t data[2][CLUSTER] __attribute__((aligned(512)));
    unsigned submitted, done;
} ScenarioPoller;

/* Start it in ctx, on the first two clusters of fd; scenario_wait() waits for it. Main thread. */
void scenario_poller_start(ScenarioPoller *poller, Scenario *scenario, AioContext *ctx, int fd, unsigned rounds, bool faults);

/* After its end: what it has read, of a disk that was filled. */
void scenario_poller_check(const ScenarioPoller *poller, bool guest_writes);

#endif
