/* The device; see virtio_blk.h. Home thread of the backend's context, unless said otherwise. */
#include "core/virtio_blk.h"

#include <errno.h>

#include "core/atomic.h"
#include "core/defer_call.h"
#include "core/fatal.h"
#include "core/lockable.h"
#include "core/thread.h"

struct VirtIOBlock {
    BlockBackend *blk;
    AioContext *ctx;
    bool polls;

    /* Main thread. While started and not stopping, the handler is there whenever the backend is not drained. */
    bool started, stopping;

    EventNotifier host_notifier; /* while started */
    EventNotifier guest_notifier;

    VirtIOBlockReq *avail[VIRTQUEUE_SIZE];
    uint32_t avail_idx;      /* atomic: guest writes */
    uint32_t last_avail_idx; /* the device's */
    bool kicks_disabled;     /* atomic: device writes */
    VirtIOBlockReq *used[VIRTQUEUE_SIZE];
    uint32_t used_idx;      /* atomic: device writes */
    uint32_t last_used_idx; /* the guest's */

    QemuMutex irq_lock; /* protects: */
    bool irq_masked, irq_pending;
};

/* ---- the guest ---- */

bool virtio_blk_put(VirtIOBlock *dev, VirtIOBlockReq **reqs, unsigned count)
{
    uint32_t idx = qatomic_read(&dev->avail_idx);

    for (unsigned i = 0; i < count; i++) {
        dev->avail[idx++ % VIRTQUEUE_SIZE] = reqs[i];
    }
    /* ORDER: the requests before avail_idx
     * PAIRS: virtio_blk_pop()
     * ELSE:  the device takes what is not there yet */
    qatomic_store_release(&dev->avail_idx, idx);

    /* ORDER: avail_idx before reading kicks_disabled
     * PAIRS: virtio_queue_set_notification()
     * ELSE:  the device has looked for the last time, and is not kicked; on a machine with store buffers */
    smp_mb();
    return !qatomic_read(&dev->kicks_disabled);
}

void virtio_blk_kick(VirtIOBlock *dev)
{
    event_notifier_set(&dev->host_notifier);
}

void virtio_blk_submit(VirtIOBlock *dev, VirtIOBlockReq **reqs, unsigned count)
{
    if (virtio_blk_put(dev, reqs, count)) {
        virtio_blk_kick(dev);
    }
}

VirtIOBlockReq *virtio_blk_reap(VirtIOBlock *dev)
{
    /* ORDER: used_idx before the request
     * PAIRS: virtio_blk_req_complete()
     * ELSE:  the guest takes what is not there yet */
    if (dev->last_used_idx == qatomic_load_acquire(&dev->used_idx)) {
        return NULL;
    }
    return dev->used[dev->last_used_idx++ % VIRTQUEUE_SIZE];
}

EventNotifier *virtio_blk_guest_notifier(VirtIOBlock *dev)
{
    return &dev->guest_notifier;
}

/* ---- interrupts ---- */

/* Deferred, or called at once. */
static void virtio_notify_irqfd_deferred_fn(void *opaque)
{
    VirtIOBlock *dev = opaque;

    QEMU_LOCK_GUARD(&dev->irq_lock);
    if (dev->irq_masked) {
        dev->irq_pending = true;
    } else {
        event_notifier_set(&dev->guest_notifier);
    }
}

/* An interrupt that waits for the end of the mask need not be asked for again. */
static void virtio_notify_irqfd(VirtIOBlock *dev)
{
    bool pending;

    qemu_mutex_lock(&dev->irq_lock);
    pending = dev->irq_pending;
    qemu_mutex_unlock(&dev->irq_lock);
    if (!pending) {
        defer_call(virtio_notify_irqfd_deferred_fn, dev);
    }
}

void virtio_blk_mask_irq(VirtIOBlock *dev, bool masked)
{
    QEMU_LOCK_GUARD(&dev->irq_lock);
    dev->irq_masked = masked;
    if (!masked && dev->irq_pending) {
        dev->irq_pending = false;
        event_notifier_set(&dev->guest_notifier);
    }
}

/* ---- requests ---- */

