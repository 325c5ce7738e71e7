#include "fuzz/scenario_disk.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/defer_call.h"
#include "core/linux_aio.h"
#include "fuzz/fuzz.h"

#define GUEST_PATTERN 1u
#define START_PATTERN 128u

/* ---- clusters */

void scenario_disk_fill(int fd)
{
    static uint8_t data[CLUSTERS][CLUSTER] __attribute__((aligned(4096)));

    for (unsigned i = 0; i < CLUSTERS; i++) {
        memset(data[i], (int)(START_PATTERN + i), CLUSTER);
    }
    fuzz_check(pwrite(fd, data, sizeof(data), 0) == sizeof(data));
}

void scenario_disk_check_cluster(const uint8_t *data, unsigned cluster, bool filled, bool guest_writes)
{
    fuzz_check(memcmp(data, data + 1, CLUSTER - 1) == 0);
    fuzz_check(data[0] == (filled ? START_PATTERN + cluster : 0) || (data[0] == GUEST_PATTERN + cluster && guest_writes));
}

/* ---- the guest */

/* Writes in the even batches, reads of the same clusters in the odd ones; a flush ends each. */
static void guest_fill(ScenarioWriter *guest, unsigned batch)
{
    for (unsigned i = 0; i < guest->batch; i++) {
        unsigned cluster = ((guest->repeats ? 0 : batch / 2 * guest->batch) + i) % CLUSTERS;
        VirtIOBlockReq *req = &guest->reqs[i];

        *req = (VirtIOBlockReq){
            .type = i > 0 && i == guest->batch - 1 ? VIRTIO_BLK_FLUSH
                    : batch % 2                    ? VIRTIO_BLK_READ
                                                   : VIRTIO_BLK_WRITE,
            .offset = (int64_t)cluster * CLUSTER,
            .bytes = CLUSTER,
            .buf = guest->data[i],
            .ret = -EINPROGRESS,
        };
        memset(guest->data[i], req->type == VIRTIO_BLK_WRITE ? GUEST_PATTERN + cluster : 0, CLUSTER);
    }
}

static void guest_check(ScenarioWriter *guest, VirtIOBlockReq *req)
{
    unsigned cluster = (unsigned)(req->offset / CLUSTER);
    const uint8_t *data = req->buf;

    fuzz_check(req->ret == 0 || (req->ret < 0 && req->ret != -EINPROGRESS && guest->faults));
    if (req->type == VIRTIO_BLK_WRITE) {
        guest->written[cluster] = req->ret == 0;
    } else if (req->type == VIRTIO_BLK_READ && req->ret == 0 && guest->written[cluster]) {
        fuzz_check(data[0] == GUEST_PATTERN + cluster && memcmp(data, data + 1, CLUSTER - 1) == 0);
    }
}

static void sleep_until_interrupted(EventNotifier *interrupt)
{
    struct pollfd request = { .fd = event_notifier_get_fd(interrupt), .events = POLLIN };

    while (poll(&request, 1, -1) <= 0) {
        /* interrupted by a signal */
    }
    event_notifier_test_and_clear(interrupt);
}

/* One interrupt may have come just before they were masked. */
static void guest_sleep(ScenarioWriter *guest)
{
    int masks = scenario_get(&guest->masks);

    sleep_until_interrupted(virtio_blk_guest_notifier(guest->device));
    if (masks % 2 && masks == scenario_get(&guest->masks)) {
        fuzz_check(guest->interrupted != masks);
        guest->interrupted = masks;
    }
}

static void guest_wait(ScenarioWriter *guest)
{
    VirtIOBlock *device = guest->device;
    bool done[WRITER_BATCH_MAX] = { false };
    VirtIOBlockReq *req;

    for (unsigned left = guest->batch; left;) {
        while ((req = virtio_blk_reap(device))) {
            fuzz_check(!done[req - guest->reqs]);
            done[req - guest->reqs] = true;
            left--;
        }
        if (left) {
            guest_sleep(guest);
        }
    }
}

static void *guest_thread(void *opaque)
{
    ScenarioWriter *guest = opaque;

    for (unsigned batch = 0; batch < guest->batches; batch++) {
        VirtIOBlockReq *list[WRITER_BATCH_MAX];

        guest_fill(guest, batch);
        for (unsigned i = 0; i < guest->batch; i++) {
            list[i] = &guest->reqs[i];
        }
        virtio_blk_submit(guest->device, list, guest->batch);
        guest_wait(guest);
        for (unsigned i = 0; i < guest->batch; i++) {
            guest_check(guest, &guest->reqs[i]);
        }
    }
    return NULL;
}

