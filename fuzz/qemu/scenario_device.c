/* See scenario_device.h. */
#include "fuzz/qemu/scenario_device.h"

#include "qemu/defer-call.h"

/* ---- the device: in the queue's context, if nothing else is said */

static void interrupt_guest(void *opaque)
{
    DeviceQueue *queue = opaque;

    qemu_mutex_lock(&queue->lock);
    qemu_cond_signal(&queue->interrupt);
    qemu_mutex_unlock(&queue->lock);
}

static bool keep_failed(DeviceRequest *request)
{
    Device *device = request->queue->device;
    bool keeps;

    qemu_mutex_lock(&device->lock);
    keeps = device->stops;
    if (keeps) {
        QSLIST_INSERT_HEAD(&device->failed, request, next_failed);
    }
    qemu_mutex_unlock(&device->lock);
    return keeps;
}

/* Also in the backend's context. */
static void request_ended(void *opaque, int result)
{
    DeviceRequest *request = opaque;
    DeviceQueue *queue = request->queue;

    fuzz_check(request->under_way);
    request->under_way = false;
    if (result < 0) {
        fuzz_check(result == -ENOMEDIUM);
        fuzz_reached("request-without-medium");
        if (keep_failed(request)) {
            return;
        }
    }
    request->result = result;
    qemu_mutex_lock(&queue->lock);
    queue->ended++;
    qemu_mutex_unlock(&queue->lock);
    defer_call(interrupt_guest, queue);
}

static void start_request(DeviceRequest *request)
{
    BlockBackend *blk = request->queue->device->blk;

    fuzz_check(!request->under_way);
    request->under_way = true;
    switch (request->type) {
    case DEVICE_WRITE:
        blk_aio_pwritev(blk, request->offset, &request->qiov, 0, request_ended, request);
        break;
    case DEVICE_READ:
        blk_aio_preadv(blk, request->offset, &request->qiov, 0, request_ended, request);
        break;
    default:
        blk_aio_flush(blk, request_ended, request);
        break;
    }
}

static bool ring_is_empty(DeviceQueue *queue)
{
    return qatomic_load_acquire(&queue->available) == queue->taken;
}

static void serve_ring(DeviceQueue *queue)
{
    defer_call_begin();
    while (!ring_is_empty(queue)) {
        start_request(&queue->requests[queue->taken++ % queue->batch]);
    }
    defer_call_end();
}

static void kicked(EventNotifier *kick)
{
    if (event_notifier_test_and_clear(kick)) {
        serve_ring(container_of(kick, DeviceQueue, kick));
    }
}

static bool poll_ring(void *opaque)
{
    return !ring_is_empty(container_of((EventNotifier *)opaque, DeviceQueue, kick));
}

static void ring_polled(EventNotifier *kick)
{
    serve_ring(container_of(kick, DeviceQueue, kick));
}

static void stop_queue(void *opaque)
{
    DeviceQueue *queue = opaque;

    aio_set_event_notifier(queue->context, &queue->kick, NULL, NULL, NULL);
    kicked(&queue->kick);
}

typedef struct Restart {
    DeviceQueue *queue;
    QSLIST_HEAD(, DeviceRequest) failed;
} Restart;

static void restart_queue(void *opaque)
{
    Restart *restart = opaque;
    BlockBackend *blk = restart->queue->device->blk;

    while (!QSLIST_EMPTY(&restart->failed)) {
        DeviceRequest *request = QSLIST_FIRST(&restart->failed);

        QSLIST_REMOVE_HEAD(&restart->failed, next_failed);
        start_request(request);
    }
    g_free(restart);
    blk_dec_in_flight(blk);
}

/* ---- the device: in the main thread */

static void attach(Device *device)
{
    for (unsigned i = 0; i < device->queue_count; i++) {
        DeviceQueue *queue = &device->queues[i];

        aio_set_event_notifier(queue->context, &queue->kick, kicked, poll_ring, ring_polled);
        event_notifier_set(&queue->kick); /* as virtio.c does: the ring is looked at in any case */
    }
}

