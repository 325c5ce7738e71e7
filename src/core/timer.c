/*
 * Timers. Any thread arms and disarms; the loop that owns the list runs callbacks.
 *
 * Invariants
 * 1. active_timers is sorted by expire_time; timers of equal time run in the order in which they were armed.
 * 2. A timer is in the list exactly while its expire_time is not -1.
 * 3. A callback runs without the lock, after its timer has left the list: it may arm the timer again, or free it.
 * 4. Whoever moves the first deadline forward notifies, after the lock is released. The loop computes how long it may
 *    sleep after it has announced that it will sleep (notify_me), so that it sees either the new deadline or the
 *    notification.
 */
#include "core/timer.h"

#include <glib.h>
#include <limits.h>
#include <time.h>

#include "core/atomic.h"
#include "core/fatal.h"
#include "core/main_loop.h"

int64_t qemu_clock_get_ns(QEMUClockType type)
{
    struct timespec now;

    (void)type;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NANOSECONDS_PER_SECOND + now.tv_nsec;
}

int64_t qemu_clock_get_ms(QEMUClockType type)
{
    return qemu_clock_get_ns(type) / SCALE_MS;
}

int64_t qemu_soonest_timeout(int64_t timeout1, int64_t timeout2)
{
    /* As unsigned numbers, -1 is later than everything. */
    return (int64_t)MIN((uint64_t)timeout1, (uint64_t)timeout2);
}

int qemu_timeout_ns_to_ms(int64_t ns)
{
    int64_t ms;

    if (ns < 0) {
        return -1;
    }
    ms = ns / SCALE_MS + (ns % SCALE_MS != 0);
    return (int)MIN(ms, INT_MAX);
}

/* ---- lists ---- */

void timerlist_init(QEMUTimerList *list, QEMUTimerListNotifyCB *notify_cb, void *opaque)
{
    qemu_mutex_init(&list->active_timers_lock);
    list->active_timers = NULL;
    list->notify_cb = notify_cb;
    list->notify_opaque = opaque;
}

void timerlist_deinit(QEMUTimerList *list)
{
    core_assert(!list->active_timers);
    qemu_mutex_destroy(&list->active_timers_lock);
}

int64_t timerlist_deadline_ns(QEMUTimerList *list)
{
    int64_t expire_time, delta;

    /* An empty list needs no lock: a timer that is armed right now is followed by a notification (invariant 4). */
    if (!qatomic_read(&list->active_timers)) {
        return -1;
    }

    qemu_mutex_lock(&list->active_timers_lock);
    if (!list->active_timers) {
        qemu_mutex_unlock(&list->active_timers_lock);
        return -1;
    }
    expire_time = list->active_timers->expire_time;
    qemu_mutex_unlock(&list->active_timers_lock);

    delta = expire_time - qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    return MAX(delta, 0);
}

/* Takes the first timer out of the list if it is due, with its callback, which may be changed or freed from here on. */
static bool timerlist_pop_due(QEMUTimerList *list, int64_t now, QEMUTimerCB **cb, void **opaque)
{
    QEMUTimer *timer;
    bool due;

    qemu_mutex_lock(&list->active_timers_lock);
    timer = list->active_timers;
    due = timer && timer->expire_time <= now;
    if (due) {
        qatomic_set(&list->active_timers, timer->next);
        timer->next = NULL;
        *cb = timer->cb;
        *opaque = timer->opaque;
        qatomic_set(&timer->expire_time, -1);
    }
    qemu_mutex_unlock(&list->active_timers_lock);
    return due;
}

bool timerlist_run_timers(QEMUTimerList *list)
{
    bool progress = false;
    QEMUTimerCB *cb;
    void *opaque;
    int64_t now;

    if (!qatomic_read(&list->active_timers)) {
        return false;
    }

    now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    while (timerlist_pop_due(list, now, &cb, &opaque)) {
        cb(opaque);
        progress = true;
    }
    return progress;
}

