/* What became of the wakeup: declined, astray, or taken by a third thread; on traces written by hand. */
#include "check_taken_trace.h"

static CheckCause cause_of(unsigned waiter, SchedProbe probe)
{
    CheckCause cause;

    check_cause_find(check_trace(), waiter, &probe, &cause);
    return cause;
}

/* /check/cause/taken: the write is known, and so is who took the wakeup for it; what the waker looked at is not the
 * cause, as it did wake. */
static void test_taken(void)
{
    fake_reset();

    CheckCause cause = cause_of(0, taken_trace());

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_WRITE);
    g_assert_cmpuint(cause.look_step, ==, TAKEN_LOOK);
    g_assert_cmpuint(cause.write_step, ==, TAKEN_WRITE);
    g_assert_cmpuint(cause.waker, ==, 1);
    g_assert_cmpuint(cause.wake_step, ==, TAKEN_WAKE);
    g_assert_cmpuint(cause.take_step, ==, TAKEN_TAKE);
    g_assert_cmpuint(cause.check_step, ==, CHECK_NO_STEP);
}

/* /check/cause/taken-by-nobody: a read that got nothing takes nothing, nor does the waiter's own, nor one before the
 * write. */
static void test_taken_by_nobody(void)
{
    SchedProbe probe;

    fake_reset();
    probe = taken_trace();
    fake_step(TAKEN_TAKE)->new_value = (uint64_t)-EAGAIN;
    g_assert_cmpuint(cause_of(0, probe).take_step, ==, CHECK_NO_STEP);
    fake_step(TAKEN_TAKE)->new_value = 8;
    fake_step(TAKEN_TAKE)->thread = 0;
    g_assert_cmpuint(cause_of(0, probe).take_step, ==, CHECK_NO_STEP);
}

/* /check/cause/not-the-waiters: a wakeup of a descriptor that the waiter only ever writes is somebody else's. */
static void test_not_the_waiters(void)
{
    SchedSite *look, *count;
    SchedProbe probe;
    size_t check;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("iothread0", NULL);
    fake_thread("iothread1", NULL);
    look = fake_site(SCHED_LOAD, "reader_count", "&counter->reader_count", 1);
    count = fake_site(SCHED_STORE, "rdunlock", "&counter->reader_count", 2);
    fake_transfer(0, SCHED_CALL_WRITE, NULL, 8); /* main has kicked iothread1 itself */
    fake_transfer(2, SCHED_CALL_READ, NULL, 8);
    fake_load(0, look, 5, 1);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 6, NULL));
    fake_store(1, count, 5, 1, 0);
    check = fake_load(1, fake_site(SCHED_LOAD, "rdunlock", "&has_writer", 3), 7, 0);
    fake_transfer(1, SCHED_CALL_WRITE, NULL, 8);
    fake_transfer(2, SCHED_CALL_READ, NULL, 8);
    probe.first_step = fake_count();
    fake_load(0, look, 5, 0);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpuint(cause.check_step, ==, check);
    g_assert_cmpuint(cause.wake_step, ==, CHECK_NO_STEP);
    g_assert_cmpuint(cause.take_step, ==, CHECK_NO_STEP);
}

/* /check/cause/last-look: of several looks in a row the last one is what the decision came to. */
static void test_last_look(void)
{
    SchedSite *look;
    SchedProbe probe;
    size_t check;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "wait", "&done", 1);
    fake_store(0, fake_site(SCHED_STORE, "wait", "&notify_me", 2), 2, 0, 1);
    fake_load(0, look, 1, 0);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 3, NULL));
    fake_store(1, fake_site(SCHED_STORE, "finish", "&done", 3), 1, 0, 1);
    fake_load(1, fake_site(SCHED_LOAD, "notify", "&notify_me", 4), 2, 1);
    check = fake_load(1, fake_site(SCHED_LOAD, "notify", "&dispatching", 5), 4, 1);
    fake_load(1, fake_site(SCHED_LOAD, "something_else", "&statistics", 6), 5, 1);
    probe.first_step = fake_count();
    fake_load(0, look, 1, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    g_assert_cmpuint(cause_of(0, probe).check_step, ==, check);
}

/* What the condition is nobody sees: it is plain data under mutex 1, which the waiter takes again. */
static SchedProbe plain_probe(void)
{
    SchedProbe probe = { .first_step = fake_count() };

    fake_call(0, SCHED_CALL_MUTEX_LOCK, 1, NULL);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    return probe;
}

