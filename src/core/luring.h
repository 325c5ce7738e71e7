/*
 * Requests by two rings, as io_uring has them: one of entries to be submitted, one of completions.
 *
 *     luring_co_submit > luring_do_submit: into the queue; defer_call(luring_deferred_fn) > ioq_submit
 *     ioq_submit: from the queue into the ring, as many as it has room for; tells the kernel; looks at what is complete already
 *     the ring's descriptor, BH or polling > luring_process_completions_and_submit
 *
 * A completion may be half of one: a short read is continued, and a request that the kernel could not take just now (-EAGAIN, -EINTR) is
 * tried again. Either goes back into the queue, and is not submitted there, in the middle of the completions: whoever processes them
 * has to call ioq_submit() afterwards, ioq_submit() itself included (fault luring-resubmitted-request-stays-queued).
 *
 * Invariants
 *  1. in_queue counts the requests in submit_queue and those in the ring that the kernel has not taken; in_flight those that it has.
 *  2. While somebody is on its way into ioq_submit() (a deferred call, a bottom half, a caller), or a completion is to come, requests may be
 *     in the queue; never else.
 *  3. A request that completes while its coroutine is entered is not woken.
 *
 * Unlike in linux_aio.c, submission inside of submission has no bound, as it has none in QEMU.
 *
 * The kernel behind the rings is Linux AIO: io_submit() takes the entries, and its ring has the completions, up to LURING_MAX_ENTRIES in
 * flight. The descriptor is an eventfd that is cleared when the ring is found empty: so it is readable while there are completions, like the
 * descriptor of io_uring's rings.
 *
 * Threads: the home thread of the AioContext, coroutines included.
 *
 * From QEMU: block/io_uring.c as of 5.0 to 10.1, where each context has rings of its own for its files.
 */
#ifndef WAKEFUZZ_CORE_LURING_H
#define WAKEFUZZ_CORE_LURING_H

#include "core/linux_aio.h"

typedef struct LuringState LuringState;

#define LURING_MAX_ENTRIES 128u

/* A ring for 1 to LURING_MAX_ENTRIES submissions, and one for completions. NULL with errno where the kernel refuses. Any thread. */
LuringState *luring_init(unsigned entries);
/* No request is under way, and no context attached. Any thread. */
void luring_cleanup(LuringState *s);
void luring_attach_aio_context(LuringState *s, AioContext *new_context);
void luring_detach_aio_context(LuringState *s, AioContext *old_context);

/*
 * Read into or write from qiov, or flush (qiov NULL, offset 0), and wait for it; type is one of linux_aio.h. 0, or a negative errno: -ENOSPC
 * for a write that was short; a read behind the end of the file reads zeros. In a coroutine of the attached context.
 */
int coroutine_fn luring_co_submit(LuringState *s, int fd, uint64_t offset, QEMUIOVector *qiov, int type);

/* How many requests are in the queue. Home thread, or when it rests. */
unsigned luring_in_queue(const LuringState *s);

/* An event of this kind, for a target that counts the windows that it enters; NULL by default. */
typedef enum LuringEvent {
    LURING_RESUBMITTED, /* the rest of a short read */
    LURING_RESUBMITTED_WHILE_SUBMITTING, /* ... that ioq_submit() has found */
    LURING_COMPLETED_INSIDE_SUBMIT, /* the coroutine has not yielded yet */
} LuringEvent;
extern void (*luring_trace_hook)(LuringEvent event);

#endif
