/*
 * The main loop. Main thread, except for qemu_notify_event(), the getters, and setting handlers.
 *
 * Invariants
 * 1. The main thread holds the big lock from qemu_init_main_loop() to qemu_cleanup_main_loop(), except during the
 *    ppoll of main_loop_wait().
 * 2. GLib's prepare and check run with the big lock; whatever changes between them is announced by aio_notify() or by
 *    GLib's own wakeup.
 * 3. Nothing of GLib's default main context is used: each execution has a context of its own, which it frees.
 */
#include "core/main_loop.h"

#include <errno.h>

#include "core/aio_int.h"
#include "core/fatal.h"

static AioContext *qemu_aio_context;
static AioContext *iohandler_ctx;
static GMainContext *g_context;
static GArray *poll_fds;       /* of GPollFD, filled anew by each main_loop_wait() */
static unsigned poll_fds_used; /* what GLib asked for the last time: a good guess for the next */
static QEMUBH *qemu_notify_bh;
static QEMUTimerList timer_list;

/* ---- life ---- */

static void notify_event_cb(void *opaque)
{
    (void)opaque; /* going round once is all that it is for */
}

static void timer_list_notify(void *opaque)
{
    (void)opaque;
    qemu_notify_event();
}

static void attach(AioContext *ctx, const char *name)
{
    GSource *source = aio_get_g_source(ctx);

    g_source_set_name(source, name);
    g_source_attach(source, g_context);
    g_source_unref(source);
}

int qemu_init_main_loop(void)
{
    core_assert(!qemu_aio_context);

    qemu_aio_context = aio_context_new();
    if (!qemu_aio_context) {
        return -errno;
    }
    iohandler_ctx = aio_context_new();
    if (!iohandler_ctx) {
        int error = errno;

        aio_context_unref(qemu_aio_context);
        qemu_aio_context = NULL;
        return -error;
    }
    bql_lock();
    qemu_set_current_aio_context(qemu_aio_context);
    timerlist_init(&timer_list, timer_list_notify, NULL);
    qemu_notify_bh = qemu_bh_new(notify_event_cb, NULL);
    poll_fds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
    g_context = g_main_context_new();
    attach(qemu_aio_context, "aio-context");
    attach(iohandler_ctx, "io-handler");
    return 0;
}

void qemu_cleanup_main_loop(void)
{
    AioContext *main_ctx = qemu_aio_context;
    AioContext *io_ctx = iohandler_ctx;

    core_assert(main_ctx && qemu_in_main_thread());
    qemu_bh_delete(qemu_notify_bh);
    qemu_notify_bh = NULL;
    timerlist_deinit(&timer_list);
    g_main_context_unref(g_context);
    g_context = NULL;
    g_array_free(poll_fds, TRUE);
    poll_fds = NULL;
    poll_fds_used = 0;

    qemu_set_current_aio_context(NULL);
    aio_context_unref(io_ctx);
    aio_context_unref(main_ctx);
    iohandler_ctx = NULL;
    qemu_aio_context = NULL;
    bql_unlock();
}

AioContext *qemu_get_aio_context(void)
{
    return qemu_aio_context;
}

AioContext *iohandler_get_aio_context(void)
{
    return iohandler_ctx;
}

GMainContext *qemu_main_loop_get_g_main_context(void)
{
    return g_context;
}

QEMUTimerList *qemu_main_loop_get_timer_list(void)
{
    return &timer_list;
}

bool qemu_in_main_thread(void)
{
    return qemu_aio_context && qemu_get_current_aio_context() == qemu_aio_context;
}

void qemu_notify_event(void)
{
    if (qemu_notify_bh) {
        qemu_bh_schedule(qemu_notify_bh);
    }
}

void qemu_set_fd_handler(int fd, IOHandler *fd_read, IOHandler *fd_write, void *opaque)
{
    aio_set_fd_handler(iohandler_ctx, fd, fd_read, fd_write, NULL, NULL, opaque);
}

/* ---- one round ---- */

/* Asks GLib what to poll. Returns how long the loop may sleep, in ns. Initialised: MemorySanitizer does not see GLib write. */
static int64_t fill_poll_fds(int64_t timeout_ns, int *max_priority)
{
    int glib_timeout_ms = -1;
    unsigned wanted = poll_fds_used;

    g_main_context_prepare(g_context, max_priority);
    do {
        poll_fds_used = wanted;
        g_array_set_size(poll_fds, poll_fds_used);
        wanted = (unsigned)g_main_context_query(g_context, *max_priority, &glib_timeout_ms, (GPollFD *)(void *)poll_fds->data,
                                                (int)poll_fds_used);
    } while (wanted != poll_fds_used);

    return qemu_soonest_timeout(timeout_ns, glib_timeout_ms < 0 ? -1 : glib_timeout_ms * (int64_t)SCALE_MS);
}

void main_loop_wait(bool nonblocking)
{
    int64_t timeout_ns = nonblocking ? 0 : timerlist_deadline_ns(&timer_list);
    int max_priority = 0;
    GPollFD *fds;

    core_assert(qemu_in_main_thread());
    g_main_context_acquire(g_context);
    timeout_ns = fill_poll_fds(timeout_ns, &max_priority);
    fds = (GPollFD *)(void *)poll_fds->data;

    bql_unlock();
    qemu_poll_ns(fds, poll_fds_used, timeout_ns);
    bql_lock();

    if (g_main_context_check(g_context, max_priority, fds, (int)poll_fds_used)) {
        g_main_context_dispatch(g_context);
    }
    g_main_context_release(g_context);
    timerlist_run_timers(&timer_list);
}
