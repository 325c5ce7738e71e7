/*
 * Monitors: clients on character devices that control the program by QMP, a protocol of JSON commands, replies and events.
 *
 * Three kinds of threads take part:
 *
 *   mon_iothread        reads the clients' bytes, cuts them into commands, queues these per monitor, and wakes the
 *                       dispatcher. It runs out-of-band commands itself, at once.
 *   main thread         runs the dispatcher, one coroutine for all monitors, in iohandler_ctx: it takes the monitors'
 *                       commands in turn and answers them.
 *   any thread          emits events, which go to all monitors.
 *
 * A monitor whose queue is full (one command; eight where the client has negotiated out-of-band) is suspended: its device
 * is not read until the dispatcher has taken one.
 *
 * monitor_cleanup() ends the dispatcher, the thread and the monitors while all of that may still go on.
 *
 * Names and semantics: QEMU's include/monitor/monitor.h, monitor/monitor.c, monitor/qmp.c. Of HMP there is nothing.
 */
#ifndef WAKEFUZZ_CORE_MONITOR_H
#define WAKEFUZZ_CORE_MONITOR_H

#include <json-glib/json-glib.h>
#include <stdbool.h>

#include "core/chardev.h"

typedef struct Monitor Monitor;

typedef enum QAPIEvent {
    QAPI_EVENT_STOP,
    QAPI_EVENT_RESUME,
    QAPI_EVENT_SHUTDOWN,
    QAPI_EVENT_RTC_CHANGE, /* at most one a second: later ones wait, and only the last of them is sent */
    QAPI_EVENT__MAX,
} QAPIEvent;

#define QMP_REQ_QUEUE_LEN_MAX 8

/* Create the dispatcher. Main thread, after qemu_init_main_loop(). */
void monitor_init_globals(void);
/*
 * Put a QMP monitor on a device, which must not have a front end. Main thread. The monitor appears, and the device is
 * served, a little later, in mon_iothread.
 */
void monitor_init_qmp(Chardev *chr);
/*
 * End everything: the dispatcher after the command at hand, then mon_iothread, then the monitors. Commands that are still
 * queued get no reply. The devices remain, connected. Main thread; blocks by polling both of its contexts. Events that
 * come later are dropped.
 */
void monitor_cleanup(void);
/* Undo monitor_init_globals(). Main thread, after monitor_cleanup() and when nobody emits events any more. */
void monitor_cleanup_globals(void);

/* The monitor whose command the caller runs, or NULL. Any thread. */
Monitor *monitor_cur(void);

/*
 * Send an event to all monitors that have negotiated. Any thread, before monitor_cleanup_globals(); blocks for locks only.
 * data: its arguments, or NULL; stays the caller's.
 */
void qapi_event_emit(QAPIEvent event, JsonObject *data);

/* Part of core_thread_reset(). */
void monitor_thread_reset(void);

#endif
