/*
 * Timers: callbacks that an event loop runs when their time has come.
 *
 * All clocks count nanoseconds of CLOCK_MONOTONIC: there is no guest whose time could stop. A timer belongs to the
 * list of one AioContext or to the main loop's, and its callback runs in that loop's thread. Names and semantics:
 * QEMU's include/qemu/timer.h and util/qemu-timer.c, with one list per loop instead of one per clock.
 */
#ifndef WAKEFUZZ_CORE_TIMER_H
#define WAKEFUZZ_CORE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/thread.h"

#define SCALE_MS               1000000
#define SCALE_US               1000
#define SCALE_NS               1
#define NANOSECONDS_PER_SECOND 1000000000LL

typedef enum QEMUClockType {
    QEMU_CLOCK_REALTIME,
    QEMU_CLOCK_VIRTUAL,
    QEMU_CLOCK_HOST,
} QEMUClockType;

typedef struct QEMUTimer QEMUTimer;
typedef struct AioContext AioContext;
typedef void QEMUTimerCB(void *opaque);
typedef void QEMUTimerListNotifyCB(void *opaque);

typedef struct QEMUTimerList {
    QemuMutex active_timers_lock;
    QEMUTimer *active_timers; /* soonest first; written under the lock, its head also read without */
    QEMUTimerListNotifyCB *notify_cb;
    void *notify_opaque;
} QEMUTimerList;

struct QEMUTimer {
    int64_t expire_time; /* in ns; -1 when not pending; written under the list's lock, read by any thread */
    QEMUTimerList *timer_list;
    QEMUTimerCB *cb;
    void *opaque;
    QEMUTimer *next;
    int scale;
};

/* Now, in nanoseconds or milliseconds. Any thread. */
int64_t qemu_clock_get_ns(QEMUClockType type);
int64_t qemu_clock_get_ms(QEMUClockType type);

/* The sooner of two time-outs, where -1 means never. */
int64_t qemu_soonest_timeout(int64_t timeout1, int64_t timeout2);
/* -1 stays, all else is rounded up, so that a loop never wakes too early and spins. */
int qemu_timeout_ns_to_ms(int64_t ns);

/* notify_cb(opaque) is called, by the thread that arms a timer, whenever the list's first deadline moves forward. */
void timerlist_init(QEMUTimerList *list, QEMUTimerListNotifyCB *notify_cb, void *opaque);
/* No timer may be pending. */
void timerlist_deinit(QEMUTimerList *list);
/* Nanoseconds to the first deadline: 0 when it has passed, -1 when there is none. Any thread. */
int64_t timerlist_deadline_ns(QEMUTimerList *list);
/* Runs the callbacks that are due now, without the lock. Only in the list's loop. Returns whether there was one. */
bool timerlist_run_timers(QEMUTimerList *list);

/* A timer in the list of the main loop, whose callback runs in main_loop_wait(). */
void timer_init_full(QEMUTimer *timer, QEMUTimerList *list, QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque);
void timer_init_ns(QEMUTimer *timer, QEMUClockType type, QEMUTimerCB *cb, void *opaque);
void timer_init_ms(QEMUTimer *timer, QEMUClockType type, QEMUTimerCB *cb, void *opaque);
QEMUTimer *timer_new_ms(QEMUClockType type, QEMUTimerCB *cb, void *opaque);
/* Deletes the timer; NULL is allowed. The callback must not be running in another thread. */
void timer_free(QEMUTimer *timer);

/*
 * Arms the timer, or moves it. Any thread; does not block but for the list's short lock. The first takes nanoseconds,
 * the second the timer's own scale, the third moves a pending timer to an earlier time only.
 */
void timer_mod_ns(QEMUTimer *timer, int64_t expire_time_ns);
void timer_mod(QEMUTimer *timer, int64_t expire_time);
void timer_mod_anticipate_ns(QEMUTimer *timer, int64_t expire_time_ns);
/* Disarms it. Does not wait for a callback that is already running in another thread. Any thread. */
void timer_del(QEMUTimer *timer);
bool timer_pending(QEMUTimer *timer);
/* -1 when not pending. */
int64_t timer_expire_time_ns(QEMUTimer *timer);

#endif
