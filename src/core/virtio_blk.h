/*
 * A block device after the way of virtio-blk with ioeventfd and irqfd: guest and device share a ring, tell each other by eventfds, and the
 * device puts the telling off to the end of a deferred-call section.
 *
 *     guest (any one thread)                          device (the backend's context)
 *     1  avail[avail_idx] = request
 *     2  avail_idx + 1; barrier
 *     3  kicks_disabled == 0: sets host_notifier
 *                                                     a  host_notifier, or polling: kicks_disabled = 1
 *                                                     b  takes requests up to avail_idx; starts each of them
 *                                                     c  kicks_disabled = 0; barrier; avail_idx moved: back to a
 *                                                     d  a request ends: used[used_idx] = request; used_idx + 1
 *                                                     e  at the end of the section: sets guest_notifier, or, where
 *                                                        the interrupt is masked, notes that it is pending
 *     4  guest_notifier: takes requests up to used_idx
 *
 * While the backend is drained the handler of host_notifier is away; when it comes back it sets the notifier itself, as kicks may have
 * gone unheard, and lets kicks come again (QEMU 5bdbaebcce; fault virtio-attach-leaves-kicks-off).
 *
 * When the machine stops, the guest stands still. Its last kick is served by the bottom half that removes the handler; the main thread polls
 * for that, and a drained section may begin and end meanwhile: it does not attach a device that is stopping.
 *
 * Invariants
 *  1. The guest writes avail and avail_idx, the device used, used_idx and kicks_disabled. No more than VIRTQUEUE_SIZE requests are
 *     between 1 and 4.
 *  2. irq_lock is never held where a function is deferred: outside of a section that function runs at once, and takes it
 *     (QEMU 66547f416a; fault defer-call-runs-under-lock).
 *
 * From QEMU: hw/block/virtio-blk.c, hw/virtio/virtio.c.
 */
#ifndef WAKEFUZZ_CORE_VIRTIO_BLK_H
#define WAKEFUZZ_CORE_VIRTIO_BLK_H

#include "core/block_backend.h"

#define VIRTQUEUE_SIZE 16u

typedef struct VirtIOBlock VirtIOBlock;

typedef enum VirtIOBlockType { VIRTIO_BLK_READ, VIRTIO_BLK_WRITE, VIRTIO_BLK_FLUSH } VirtIOBlockType;

/* Belongs to the device from virtio_blk_submit() until virtio_blk_reap() returns it. */
typedef struct VirtIOBlockReq {
    VirtIOBlockType type;
    int64_t offset, bytes; /* multiples of BDRV_SECTOR_SIZE; not for a flush */
    void *buf;
    int ret;

    /* The device's. */
    VirtIOBlock *dev;
    QEMUIOVector qiov;
} VirtIOBlockReq;

/* A device on the backend, which it owns until it is freed, in the backend's context. polls: the context may poll the ring in user
 * space. NULL with errno. Main thread. */
VirtIOBlock *virtio_blk_new(BlockBackend *blk, bool polls);
/* As the machine stops, when the guest stands still: serve the guest's last kick, look at the ring no more, and wait for the requests that
 * were taken from it. What was put there without a kick, because the guest was stopped before it, or as it saw kicks disabled, stays
 * there. Main thread; polls. */
void virtio_blk_stop(VirtIOBlock *dev);
/* Look at it again: as the machine goes on. A new device has started. 0, or a negative errno where the kernel has no more descriptors.
 * Main thread; does not poll. */
int virtio_blk_start(VirtIOBlock *dev);
/* Has each request that was taken from the ring ended? In the home thread, or after virtio_blk_stop(). */
bool virtio_blk_is_idle(VirtIOBlock *dev);
/* Stop it, wait for its requests, free it. All requests that ended are in the used ring before: the guest must have reaped what it wants.
 * Main thread; polls. */
void virtio_blk_free(VirtIOBlock *dev);

/* ---- the guest: one thread at a time; never block */

/* Put requests into the ring and kick once: virtio_blk_put(), and where that returns that the device wants it, virtio_blk_kick(). A virtual
 * CPU may be stopped between the two; a device that has stopped is not kicked. */
void virtio_blk_submit(VirtIOBlock *dev, VirtIOBlockReq **reqs, unsigned count);
bool virtio_blk_put(VirtIOBlock *dev, VirtIOBlockReq **reqs, unsigned count);
void virtio_blk_kick(VirtIOBlock *dev);
/* The next request that has ended; NULL: none. */
VirtIOBlockReq *virtio_blk_reap(VirtIOBlock *dev);
/* Readable when the device has interrupted; to be cleared before reaping. */
EventNotifier *virtio_blk_guest_notifier(VirtIOBlock *dev);
/* While masked, interrupts are kept; at the end of it one is made if there were any. Any thread. */
void virtio_blk_mask_irq(VirtIOBlock *dev, bool masked);

#endif
