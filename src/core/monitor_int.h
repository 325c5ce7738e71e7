/*
 * What the monitor's files share.
 *
 * Locks, outermost first: monitor_lock; mon_lock; the device's chr_write_lock; qmp_queue_lock.
 */
#ifndef WAKEFUZZ_CORE_MONITOR_INT_H
#define WAKEFUZZ_CORE_MONITOR_INT_H

#include <stdbool.h>
#include <sys/queue.h>

#include "core/coroutine.h"
#include "core/iothread.h"
#include "core/json_message.h"
#include "core/monitor.h"
#include "core/qmp_dispatch.h"
#include "core/thread.h"

typedef enum QMPCapability {
    QMP_CAPABILITY_OOB,
    QMP_CAPABILITY__MAX,
} QMPCapability;

struct Monitor {
    CharBackend chr;
    int suspend_cnt; /* not read from while above 0; atomic */

    QemuMutex mon_lock;
    GString *outbuf; /* what the socket did not take yet; under mon_lock */
    guint out_watch; /* the source that waits for the socket; 0: none; under mon_lock */

    TAILQ_ENTRY(Monitor) entry; /* mon_list, under monitor_lock */
};

typedef struct MonitorQMP {
    Monitor common; /* first */
    JSONMessageParser parser;

    /* What the client may do. Set by the device's context when a client comes and by the main thread for a command; read by both, and
     * by whoever emits an event. Atomic: a client may come while the command of the one before it runs. */
    const QmpCommandList *commands; /* which may be called: qmp_cap_negotiation_commands at first, under monitor_lock */
    bool capab[QMP_CAPABILITY__MAX]; /* those that the client has accepted; all are offered */

    QemuMutex qmp_queue_lock;
    GQueue *qmp_requests; /* under qmp_queue_lock */
    bool full; /* the queue has suspended the monitor, with out-of-band; under qmp_queue_lock */
} MonitorQMP;

typedef TAILQ_HEAD(MonitorList, Monitor) MonitorList;

/* monitor.c */
extern IOThread *mon_iothread;
extern Coroutine *qmp_dispatcher_co; /* NULL: it has ended; atomic */
extern bool qmp_dispatcher_co_shutdown; /* the dispatcher shall end; under monitor_lock */
extern QemuMutex monitor_lock; /* mon_list, coroutine_mon, events' state */
extern MonitorList mon_list;

void monitor_data_init(Monitor *mon);
void monitor_data_destroy(Monitor *mon);
void monitor_list_append(Monitor *mon);
Monitor *monitor_set_cur(Coroutine *co, Monitor *mon);
int monitor_puts(Monitor *mon, const char *text);
void monitor_flush(Monitor *mon);
void monitor_suspend(Monitor *mon);
void monitor_resume(Monitor *mon);
int monitor_can_read(void *opaque);

/* monitor_qmp.c */
void coroutine_fn monitor_qmp_dispatcher_co(void *opaque);
void qmp_dispatcher_co_wake(void);
void qmp_dispatcher_init(void);
void qmp_send_response(MonitorQMP *mon, JsonObject *response);
void monitor_data_destroy_qmp(MonitorQMP *mon);

/* monitor_event.c */
void monitor_qapi_event_init(void);
void monitor_qapi_event_cleanup(void);

/* qmp_commands.c */
extern const QmpCommandList qmp_commands, qmp_cap_negotiation_commands;
void qmp_commands_init(void);

#endif
