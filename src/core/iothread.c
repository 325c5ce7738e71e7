/*
 * IOThread: a thread that runs an AioContext until it is told to stop.
 *
 * The owner's thread creates, stops and destroys; the thread itself runs iothread_run() and all BHs of its context.
 *
 * Invariants
 * 1. running and run_gcontext belong to the thread: only BHs of its own context write them. A flag set from outside
 *    with a mere notification would be slept over if it came between the loop's test and its ppoll (QEMU 2362a28ea1).
 * 2. After aio_poll(), running is tested again before the GLib loop begins: the stop BH may have run when there was no
 *    GLib loop to quit (QEMU 6c95363d97).
 */
#include "core/iothread.h"

#include "core/fatal.h"
#include "core/rcu.h"
#include "core/sanitizer.h"
#include "core/thread.h"

struct IOThread {
    char *name;
    QemuThread thread;
    AioContext *ctx;
    GMainContext *worker_context; /* NULL: without GLib */
    GMainLoop *main_loop;
    bool run_gcontext;            /* of the thread */
    bool running;                 /* of the thread, once it runs */
    bool stopping;                /* of the owner */
    QemuSemaphore init_done_sem;
};

static void *iothread_run(void *opaque)
{
    IOThread *iothread = opaque;

    rcu_register_thread();

    /* Before anything in this thread uses GLib. */
    if (iothread->worker_context) {
        g_main_context_push_thread_default(iothread->worker_context);
    }
    qemu_set_current_aio_context(iothread->ctx);
    qemu_sem_post(&iothread->init_done_sem);

    while (iothread->running) {
        /* First, though the GLib loop would do the same, since it is faster where nobody has asked for GLib. */
        aio_poll(iothread->ctx, true);

        if (iothread->running && iothread->run_gcontext) {
            g_main_loop_run(iothread->main_loop);
        }
    }

    if (iothread->worker_context) {
        g_main_context_pop_thread_default(iothread->worker_context);
    }
    qemu_set_current_aio_context(NULL);
    rcu_unregister_thread();
    return NULL;
}

static void attach_to_glib(IOThread *iothread)
{
    GSource *source = aio_get_g_source(iothread->ctx);

    iothread->worker_context = g_main_context_new();
    g_source_attach(source, iothread->worker_context);
    g_source_unref(source);
    iothread->main_loop = g_main_loop_new(iothread->worker_context, TRUE);
}

static IOThread *iothread_new_common(const char *name, bool with_g_main_context)
{
    AioContext *ctx = aio_context_new();
    IOThread *iothread;

    if (!ctx) {
        return NULL;
    }
    iothread = g_new0(IOThread, 1);
    iothread->name = g_strdup(name);
    iothread->ctx = ctx;
    iothread->running = true;
    if (with_g_main_context) {
        attach_to_glib(iothread);
    }
    qemu_sem_init(&iothread->init_done_sem, 0);
    qemu_thread_create(&iothread->thread, name, iothread_run, iothread, QEMU_THREAD_JOINABLE);
    qemu_sem_wait(&iothread->init_done_sem);
    return iothread;
}

IOThread *iothread_new(const char *name)
{
    return iothread_new_common(name, false);
}

IOThread *iothread_new_with_g_main_context(const char *name)
{
    return iothread_new_common(name, true);
}

AioContext *iothread_get_aio_context(IOThread *iothread)
{
    return iothread->ctx;
}

/* In the thread; see invariant 1. */
static void iothread_run_gcontext_bh(void *opaque)
{
    IOThread *iothread = opaque;

    iothread->run_gcontext = true;
}

GMainContext *iothread_get_g_main_context(IOThread *iothread)
{
    core_assert(iothread->worker_context);
    if (in_aio_context_home_thread(iothread->ctx)) {
        iothread->run_gcontext = true; /* a bottom half could come after the one that stops the thread, and be left */
    } else {
        aio_bh_schedule_oneshot(iothread->ctx, iothread_run_gcontext_bh, iothread);
    }
    return iothread->worker_context;
}

const char *iothread_get_name(IOThread *iothread)
{
    return iothread->name;
}

/* In the thread; see invariant 1. */
static void iothread_stop_bh(void *opaque)
{
    IOThread *iothread = opaque;

    iothread->running = false;
    if (iothread->main_loop) {
        g_main_loop_quit(iothread->main_loop);
    }
}

void iothread_stop(IOThread *iothread)
{
    if (iothread->stopping) {
        return;
    }
    iothread->stopping = true;
    aio_bh_schedule_oneshot(iothread->ctx, iothread_stop_bh, iothread);
    qemu_thread_join(&iothread->thread);
}

void iothread_destroy(IOThread *iothread)
{
    iothread_stop(iothread);
    if (iothread->main_loop) {
        g_main_loop_unref(iothread->main_loop);
        SANITIZER_RELEASE(iothread->worker_context); /* see aio_co_schedule() */
        SANITIZER_ACQUIRE(iothread->worker_context);
        g_main_context_unref(iothread->worker_context);
    }
    aio_context_unref(iothread->ctx);
    qemu_sem_destroy(&iothread->init_done_sem);
    g_free(iothread->name);
    g_free(iothread);
}

void iothread_join(IOThread *iothread)
{
    iothread_destroy(iothread);
}
