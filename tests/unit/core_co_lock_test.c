/*
 * Locks and queues of coroutines above the mutex: readers and writers, request slots, overlapping requests, shared rates. On
 * real threads.
 *
 * ROUNDS: 1000 rounds of six coroutines in three threads take some tenths of a second, and fail within the first few
 * dozen where a wakeup or an exclusion is missing altogether; windows of a few instructions are for target co_lock.
 */
#include "core_upper_harness.h"

#include <errno.h>

#include "core/co_rwlock.h"
#include "core/request_slots.h"
#include "core/throttle_group.h"
#include "core/tracked_request.h"

#define ROUNDS 1000

/* ------------------------------------------------------------------------------------------- CoRwlock */

typedef struct RwTest {
    CoRwlock lock;
    unsigned readers; /* atomic */
    bool writing;     /* atomic */
    unsigned written; /* under the lock, and plain: ThreadSanitizer tells when the lock orders too little */
    GString *order;
} RwTest;

static void rw_test_begin(RwTest *t)
{
    *t = (RwTest){ .order = g_string_new("") };
    qemu_co_rwlock_init(&t->lock);
}

static void rw_test_end(RwTest *t, const char *order)
{
    g_assert_cmpstr(t->order->str, ==, order);
    g_assert_cmpint(t->lock.owners, ==, 0);
    g_assert_true(STAILQ_EMPTY(&t->lock.tickets));
    g_string_free(t->order, TRUE);
}

static void coroutine_fn read_entry(void *opaque)
{
    RwTest *t = opaque;

    qemu_co_rwlock_rdlock(&t->lock);
    g_string_append_c(t->order, 'r');
    test_co_pause();
    g_string_append_c(t->order, '.');
    qemu_co_rwlock_unlock(&t->lock);
}

static void coroutine_fn write_entry(void *opaque)
{
    RwTest *t = opaque;

    qemu_co_rwlock_wrlock(&t->lock);
    g_string_append_c(t->order, 'w');
    test_co_pause();
    g_string_append_c(t->order, ',');
    qemu_co_rwlock_unlock(&t->lock);
}

static void coroutine_fn upgrade_entry(void *opaque)
{
    RwTest *t = opaque;

    qemu_co_rwlock_rdlock(&t->lock);
    g_string_append_c(t->order, 'u');
    test_co_pause();
    qemu_co_rwlock_upgrade(&t->lock);
    g_string_append_c(t->order, 'U');
    test_co_pause();
    g_string_append_c(t->order, ',');
    qemu_co_rwlock_unlock(&t->lock);
}

static void coroutine_fn downgrade_entry(void *opaque)
{
    RwTest *t = opaque;

    qemu_co_rwlock_wrlock(&t->lock);
    g_string_append_c(t->order, 'd');
    test_co_pause();
    qemu_co_rwlock_downgrade(&t->lock);
    g_string_append_c(t->order, 'D');
    test_co_pause();
    test_co_pause();
    g_string_append_c(t->order, '.');
    qemu_co_rwlock_unlock(&t->lock);
}

/* One coroutine for each letter, in the main context and so in this order. */
static void rw_run(RwTest *t, const char *letters)
{
    for (; *letters; letters++) {
        void (*entry)(void *) = *letters == 'r'   ? read_entry
                                : *letters == 'w' ? write_entry
                                : *letters == 'u' ? upgrade_entry
                                                  : downgrade_entry;

        test_co_start(qemu_get_aio_context(), entry, t);
    }
    test_co_wait_all();
}

typedef struct RwCase {
    const char *path, *coroutines, *order;
} RwCase;

/* Small letter: has come in; capital: has changed its kind; point and comma: a reader, a writer is about to leave. */
static const RwCase rw_cases[] = {
    { "/co-rwlock/readers-share", "rrr", "rrr..." },
    { "/co-rwlock/writers-exclude", "ww", "w,w," },
    { "/co-rwlock/reader-waits-behind-writer", "rwr", "r.w,r." },
    { "/co-rwlock/readers-come-in-together-behind-writer", "wrrw", "w,rr..w," },
    {
        "/co-rwlock/downgrade-lets-readers-in",
        "drr",
        "dDrr...",
    },
    { "/co-rwlock/downgrade-lets-no-writer-in", "dwr", "dD.w,r." },
    { "/co-rwlock/upgrade-alone-is-at-once", "u", "uU," },
    { "/co-rwlock/upgrade-goes-to-the-end-of-the-line", "uwr", "uw,r.U," },
    { "/co-rwlock/two-upgrades-take-turns", "uu", "uuU,U," },
};

static void test_rw_case(gconstpointer data)
{
    const RwCase *c = data;
    RwTest t;

    core_up(0);
    rw_test_begin(&t);
    rw_run(&t, c->coroutines);
    rw_test_end(&t, c->order);
    core_down();
}

