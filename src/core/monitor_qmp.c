/*
 * QMP on a monitor: requests come in, wait in a queue, are dispatched and answered.
 *
 * Threads: mon_iothread reads, queues, wakes; the dispatcher coroutine runs in the main thread.
 *
 * How dispatcher and wakers agree (qmp_dispatcher_co_busy):
 *
 *     waker (mon_iothread, monitor_cleanup())      dispatcher
 *     1  queue a request, or set shutdown          a  busy = false, full barrier
 *     2  xchg(busy, true)                          b  look at shutdown and the queues
 *     3  it was false: aio_co_wake()               c  nothing: yield, and go to b when woken: busy is true again
 *     4  it was true: nothing                      d  something: xchg(busy, true); it was true: yield, since somebody
 *                                                     has woken us
 *
 * Either b sees 1, or 2 sees a.
 *
 * Invariants
 * 1. busy is true while the dispatcher will look at the queues at least once more before it sleeps. Only the dispatcher
 *    sets it to false, and only a waker that finds it false wakes: so it is never scheduled twice.
 * 2. A request is in the queue of its monitor, under qmp_queue_lock, or the dispatcher's own.
 * 3. A monitor is suspended by whoever fills its queue: with the first request, or with the eighth where out-of-band is
 *    on. Request and queue remember it, under qmp_queue_lock. Whoever makes room resumes it: the dispatcher, or the event CLOSED that empties the queue (QEMU 2895aaa139,
 *    a67b996e78).
 * 4. No lock is held over a yield.
 *
 * From QEMU: monitor/qmp.c.
 */
#include <string.h>

#include "core/aio_wait.h"
#include "core/atomic.h"
#include "core/fatal.h"
#include "core/main_loop.h"
#include "core/monitor_int.h"

typedef struct QMPRequest {
    MonitorQMP *mon;
    JsonNode *req; /* one of the two */
    GError *err;
    bool alone; /* it has suspended the monitor: it came without out-of-band */
} QMPRequest;

static bool qmp_dispatcher_co_busy; /* atomic */

void qmp_dispatcher_init(void)
{
    qmp_dispatcher_co_busy = true; /* it is scheduled when it is born */
}

/* ---- the queue of a monitor ---- */

static bool qmp_oob_enabled(MonitorQMP *mon)
{
    return qatomic_read(&mon->capab[QMP_CAPABILITY_OOB]);
}

static void monitor_qmp_caps_reset(MonitorQMP *mon)
{
    qatomic_set(&mon->capab[QMP_CAPABILITY_OOB], false);
}

static void qmp_request_free(QMPRequest *request)
{
    g_clear_pointer(&request->req, json_node_unref);
    g_clear_error(&request->err);
    g_free(request);
}

/* qmp_queue_lock is held, or nobody else has the monitor. */
static void monitor_qmp_cleanup_req_queue_locked(MonitorQMP *mon)
{
    while (!g_queue_is_empty(mon->qmp_requests)) {
        qmp_request_free(g_queue_pop_head(mon->qmp_requests));
    }
}

/*
 * How often a request, and the queue that it has been taken from, have suspended the monitor; that is to be taken back now. Each says
 * itself whether it has: what is on at this moment is no answer, as the command of a client that has gone may have changed it since
 * (docs/findings.md, M9). qmp_queue_lock is held.
 */
static unsigned monitor_qmp_suspensions_locked(MonitorQMP *mon, const QMPRequest *request)
{
    unsigned count = request->alone;

    if (mon->full && mon->qmp_requests->length < QMP_REQ_QUEUE_LEN_MAX) {
        mon->full = false;
        count++;
    }
    return count;
}

static void monitor_resume_times(Monitor *mon, unsigned count)
{
    while (count--) {
        monitor_resume(mon);
    }
}

/*
 * Invariant 3: as often as those in the queue have suspended the monitor. That may be twice also where it takes one request at
 * a time: a byte that ends one value (a number) and makes an error of its own completes two requests before anybody looks at
 * suspend_cnt again. docs/findings.md, M4; fault monitor-two-requests-one-resume.
 */
static void monitor_qmp_cleanup_queue_and_resume(MonitorQMP *mon)
{
    unsigned suspended = 0;
    QMPRequest *request;

    qemu_mutex_lock(&mon->qmp_queue_lock);
    while ((request = g_queue_pop_head(mon->qmp_requests))) {
        suspended += monitor_qmp_suspensions_locked(mon, request);
        qmp_request_free(request);
    }
    monitor_resume_times(&mon->common, suspended);
    qemu_mutex_unlock(&mon->qmp_queue_lock);
}

/* ---- replies ---- */

void qmp_send_response(MonitorQMP *mon, JsonObject *response)
{
    JsonNode *node = qmp_json_object(json_object_ref(response));
    char *text = qmp_json_text(node);
    char *line = g_strconcat(text, "\n", NULL);

    monitor_puts(&mon->common, line);
    g_free(line);
    g_free(text);
    json_node_unref(node);
}

