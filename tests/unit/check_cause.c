/* The root cause of a missed wakeup, on traces written by hand. */
#include "check_graph_lock_trace.h"

static CheckCause cause_of(unsigned waiter, SchedProbe probe)
{
    CheckCause cause;

    check_cause_find(check_trace(), waiter, &probe, &cause);
    return cause;
}

/* /check/cause/write: the write, what the writer looked at, and who had written that. */
static void test_write(void)
{
    fake_reset();

    CheckCause cause = cause_of(0, graph_lock_trace());

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_WRITE);
    g_assert_cmpuint(cause.waiter, ==, 0);
    g_assert_cmpuint(cause.waker, ==, 1);
    g_assert_cmpuint(cause.object, ==, READER_COUNT);
    g_assert_cmpuint(cause.look_step, ==, AT_LOOK);
    g_assert_cmpuint(cause.sleep_step, ==, AT_SLEEP);
    g_assert_cmpuint(cause.write_step, ==, AT_RDUNLOCK);
    g_assert_cmpuint(cause.probe_step, ==, AT_PROBE + 1);
    g_assert_cmpuint(cause.check_step, ==, AT_CHECK);
    g_assert_cmpuint(cause.check_write_step, ==, AT_CLEAR);
    g_assert_cmpuint(cause.wake_step, ==, CHECK_NO_STEP);
}

/* /check/cause/write-before-sleep: the condition came true between the look and the sleep. */
static void test_write_before_sleep(void)
{
    SchedSite *look, *write;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "wait", "&done", 1);
    write = fake_site(SCHED_STORE, "finish", "&done", 2);
    fake_load(0, look, 1, 0);
    at = fake_store(1, write, 1, 0, 1);
    fake_sleep(fake_call(0, SCHED_CALL_FUTEX_WAIT, 2, NULL));
    probe.first_step = fake_count();
    fake_load(0, look, 1, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpuint(cause.write_step, ==, at);
    g_assert_cmpuint(cause.check_step, ==, CHECK_NO_STEP);
}

/* /check/cause/latest: of two objects that changed, the one that changed last. */
static void test_latest(void)
{
    SchedSite *look_a, *look_b, *write_a, *write_b;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look_a = fake_site(SCHED_LOAD, "wait", "&a", 1);
    look_b = fake_site(SCHED_LOAD, "wait", "&b", 2);
    write_a = fake_site(SCHED_STORE, "work", "&a", 3);
    write_b = fake_site(SCHED_STORE, "work", "&b", 4);
    fake_load(0, look_a, 1, 7);
    fake_load(0, look_b, 2, 7);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 3, NULL));
    fake_store(1, write_b, 2, 7, 8);
    at = fake_store(1, write_a, 1, 7, 8);
    probe.first_step = fake_count();
    fake_load(0, look_a, 1, 8);
    fake_load(0, look_b, 2, 8);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    g_assert_cmpuint(cause_of(0, probe).write_step, ==, at);
}

/* /check/cause/own-writes: what the resumed waiter changed itself is no condition, nor is what a probe of somebody
 * else wrote. */
static void test_own_writes(void)
{
    SchedSite *look, *own, *other;
    SchedProbe probe;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "wait", "&polls", 1);
    own = fake_site(SCHED_RMW, "wait", "&polls", 2);
    other = fake_site(SCHED_STORE, "work", "&flag", 3);
    fake_load(0, look, 1, 5);
    fake_load(0, fake_site(SCHED_LOAD, "wait", "&flag", 4), 2, 0);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 3, NULL));
    fake_store(1, other, 2, 0, 1); /* in an earlier probe of the worker */
    fake_by_hand(3, 4);
    probe.first_step = fake_count();
    fake_store(0, own, 1, 5, 6);
    fake_load(0, look, 1, 6);
    fake_load(0, look, 2, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_UNKNOWN);
    g_assert_cmpuint(cause.waker, ==, CHECK_NO_THREAD);
    g_assert_cmpuint(cause.sleep_step, ==, 2);
}

/* /check/cause/beyond-the-loop: what the waiter reads once it is out of its loop is no condition, though it changed
 * later. */
