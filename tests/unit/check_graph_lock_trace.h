/*
 * The trace of the lost kick in the graph lock, written by hand: what the tests of cause, sentence and table have in
 * common.
 *
 *   step | main                                          | iothread0
 *   -----+-----------------------------------------------+-------------------------------------
 *      1 |                                               | starts
 *      2 |                                               | reader_count 0 -> 1
 *      3 | has_writer 1 -> 0                             |
 *      4 | num_waiters 0 -> 1                            |
 *      5 | reader_count == 1                             |
 *      6 | sleeps in poll                                |
 *      7 |                                               | reader_count 1 -> 0
 *      8 |                                               | has_writer == 0: no kick
 *      9 |                                               | sleeps in poll
 *  10-12 | by hand: reader_count == 0, num_waiters 1 -> 0|
 */
#ifndef WAKEFUZZ_TESTS_UNIT_CHECK_GRAPH_LOCK_TRACE_H
#define WAKEFUZZ_TESTS_UNIT_CHECK_GRAPH_LOCK_TRACE_H

#include "check/check.h"
#include "check_fake_sched.h"

enum { READER_COUNT = 1, HAS_WRITER, NUM_WAITERS, MAIN_POLL, READER_POLL };
enum { AT_RDLOCK = 2, AT_CLEAR, AT_WAITERS, AT_LOOK, AT_SLEEP, AT_RDUNLOCK, AT_CHECK, AT_READER_SLEEP, AT_PROBE, AT_END = 13 };

static inline SchedProbe graph_lock_trace(void)
{
    const SchedBlock poll = { .call = SCHED_CALL_POLL, .spurious_ok = true, .deadline_ns = SCHED_FOREVER };
    SchedSite *look = fake_site(SCHED_LOAD, "reader_count", "&counter->reader_count", 88);
    SchedProbe probe = { .first_step = AT_PROBE, .end_step = AT_END };

    fake_thread("main", &poll);
    fake_thread("iothread0", &poll);
    fake_call(0, SCHED_CALL_CREATE, 0, NULL);
    fake_call(1, SCHED_CALL_START, 0, NULL);
    fake_store(1, fake_site(SCHED_STORE, "bdrv_graph_co_rdlock", "&(graph)->reader_count", 20), READER_COUNT, 0, 1);
    fake_store(0, fake_site(SCHED_STORE, "bdrv_graph_wrlock", "&has_writer", 30), HAS_WRITER, 1, 0);
    fake_store(0, fake_site(SCHED_RMW, "bdrv_graph_wrlock", "&global_aio_wait.num_waiters", 31), NUM_WAITERS, 0, 1);
    fake_load(0, look, READER_COUNT, 1);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, MAIN_POLL, NULL));
    fake_store(1, fake_site(SCHED_STORE, "bdrv_graph_co_rdunlock", "&graph->reader_count", 40), READER_COUNT, 1, 0);
    fake_load(1, fake_site(SCHED_LOAD, "bdrv_graph_co_rdunlock", "&has_writer", 41), HAS_WRITER, 0);
    fake_sleep(fake_call(1, SCHED_CALL_POLL, READER_POLL, NULL));
    fake_call(0, SCHED_CALL_POLL, MAIN_POLL, NULL);
    fake_load(0, look, READER_COUNT, 0);
    fake_store(0, fake_site(SCHED_RMW, "bdrv_graph_wrlock", "&global_aio_wait.num_waiters", 32), NUM_WAITERS, 1, 0);
    fake_by_hand(AT_PROBE, AT_END);
    fake_step(AT_RDLOCK)->strand = 2;
    fake_step(AT_RDUNLOCK)->strand = 2;
    fake_step(AT_CHECK)->strand = 2;
    g_assert_cmpuint(fake_count(), ==, AT_END);
    return probe;
}

#endif