/* ---- timers ---- */

void timer_init_full(QEMUTimer *timer, QEMUTimerList *list, QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque)
{
    (void)type;
    timer->timer_list = list;
    timer->cb = cb;
    timer->opaque = opaque;
    timer->scale = scale;
    timer->next = NULL;
    timer->expire_time = -1;
}

void timer_init_ns(QEMUTimer *timer, QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
    timer_init_full(timer, qemu_main_loop_get_timer_list(), type, SCALE_NS, cb, opaque);
}

void timer_init_ms(QEMUTimer *timer, QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
    timer_init_full(timer, qemu_main_loop_get_timer_list(), type, SCALE_MS, cb, opaque);
}

QEMUTimer *timer_new_ms(QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
    QEMUTimer *timer = g_new0(QEMUTimer, 1);

    timer_init_ms(timer, type, cb, opaque);
    return timer;
}

void timer_free(QEMUTimer *timer)
{
    if (timer) {
        timer_del(timer);
        g_free(timer);
    }
}

/* The link that points to the timer, or the list's last one. */
static QEMUTimer **find_link(QEMUTimerList *list, QEMUTimer *timer)
{
    QEMUTimer **link = &list->active_timers;

    while (*link && *link != timer) {
        link = &(*link)->next;
    }
    return link;
}

static void timer_del_locked(QEMUTimerList *list, QEMUTimer *timer)
{
    QEMUTimer **link = find_link(list, timer);

    qatomic_set(&timer->expire_time, -1);
    if (*link) {
        qatomic_set(link, timer->next);
        timer->next = NULL;
    }
}

/* Returns whether the list's first deadline has moved forward. */
static bool timer_insert_locked(QEMUTimerList *list, QEMUTimer *timer, int64_t expire_time_ns)
{
    QEMUTimer **link = &list->active_timers;

    while (*link && (*link)->expire_time <= expire_time_ns) {
        link = &(*link)->next;
    }
    qatomic_set(&timer->expire_time, MAX(expire_time_ns, 0));
    timer->next = *link;
    qatomic_set(link, timer);
    return link == &list->active_timers;
}

void timer_mod_ns(QEMUTimer *timer, int64_t expire_time_ns)
{
    QEMUTimerList *list = timer->timer_list;
    bool sooner;

    qemu_mutex_lock(&list->active_timers_lock);
    timer_del_locked(list, timer);
    sooner = timer_insert_locked(list, timer, expire_time_ns);
    qemu_mutex_unlock(&list->active_timers_lock);

    if (sooner) {
        list->notify_cb(list->notify_opaque);
    }
}

void timer_mod_anticipate_ns(QEMUTimer *timer, int64_t expire_time_ns)
{
    QEMUTimerList *list = timer->timer_list;
    bool sooner = false;

    qemu_mutex_lock(&list->active_timers_lock);
    if (timer->expire_time == -1 || timer->expire_time > expire_time_ns) {
        timer_del_locked(list, timer);
        sooner = timer_insert_locked(list, timer, expire_time_ns);
    }
    qemu_mutex_unlock(&list->active_timers_lock);

    if (sooner) {
        list->notify_cb(list->notify_opaque);
    }
}

void timer_mod(QEMUTimer *timer, int64_t expire_time)
{
    timer_mod_ns(timer, expire_time * timer->scale);
}

void timer_del(QEMUTimer *timer)
{
    QEMUTimerList *list = timer->timer_list;

    qemu_mutex_lock(&list->active_timers_lock);
    timer_del_locked(list, timer);
    qemu_mutex_unlock(&list->active_timers_lock);
}

bool timer_pending(QEMUTimer *timer)
{
    return timer_expire_time_ns(timer) >= 0;
}

int64_t timer_expire_time_ns(QEMUTimer *timer)
{
    return qatomic_read(&timer->expire_time);
}
