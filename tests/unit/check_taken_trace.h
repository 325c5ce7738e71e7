/*
 * The trace of a wakeup that a third thread takes, written by hand: what the tests of cause, sentence and table have in
 * common. The two others are called asker, both.
 *
 *   step | main                                | asker (thread 1)              | asker (thread 2)
 *   -----+-------------------------------------+-------------------------------+---------------------------
 *      0 | eventfd                             |                               |
 *      1 | active_timers == NULL               |                               |
 *      2 | eventfd read: nothing there         |                               |
 *      3 | sleeps in poll                      |                               |
 *      4 |                                     | active_timers NULL -> p1      |
 *      5 |                                     | notify_me == 1: so            |
 *      6 |                                     | eventfd write                 |
 *      7 |                                     |                               | eventfd read
 *      8 | by hand: eventfd read: nothing there|                               |
 *      9 | active_timers == p1                 |                               |
 *     10 | looks at the clock, which is new    |                               |
 */
#ifndef WAKEFUZZ_TESTS_UNIT_CHECK_TAKEN_TRACE_H
#define WAKEFUZZ_TESTS_UNIT_CHECK_TAKEN_TRACE_H

#include <errno.h>

#include "check/check.h"
#include "check_fake_sched.h"

enum { TIMERS = 1, NOTIFIER, NOTIFY_ME };
enum { TAKEN_LOOK = 1, TAKEN_SLEEP = 3, TAKEN_WRITE, TAKEN_CHECK, TAKEN_WAKE, TAKEN_TAKE, TAKEN_PROBE, TAKEN_END = 11 };
#define TAKEN_EVENTFD 7u
#define TAKEN_TIMER   UINT64_C(0x7f0000001000)

static inline size_t fake_transfer(unsigned thread, SchedCall call, void *pc, int64_t result)
{
    size_t at = fake_call(thread, call, NOTIFIER, pc);

    fake_step(at)->object = TAKEN_EVENTFD;
    fake_step(at)->new_value = (uint64_t)result;
    return at;
}

static inline SchedProbe taken_trace(void)
{
    const SchedBlock poll = { .call = SCHED_CALL_POLL, .spurious_ok = true, .deadline_ns = SCHED_FOREVER };
    SchedSite *look = fake_site(SCHED_LOAD, "timerlist_deadline_ns", "&list->active_timers", 74);
    SchedProbe probe = { .first_step = TAKEN_PROBE, .end_step = TAKEN_END };

    look->size_bytes = 8;
    fake_thread("main", &poll);
    fake_thread("asker", &poll);
    fake_thread("asker", &poll);
    fake_step(fake_call(0, SCHED_CALL_EVENTFD, 0, NULL))->new_value = TAKEN_EVENTFD;
    fake_load(0, look, TIMERS, 0);
    fake_transfer(0, SCHED_CALL_READ, NULL, -EAGAIN);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, NOTIFIER, NULL));

    SchedSite *link = fake_site(SCHED_STORE, "timer_insert_locked", "link", 208);

    link->size_bytes = 8;
    fake_store(1, link, TIMERS, 0, TAKEN_TIMER);
    fake_load(1, fake_site(SCHED_LOAD, "aio_notify", "&ctx->notify_me", 84), NOTIFY_ME, 1);
    fake_transfer(1, SCHED_CALL_WRITE, NULL, 8);
    fake_transfer(2, SCHED_CALL_READ, NULL, 8);
    fake_transfer(0, SCHED_CALL_READ, NULL, -EAGAIN);
    fake_load(0, look, TIMERS, TAKEN_TIMER);
    fake_call(0, SCHED_CALL_CLOCK, 0, NULL);
    fake_by_hand(TAKEN_PROBE, TAKEN_END);
    g_assert_cmpuint(fake_count(), ==, TAKEN_END);
    return probe;
}

#endif