static void rw_read_inside(RwTest *t)
{
    unsigned written = t->written;

    qatomic_inc(&t->readers);
    g_assert_false(qatomic_read(&t->writing));
    test_co_pause();
    g_assert_cmpuint(t->written, ==, written);
    g_assert_false(qatomic_read(&t->writing));
    qatomic_dec(&t->readers);
}

static void rw_write_inside(RwTest *t)
{
    g_assert_false(qatomic_xchg(&t->writing, true));
    g_assert_cmpuint(qatomic_read(&t->readers), ==, 0);
    t->written++;
    test_co_pause();
    g_assert_cmpuint(qatomic_read(&t->readers), ==, 0);
    qatomic_set(&t->writing, false);
}

static void coroutine_fn rw_stress_entry(void *opaque)
{
    RwTest *t = opaque;

    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 2) {
            qemu_co_rwlock_wrlock(&t->lock);
            rw_write_inside(t);
            if (i % 4 == 1) {
                qemu_co_rwlock_downgrade(&t->lock);
                rw_read_inside(t);
            }
        } else {
            qemu_co_rwlock_rdlock(&t->lock);
            rw_read_inside(t);
            if (i % 4 == 0) {
                qemu_co_rwlock_upgrade(&t->lock);
                rw_write_inside(t);
            }
        }
        qemu_co_rwlock_unlock(&t->lock);
    }
}

static void test_rw_across_threads(void)
{
    RwTest t;

    core_up(3);
    rw_test_begin(&t);
    for (unsigned i = 0; i < 6; i++) {
        test_co_start(thread_ctx(i), rw_stress_entry, &t);
    }
    test_co_wait_all();
    g_assert_cmpuint(t.written, ==, 6 * ROUNDS * 3 / 4);
    rw_test_end(&t, "");
    core_down();
}

/* ------------------------------------------------------------------------------------------- RequestSlots */

#define SLOTS 2u

typedef struct SlotsTest {
    RequestSlots slots;
    unsigned under_way, refused, completed; /* atomic */
} SlotsTest;

typedef struct SlotsCall {
    SlotsTest *test;
    unsigned slot;
    bool refuse;
} SlotsCall;

static void slots_complete_bh(void *opaque)
{
    SlotsCall *call = opaque;

    qatomic_dec(&call->test->under_way);
    request_slots_complete(&call->test->slots, call->slot, 1);
}

/* The device: completes in another thread, at once. */
static int slots_submit(void *opaque, unsigned slot)
{
    SlotsCall *call = opaque;

    g_assert_cmpuint(qatomic_fetch_inc(&call->test->under_way), <, SLOTS);
    if (call->refuse) {
        qatomic_dec(&call->test->under_way);
        return -EBUSY;
    }
    call->slot = slot;
    aio_bh_schedule_oneshot(thread_ctx(2), slots_complete_bh, call);
    return 0;
}

static void coroutine_fn slots_entry(void *opaque)
{
    SlotsTest *t = opaque;

    for (unsigned i = 0; i < ROUNDS; i++) {
        SlotsCall call = { .test = t, .refuse = i % 3 == 0 };

        g_assert_cmpint(request_slots_co_run(&t->slots, slots_submit, &call), ==, call.refuse ? -EBUSY : 1);
        qatomic_inc(call.refuse ? &t->refused : &t->completed);
    }
}

static void test_slots_bound_and_pass_on(void)
{
    SlotsTest t = { 0 };

    core_up(3);
    request_slots_init(&t.slots, qemu_get_aio_context(), SLOTS);
    for (unsigned i = 0; i < 6; i++) {
        test_co_start(thread_ctx(i), slots_entry, &t);
    }
    test_co_wait_all();
    g_assert_cmpuint(t.refused, ==, 6 * (ROUNDS + 2) / 3);
    g_assert_cmpuint(t.refused + t.completed, ==, 6 * ROUNDS);
    request_slots_destroy(&t.slots);
    core_down();
}

/* ------------------------------------------------------------------------------------------- tracked requests */

#define GRANULE 512

typedef struct TrackedTest {
    TrackedRequests requests;
    unsigned plain[2], alone[2]; /* under way in each half of the range; atomic */
    unsigned next_id;
} TrackedTest;