static void test_beyond_the_loop(void)
{
    SchedSite *look, *next;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "wait", "&done", 1);
    next = fake_site(SCHED_LOAD, "next_round", "&generation", 2);
    fake_load(0, next, 2, 1);
    fake_load(0, look, 1, 0);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 3, NULL));
    at = fake_store(1, fake_site(SCHED_STORE, "finish", "&done", 3), 1, 0, 1);
    fake_store(1, fake_site(SCHED_STORE, "finish", "&generation", 4), 2, 1, 2);
    probe.first_step = fake_count();
    fake_load(0, look, 1, 1);
    fake_store(0, fake_site(SCHED_STORE, "next_round", "&rounds", 5), 4, 0, 1); /* never done before: out of the loop */
    fake_load(0, next, 2, 2);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    g_assert_cmpuint(cause_of(0, probe).write_step, ==, at);
}

/* /check/cause/parting: a counter that goes up and down differs, too, but after it the waiter goes on as ever; the one
 * after which it does something else is the condition, though it was written first and is read last. */
static void test_parting(void)
{
    SchedSite *look, *count, *next;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    count = fake_site(SCHED_LOAD, "wait", "&visitors", 1);
    look = fake_site(SCHED_LOAD, "wait", "&done", 2);
    next = fake_site(SCHED_LOAD, "wait", "&again", 3);
    fake_load(0, count, 2, 0);
    fake_load(0, look, 1, 0);
    fake_load(0, next, 3, 0);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 4, NULL));
    at = fake_store(1, fake_site(SCHED_STORE, "finish", "&done", 4), 1, 0, 1);
    fake_store(1, fake_site(SCHED_STORE, "visit", "&visitors", 5), 2, 0, 1);
    probe.first_step = fake_count();
    fake_load(0, count, 2, 1);
    fake_load(0, look, 1, 1);
    fake_load(0, fake_site(SCHED_LOAD, "go_on", "&visitors", 6), 2, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    g_assert_cmpuint(cause_of(0, probe).write_step, ==, at);
}

/* /check/cause/sum: of several objects read at one place the condition came true with the last write. */
static void test_sum(void)
{
    SchedSite *look, *write;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "sum", "&counter->readers", 1);
    write = fake_site(SCHED_STORE, "leave", "&counter->readers", 2);
    fake_load(0, look, 1, 1);
    fake_load(0, look, 2, 1);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 4, NULL));
    fake_store(1, write, 2, 1, 0);
    at = fake_store(1, write, 1, 1, 0);
    probe.first_step = fake_count();
    fake_load(0, look, 1, 0);
    fake_load(0, look, 2, 0);
    fake_load(0, fake_site(SCHED_LOAD, "go_on", "&other", 3), 3, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    g_assert_cmpuint(cause_of(0, probe).write_step, ==, at);
}

/* /check/cause/own-store: the waiter knows what it has written itself; only what others make of it is news. */
static void test_own_store(void)
{
    SchedSite *look, *announce;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "wait", "&done", 1);
    announce = fake_site(SCHED_RMW, "wait", "&notify_me", 2);
    fake_load(0, look, 1, 0);
    fake_store(0, announce, 2, 0, 1);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 3, NULL));
    at = fake_store(1, fake_site(SCHED_STORE, "finish", "&done", 3), 1, 0, 1);
    fake_store(1, fake_site(SCHED_RMW, "poll", "&notify_me", 4), 2, 1, 3);
    fake_store(1, fake_site(SCHED_RMW, "poll", "&notify_me", 4), 2, 3, 1);
    probe.first_step = fake_count();
    fake_store(0, announce, 2, 1, 0);
    fake_load(0, look, 1, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    g_assert_cmpuint(cause_of(0, probe).write_step, ==, at);
}