/* /check/cause/plain-taken: of plain data the last wakeup that was taken, and the section in which it was sent, though
 * others had the mutex later. */
static void test_plain_taken(void)
{
    size_t wake, take, unlock;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("asker", NULL);
    fake_thread("asker", NULL);
    fake_call(0, SCHED_CALL_MUTEX_UNLOCK, 1, NULL);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, NOTIFIER, NULL));
    fake_call(1, SCHED_CALL_MUTEX_LOCK, 1, NULL);
    wake = fake_transfer(1, SCHED_CALL_WRITE, NULL, 8);
    take = fake_transfer(2, SCHED_CALL_READ, NULL, 8);
    unlock = fake_call(1, SCHED_CALL_MUTEX_UNLOCK, 1, NULL);
    fake_call(2, SCHED_CALL_MUTEX_LOCK, 1, NULL);
    fake_call(2, SCHED_CALL_MUTEX_UNLOCK, 1, NULL);

    CheckCause cause = cause_of(0, plain_probe());

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_GUARD);
    g_assert_cmpuint(cause.wake_step, ==, wake);
    g_assert_cmpuint(cause.take_step, ==, take);
    g_assert_cmpuint(cause.write_step, ==, unlock);
    g_assert_cmpuint(cause.waker, ==, 1);
}

/* /check/cause/plain-taken-without-mutex */
static void test_plain_taken_without_mutex(void)
{
    SchedProbe probe;
    size_t wake, take;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("asker", NULL);
    fake_thread("asker", NULL);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, NOTIFIER, NULL));
    wake = fake_transfer(1, SCHED_CALL_WRITE, NULL, 8);
    take = fake_transfer(2, SCHED_CALL_READ, NULL, 8);
    probe.first_step = fake_count();
    fake_transfer(0, SCHED_CALL_READ, NULL, -EAGAIN);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_TAKEN);
    g_assert_cmpuint(cause.wake_step, ==, wake);
    g_assert_cmpuint(cause.take_step, ==, take);
    g_assert_cmpuint(cause.write_step, ==, CHECK_NO_STEP);
    g_assert_cmpuint(cause.waker, ==, 1);
}

/* /check/cause/plain-declined: of plain data the last look that elsewhere led to a wakeup, and here did not; after a
 * wakeup that was taken, that is over and done with. */
static void test_plain_declined(void)
{
    SchedSite *announce, *ask;
    size_t check;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("asker", NULL);
    fake_thread("asker", NULL);
    announce = fake_site(SCHED_STORE, "wait", "&notify_me", 1);
    ask = fake_site(SCHED_LOAD, "notify", "&notify_me", 2);
    fake_store(0, announce, NOTIFY_ME, 0, 1);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, NOTIFIER, NULL));
    fake_load(1, ask, NOTIFY_ME, 1);
    fake_transfer(1, SCHED_CALL_WRITE, NULL, 8);
    fake_transfer(2, SCHED_CALL_READ, NULL, 8);
    fake_call(1, SCHED_CALL_MUTEX_LOCK, 1, NULL);
    check = fake_load(1, ask, NOTIFY_ME, 0);
    fake_call(1, SCHED_CALL_MUTEX_UNLOCK, 1, NULL);

    CheckCause cause = cause_of(0, plain_probe());

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_GUARD);
    g_assert_cmpuint(cause.check_step, ==, check);
    g_assert_cmpuint(cause.check_write_step, ==, 0);
    g_assert_cmpuint(cause.take_step, ==, CHECK_NO_STEP);
    g_assert_cmpuint(cause.write_step, ==, check + 1);
}

/* What worker, thread 1, does after it has changed what mutex 1 guards: a full barrier or none, a look at what main has never announced, in
 * this coroutine, and then perhaps a wakeup. Returns where it looked. */