/* The only command before the negotiation is the negotiation: say so. */
static void explain_negotiation(JsonObject *response)
{
    JsonObject *error = json_object_has_member(response, "error") ? json_object_get_object_member(response, "error") : NULL;

    if (error && strcmp(json_object_get_string_member(error, "class"), "CommandNotFound") == 0) {
        json_object_set_string_member(error, "desc", "Expecting capabilities negotiation with 'qmp_capabilities'");
    }
}

static void monitor_qmp_dispatch(MonitorQMP *mon, JsonNode *request)
{
    JsonObject *response = qmp_dispatch(qatomic_read(&mon->commands), request, qmp_oob_enabled(mon), &mon->common);

    if (qatomic_read(&mon->commands) == &qmp_cap_negotiation_commands) {
        explain_negotiation(response);
    }
    qmp_send_response(mon, response);
    json_object_unref(response);
}

/* ---- the dispatcher ---- */

/* The next request of any monitor, in turn, with its monitor's qmp_queue_lock held; or NULL. monitor_lock is held. */
static QMPRequest *monitor_qmp_requests_pop_any_with_lock(void)
{
    Monitor *mon;

    TAILQ_FOREACH(mon, &mon_list, entry) {
        MonitorQMP *qmp = (MonitorQMP *)mon;
        QMPRequest *request;

        qemu_mutex_lock(&qmp->qmp_queue_lock);
        request = g_queue_pop_head(qmp->qmp_requests);
        if (request) {
            TAILQ_REMOVE(&mon_list, mon, entry);
            TAILQ_INSERT_TAIL(&mon_list, mon, entry);
            return request;
        }
        qemu_mutex_unlock(&qmp->qmp_queue_lock);
    }
    return NULL;
}

/* Waits for a request and returns it with its monitor's qmp_queue_lock held; NULL on shutdown. */
static QMPRequest *coroutine_fn monitor_qmp_dispatcher_pop_any(void)
{
    for (;;) {
        QMPRequest *request = NULL;
        bool shutdown;

        core_assert(qatomic_read(&qmp_dispatcher_co_busy));

        /* ORDER: busy before shutdown and the queues
         * PAIRS: qmp_dispatcher_co_wake()
         * ELSE:  the request is not seen here and busy is seen there: nobody wakes us */
        qatomic_set_mb(&qmp_dispatcher_co_busy, false);

        qemu_mutex_lock(&monitor_lock);
        shutdown = qmp_dispatcher_co_shutdown;
        if (!shutdown) {
            request = monitor_qmp_requests_pop_any_with_lock();
        }
        qemu_mutex_unlock(&monitor_lock);
        if (shutdown || request) {
            return request;
        }
        qemu_coroutine_yield();
    }
}

static void coroutine_fn process(QMPRequest *request)
{
    MonitorQMP *mon = request->mon;

    if (request->req) {
        monitor_qmp_dispatch(mon, request->req);
    } else {
        JsonObject *response = qmp_error_response(g_steal_pointer(&request->err));

        qmp_send_response(mon, response);
        json_object_unref(response);
    }
}

void coroutine_fn monitor_qmp_dispatcher_co(void *opaque)
{
    QMPRequest *request;

    (void)opaque;
    while ((request = monitor_qmp_dispatcher_pop_any())) {
        MonitorQMP *mon = request->mon;
        bool oob_enabled = qmp_oob_enabled(mon); /* now: the command may be the one that changes it */
        unsigned suspended = monitor_qmp_suspensions_locked(mon, request);

        /* With out-of-band at once, so that such commands come through while this one runs; else after the reply. */
        if (oob_enabled) {
            monitor_resume_times(&mon->common, suspended);
        }

        /* Before the yields: the main thread takes this lock too, when a write finds that the client has gone. */
        qemu_mutex_unlock(&mon->qmp_queue_lock);

        if (qatomic_xchg(&qmp_dispatcher_co_busy, true)) {
            qemu_coroutine_yield(); /* somebody has scheduled us meanwhile, and we must be entered once for that */
        }
        process(request);
        if (!oob_enabled) {
            monitor_resume_times(&mon->common, suspended);
        }
        qmp_request_free(request);
    }

    /* From here on busy stays true, so that nobody wakes us any more. Who has set it before us will schedule us: be there
     * for that once more. */
    if (qatomic_xchg(&qmp_dispatcher_co_busy, true)) {
        qemu_coroutine_yield();
    }
    qatomic_set(&qmp_dispatcher_co, NULL);
}