/* /check/cause/own-work: the waiter has left work to itself where it does not look again before it sleeps. */
static void test_own_work(void)
{
    SchedSite *look, *after, *write;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    look = fake_site(SCHED_LOAD, "poll_other", "&ctx->bh_list", 1);
    after = fake_site(SCHED_LOAD, "cond", "&co", 2);
    write = fake_site(SCHED_RMW, "schedule", "&ctx->bh_list", 3);
    fake_load(0, look, 1, 0);
    fake_load(0, after, 2, 5);
    at = fake_store(0, write, 1, 0, 9);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 3, NULL));
    probe.first_step = fake_count();
    fake_load(0, look, 1, 9);
    fake_load(0, fake_site(SCHED_LOAD, "bh", "&bh->flags", 4), 4, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_WRITE);
    g_assert_cmpuint(cause.write_step, ==, at);
    g_assert_cmpuint(cause.waker, ==, 0);
}

/* /check/cause/announcement: of the waker's reads the one that the waiter wrote, though another came first; and the
 * wakeup that went astray, though another thread was woken before. */
static void test_announcement(void)
{
    SchedSite *look;
    SchedProbe probe;
    size_t check, wake;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "wait", "&done", 1);
    fake_store(0, fake_site(SCHED_STORE, "wait", "&notify_me", 2), 2, 0, 2);
    fake_load(0, look, 1, 0);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 6, NULL));
    fake_store(1, fake_site(SCHED_STORE, "finish", "&done", 3), 1, 0, 1);
    fake_load(1, fake_site(SCHED_LOAD, "finish", "&statistics", 4), 5, 9);
    check = fake_load(1, fake_site(SCHED_LOAD, "notify", "&notify_me", 5), 2, 2);
    fake_call(1, SCHED_CALL_COND_SIGNAL, 8, NULL); /* of somebody else's condition */
    wake = fake_call(1, SCHED_CALL_WRITE, 6, NULL);
    fake_sleep(fake_call(1, SCHED_CALL_POLL, 7, NULL));
    fake_load(1, fake_site(SCHED_LOAD, "later", "&notify_me", 6), 2, 2); /* after its sleep: another story */
    probe.first_step = fake_count();
    fake_load(0, look, 1, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpuint(cause.check_step, ==, check);
    g_assert_cmpuint(cause.check_write_step, ==, 0);
    g_assert_cmpuint(cause.wake_step, ==, wake);
}

