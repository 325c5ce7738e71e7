/*
 * What all monitors share: the list of them, their thread, output, suspending, and the end of it all.
 *
 * Threads: see monitor.h.
 *
 * Invariants
 * 1. A monitor is in mon_list from when its device is set up, in mon_iothread, to monitor_cleanup(); once that has begun
 *    to destroy monitors, none is added.
 * 2. What the socket does not take stays in outbuf, and a watch in the device's context goes on with it.
 * 3. suspend_cnt counts the reasons not to read. Nobody waits for it: the device asks in each round of its loop, so that a
 *    change needs a round, no more.
 *
 * From QEMU: monitor/monitor.c.
 */
#include "core/monitor_int.h"

#include <errno.h>
#include <string.h>

#include "core/aio_wait.h"
#include "core/atomic.h"
#include "core/fatal.h"
#include "core/main_loop.h"

IOThread *mon_iothread;
Coroutine *qmp_dispatcher_co;
bool qmp_dispatcher_co_shutdown;
QemuMutex monitor_lock;
MonitorList mon_list;

static GHashTable *coroutine_mon; /* from the coroutine to the monitor whose command it runs; under monitor_lock */
static bool monitor_destroyed;    /* under monitor_lock */

/* ---- the current monitor ---- */

Monitor *monitor_cur(void)
{
    Monitor *mon;

    qemu_mutex_lock(&monitor_lock);
    mon = g_hash_table_lookup(coroutine_mon, qemu_coroutine_self());
    qemu_mutex_unlock(&monitor_lock);
    return mon;
}

Monitor *monitor_set_cur(Coroutine *co, Monitor *mon)
{
    Monitor *old = monitor_cur();

    qemu_mutex_lock(&monitor_lock);
    if (mon) {
        g_hash_table_replace(coroutine_mon, co, mon);
    } else {
        g_hash_table_remove(coroutine_mon, co);
    }
    qemu_mutex_unlock(&monitor_lock);
    return old;
}

/* ---- output ---- */

static void monitor_flush_locked(Monitor *mon);

/* In the device's context: the socket takes something again, or the client is gone. */
static gboolean monitor_unblocked(IOChannel *ioc, GIOCondition condition, void *opaque)
{
    Monitor *mon = opaque;

    (void)ioc;
    (void)condition;
    qemu_mutex_lock(&mon->mon_lock);
    mon->out_watch = 0;
    monitor_flush_locked(mon);
    qemu_mutex_unlock(&mon->mon_lock);
    return G_SOURCE_REMOVE;
}

/* mon_lock is held. */
static void monitor_flush_locked(Monitor *mon)
{
    int size = (int)mon->outbuf->len;
    int done;

    if (!size) {
        return;
    }
    done = qemu_chr_fe_write(&mon->chr, (const uint8_t *)mon->outbuf->str, size);
    if ((done < 0 && errno != EAGAIN) || done == size) {
        g_string_truncate(mon->outbuf, 0); /* all written, or nobody reads it any more */
        return;
    }
    if (done > 0) {
        g_string_erase(mon->outbuf, 0, done);
    }
    if (!mon->out_watch) {
        mon->out_watch = qemu_chr_fe_add_watch(&mon->chr, G_IO_OUT | G_IO_HUP, monitor_unblocked, mon);
    }
}

void monitor_flush(Monitor *mon)
{
    qemu_mutex_lock(&mon->mon_lock);
    monitor_flush_locked(mon);
    qemu_mutex_unlock(&mon->mon_lock);
}

/* Text in lines; each end of a line becomes the network's, and is flushed. */
int monitor_puts(Monitor *mon, const char *text)
{
    const char *rest = text;
    const char *end;

    qemu_mutex_lock(&mon->mon_lock);
    while ((end = strchr(rest, '\n'))) {
        g_string_append_len(mon->outbuf, rest, end - rest);
        g_string_append(mon->outbuf, "\r\n");
        monitor_flush_locked(mon);
        rest = end + 1;
    }
    g_string_append(mon->outbuf, rest);
    qemu_mutex_unlock(&mon->mon_lock);
    return (int)strlen(text);
}

/* ---- input ---- */

int monitor_can_read(void *opaque)
{
    Monitor *mon = opaque;

    return !qatomic_read(&mon->suspend_cnt); /* one byte at a time: the next may already be too many */
}

void monitor_suspend(Monitor *mon)
{
    qatomic_inc(&mon->suspend_cnt);

    /* A round of the loop: its prepare looks at suspend_cnt. */
    aio_notify(iothread_get_aio_context(mon_iothread));
}

/* In mon_iothread: running it is the round that the device needs. */
static void monitor_accept_input(void *opaque)
{
    Monitor *mon = opaque;

    qemu_chr_fe_accept_input(&mon->chr);
}

