/*
 * Kernel AIO: what io_setup(2), io_submit(2) and their like do, and the ring of completions that the program reads itself.
 *
 *     step | the program                               | the kernel (a daemon of the scheduler, and the submitter's own thread)
 *     -----+-------------------------------------------+-------------------------------------------------------------
 *        1 | io_submit: hands requests over            |
 *        2 |                                           | moves the data of one of them: which one is a decision
 *        3 |                                           | writes its event into the ring, then the ring's tail
 *        4 |                                           | adds 1 to the eventfd that the request names
 *        5 | sees the tail move, or wakes by the       |
 *          | eventfd; reads events; writes the head    |
 *
 * Steps 2 and 3 are one scheduling point (io_complete, on the ring's tail), step 4 is another (write, on the eventfd): a program
 * that looks at the ring by itself may find an event whose eventfd comes later, as on a real machine.
 *
 * Who does 2 to 4:
 *   buffered reads and writes      the submitter, inside io_submit: Linux copies from and to the page cache there
 *   O_DIRECT reads and writes      the kernel thread, after that of which all threads sleep where the order is first-in-first-out;
 *                                  or the submitter, if the input says so (a device that is done at once)
 *   what O_DIRECT does not allow   the submitter: the event says EINVAL
 *   fsync, fdsync                  the kernel thread
 *
 * Fibers only, unless said otherwise.
 *
 * 1. A request is in flight from io_submit until its event is in the ring and its eventfd is told. It holds its file and its eventfd:
 *    closing a descriptor does not disturb it.
 * 2. As long as an asynchronous request is in flight the kernel thread is enabled: then the execution is not quiescent.
 * 3. in_flight plus the events in the ring never exceed the ring's size less 1: an event always finds room.
 * 4. Errors, short transfers, short batches and EAGAIN come only where os_aio_set_faults() allows them, or where Linux would have them
 *    for what the program did.
 */
#ifndef WAKEFUZZ_OS_AIO_H
#define WAKEFUZZ_OS_AIO_H

#include <linux/aio_abi.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <time.h>

#include "os/fd.h"

#define OS_AIO_CONTEXTS_MAX 16u
#define OS_AIO_EVENTS_MAX   1024u /* that io_setup can ask for */

/* What io_context_t points to: the layout is part of Linux's interface with user space. */
typedef struct OsAioRing {
    uint32_t id;
    uint32_t nr;   /* events in the ring */
    uint32_t head; /* the program's, or io_getevents's */
    uint32_t tail; /* the kernel's */
    uint32_t magic;
    uint32_t compat_features;
    uint32_t incompat_features;
    uint32_t header_length;
    struct io_event events[];
} OsAioRing;

#define OS_AIO_RING_MAGIC 0xa10a10a1u

typedef struct OsAioContext {
    OsAioRing *ring;     /* NULL: free */
    uint32_t serial;     /* the object of io_submit */
    uint32_t in_flight;
    bool dying;          /* in io_destroy() */
    SchedQueue waiters;    /* in io_getevents() */
    SchedQueue destroyer;  /* in io_destroy() */
} OsAioContext;

typedef struct OsAioRequest {
    OsAioContext *context;
    struct iocb iocb;    /* as it was when it was submitted */
    struct iocb *user;   /* where: the program knows its request by that */
    OsFile *file;        /* held; NULL: fd is a real descriptor */
    OsFile *eventfd;     /* held; or NULL */
    const struct iovec *vector; /* copied */
    int vector_count;
    bool direct;
    TAILQ_ENTRY(OsAioRequest) next; /* in flight, or free */
} OsAioRequest;

/* ---- calls (aio.c); all return a negative errno. The callers have made the scheduling point. */

long os_aio_setup(unsigned events, aio_context_t *id);
long os_aio_destroy(aio_context_t id);
long os_aio_submit(aio_context_t id, long count, struct iocb **iocbs);
long os_aio_cancel(aio_context_t id, struct iocb *iocb, struct io_event *result);
long os_aio_getevents(aio_context_t id, long least, long most, struct io_event *events, const struct timespec *timeout);

/* The object of scheduling points on a context. */
uintptr_t os_aio_object(aio_context_t id);

/* ---- requests (aio_request.c) */

/* Check an iocb and make a request of it. 0 or a negative errno: then io_submit stops there. */
int os_aio_prepare(OsAioContext *context, struct iocb *user, OsAioRequest **request);
/* Move the data, or sync. The result of the event. */
long os_aio_perform(OsAioRequest *request);
/* Is it done before io_submit returns, whatever the input says? */
bool os_aio_is_synchronous(const OsAioRequest *request);
void os_aio_release(OsAioRequest *request);
void os_aio_requests_reset(void);

/* ---- completion (aio_kernel.c) */

/* The kernel thread lives from the first io_setup() on. */
void os_aio_kernel_start(void);
void os_aio_kernel_reset(void);
/* The request is the kernel thread's from now on. */
void os_aio_kernel_queue(OsAioRequest *request);
/* Steps 2 to 4, by the calling thread; the request is gone then. */
void os_aio_complete(OsAioRequest *request);

/* ---- faults (os.h) */

extern unsigned os_aio_faults;
/* A decision, 0 in first-in-first-out order, that comes true in one of about eight others: does this kind of fault happen now? */
bool os_aio_fault(unsigned kind);

/* syscall(SYS_io_...): true when it was one of ours; *result is as that of syscall(). */
bool os_aio_syscall(long number, const long *argument, long *result, void *site, void *frame);

void os_aio_reset(void);

#endif
