/*
 * Linux AIO: requests of coroutines to files, by io_submit(2) and a ring of completions.
 *
 * Each AioContext has one LinuxAioState, made at first use and freed with the context. Requests wait in a queue until a batch of them is
 * submitted: when there are enough, or when the deferred-call section ends in which they were made.
 *
 *     laio_co_submit > laio_do_submit > ioq_submit > io_submit(2)
 *                                     > defer_call(laio_deferred_fn) > ioq_submit
 *     eventfd, BH or polling > process_completions > aio_co_wake(coroutine)
 *
 * Submission looks for completions at once, as requests to cached files are complete by then; a coroutine that goes on submits its next
 * request, and this is a circle:
 *
 *     ioq_submit > process_completions > (coroutine) > laio_do_submit, deferred; defer_call_end > laio_deferred_fn > ioq_submit > ...
 *
 * It turns once for each request of the coroutine that completes synchronously: a stack of 8 MiB ends near the thousandth
 * (QEMU 6864bec553; fault linux-aio-unbounded-recursion). So submission goes at most IOQ_SUBMIT_MAX_DEPTH levels deep, and leaves the
 * rest to the outermost level, or to the event loop: each completion has made the eventfd readable.
 *
 * Threads: everything of a LinuxAioState belongs to the home thread of its AioContext, coroutines included. From QEMU:
 * block/linux-aio.c, include/block/raw-aio.h.
 */
#ifndef WAKEFUZZ_CORE_LINUX_AIO_H
#define WAKEFUZZ_CORE_LINUX_AIO_H

#include <stdint.h>

#include "core/aio_context.h"
#include "core/aiocb.h"
#include "core/qiov.h"

typedef struct LinuxAioState LinuxAioState;

enum { QEMU_AIO_READ = 1, QEMU_AIO_WRITE = 2, QEMU_AIO_FLUSH = 8 };

#define LAIO_MAX_EVENTS        1024u /* requests in flight at a time in one context */
#define LAIO_DEFAULT_MAX_BATCH 32u   /* requests in one io_submit */
#define IOQ_SUBMIT_MAX_DEPTH   8u

/*
 * Read into or write from qiov, or flush (qiov NULL, offset 0), and wait for it. 0, or a negative errno; a read behind the end of the
 * file reads zeros, a short write is continued. With O_DIRECT offset and memory are multiples of 512. dev_max_batch: the largest batch
 * that suits the device, 0 for none in particular. In a coroutine of a context that has a LinuxAioState.
 */
int coroutine_fn laio_co_submit(int fd, uint64_t offset, QEMUIOVector *qiov, int type, uint64_t dev_max_batch);

/*
 * The same outside coroutines: cb(opaque, ret) is called in the home thread, inside this call where the request completes at once. A
 * callback may poll its context until another request has completed. Home thread.
 */
void laio_submit(LinuxAioState *s, int fd, uint64_t offset, QEMUIOVector *qiov, int type, BlockCompletionFunc *cb, void *opaque);

/* The context's state, made if it has none: NULL with errno where the kernel refuses. Home thread. In aio_context.c. */
LinuxAioState *aio_setup_linux_aio(AioContext *ctx);
/* The same where it is known to have one. Home thread. */
LinuxAioState *aio_get_linux_aio(AioContext *ctx);

/* As large as laio_set_max_events() has said. NULL with errno. Any thread. */
LinuxAioState *laio_init(void);
/* No request is under way. Any thread. */
void laio_cleanup(LinuxAioState *s);
void laio_attach_aio_context(LinuxAioState *s, AioContext *new_context);
void laio_detach_aio_context(LinuxAioState *s, AioContext *old_context);

/*
 * How many requests are in flight at a time, 1 to LAIO_MAX_EVENTS, in the states that are made from now on: for tests and targets that
 * want the queue to be full. LAIO_MAX_EVENTS is the default, and what core_reset() restores. Main thread, while no context has a state.
 */
void laio_set_max_events(unsigned max_events);

/* What is in the queue, in flight, and how deep submission is. Home thread, or when it rests. For invariants of tests and targets. */
typedef struct LinuxAioInfo {
    unsigned in_queue, in_flight, submit_depth;
    bool blocked;
} LinuxAioInfo;
LinuxAioInfo laio_info(const LinuxAioState *s);

/*
 * Where io_setup() and io_destroy() are slow (33 ms on a real kernel), a program that makes and frees many contexts may keep them: get
 * returns 0 and sets the context, or a negative errno; put takes one that has nothing in flight and an empty ring. By default they
 * are the system calls. Set before the first thread starts.
 */
typedef struct LinuxAioHooks {
    int (*get)(unsigned max_events, void **io_context);
    void (*put)(unsigned max_events, void *io_context);
} LinuxAioHooks;
extern LinuxAioHooks laio_hooks;

/* An event of this kind, for a target that counts the windows that it enters; NULL by default. */
typedef enum LinuxAioEvent {
    LAIO_SUBMIT_NESTED, /* ioq_submit inside of ioq_submit */
    LAIO_SUBMIT_DEPTH_REACHED, /* ... and no deeper */
    LAIO_QUEUE_BLOCKED, /* the kernel, or the limit, did not take all */
    LAIO_COMPLETED_INSIDE_SUBMIT, /* the coroutine has not yielded yet */
    LAIO_SUBMIT_DEFERRED, /* from the end of a section */
    LAIO_COMPLETIONS_NESTED, /* a callback polls, and the inner loop goes on with the events of the outer one */
    LAIO_RESUBMITTED, /* the rest of a short transfer */
} LinuxAioEvent;
extern void (*laio_trace_hook)(LinuxAioEvent event);

#endif
