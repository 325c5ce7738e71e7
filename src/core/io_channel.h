/*
 * A stream socket as an object that event loops may watch: non-blocking, reference counted.
 *
 * Any thread.
 *
 * Invariant: the descriptor is closed with the last reference, and each watch has one. Whoever closes a channel may not know
 * that another thread is about to read from it: the number must not be somebody else's by then (QEMU closes it at once).
 *
 * From QEMU: include/io/channel.h (QIOChannel), as far as a character device needs it.
 */
#ifndef WAKEFUZZ_CORE_IO_CHANNEL_H
#define WAKEFUZZ_CORE_IO_CHANNEL_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct IOChannel IOChannel;
typedef gboolean IOChannelFunc(IOChannel *ioc, GIOCondition condition, void *opaque);

/* Take over a connected stream socket and make it non-blocking. The caller gets the first reference. */
IOChannel *io_channel_new(int fd);
void io_channel_ref(IOChannel *ioc);
/* NULL is allowed. */
void io_channel_unref(IOChannel *ioc);
/* The end of the stream for the peer, and for whoever reads or writes here. */
void io_channel_close(IOChannel *ioc);

/* Up to size bytes. Returns how many, 0 at the end of the stream, or -1 with errno (EAGAIN: none now). */
ssize_t io_channel_read(IOChannel *ioc, void *buffer, size_t size);
/*
 * As many bytes as the socket takes. Returns how many, or -1 with errno: EAGAIN where it takes none now. A peer that is
 * gone is EPIPE; no signal is raised.
 */
ssize_t io_channel_write(IOChannel *ioc, const void *buffer, size_t size);

/*
 * A source that is ready when one of the conditions holds; its callback is an IOChannelFunc. The caller attaches it and
 * gets a reference.
 */
GSource *io_channel_create_watch(IOChannel *ioc, GIOCondition condition);

#endif