/* /check/cause/guard: the condition is plain data; the last to let go of its mutex is named. */
static void test_guard(void)
{
    enum { MUTEX = 1, COND, OTHER_MUTEX };
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_sleep(fake_call(0, SCHED_CALL_COND_WAIT, COND, NULL));
    fake_call(1, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    at = fake_call(1, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_call(1, SCHED_CALL_MUTEX_UNLOCK, OTHER_MUTEX, NULL);
    probe.first_step = fake_count();
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_GUARD);
    g_assert_cmpuint(cause.write_step, ==, at);
    g_assert_cmpuint(cause.waker, ==, 1);
}

/* /check/cause/guard-in-loop: the waiter takes a mutex in its loop, and parts from its old way right after: what that guards is the condition,
 * and neither the counter that it read before nor what it finds once it has left its loop. */
static void test_guard_in_loop(void)
{
    enum { MUTEX = 1, OTHER_MUTEX, COUNT, NEXT, LATER, POLL };
    SchedSite *count, *next, *later;
    SchedProbe probe;
    size_t look, at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    count = fake_site(SCHED_LOAD, "wait", "&count", 1);
    next = fake_site(SCHED_LOAD, "wait", "&next", 2);
    later = fake_site(SCHED_LOAD, "go_on", "&later", 3);
    fake_load(0, later, LATER, 1);
    fake_load(0, count, COUNT, 0);
    look = fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_call(0, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_load(0, next, NEXT, 5);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, POLL, NULL));
    fake_store(1, fake_site(SCHED_STORE, "work", "&count", 4), COUNT, 0, 1);
    fake_call(1, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    at = fake_call(1, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_call(1, SCHED_CALL_MUTEX_UNLOCK, OTHER_MUTEX, NULL);
    fake_store(1, fake_site(SCHED_STORE, "work", "&later", 5), LATER, 1, 2);
    probe.first_step = fake_count();
    fake_load(0, count, COUNT, 1);
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_call(0, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_load(0, later, LATER, 2);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_GUARD);
    g_assert_cmpuint(cause.object, ==, MUTEX);
    g_assert_cmpuint(cause.look_step, ==, look);
    g_assert_cmpuint(cause.write_step, ==, at);
    g_assert_cmpuint(cause.waker, ==, 1);
    g_assert_cmpuint(cause.check_step, ==, CHECK_NO_STEP);
}

/* /check/cause/guard-held-in-loop: a mutex that the waiter has but for its sleep: what others do under it counts from where it was given back,
 * and a wakeup that was taken before that is over and done with. */
static void test_guard_held_in_loop(void)
{
    enum { MUTEX = 1, NOTIFIER_POLL, NOTIFIER };
    SchedProbe probe;
    size_t left, at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("vcpu", NULL);
    fake_call(0, SCHED_CALL_READ, NOTIFIER, NULL);
    fake_call(1, SCHED_CALL_WRITE, NOTIFIER, NULL);
    fake_step(fake_call(1, SCHED_CALL_READ, NOTIFIER, NULL))->new_value = 8;
    left = fake_call(0, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_call(1, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    at = fake_call(1, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, NOTIFIER_POLL, NULL));
    probe.first_step = fake_count();
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_GUARD);
    g_assert_cmpuint(cause.look_step, ==, left);
    g_assert_cmpuint(cause.write_step, ==, at);
    g_assert_cmpuint(cause.take_step, ==, CHECK_NO_STEP);
}

/* /check/cause/untouched-guard: nobody has had the mutex since the waiter looked: what it guards cannot have changed. */
static void test_untouched_guard(void)
{
    enum { MUTEX = 1, DONE, POLL };
    SchedSite *look;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "wait", "&done", 1);
    fake_call(1, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_call(1, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_load(0, look, DONE, 0);
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_call(0, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, POLL, NULL));
    at = fake_store(1, fake_site(SCHED_STORE, "finish", "&done", 2), DONE, 0, 1);
    probe.first_step = fake_count();
    fake_load(0, look, DONE, 1);
    fake_call(0, SCHED_CALL_MUTEX_LOCK, MUTEX, NULL);
    fake_call(0, SCHED_CALL_MUTEX_UNLOCK, MUTEX, NULL);
    fake_load(0, fake_site(SCHED_LOAD, "go_on", "&other", 3), 9, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);

    CheckCause cause = cause_of(0, probe);

    g_assert_cmpint(cause.kind, ==, CHECK_CAUSE_WRITE);
    g_assert_cmpuint(cause.write_step, ==, at);
}

enum { COUNT = 1, X, Y, Z, DONE, TABLE };

/* A turn of a loop that looks at a counter, which takes more steps, with this object, where it is 0, and then at a flag. */
static void counting_turn(SchedSite *const sites[], unsigned object, unsigned count, unsigned done)
{
    fake_load(0, sites[0], COUNT, count);
    if (count) {
        fake_load(0, sites[1], TABLE, 1);
    } else {
        fake_load(0, sites[2], object, object == COUNT ? 0 : 1);
        fake_load(0, sites[3], object, object == COUNT ? 0 : 1);
    }
    fake_load(0, sites[4], X, 1);
    fake_load(0, sites[5], Y, 1);
    fake_load(0, sites[6], Z, 1);
    fake_load(0, sites[7], DONE, done);
}

static void check_detour(unsigned object)
{
    SchedSite *sites[8];
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(sites); i++) {
        sites[i] = fake_site(SCHED_LOAD, "wait", i < 4 ? "&count" : "&flags", i + 1);
    }
    counting_turn(sites, object, 0, 0);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 7, NULL));
    fake_store(1, fake_site(SCHED_RMW, "visit", "&count", 20), COUNT, 0, 8);
    counting_turn(sites, object, 8, 0);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 7, NULL));
    at = fake_store(1, fake_site(SCHED_STORE, "finish", "&flags", 21), DONE, 0, 1);
    fake_store(1, fake_site(SCHED_RMW, "visit", "&count", 22), COUNT, 8, 0);
    probe.first_step = fake_count();
    counting_turn(sites, object, 0, 1);
    fake_load(0, fake_site(SCHED_LOAD, "go_on", "&other", 23), 9, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    g_assert_cmpuint(cause_of(0, probe).write_step, ==, at);
}

