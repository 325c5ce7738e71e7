/* Contexts, submission and collection; see aio.h. */
#include "os/aio.h"

#include <stdio.h>
#include <string.h>

#include "os/clock.h"
#include "os/os.h"
#include "os/sanitizer.h"

#define PAGE_BYTES   4096u
#define PAGES_MAX    17u /* of a ring: (2 * OS_AIO_EVENTS_MAX + 2) * 32 + 32 bytes */
#define EVENTS_LEAST 8u /* Linux: four for each processor; here there are two */

extern void __asan_poison_memory_region(const volatile void *, size_t) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *, size_t) __attribute__((weak));

static OsAioContext contexts[OS_AIO_CONTEXTS_MAX];
static unsigned char rings[OS_AIO_CONTEXTS_MAX][PAGES_MAX * PAGE_BYTES] __attribute__((aligned(4096)));
unsigned os_aio_faults;

/* A program that looks into the ring after io_destroy() would be killed by a real kernel. */
static void poison(unsigned i, bool on)
{
    void (*change)(const volatile void *, size_t) = on ? __asan_poison_memory_region : __asan_unpoison_memory_region;

    if (change) {
        change(rings[i], sizeof(rings[i]));
    }
}

void os_aio_reset(void)
{
    os_aio_faults = 0;
    for (unsigned i = 0; i < OS_AIO_CONTEXTS_MAX; i++) {
        if (contexts[i].ring) {
            poison(i, true);
            contexts[i] = (OsAioContext){ 0 };
        }
    }
    os_aio_requests_reset();
    os_aio_kernel_reset();
}

/* ---- contexts */

static OsAioContext *context_of(aio_context_t id)
{
    for (unsigned i = 0; i < OS_AIO_CONTEXTS_MAX; i++) {
        if (contexts[i].ring && (aio_context_t)contexts[i].ring == id) {
            return contexts[i].dying ? NULL : &contexts[i];
        }
    }
    return NULL;
}

uintptr_t os_aio_object(aio_context_t id)
{
    const OsAioContext *context = context_of(id);

    return context ? context->serial : 0;
}

static uint32_t events_in(const OsAioRing *ring)
{
    uint32_t head = ring->head % ring->nr;

    return (ring->tail + ring->nr - head) % ring->nr;
}

/* As Linux: twice what was asked for, for the requests of all processors, in whole pages. */
static uint32_t ring_size(unsigned events)
{
    uint32_t wanted = 2 * (events > EVENTS_LEAST ? events : EVENTS_LEAST) + 2;
    size_t bytes = sizeof(OsAioRing) + wanted * sizeof(struct io_event);
    size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;

    return (uint32_t)((pages * PAGE_BYTES - sizeof(OsAioRing)) / sizeof(struct io_event));
}

static OsAioContext *free_context(unsigned *i)
{
    for (*i = 0; *i < OS_AIO_CONTEXTS_MAX; ++*i) {
        if (!contexts[*i].ring) {
            return &contexts[*i];
        }
    }
    sched_fail("unmodelled", "more than %u AIO contexts at once are not modelled", OS_AIO_CONTEXTS_MAX);
}

long os_aio_setup(unsigned events, aio_context_t *id)
{
    OsAioContext *context;
    unsigned i;

    os_reads(id, sizeof(*id));
    if (*id || !events) {
        return -EINVAL;
    }
    if (events > 65536) {
        return -EAGAIN; /* /proc/sys/fs/aio-max-nr */
    }
    if (events > OS_AIO_EVENTS_MAX) {
        sched_fail("unmodelled", "io_setup for more than %u events is not modelled", OS_AIO_EVENTS_MAX);
    }
    context = free_context(&i);
    poison(i, false);
    *context = (OsAioContext){ .ring = (OsAioRing *)rings[i], .serial = os_serial_new() };
    *context->ring = (OsAioRing){
        .id = i,
        .nr = ring_size(events),
        .magic = OS_AIO_RING_MAGIC,
        .compat_features = 1,
        .header_length = sizeof(OsAioRing),
    };
    os_aio_kernel_start();
    os_writes(id, sizeof(*id));
    *id = (aio_context_t)context->ring;
    return 0;
}

long os_aio_destroy(aio_context_t id)
{
    OsAioContext *context = context_of(id);
    SchedBlock block = { .call = SCHED_CALL_IO_GETEVENTS, .deadline_ns = SCHED_FOREVER };

    if (!context) {
        return -EINVAL;
    }
    context->dying = true;
    sched_queue_wake_all(&context->waiters);
    block.object = (const void *)(uintptr_t)context->serial;
    while (context->in_flight) {
        SchedWaiter waiter = { 0 };

        sched_queue_add(&context->destroyer, &waiter);
        sched_block(&block);
        sched_queue_remove(&waiter);
    }
    poison((unsigned)(context - contexts), true);
    *context = (OsAioContext){ 0 };
    return 0;
}

/* ---- submission */

bool os_aio_fault(unsigned kind)
{
    enum { ONE_OF = 8 };

    return (os_aio_faults & kind) && sched_choose(ONE_OF) == 1;
}