static void virtio_blk_req_complete(VirtIOBlockReq *req, int ret)
{
    VirtIOBlock *dev = req->dev;
    uint32_t idx = qatomic_read(&dev->used_idx);

    req->ret = ret;
    dev->used[idx % VIRTQUEUE_SIZE] = req;
    /* ORDER: the request before used_idx
     * PAIRS: virtio_blk_reap()
     * ELSE:  the guest takes what is not there yet */
    qatomic_store_release(&dev->used_idx, idx + 1);
    virtio_notify_irqfd(dev);
}

static void virtio_blk_rw_complete(void *opaque, int ret)
{
    virtio_blk_req_complete(opaque, ret);
}

static void virtio_blk_handle_request(VirtIOBlock *dev, VirtIOBlockReq *req)
{
    req->dev = dev;
    qemu_iovec_init_buf(&req->qiov, req->buf, (size_t)req->bytes);
    switch (req->type) {
    case VIRTIO_BLK_READ:
        blk_aio_preadv(dev->blk, req->offset, &req->qiov, 0, virtio_blk_rw_complete, req);
        break;
    case VIRTIO_BLK_WRITE:
        blk_aio_pwritev(dev->blk, req->offset, &req->qiov, 0, virtio_blk_rw_complete, req);
        break;
    case VIRTIO_BLK_FLUSH:
        blk_aio_flush(dev->blk, virtio_blk_rw_complete, req);
        break;
    }
}

static VirtIOBlockReq *virtio_blk_pop(VirtIOBlock *dev)
{
    if (dev->last_avail_idx == qatomic_load_acquire(&dev->avail_idx)) {
        return NULL;
    }
    return dev->avail[dev->last_avail_idx++ % VIRTQUEUE_SIZE];
}

static void virtio_queue_set_notification(VirtIOBlock *dev, bool enable)
{
    qatomic_set(&dev->kicks_disabled, !enable);
    if (enable) {
        /* ORDER: kicks_disabled before reading avail_idx again
         * PAIRS: virtio_blk_put()
         * ELSE:  the guest has seen kicks disabled, and the device has not seen its request */
        smp_mb();
    }
}

static bool virtio_queue_empty(VirtIOBlock *dev)
{
    return dev->last_avail_idx == qatomic_load_acquire(&dev->avail_idx);
}

static void virtio_blk_handle_vq(VirtIOBlock *dev)
{
    VirtIOBlockReq *req;

    defer_call_begin();
    do {
        virtio_queue_set_notification(dev, false);
        while ((req = virtio_blk_pop(dev))) {
            virtio_blk_handle_request(dev, req);
        }
        virtio_queue_set_notification(dev, true);
    } while (!virtio_queue_empty(dev));
    defer_call_end();
}

/* ---- the handler ---- */

static VirtIOBlock *device_of(EventNotifier *host_notifier)
{
    return (VirtIOBlock *)((char *)host_notifier - offsetof(VirtIOBlock, host_notifier));
}

static void virtio_queue_host_notifier_read(EventNotifier *n)
{
    if (event_notifier_test_and_clear(n)) {
        virtio_blk_handle_vq(device_of(n));
    }
}

static bool virtio_queue_host_notifier_aio_poll(void *opaque)
{
    return !virtio_queue_empty(device_of(opaque));
}

static void virtio_queue_host_notifier_aio_poll_ready(EventNotifier *n)
{
    virtio_blk_handle_vq(device_of(n));
}

static void virtio_queue_host_notifier_aio_poll_begin(EventNotifier *n)
{
    virtio_queue_set_notification(device_of(n), false);
}

static void virtio_queue_host_notifier_aio_poll_end(EventNotifier *n)
{
    /* What came while kicks were off was seen by the last look of the polling phase, or is seen by the next io_poll. */
    virtio_queue_set_notification(device_of(n), true);
}

/* Main thread. */
static void virtio_queue_aio_attach_host_notifier(VirtIOBlock *dev)
{
    /* It may have been detached in the middle of a polling phase, whose end did not come. */
    virtio_queue_set_notification(dev, true);
    if (dev->polls) {
        aio_set_event_notifier(dev->ctx, &dev->host_notifier, virtio_queue_host_notifier_read,
                               virtio_queue_host_notifier_aio_poll, virtio_queue_host_notifier_aio_poll_ready);
        aio_set_event_notifier_poll(dev->ctx, &dev->host_notifier, virtio_queue_host_notifier_aio_poll_begin,
                                    virtio_queue_host_notifier_aio_poll_end);
    } else {
        aio_set_event_notifier(dev->ctx, &dev->host_notifier, virtio_queue_host_notifier_read, NULL, NULL);
    }
    event_notifier_set(&dev->host_notifier); /* kicks that nobody heard */
}

