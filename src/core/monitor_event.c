/*
 * Events: what the program tells all its clients by itself.
 *
 * Any thread emits, under monitor_lock. Timers of the main loop send what the rate limit has held back.
 *
 * Invariants
 * 1. Of a limited event at most one is sent in each interval; of those that come meanwhile, the last is sent at its end.
 * 2. A held event has a timer that is pending.
 * 3. An event that is emitted while one is being sent in the same thread (a write may find that the client has gone) waits
 *    until that one is done: monitor_lock is not recursive.
 *
 * From QEMU: monitor/monitor.c.
 */
#include "core/atomic.h"
#include "core/main_loop.h"
#include "core/monitor_int.h"

/* A limited event that was sent less than an interval ago. */
typedef struct MonitorQAPIEventState {
    QEMUTimer timer;
    bool active;
    JsonObject *held; /* to be sent when the timer fires, or NULL */
} MonitorQAPIEventState;

typedef struct QueuedEvent {
    QAPIEvent event;
    JsonObject *object;
    STAILQ_ENTRY(QueuedEvent) entry;
} QueuedEvent;

static const char *const event_names[QAPI_EVENT__MAX] = {
    [QAPI_EVENT_STOP] = "STOP",
    [QAPI_EVENT_RESUME] = "RESUME",
    [QAPI_EVENT_SHUTDOWN] = "SHUTDOWN",
    [QAPI_EVENT_RTC_CHANGE] = "RTC_CHANGE",
};

/* The least time between two, in ns; 0: no limit. */
static const int64_t event_rates[QAPI_EVENT__MAX] = {
    [QAPI_EVENT_RTC_CHANGE] = 1000 * (int64_t)SCALE_MS,
};

static MonitorQAPIEventState event_states[QAPI_EVENT__MAX]; /* under monitor_lock */

static __thread STAILQ_HEAD(, QueuedEvent) event_queue; /* of this thread, while it emits */
static __thread bool emitting;

void monitor_thread_reset(void)
{
    emitting = false;
}

/* ---- sending: monitor_lock is held ---- */

static void monitor_qapi_event_emit(JsonObject *object)
{
    Monitor *mon;

    TAILQ_FOREACH(mon, &mon_list, entry) {
        MonitorQMP *qmp = (MonitorQMP *)mon;

        if (qatomic_read(&qmp->commands) != &qmp_cap_negotiation_commands) {
            qmp_send_response(qmp, object);
        }
    }
}

static void hold(MonitorQAPIEventState *state, JsonObject *object)
{
    g_clear_pointer(&state->held, json_object_unref);
    state->held = object ? json_object_ref(object) : NULL;
}

static void monitor_qapi_event_queue_no_reenter(QAPIEvent event, JsonObject *object)
{
    MonitorQAPIEventState *state = &event_states[event];

    qemu_mutex_lock(&monitor_lock);
    if (state->active) {
        hold(state, object);
    } else {
        monitor_qapi_event_emit(object);
        if (event_rates[event]) {
            state->active = true;
            timer_mod_ns(&state->timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + event_rates[event]);
        }
    }
    qemu_mutex_unlock(&monitor_lock);
}

/* In the main loop, an interval after the last one was sent. */
static void monitor_qapi_event_handler(void *opaque)
{
    MonitorQAPIEventState *state = opaque;

    qemu_mutex_lock(&monitor_lock);
    if (state->held) {
        monitor_qapi_event_emit(state->held);
        hold(state, NULL);
        timer_mod_ns(&state->timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + event_rates[state - event_states]);
    } else {
        state->active = false;
    }
    qemu_mutex_unlock(&monitor_lock);
}

/* ---- public ---- */

static JsonObject *event_object(QAPIEvent event, JsonObject *data)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "event", event_names[event]);
    if (data) {
        json_object_set_object_member(object, "data", json_object_ref(data));
    }
    return object;
}

void qapi_event_emit(QAPIEvent event, JsonObject *data)
{
    QueuedEvent *queued = g_new(QueuedEvent, 1);

    *queued = (QueuedEvent){ .event = event, .object = event_object(event, data) };
    if (!emitting) {
        STAILQ_INIT(&event_queue);
    }
    STAILQ_INSERT_TAIL(&event_queue, queued, entry);
    if (emitting) {
        return;
    }
    emitting = true;
    while ((queued = STAILQ_FIRST(&event_queue))) {
        STAILQ_REMOVE_HEAD(&event_queue, entry);
        monitor_qapi_event_queue_no_reenter(queued->event, queued->object);
        json_object_unref(queued->object);
        g_free(queued);
    }
    emitting = false;
}

void monitor_qapi_event_init(void)
{
    for (unsigned i = 0; i < QAPI_EVENT__MAX; i++) {
        event_states[i] = (MonitorQAPIEventState){ .active = false };
        timer_init_ns(&event_states[i].timer, QEMU_CLOCK_REALTIME, monitor_qapi_event_handler, &event_states[i]);
    }
}

void monitor_qapi_event_cleanup(void)
{
    for (unsigned i = 0; i < QAPI_EVENT__MAX; i++) {
        timer_del(&event_states[i].timer);
        hold(&event_states[i], NULL);
    }
}
