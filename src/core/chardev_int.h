/* What the files of the character device share. */
#ifndef WAKEFUZZ_CORE_CHARDEV_INT_H
#define WAKEFUZZ_CORE_CHARDEV_INT_H

#include "core/chardev.h"
#include "core/io_channel.h"

/* chardev_watch.c: read(ioc, ..., opaque) in context whenever there is input and can_read(opaque) > 0. The source belongs
 * to the context; destroy it with io_remove_watch_poll(). */
GSource *io_add_watch_poll(const char *label, IOChannel *ioc, IOCanReadHandler *can_read, IOChannelFunc *read, void *opaque,
                           GMainContext *context);
void io_remove_watch_poll(GSource *source);

/* chardev_listener.c: those who want to connect, in order. */
typedef struct SocketListener SocketListener;
typedef void SocketListenerFunc(IOChannel *ioc, void *opaque); /* gets the reference */

SocketListener *socket_listener_new(void); /* NULL with errno set where a descriptor is lacking */
void socket_listener_free(SocketListener *listener);
/* Call function for the next one in this context; NULL: let them wait. Any thread. */
void socket_listener_set_client_func(SocketListener *listener, SocketListenerFunc *function, void *opaque, GMainContext *context);
void socket_listener_connect(SocketListener *listener, int fd); /* any thread */
void socket_listener_close(SocketListener *listener);           /* any thread; hangs up on those who wait and who come */

#endif