/* Any thread. A handler that runs just now goes on; its requests wait in the backend's queue, or are waited for. */
static void virtio_queue_aio_detach_host_notifier(VirtIOBlock *dev)
{
    aio_set_event_notifier(dev->ctx, &dev->host_notifier, NULL, NULL, NULL);
}

static void virtio_blk_drained_begin(void *opaque)
{
    VirtIOBlock *dev = opaque;

    if (dev->started) {
        virtio_queue_aio_detach_host_notifier(dev);
    }
}

static void virtio_blk_drained_end(void *opaque)
{
    VirtIOBlock *dev = opaque;

    /* A section that ends while virtio_blk_stop() polls must not bring back what that has taken away (docs/findings.md, 10; fault
     * virtio-stopping-device-is-attached). */
    if (dev->started && !dev->stopping) {
        virtio_queue_aio_attach_host_notifier(dev);
    }
}

static const BlockDevOps virtio_block_ops = {
    .drained_begin = virtio_blk_drained_begin,
    .drained_end = virtio_blk_drained_end,
};

/* ---- life: main thread ---- */

static void virtio_blk_delete(VirtIOBlock *dev)
{
    blk_set_dev_ops(dev->blk, NULL, NULL);
    event_notifier_cleanup(&dev->guest_notifier);
    qemu_mutex_destroy(&dev->irq_lock);
    g_free(dev);
}

VirtIOBlock *virtio_blk_new(BlockBackend *blk, bool polls)
{
    VirtIOBlock *dev = g_new0(VirtIOBlock, 1);
    int ret = event_notifier_init(&dev->guest_notifier, false);

    dev->blk = blk;
    dev->ctx = blk_get_aio_context(blk);
    dev->polls = polls;
    qemu_mutex_init(&dev->irq_lock);
    blk_set_dev_ops(blk, &virtio_block_ops, dev);
    ret = ret < 0 ? ret : virtio_blk_start(dev);
    if (ret < 0) {
        virtio_blk_delete(dev);
        errno = -ret;
        return NULL;
    }
    return dev;
}

int virtio_blk_start(VirtIOBlock *dev)
{
    int ret;

    if (dev->started) {
        return 0;
    }
    ret = event_notifier_init(&dev->host_notifier, true);
    if (ret < 0) {
        return ret;
    }
    dev->started = true;
    if (!blk_is_quiesced(dev->blk)) {
        virtio_queue_aio_attach_host_notifier(dev); /* else the end of the section does it */
    }
    return 0;
}

/* In the home thread: then no handler is at work. The guest's last kick may not have been heard yet. */
static void virtio_blk_ioeventfd_stop_vq_bh(void *opaque)
{
    VirtIOBlock *dev = opaque;

    virtio_queue_aio_detach_host_notifier(dev);
    virtio_queue_host_notifier_read(&dev->host_notifier);
}

void virtio_blk_stop(VirtIOBlock *dev)
{
    if (!dev->started || dev->stopping) {
        return;
    }
    dev->stopping = true;
    if (!blk_is_quiesced(dev->blk)) {
        aio_wait_bh_oneshot(dev->ctx, virtio_blk_ioeventfd_stop_vq_bh, dev);
    }

    /* A kick of which only the section's end would have told the home thread. Here its requests go into the backend's queue. */
    virtio_queue_host_notifier_read(&dev->host_notifier);
    event_notifier_cleanup(&dev->host_notifier);
    dev->started = false; /* before the drain: sections have nothing to detach any more */
    blk_drain(dev->blk);
    dev->stopping = false;
}

bool virtio_blk_is_idle(VirtIOBlock *dev)
{
    return dev->last_avail_idx == qatomic_load_acquire(&dev->used_idx);
}

void virtio_blk_free(VirtIOBlock *dev)
{
    virtio_blk_stop(dev);
    virtio_blk_delete(dev);
}