static size_t ask_after_unlock(bool barrier, uint32_t strand, bool wakes, SchedProbe *probe)
{
    enum { MUTEX = 1, WAITERS = 5, NEXT = 6, POLL = 7 };
    SchedSite *next = fake_site(SCHED_LOAD, "wait", "&next", 1);
    size_t look;

    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_call(0, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_load(0, next, NEXT, 5);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, POLL, NULL));
    fake_call(1, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_call(1, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    if (barrier) {
        look = fake_load(1, fake_site(SCHED_FENCE, "kick", "smp_mb", 2), 0, 0);
        fake_step(look)->operation = SCHED_FENCE;
    }
    look = fake_load(1, fake_site(SCHED_LOAD, "kick", "&num_waiters", 3), WAITERS, 0);
    fake_step(look)->strand = strand;
    if (wakes) {
        fake_call(1, SCHED_CALL_FUTEX_WAKE, 8, NULL);
    }
    probe->first_step = fake_count();
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_call(0, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_load(0, fake_site(SCHED_LOAD, "go_on", "&other", 4), 9, 1);
    probe->end_step = fake_count();
    fake_by_hand(probe->first_step, probe->end_step);
    return look;
}

/* /check/cause/guard-asked: after the section and a full barrier the waker asks whether anybody waits, at a place where nobody ever has. */
static void test_guard_asked(void)
{
    SchedProbe probe;
    size_t look;
    CheckCause cause;

    fake_reset();
    look = ask_after_unlock(true, 0, false, &probe);
    cause = cause_of(0, probe);
    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_GUARD);
    g_assert_cmpuint(cause.check_step, ==, look);
}

/* /check/cause/guard-not-asked: without a barrier, or in another coroutine, it is anything; and where it woke somebody then, it is no reason not to. */
static void test_guard_not_asked(void)
{
    SchedProbe probe;

    fake_reset();
    ask_after_unlock(false, 0, false, &probe);
    g_assert_cmpuint(cause_of(0, probe).check_step, ==, CHECK_NO_STEP);
    fake_reset();
    ask_after_unlock(true, 3, false, &probe);
    g_assert_cmpuint(cause_of(0, probe).check_step, ==, CHECK_NO_STEP);
    fake_reset();
    ask_after_unlock(true, 0, true, &probe);
    g_assert_cmpuint(cause_of(0, probe).check_step, ==, CHECK_NO_STEP);
}

/* The waiter looks, under the mutex, at what no step shows, and sleeps; the signal comes before it looks, or after. */
static SchedProbe early_trace(bool after_look, size_t *signal)
{
    enum { MUTEX = 1, COND, OTHER_COND };
    SchedProbe probe;

    fake_thread("worker", NULL);
    fake_thread("main", NULL);
    if (!after_look) {
        *signal = fake_call(1, SCHED_CALL_COND_BROADCAST, COND, NULL);
    }
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    if (after_look) {
        *signal = fake_call(1, SCHED_CALL_COND_BROADCAST, COND, NULL);
    }
    fake_call(1, SCHED_CALL_COND_SIGNAL, OTHER_COND, NULL);
    fake_sleep(fake_call(0, SCHED_CALL_COND_TIMEDWAIT, COND, NULL));
    probe.first_step = fake_count();
    fake_call(0, SCHED_CALL_EXIT, 0, NULL);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    return probe;
}

/* /check/cause/early: the signal came when the waiter had looked and did not sleep yet. */
static void test_early(void)
{
    size_t signal;
    CheckCause cause;

    fake_reset();
    cause = cause_of(0, early_trace(true, &signal));
    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_EARLY);
    g_assert_cmpuint(cause.wake_step, ==, signal);
    g_assert_cmpuint(cause.waker, ==, 1);
    g_assert_cmpuint(cause.write_step, ==, CHECK_NO_STEP);
}

/* /check/cause/not-early: before the waiter looks, a signal says nothing about what it finds. */
static void test_not_early(void)
{
    size_t signal;

    fake_reset();
    g_assert_cmpint(cause_of(0, early_trace(false, &signal)).kind, ==, CHECK_CAUSE_UNKNOWN);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check/cause/taken", test_taken);
    g_test_add_func("/check/cause/taken-by-nobody", test_taken_by_nobody);
    g_test_add_func("/check/cause/not-the-waiters", test_not_the_waiters);
    g_test_add_func("/check/cause/last-look", test_last_look);
    g_test_add_func("/check/cause/plain-taken", test_plain_taken);
    g_test_add_func("/check/cause/plain-taken-without-mutex", test_plain_taken_without_mutex);
    g_test_add_func("/check/cause/plain-declined", test_plain_declined);
    g_test_add_func("/check/cause/guard-asked", test_guard_asked);
    g_test_add_func("/check/cause/guard-not-asked", test_guard_not_asked);
    g_test_add_func("/check/cause/early", test_early);
    g_test_add_func("/check/cause/not-early", test_not_early);
    return g_test_run();
}