static void detach(Device *device)
{
    for (unsigned i = 0; i < device->queue_count; i++) {
        aio_set_event_notifier(device->queues[i].context, &device->queues[i].kick, NULL, NULL, NULL);
    }
}

static void drained_begin(void *opaque)
{
    Device *device = opaque;

    if (device->started) {
        detach(device);
    }
}

static void drained_end(void *opaque)
{
    Device *device = opaque;

    if (device->started) {
        attach(device);
    }
}

static void resized_bh(void *opaque)
{
    Device *device = opaque;

    device->resizes++;
}

static void resized(void *opaque)
{
    aio_bh_schedule_oneshot(qemu_get_aio_context(), resized_bh, opaque);
}

static const BlockDevOps device_ops = { .resize_cb = resized, .drained_begin = drained_begin, .drained_end = drained_end };

void scenario_device_start(Device *device, unsigned first)
{
    Scenario *scenario = device->scenario;

    for (unsigned i = 0; i < device->queue_count; i++) {
        device->queues[i].context = scenario_context(scenario, 1 + (first + i) % scenario->thread_count);
    }
    blk_set_aio_context(device->blk, device->queues[0].context, NULL);
    device->started = true;
    smp_wmb();
    if (!blk_in_drain(device->blk)) {
        attach(device);
    }
}

void scenario_device_stop(Device *device)
{
    if (!blk_in_drain(device->blk)) {
        for (unsigned i = 0; i < device->queue_count; i++) {
            aio_wait_bh_oneshot(device->queues[i].context, stop_queue, &device->queues[i]);
        }
    }
    device->started = false;
    blk_drain(device->blk);
    for (unsigned i = 0; i < device->queue_count; i++) {
        for (unsigned j = 0; j < device->queues[i].batch; j++) {
            fuzz_check(!device->queues[i].requests[j].under_way);
        }
    }
    blk_set_aio_context(device->blk, qemu_get_aio_context(), NULL);
}

void scenario_device_restart(Device *device)
{
    Restart *restarts[DEVICE_QUEUES_MAX] = { NULL };

    qemu_mutex_lock(&device->lock);
    while (!QSLIST_EMPTY(&device->failed)) {
        DeviceRequest *request = QSLIST_FIRST(&device->failed);
        Restart **restart = &restarts[request->queue - device->queues];

        QSLIST_REMOVE_HEAD(&device->failed, next_failed);
        if (!*restart) {
            *restart = g_new0(Restart, 1);
            (*restart)->queue = request->queue;
        }
        QSLIST_INSERT_HEAD(&(*restart)->failed, request, next_failed);
    }
    qemu_mutex_unlock(&device->lock);
    for (unsigned i = 0; i < device->queue_count; i++) {
        if (restarts[i]) {
            fuzz_reached("failed-request-restarted");
            blk_inc_in_flight(device->blk);
            aio_bh_schedule_oneshot(device->queues[i].context, restart_queue, restarts[i]);
        }
    }
}

/* ---- the guest: in its own thread */

static void put_batch(DeviceQueue *queue, unsigned round)
{
    for (unsigned i = 0; i < queue->batch; i++) {
        DeviceRequest *request = &queue->requests[i];

        request->type = round == 0 ? DEVICE_WRITE : (queue->types >> (2 * i) & 3) % 3;
        if (request->type == DEVICE_WRITE) {
            memset(request->buffer, ++request->pattern, DEVICE_SECTOR_BYTES);
        } else {
            memset(request->buffer, ~request->pattern, DEVICE_SECTOR_BYTES);
        }
    }
    qatomic_store_release(&queue->available, queue->available + queue->batch);
    event_notifier_set(&queue->kick);
}