void qmp_dispatcher_co_wake(void)
{
    /* ORDER: the request, or the shutdown flag, before busy
     * PAIRS: monitor_qmp_dispatcher_pop_any()
     * ELSE:  busy is still true when it is read, and the dispatcher sleeps without having seen the request */
    smp_mb__before_rmw();

    if (!qatomic_xchg(&qmp_dispatcher_co_busy, true)) {
        Coroutine *co = qatomic_read(&qmp_dispatcher_co);

        core_assert(co);
        aio_co_wake(co);
        aio_wait_kick();
    }
}

/* ---- requests come in: mon_iothread ---- */

static void handle_qmp_command(void *opaque, JsonNode *req, GError *err)
{
    MonitorQMP *mon = opaque;
    QMPRequest *request;

    if (req && JSON_NODE_HOLDS_OBJECT(req) && qmp_is_oob(json_node_get_object(req))) {
        monitor_qmp_dispatch(mon, req);
        json_node_unref(req);
        return;
    }

    request = g_new(QMPRequest, 1);
    *request = (QMPRequest){ .mon = mon, .req = req, .err = err };

    qemu_mutex_lock(&mon->qmp_queue_lock);
    if (!qmp_oob_enabled(mon)) {
        request->alone = true;
        monitor_suspend(&mon->common);
    } else if (!mon->full && mon->qmp_requests->length >= QMP_REQ_QUEUE_LEN_MAX - 1) {
        mon->full = true;
        monitor_suspend(&mon->common);
    }
    core_assert(mon->qmp_requests->length <= QMP_REQ_QUEUE_LEN_MAX); /* one too many: see above */
    g_queue_push_tail(mon->qmp_requests, request);
    qemu_mutex_unlock(&mon->qmp_queue_lock);

    qmp_dispatcher_co_wake();
}

static void monitor_qmp_read(void *opaque, const uint8_t *buf, int size)
{
    MonitorQMP *mon = opaque;

    json_message_parser_feed(&mon->parser, (const char *)buf, (size_t)size);
}

static JsonObject *qmp_greeting(void)
{
    JsonArray *capabilities = json_array_new();
    JsonObject *greeting = json_object_new();
    JsonObject *outer = json_object_new();

    json_array_add_string_element(capabilities, "oob");
    json_object_set_object_member(greeting, "version", json_object_new());
    json_object_set_array_member(greeting, "capabilities", capabilities);
    json_object_set_object_member(outer, "QMP", greeting);
    return outer;
}

static void monitor_qmp_event(void *opaque, QEMUChrEvent event)
{
    MonitorQMP *mon = opaque;
    JsonObject *greeting;

    switch (event) {
    case CHR_EVENT_OPENED:
        /* Not when the one before has gone: that may be noticed by a writer in another thread, while this one is still in
         * json_message_parser_feed(). docs/findings.md, M5. */
        json_message_parser_destroy(&mon->parser);
        json_message_parser_init(&mon->parser, handle_qmp_command, mon);
        /* Whoever emits an event has sent it by now, or will see that this client has not negotiated: none comes between the greeting
         * and the negotiation. docs/findings.md, M10. */
        qemu_mutex_lock(&monitor_lock);
        qatomic_set(&mon->commands, &qmp_cap_negotiation_commands);
        qemu_mutex_unlock(&monitor_lock);
        monitor_qmp_caps_reset(mon);
        greeting = qmp_greeting();
        qmp_send_response(mon, greeting);
        json_object_unref(greeting);
        break;
    case CHR_EVENT_CLOSED:
        monitor_qmp_cleanup_queue_and_resume(mon);
        break;
    }
}

/* ---- life ---- */

void monitor_data_destroy_qmp(MonitorQMP *mon)
{
    json_message_parser_destroy(&mon->parser);
    qemu_mutex_destroy(&mon->qmp_queue_lock);
    monitor_qmp_cleanup_req_queue_locked(mon);
    g_queue_free(mon->qmp_requests);
}

/* In mon_iothread, so that the device does not run before it has its handlers. */
static void monitor_qmp_setup_handlers_bh(void *opaque)
{
    MonitorQMP *mon = opaque;
    GMainContext *context = iothread_get_g_main_context(mon_iothread);

    qemu_chr_fe_set_handlers(&mon->common.chr, monitor_can_read, monitor_qmp_read, monitor_qmp_event, mon, context);
    monitor_list_append(&mon->common);
}

void monitor_init_qmp(Chardev *chr)
{
    MonitorQMP *mon = g_new0(MonitorQMP, 1);

    core_assert(qemu_chr_fe_init(&mon->common.chr, chr));
    monitor_data_init(&mon->common);
    mon->commands = &qmp_cap_negotiation_commands;
    qemu_mutex_init(&mon->qmp_queue_lock);
    mon->qmp_requests = g_queue_new();
    json_message_parser_init(&mon->parser, handle_qmp_command, mon);
    aio_bh_schedule_oneshot(iothread_get_aio_context(mon_iothread), monitor_qmp_setup_handlers_bh, mon);
}
