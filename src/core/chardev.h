/*
 * A character device over stream sockets: one client at a time, the next one when the last has gone.
 *
 * The front end (a monitor) sets handlers, and from then on the device runs in the GLib context that came with them:
 * there it accepts, reads, and notices that the client has hung up. It reads only as much as the front end says it can
 * take, and asks it before each sleep. Writing is different: any thread writes, and a write that fails while the front
 * end takes no input disconnects right there, in the writer's thread, since the reader would not notice.
 *
 * Events: CHR_EVENT_OPENED in the device's context when a client has come; CHR_EVENT_CLOSED when it has gone, in the
 * thread that noticed, with chr_write_lock held.
 *
 * Names and semantics: QEMU's include/chardev/char-fe.h, chardev/char-socket.c, char-io.c; of its back ends only this
 * one, and no listening socket: whoever wants to connect hands over one end of a socket pair.
 */
#ifndef WAKEFUZZ_CORE_CHARDEV_H
#define WAKEFUZZ_CORE_CHARDEV_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/io_channel.h"

typedef enum QEMUChrEvent {
    CHR_EVENT_OPENED,
    CHR_EVENT_CLOSED,
} QEMUChrEvent;

typedef struct Chardev Chardev;
typedef int IOCanReadHandler(void *opaque);
typedef void IOReadHandler(void *opaque, const uint8_t *buf, int size);
typedef void IOEventHandler(void *opaque, QEMUChrEvent event);
typedef IOChannelFunc FEWatchFunc;

/* A front end's grip on a device. */
typedef struct CharBackend {
    Chardev *chr;
    IOCanReadHandler *chr_can_read;
    IOReadHandler *chr_read;
    IOEventHandler *chr_event;
    void *opaque;
} CharBackend;

/* ---- the device ---- */

/* Main thread. label is copied. Returns NULL with errno set where a descriptor is lacking. */
Chardev *qemu_chr_new_socket(const char *label);
/*
 * What the device does when a front end has come (open), and when it has let go of the device: as a device of SPICE that then tells
 * all monitors of its channel. Called with no lock held, in the thread that sets the handlers; the caller of qemu_chr_fe_deinit() must
 * hold none that function takes. Main thread, before there is a front end. From QEMU: chr_set_fe_open in include/chardev/char.h.
 */
typedef void ChardevFEOpenFunc(void *opaque, bool open);
void qemu_chr_set_fe_open_func(Chardev *chr, ChardevFEOpenFunc *function, void *opaque);
/* Free the device, with all connections. Main thread; the front end has let go of it, and nobody connects any more. */
void qemu_chr_delete(Chardev *chr);
/* Free all devices. As qemu_chr_delete(). */
void qemu_chr_cleanup(void);
/*
 * Connect: fd is one end of a stream socket pair, and the device's from now on. It is served when the client before it
 * has gone; a device that is closed for good hangs up at once. Any thread, while the device exists; never blocks.
 */
void qemu_chr_socket_connect(Chardev *chr, int fd);
/* Hang up on the client, on those who wait, and on those who come. Main thread; the front end has let go of the device. */
void qemu_chr_socket_close(Chardev *chr);

/* ---- for front ends ---- */

/* Returns false where the device has a front end. Main thread. */
bool qemu_chr_fe_init(CharBackend *be, Chardev *chr);
/* Let go of the device, which stays connected and is watched by the main loop. Its context must not be running. */
void qemu_chr_fe_deinit(CharBackend *be);
/*
 * From now on the device runs in this context (NULL: the main loop's). In the thread that runs it. Handlers NULL: none.
 */
void qemu_chr_fe_set_handlers(CharBackend *be, IOCanReadHandler *can_read, IOReadHandler *read, IOEventHandler *event,
                              void *opaque, GMainContext *context);
/*
 * Write what the socket takes now. Returns how many bytes, or -1 with errno: EAGAIN where it takes none; anything else
 * is final. Any thread; blocks for chr_write_lock only. May emit CHR_EVENT_CLOSED.
 */
int qemu_chr_fe_write(CharBackend *be, const uint8_t *buf, int size);
/* Call function in the device's context when one of the conditions holds. Returns a tag, 0 without a client. */
guint qemu_chr_fe_add_watch(CharBackend *be, GIOCondition condition, FEWatchFunc *function, void *opaque);
/* The front end may take input again: have it asked. Any thread. */
void qemu_chr_fe_accept_input(CharBackend *be);

#endif
