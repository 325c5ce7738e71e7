/*
 * IOThread: a thread that runs an AioContext, and a GLib main loop on top if someone wants one. Names and semantics:
 * QEMU's include/sysemu/iothread.h, iothread.c.
 */
#ifndef WAKEFUZZ_CORE_IOTHREAD_H
#define WAKEFUZZ_CORE_IOTHREAD_H

#include "core/aio_context.h"

typedef struct IOThread IOThread;

/* Starts a thread; blocks until it runs. name is copied. Returns NULL with errno set when a descriptor is lacking. */
IOThread *iothread_new(const char *name);
/* The same with a GLib main context that the context is attached to; see iothread_get_g_main_context(). */
IOThread *iothread_new_with_g_main_context(const char *name);

AioContext *iothread_get_aio_context(IOThread *iothread);
/*
 * From now on the thread runs the GLib main loop too. Any thread. Only for iothread_new_with_g_main_context().
 */
GMainContext *iothread_get_g_main_context(IOThread *iothread);
const char *iothread_get_name(IOThread *iothread);

/*
 * Ends the thread; blocks until it has. Twice is harmless. The object and its context stay. By a BH, since a mere
 * aio_notify() could be lost (2362a28ea1). Not in the thread itself.
 */
void iothread_stop(IOThread *iothread);
/* iothread_stop() and free everything; the context lives on while others hold references. */
void iothread_destroy(IOThread *iothread);
/* What QEMU's test helper calls the same. */
void iothread_join(IOThread *iothread);

#endif