static void coroutine_fn tracked_entry(void *opaque)
{
    TrackedTest *t = opaque;
    unsigned id = qatomic_fetch_inc(&t->next_id);

    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned half = (id + i) % 2;
        TrackedRequest request;

        tracked_request_begin(&request, &t->requests, half * 2 * GRANULE, GRANULE);
        tracked_request_wait_serialising(&request);
        qatomic_inc(&t->plain[half]);
        g_assert_cmpuint(qatomic_read(&t->alone[half]), ==, 0);
        test_co_pause();
        g_assert_cmpuint(qatomic_read(&t->alone[half]), ==, 0);
        qatomic_dec(&t->plain[half]);
        if (i % 3 == 0) {
            tracked_request_make_serialising(&request, 2 * GRANULE);
            g_assert_cmpuint(qatomic_fetch_inc(&t->alone[half]), ==, 0);
            g_assert_cmpuint(qatomic_read(&t->plain[half]), ==, 0);
            test_co_pause();
            g_assert_cmpuint(qatomic_read(&t->plain[half]), ==, 0);
            qatomic_dec(&t->alone[half]);
        }
        tracked_request_end(&request);
    }
}

static void test_tracked_exclude(void)
{
    TrackedTest t = { 0 };

    core_up(3);
    tracked_requests_init(&t.requests);
    for (unsigned i = 0; i < 6; i++) {
        test_co_start(thread_ctx(i), tracked_entry, &t);
    }
    test_co_wait_all();
    tracked_requests_destroy(&t.requests);
    core_down();
}

/* ------------------------------------------------------------------------------------------- throttle groups */

typedef struct ThrottleTest {
    ThrottleGroup group;
    ThrottleGroupMember members[2];
    unsigned done[2]; /* atomic */
} ThrottleTest;

typedef struct ThrottleCall {
    ThrottleTest *test;
    unsigned member, rounds;
} ThrottleCall;

static void coroutine_fn throttle_entry(void *opaque)
{
    ThrottleCall *call = opaque;

    for (unsigned i = 0; i < call->rounds; i++) {
        throttle_group_co_io_limits_intercept(&call->test->members[call->member]);
        qatomic_inc(&call->test->done[call->member]);
        aio_wait_kick();
    }
}

static void throttle_test_begin(ThrottleTest *t, int64_t interval_ns)
{
    *t = (ThrottleTest){ 0 };
    throttle_group_init(&t->group, interval_ns);
    for (unsigned i = 0; i < 2; i++) {
        throttle_group_register_member(&t->group, &t->members[i], thread_ctx(i));
    }
}

static void throttle_leave(ThrottleTest *t, unsigned member, unsigned wanted)
{
    throttle_group_drain_begin(&t->members[member]);
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&t->done[member]) < wanted);
    throttle_group_unregister_member(&t->members[member]);
}

static void test_throttle_keeps_the_rate(void)
{
    ThrottleTest t;
    ThrottleCall calls[4];
    int64_t begin;

    core_up(2);
    throttle_test_begin(&t, 20000);
    begin = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    for (unsigned i = 0; i < 4; i++) {
        calls[i] = (ThrottleCall){ .test = &t, .member = i % 2, .rounds = 50 };
        test_co_start(thread_ctx(i), throttle_entry, &calls[i]);
    }
    test_co_wait_all();
    /* the first is free, the others are one interval apart: 199 of them, and no sleeper is early */
    g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - begin, >=, 199 * 20000);
    throttle_leave(&t, 0, 100);
    throttle_leave(&t, 1, 100);
    throttle_group_destroy(&t.group);
    core_down();
}

/* At a rate at which none would ever end. They have to be there: whoever drains a member keeps new requests from it. */
static void test_throttle_drain_lets_all_go(void)
{
    ThrottleTest t;
    ThrottleCall calls[6];

    core_up(2);
    throttle_test_begin(&t, 3600 * NANOSECONDS_PER_SECOND);
    for (unsigned i = 0; i < 6; i++) {
        calls[i] = (ThrottleCall){ .test = &t, .member = i % 2, .rounds = 1 };
        test_co_start(thread_ctx(i % 2), throttle_entry, &calls[i]);
    }
    flush_threads();
    flush_threads(); /* the first may have come before what was started */
    throttle_leave(&t, 0, 3);
    throttle_leave(&t, 1, 3);
    test_co_wait_all();
    g_assert_cmpuint(t.done[0] + t.done[1], ==, 6);
    throttle_group_destroy(&t.group);
    core_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(rw_cases); i++) {
        g_test_add_data_func(rw_cases[i].path, &rw_cases[i], test_rw_case);
    }
    g_test_add_func("/co-rwlock/across-threads", test_rw_across_threads);
    g_test_add_func("/request-slots/bound-and-pass-on", test_slots_bound_and_pass_on);
    g_test_add_func("/tracked-request/serialising-exclude", test_tracked_exclude);
    g_test_add_func("/throttle-group/keeps-the-rate", test_throttle_keeps_the_rate);
    g_test_add_func("/throttle-group/drain-lets-all-go", test_throttle_drain_lets_all_go);
    return g_test_run();
}