/* /check/cause/detour: a counter that others have left takes a few other steps, and then all goes on as before: not the condition, also where it
 * is looked at again on those steps, which the waiter has never been led to by another value. */
static void test_detour(void)
{
    check_detour(TABLE);
    check_detour(COUNT);
}

/* /check/cause/work-on-a-detour: work that lies there is done on a few steps of its own, and what those read has changed too: it follows from
 * the list that has led there. */
static void test_work_on_a_detour(void)
{
    enum { LIST = 1, FLAGS, NEXT, POLL };
    SchedSite *list, *flags, *next[4];
    SchedProbe probe;
    size_t at = 0;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    list = fake_site(SCHED_LOAD, "poll", "&ctx->bh_list", 1);
    flags = fake_site(SCHED_LOAD, "call", "&bh->flags", 2);
    for (unsigned i = 0; i < G_N_ELEMENTS(next); i++) {
        next[i] = fake_site(SCHED_LOAD, "poll", "&next", 3 + i);
    }
    for (unsigned turn = 0; turn < 3; turn++) {
        if (turn == 2) {
            fake_store(1, fake_site(SCHED_STORE, "schedule", "&bh->flags", 8), FLAGS, 3, 4);
            at = fake_store(1, fake_site(SCHED_STORE, "schedule", "&ctx->bh_list", 9), LIST, 0, 9);
            probe.first_step = fake_count();
        }
        fake_load(0, list, LIST, turn == 0 ? 7 : turn == 1 ? 0 : 9);
        if (turn != 1) {
            fake_load(0, flags, FLAGS, turn == 0 ? 3 : 4);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(next) && !(turn == 2 && i == 3); i++) {
            fake_load(0, next[i], NEXT, 1);
        }
        if (turn < 2) {
            fake_sleep(fake_call(0, SCHED_CALL_POLL, POLL, NULL));
        }
        if (turn == 0) {
            fake_store(1, fake_site(SCHED_STORE, "cancel", "&ctx->bh_list", 10), LIST, 7, 0);
        }
    }
    fake_load(0, fake_site(SCHED_LOAD, "go_on", "&other", 11), 9, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    g_assert_cmpuint(cause_of(0, probe).write_step, ==, at);
}

/* /check/cause/on-stack: an object on a stack has no identity; its address serves. */
static void test_on_stack(void)
{
    SchedSite *look;
    SchedProbe probe;
    size_t at;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    look = fake_site(SCHED_LOAD, "wait", "&data.done", 1);
    fake_load(0, look, 0, 0);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 3, NULL));
    at = fake_store(1, fake_site(SCHED_STORE, "finish", "&data->done", 3), 0, 0, 1);
    probe.first_step = fake_count();
    fake_load(0, look, 0, 1);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    for (size_t i = 0; i < fake_count(); i++) {
        if (fake_step(i)->operation != SCHED_CALL) {
            fake_step(i)->object = 0x7f0000001000;
        }
    }
    g_assert_cmpuint(cause_of(0, probe).write_step, ==, at);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check/cause/write", test_write);
    g_test_add_func("/check/cause/write-before-sleep", test_write_before_sleep);
    g_test_add_func("/check/cause/latest", test_latest);
    g_test_add_func("/check/cause/own-writes", test_own_writes);
    g_test_add_func("/check/cause/beyond-the-loop", test_beyond_the_loop);
    g_test_add_func("/check/cause/parting", test_parting);
    g_test_add_func("/check/cause/sum", test_sum);
    g_test_add_func("/check/cause/own-store", test_own_store);
    g_test_add_func("/check/cause/own-work", test_own_work);
    g_test_add_func("/check/cause/announcement", test_announcement);
    g_test_add_func("/check/cause/guard", test_guard);
    g_test_add_func("/check/cause/guard-in-loop", test_guard_in_loop);
    g_test_add_func("/check/cause/guard-held-in-loop", test_guard_held_in_loop);
    g_test_add_func("/check/cause/untouched-guard", test_untouched_guard);
    g_test_add_func("/check/cause/detour", test_detour);
    g_test_add_func("/check/cause/work-on-a-detour", test_work_on_a_detour);
    g_test_add_func("/check/cause/on-stack", test_on_stack);
    return g_test_run();
}