void scenario_writer_start(ScenarioWriter *guest, VirtIOBlock *device, unsigned batches, unsigned batch, bool repeats,
                           bool faults)
{
    *guest = (ScenarioWriter){ .device = device, .batches = batches, .batch = batch, .repeats = repeats, .faults = faults };
    qemu_thread_create(&guest->thread, "guest", guest_thread, guest, QEMU_THREAD_JOINABLE);
}

void scenario_writer_join(ScenarioWriter *guest)
{
    qemu_thread_join(&guest->thread);
}

void scenario_writer_mask(ScenarioWriter *guest, bool masked)
{
    bool was = scenario_get(&guest->masks) % 2;

    if (was && !masked) {
        scenario_add(&guest->masks, 1);
    }
    virtio_blk_mask_irq(guest->device, masked);
    if (masked && !was) {
        scenario_add(&guest->masks, 1);
    }
}

bool scenario_writer_flush_begin(ScenarioWriter *guest)
{
    VirtIOBlockReq *list[] = { &guest->reqs[0] };

    guest->reqs[0] = (VirtIOBlockReq){ .type = VIRTIO_BLK_FLUSH, .ret = -EINPROGRESS };
    if (!virtio_blk_put(guest->device, list, 1)) {
        return false;
    }
    virtio_blk_kick(guest->device);
    return true;
}

static void interrupted(EventNotifier *interrupt)
{
    event_notifier_test_and_clear(interrupt);
}

/* What a device that stops in a section was told of is this thread's own. */
void scenario_writer_flush_end(ScenarioWriter *guest)
{
    EventNotifier *interrupt = virtio_blk_guest_notifier(guest->device);
    VirtIOBlockReq *req;

    aio_set_event_notifier(qemu_get_aio_context(), interrupt, interrupted, NULL, NULL);
    while (!(req = virtio_blk_reap(guest->device))) {
        aio_poll(qemu_get_aio_context(), true);
    }
    aio_set_event_notifier(qemu_get_aio_context(), interrupt, NULL, NULL, NULL);
    fuzz_check(req == &guest->reqs[0] && (req->ret == 0 || guest->faults));
}

/* ---- the client that polls */

static void poller_submit(void *opaque);

static void poller_done(void *opaque, int ret)
{
    ScenarioPoller *poller = opaque;
    unsigned number = ++poller->done; /* a loop in here may complete the next ones */

    fuzz_check(ret == 0 || poller->faults);
    fuzz_check(number <= poller->submitted);
    if (number > 2) {
        aio_poll(poller->ctx, false);
    }
    if (number == 2 * poller->rounds) {
        scenario_leave(poller->scenario);
    } else if (number % 2 == 0) {
        poller_submit(poller);
    }
    while (poller->done < MIN(poller->submitted, 2)) {
        aio_poll(poller->ctx, true);
    }
}

static void poller_submit(void *opaque)
{
    ScenarioPoller *poller = opaque;
    LinuxAioState *s = aio_setup_linux_aio(poller->ctx);

    defer_call_begin();
    for (unsigned i = 0; i < 2; i++) {
        qemu_iovec_init_buf(&poller->qiov[i], poller->data[i], CLUSTER);
        poller->submitted++;
        laio_submit(s, poller->fd, (uint64_t)i * CLUSTER, &poller->qiov[i], QEMU_AIO_READ, poller_done, poller);
    }
    defer_call_end();
}

void scenario_poller_start(ScenarioPoller *poller, Scenario *scenario, AioContext *ctx, int fd, unsigned rounds, bool faults)
{
    *poller = (ScenarioPoller){ .scenario = scenario, .ctx = ctx, .fd = fd, .rounds = rounds, .faults = faults };
    scenario_enter(scenario);
    aio_bh_schedule_oneshot(ctx, poller_submit, poller);
}

void scenario_poller_check(const ScenarioPoller *poller, bool guest_writes)
{
    for (unsigned i = 0; i < 2; i++) {
        scenario_disk_check_cluster(poller->data[i], i, true, guest_writes);
    }
}