void monitor_resume(Monitor *mon)
{
    if (qatomic_fetch_dec(&mon->suspend_cnt) == 1) {
        aio_bh_schedule_oneshot(iothread_get_aio_context(mon_iothread), monitor_accept_input, mon);
    }
}

/* ---- life of a monitor ---- */

void monitor_data_init(Monitor *mon)
{
    if (!mon_iothread) {
        mon_iothread = iothread_new_with_g_main_context("mon_iothread");
        core_assert(mon_iothread);
    }
    qemu_mutex_init(&mon->mon_lock);
    mon->outbuf = g_string_new(NULL);
}

void monitor_data_destroy(Monitor *mon)
{
    qemu_chr_fe_deinit(&mon->chr);
    monitor_data_destroy_qmp((MonitorQMP *)mon);
    g_string_free(mon->outbuf, TRUE);
    qemu_mutex_destroy(&mon->mon_lock);
}

void monitor_list_append(Monitor *mon)
{
    bool destroyed;

    qemu_mutex_lock(&monitor_lock);
    destroyed = monitor_destroyed;
    if (!destroyed) {
        TAILQ_INSERT_HEAD(&mon_list, mon, entry);
    }
    qemu_mutex_unlock(&monitor_lock);
    if (destroyed) {
        monitor_data_destroy(mon);
        g_free(mon);
    }
}

/* ---- beginning and end ---- */

void monitor_init_globals(void)
{
    qemu_mutex_init(&monitor_lock);
    TAILQ_INIT(&mon_list);
    monitor_destroyed = false;
    qmp_dispatcher_co_shutdown = false;
    coroutine_mon = g_hash_table_new(NULL, NULL);
    monitor_qapi_event_init();
    qmp_commands_init();
    qmp_dispatcher_init();

    qmp_dispatcher_co = qemu_coroutine_create(monitor_qmp_dispatcher_co, NULL);
    aio_co_schedule(iohandler_get_aio_context(), qmp_dispatcher_co);
}

/*
 * The dispatcher first, while mon_iothread still runs: requests may still come, and stay in their queues. Its home is
 * iohandler_ctx, which no nested loop polls: so the condition does, without blocking, each time that it is evaluated. What
 * that poll starts may leave work in iohandler_ctx again; whoever does that must kick.
 */
static void stop_dispatcher(void)
{
    qemu_mutex_lock(&monitor_lock);
    qmp_dispatcher_co_shutdown = true;
    qemu_mutex_unlock(&monitor_lock);
    qmp_dispatcher_co_wake();

    AIO_WAIT_WHILE_UNLOCKED(NULL, (aio_poll(iohandler_get_aio_context(), false), qatomic_read(&qmp_dispatcher_co)));
}

/*
 * Once more than anybody resumes. A client may hang up while the thread ends, or be found gone by the flush after that: to resume its
 * monitor would leave a bottom half in the context of a thread that has ended. docs/findings.md, M8.
 */
static void suspend_all_for_good(void)
{
    Monitor *mon;

    qemu_mutex_lock(&monitor_lock);
    TAILQ_FOREACH(mon, &mon_list, entry) {
        qatomic_inc(&mon->suspend_cnt);
    }
    qemu_mutex_unlock(&monitor_lock);
}

void monitor_cleanup(void)
{
    stop_dispatcher();
    suspend_all_for_good();

    /* The thread ends before its monitors do, and is freed after: they still let go of devices that run in it. */
    if (mon_iothread) {
        iothread_stop(mon_iothread);
    }

    qemu_mutex_lock(&monitor_lock);
    monitor_destroyed = true;
    while (!TAILQ_EMPTY(&mon_list)) {
        Monitor *mon = TAILQ_FIRST(&mon_list);

        TAILQ_REMOVE(&mon_list, mon, entry);
        qemu_mutex_unlock(&monitor_lock); /* letting go of the device may emit events (34f1f3e06d) */
        monitor_flush(mon);
        monitor_data_destroy(mon);
        qemu_mutex_lock(&monitor_lock);
        g_free(mon);
    }
    qemu_mutex_unlock(&monitor_lock);

    if (mon_iothread) {
        iothread_destroy(mon_iothread);
        mon_iothread = NULL;
    }
}

void monitor_cleanup_globals(void)
{
    core_assert(TAILQ_EMPTY(&mon_list) && !qmp_dispatcher_co);
    monitor_qapi_event_cleanup();
    core_assert(g_hash_table_size(coroutine_mon) == 0);
    g_hash_table_destroy(coroutine_mon);
    coroutine_mon = NULL;
    qemu_mutex_destroy(&monitor_lock);
}