static void wait_for_batch(DeviceQueue *queue, unsigned round)
{
    qemu_mutex_lock(&queue->lock);
    while (queue->ended != (round + 1) * queue->batch) {
        qemu_cond_wait(&queue->interrupt, &queue->lock);
    }
    qemu_mutex_unlock(&queue->lock);
}

static void check_batch(DeviceQueue *queue)
{
    for (unsigned i = 0; i < queue->batch; i++) {
        DeviceRequest *request = &queue->requests[i];

        if (request->type == DEVICE_WRITE && request->result < 0) {
            request->pattern--;
        } else if (request->type == DEVICE_READ && request->result == 0) {
            uint8_t pattern = queue->device->forgets ? 0 : request->pattern;

            fuzz_check(request->buffer[0] == pattern && request->buffer[DEVICE_SECTOR_BYTES - 1] == pattern);
        }
    }
}

static void *guest_thread(void *opaque)
{
    DeviceQueue *queue = opaque;

    for (unsigned i = 0; i < queue->rounds; i++) {
        put_batch(queue, i);
        wait_for_batch(queue, i);
        check_batch(queue);
    }
    return NULL;
}

/* ---- both */

void scenario_device_read(Device *device, FuzzInput *in)
{
    uint8_t flags = fuzz_byte(in);

    *device = (Device){ .queue_count = 1 + (flags & 1), .stops = flags & 2 };
    for (unsigned i = 0; i < device->queue_count; i++) {
        device->queues[i].batch = 1 + (flags >> 2) % DEVICE_BATCH_MAX;
        device->queues[i].rounds = 1 + 3 * (flags >> 4 & 3);
        device->queues[i].types = fuzz_byte(in);
    }
}

static void begin_queue(Device *device, unsigned number)
{
    DeviceQueue *queue = &device->queues[number];

    queue->device = device;
    qemu_mutex_init(&queue->lock);
    qemu_cond_init(&queue->interrupt);
    fuzz_check(event_notifier_init(&queue->kick, false) == 0);
    for (unsigned i = 0; i < queue->batch; i++) {
        DeviceRequest *request = &queue->requests[i];

        request->queue = queue;
        request->offset = (number * DEVICE_BATCH_MAX + i) * DEVICE_SECTOR_BYTES;
        qemu_iovec_init_buf(&request->qiov, request->buffer, DEVICE_SECTOR_BYTES);
    }
}

void scenario_device_begin(Device *device, Scenario *scenario, BlockBackend *blk, bool forgets)
{
    device->forgets = forgets;
    device->scenario = scenario;
    device->blk = blk;
    qemu_mutex_init(&device->lock);
    QSLIST_INIT(&device->failed);
    for (unsigned i = 0; i < device->queue_count; i++) {
        begin_queue(device, i);
    }
    blk_set_dev_ops(blk, &device_ops, device);
    scenario_device_start(device, 0);
    for (unsigned i = 0; i < device->queue_count; i++) {
        qemu_thread_create(&device->queues[i].guest, "guest", guest_thread, &device->queues[i], QEMU_THREAD_JOINABLE);
    }
}

void scenario_device_end(Device *device)
{
    qemu_mutex_lock(&device->lock);
    device->stops = false;
    qemu_mutex_unlock(&device->lock);
    scenario_device_restart(device);
    for (unsigned i = 0; i < device->queue_count; i++) {
        qemu_thread_join(&device->queues[i].guest);
    }
    scenario_device_stop(device);
    blk_set_dev_ops(device->blk, NULL, NULL);
}

void scenario_device_destroy(Device *device)
{
    for (unsigned i = 0; i < device->queue_count; i++) {
        event_notifier_cleanup(&device->queues[i].kick);
        qemu_cond_destroy(&device->queues[i].interrupt);
        qemu_mutex_destroy(&device->queues[i].lock);
    }
    qemu_mutex_destroy(&device->lock);
}
