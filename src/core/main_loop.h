/*
 * The main loop: one thread, two contexts, a GLib main context around them.
 *
 * The main thread owns qemu_aio_context, which nested aio_poll() calls serve, and iohandler_ctx, which only the
 * outermost loop and explicit calls serve: what waits in iohandler_ctx does not run while the main thread waits in the
 * block layer. Names and semantics: QEMU's include/qemu/main-loop.h, util/main-loop.c.
 */
#ifndef WAKEFUZZ_CORE_MAIN_LOOP_H
#define WAKEFUZZ_CORE_MAIN_LOOP_H

#include "core/aio_context.h"

/*
 * Makes the calling thread the main thread: takes the big lock, creates both contexts and the GLib main context.
 * Returns 0 or a negative errno. Once, until qemu_cleanup_main_loop().
 */
int qemu_init_main_loop(void);
/*
 * Frees all that. Main thread, when no other thread uses the contexts; all BHs must have been deleted, all timers and
 * handlers removed.
 */
void qemu_cleanup_main_loop(void);

/* Any thread; NULL before qemu_init_main_loop(). */
AioContext *qemu_get_aio_context(void);
AioContext *iohandler_get_aio_context(void);
/* Where the sources of other code belong; QEMU uses GLib's default context for it. */
GMainContext *qemu_main_loop_get_g_main_context(void);
/* The list of timers that belong to no AioContext. */
QEMUTimerList *qemu_main_loop_get_timer_list(void);

/* Whether this thread may touch what belongs to the main thread: it is the main thread, or it holds the big lock. */
bool qemu_in_main_thread(void);

/*
 * One round of the main loop: GLib sources (with them both contexts) and the main loop's own timers. Sleeps until
 * there is something to do unless nonblocking. The big lock is released during the sleep and nowhere else. Main
 * thread, holding the big lock.
 */
void main_loop_wait(bool nonblocking);
/* Makes the main loop go round once. Any thread. */
void qemu_notify_event(void);

/* A BH in the main context. Any thread. */
#define qemu_bh_new(cb, opaque) aio_bh_new(qemu_get_aio_context(), cb, opaque)

/* A handler in iohandler_ctx; both NULL removes it. Any thread. */
void qemu_set_fd_handler(int fd, IOHandler *fd_read, IOHandler *fd_write, void *opaque);

#endif
