#include "fuzz/scenario_guest.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>

#include "core/atomic.h"
#include "fuzz/fuzz.h"

/* Writes and reads of the same sector by turns. */
static void fill(ScenarioGuest *guest, unsigned i)
{
    unsigned sector = i / 2;

    memset(guest->data[i], i % 2 ? 0 : (int)(1 + sector), GUEST_SECTOR);
    guest->reqs[i] = (VirtIOBlockReq){
        .type = i % 2 ? VIRTIO_BLK_READ : VIRTIO_BLK_WRITE,
        .offset = (int64_t)sector * GUEST_SECTOR,
        .bytes = GUEST_SECTOR,
        .buf = guest->data[i],
        .ret = -EINPROGRESS,
    };
}

static void check_one(ScenarioGuest *guest, VirtIOBlockReq *req)
{
    unsigned i = (unsigned)(req - guest->reqs);

    fuzz_check(i < guest->request_count);
    fuzz_check(__atomic_fetch_add(&guest->ended[i], 1, __ATOMIC_SEQ_CST) == 0);
    fuzz_check(req->ret == 0);
    if (i % 2) {
        uint8_t first = guest->data[i][0];

        fuzz_check(first == 0 || first == 1 + i / 2); /* the write of the same batch may come after the read */
        fuzz_check(guest->batch > 1 || first == 1 + i / 2);
        fuzz_check(memcmp(guest->data[i], guest->data[i] + 1, GUEST_SECTOR - 1) == 0);
    }
    __atomic_fetch_add(&guest->done, 1, __ATOMIC_SEQ_CST);
}

static void reap(ScenarioGuest *guest)
{
    VirtIOBlockReq *req;

    while ((req = virtio_blk_reap(guest->device))) {
        check_one(guest, req);
    }
}

static void sleep_until_interrupted(ScenarioGuest *guest)
{
    struct pollfd request = { .fd = event_notifier_get_fd(virtio_blk_guest_notifier(guest->device)), .events = POLLIN };

    while (poll(&request, 1, -1) <= 0) {
        /* interrupted by a signal */
    }
    event_notifier_test_and_clear(virtio_blk_guest_notifier(guest->device));
}

/* A virtual CPU stands still after any instruction, also with its requests in the ring and the kick to come. */
static void submit(ScenarioGuest *guest, VirtIOBlockReq **list, unsigned count)
{
    if (virtio_blk_put(guest->device, list, count) && !qatomic_read(&guest->stop)) {
        virtio_blk_kick(guest->device);
        guest->kicked = guest->sent;
    }
}

static void *guest_thread(void *opaque)
{
    ScenarioGuest *guest = opaque;

    while (guest->sent < guest->request_count && !qatomic_read(&guest->stop)) {
        VirtIOBlockReq *list[GUEST_REQUESTS_MAX];
        unsigned count = MIN(guest->batch, guest->request_count - guest->sent);

        for (unsigned i = 0; i < count; i++) {
            fill(guest, guest->sent + i);
            list[i] = &guest->reqs[guest->sent + i];
        }
        __atomic_fetch_add(&guest->sent, count, __ATOMIC_SEQ_CST);
        submit(guest, list, count);
        for (reap(guest); guest->done < guest->sent && !qatomic_read(&guest->stop); reap(guest)) {
            sleep_until_interrupted(guest);
        }
    }
    return NULL;
}

void scenario_guest_start(ScenarioGuest *guest, VirtIOBlock *device, unsigned request_count, unsigned batch)
{
    *guest = (ScenarioGuest){ .device = device, .request_count = request_count, .batch = batch };
    qemu_thread_create(&guest->thread, "guest", guest_thread, guest, QEMU_THREAD_JOINABLE);
}

void scenario_guest_pause(ScenarioGuest *guest)
{
    bool locked = bql_locked();

    qatomic_set(&guest->stop, true);
    event_notifier_set(virtio_blk_guest_notifier(guest->device)); /* as the signal does that kicks a virtual CPU */
    if (locked) {
        bql_unlock();
    }
    qemu_thread_join(&guest->thread);
    if (locked) {
        bql_lock();
    }
}

void scenario_guest_check(ScenarioGuest *guest)
{
    reap(guest);
    for (unsigned i = 0; i < guest->sent; i++) {
        fuzz_check(guest->ended[i] <= 1);
    }
    fuzz_check(guest->done >= guest->kicked);
}
