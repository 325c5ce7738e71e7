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
    return g_test_run();
}
