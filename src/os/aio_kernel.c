/*
 * Completion, and the thread of the simulated kernel that does it for asynchronous requests; see aio.h.
 *
 * The kernel thread is a daemon of the scheduler: base policies, constraints and overrides decide when it runs, as for every other
 * thread, and which request it completes is one more decision of it. Where the order is first-in-first-out it completes them in the
 * order of submission, one whenever nobody else can run.
 */
#include "os/aio.h"

#include "os/os.h"
#include "os/sanitizer.h"

static TAILQ_HEAD(, OsAioRequest) in_flight = TAILQ_HEAD_INITIALIZER(in_flight);
static unsigned in_flight_count;
static SchedQueue idle; /* the kernel thread, when nothing is in flight */
static bool started;

char os_barrier;

void os_aio_kernel_reset(void)
{
    TAILQ_INIT(&in_flight);
    in_flight_count = 0;
    idle = (SchedQueue){ 0 };
    started = false;
}

/* ---- one completion */

/* The event first, then the tail: a program that sees the tail finds the event. */
static void put_event(OsAioRequest *request, long result)
{
    OsAioRing *ring = request->context->ring;
    uint32_t tail = ring->tail, next = (tail + 1) % ring->nr;

    ring->events[tail] = (struct io_event){
        .data = request->iocb.aio_data,
        .obj = (uint64_t)(uintptr_t)request->user,
        .res = result,
    };
    os_release(&ring->tail);
    os_release(&os_barrier);
    SCHED_NOTE_STORE("ring->tail", &ring->tail, next);
    __atomic_store_n(&ring->tail, next, __ATOMIC_RELEASE);
}

/* Its return address is in os_aio_complete(), which is what a report names. */
static __attribute__((noinline)) void complete_point(uintptr_t object)
{
    SCHED_POINT(SCHED_CALL_IO_COMPLETE, object);
}

static __attribute__((noinline)) void signal_point(uintptr_t object)
{
    SCHED_POINT(SCHED_CALL_WRITE, object);
}

static void finish(OsAioRequest *request)
{
    OsAioContext *context = request->context;

    put_event(request, os_aio_perform(request));
    if (request->eventfd) {
        signal_point(request->eventfd->serial);
        os_eventfd_complete(request->eventfd);
    }
    sched_queue_wake_all(&context->waiters);
    if (--context->in_flight == 0) {
        sched_queue_wake_all(&context->destroyer);
    }
    os_aio_release(request);
}

void os_aio_complete(OsAioRequest *request)
{
    complete_point((uintptr_t)&request->context->ring->tail);
    finish(request);
}

/* ---- the kernel thread */

static void wait_for_requests(void)
{
    SchedBlock block = { .call = SCHED_CALL_IO_COMPLETE, .deadline_ns = SCHED_FOREVER };
    SchedWaiter waiter = { 0 };

    sched_queue_add(&idle, &waiter);
    sched_block(&block);
    sched_queue_remove(&waiter);
}

static OsAioRequest *choose_request(void)
{
    OsAioRequest *request = TAILQ_FIRST(&in_flight);

    for (unsigned n = sched_choose(in_flight_count); n; n--) {
        request = TAILQ_NEXT(request, next);
    }
    TAILQ_REMOVE(&in_flight, request, next);
    in_flight_count--;
    return request;
}

/* The point comes before the choice: what is submitted until this thread runs again may be chosen too. */
static void complete_one(void)
{
    OsAioRequest *request;

    complete_point((uintptr_t)&TAILQ_FIRST(&in_flight)->context->ring->tail);
    if (sched_daemon_must_end()) {
        return;
    }
    request = choose_request();
    os_acquire(request);
    finish(request);
}

static void *kernel_main(void *unused)
{
    while (!sched_daemon_must_end()) {
        if (in_flight_count) {
            complete_one();
        } else {
            wait_for_requests();
        }
    }
    return unused;
}

void os_aio_kernel_start(void)
{
    if (!started) {
        started = true;
        sched_daemon_create(kernel_main, NULL, "kernel");
    }
}

void os_aio_kernel_queue(OsAioRequest *request)
{
    TAILQ_INSERT_TAIL(&in_flight, request, next);
    in_flight_count++;
    sched_queue_wake_all(&idle);
}
