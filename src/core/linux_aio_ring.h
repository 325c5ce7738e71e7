/*
 * The ring of completions that the kernel shares with the program: Linux's interface with user space, which has no header of its own
 * (fs/aio.c). Only the home thread of the AioContext reads it and writes the head; the kernel writes the rest.
 *
 *     kernel                               program
 *     1  events[tail]
 *     2  tail (after a write barrier)
 *                                          a  tail
 *                                          b  events[head ... tail - 1] (after a read barrier)
 *                                          c  head
 */
#ifndef WAKEFUZZ_CORE_LINUX_AIO_RING_H
#define WAKEFUZZ_CORE_LINUX_AIO_RING_H

#include <libaio.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/atomic.h"

struct aio_ring {
    unsigned id;
    unsigned nr; /* events in the ring */
    unsigned head;
    unsigned tail;

    unsigned magic;
    unsigned compat_features;
    unsigned incompat_features;
    unsigned header_length;

    struct io_event io_events[];
};

static inline ssize_t io_event_ret(const struct io_event *event)
{
    return (ssize_t)(((uint64_t)event->res2 << 32) | event->res);
}

/* How many events lie in a row from the head on, and where. */
static inline unsigned io_getevents_peek(io_context_t ctx, struct io_event **events)
{
    struct aio_ring *ring = (struct aio_ring *)ctx;
    unsigned head = ring->head;

    /* ORDER: tail before the events
     * PAIRS: os_aio_complete()
     * ELSE:  the program reads an event that is not written yet. A plain read and smp_rmb() in QEMU, and the same to the machine */
    unsigned tail = qatomic_load_acquire(&ring->tail);

    *events = ring->io_events + head;
    return tail >= head ? tail - head : ring->nr - head;
}

static inline void io_getevents_commit(io_context_t ctx, unsigned nr)
{
    struct aio_ring *ring = (struct aio_ring *)ctx;

    if (nr) {
        ring->head = (ring->head + nr) % ring->nr;
    }
}

static inline unsigned io_getevents_advance_and_peek(io_context_t ctx, struct io_event **events, unsigned nr)
{
    io_getevents_commit(ctx, nr);
    return io_getevents_peek(ctx, events);
}

#endif