/* How many of the batch are let in; 0: EAGAIN. Linux takes fewer where the ring has no room for more. A program is only told to come
 * again where something is under way that lets it know when. */
static long batch_limit(const OsAioContext *context, long count)
{
    long room = (long)context->ring->nr - 1 - context->in_flight - events_in(context->ring);
    bool busy = context->in_flight || events_in(context->ring);

    if (count > 0 && busy && os_aio_fault(OS_AIO_EAGAIN)) {
        return 0;
    }
    if (count > 1 && os_aio_fault(OS_AIO_SHORT_BATCH)) {
        count = 1 + (long)sched_choose((unsigned)(count - 1));
    }
    return count < room ? count : room;
}

static void begin(OsAioRequest *request)
{
    request->context->in_flight++;
    os_release(request); /* what the program did before io_submit() comes before what the kernel does with its memory */
    if (os_aio_is_synchronous(request) || (request->direct && sched_choose(2) == 1)) {
        os_aio_complete(request);
    } else {
        os_aio_kernel_queue(request);
    }
}

long os_aio_submit(aio_context_t id, long count, struct iocb **iocbs)
{
    OsAioContext *context = context_of(id);
    long limit;

    if (!context || count < 0) {
        return -EINVAL;
    }
    if (count && os_aio_fault(OS_AIO_REFUSED)) {
        return -ENOMEM;
    }
    limit = batch_limit(context, count);
    for (long i = 0; i < count; i++) {
        OsAioRequest *request;
        int error;

        os_reads(&iocbs[i], sizeof(uintptr_t));
        error = i == limit ? -EAGAIN : os_aio_prepare(context, iocbs[i], &request);
        if (error) {
            return i ? i : error;
        }
        begin(request);
    }
    return count;
}

/* Linux cancels nothing that a disk does. */
long os_aio_cancel(aio_context_t id, struct iocb *iocb, struct io_event *result)
{
    (void)id;
    (void)iocb;
    (void)result;
    return -EINVAL;
}

/* ---- collection */

static long take_events(OsAioContext *context, long most, struct io_event *events)
{
    OsAioRing *ring = context->ring;
    uint32_t head = ring->head % ring->nr;
    long count = 0;

    os_acquire(&ring->tail);
    for (; count < most && head != ring->tail; count++) {
        os_writes(&events[count], sizeof(events[count]));
        os_copy(&events[count], &ring->events[head], sizeof(events[count]));
        head = (head + 1) % ring->nr;
    }
    if (count) {
        SCHED_NOTE_STORE("ring->head", &ring->head, head);
        ring->head = head;
    }
    return count;
}

static SchedWake wait_for_events(OsAioContext *context, uint64_t deadline_ns)
{
    SchedBlock block = {
        .call = SCHED_CALL_IO_GETEVENTS,
        .spurious_ok = true,
        .object = (const void *)(uintptr_t)context->serial,
        .deadline_ns = deadline_ns,
    };
    SchedWaiter waiter = { 0 };
    SchedWake wake;

    sched_queue_add(&context->waiters, &waiter);
    wake = sched_block(&block);
    sched_queue_remove(&waiter);
    return wake;
}

long os_aio_getevents(aio_context_t id, long least, long most, struct io_event *events, const struct timespec *timeout)
{
    OsAioContext *context = context_of(id);
    uint64_t deadline_ns = SCHED_FOREVER;
    SchedWake wake = SCHED_WOKEN;
    long count = 0;

    if (timeout) {
        uint64_t span_ns = os_span_ns(timeout);

        if (span_ns == UINT64_MAX) {
            return -EINVAL;
        }
        deadline_ns = sched_now_ns() + span_ns;
    }
    if (!context || least < 0 || most < least) {
        return -EINVAL;
    }
    for (;;) {
        count += take_events(context, most - count, events + count);
        if (count >= least || wake == SCHED_TIMEOUT || deadline_ns <= sched_now_ns()) {
            return count;
        }
        if (wake == SCHED_SPURIOUS) {
            return count ? count : -EINTR;
        }
        wake = wait_for_events(context, deadline_ns);
        if (context->dying || !context->ring) {
            return count ? count : -EINVAL;
        }
    }
}

/* ---- what the oracles ask */

void os_aio_set_faults(unsigned faults)
{
    os_aio_faults = faults;
}

uint64_t os_aio_contexts_left(void)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < OS_AIO_CONTEXTS_MAX; i++) {
        count += contexts[i].ring != NULL;
    }
    return count;
}

uint64_t os_aio_events_left(void)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < OS_AIO_CONTEXTS_MAX; i++) {
        count += contexts[i].ring ? events_in(contexts[i].ring) : 0;
    }
    return count;
}

void os_describe_aio_events_left(char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < OS_AIO_CONTEXTS_MAX && used < size; i++) {
        uint32_t count = contexts[i].ring ? events_in(contexts[i].ring) : 0;

        if (count) {
            used += (size_t)snprintf(text + used, size - used, "%s%u in the ring of context %u", used ? "; " : "", count, i);
        }
    }
}
