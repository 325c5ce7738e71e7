/*
 * Waiting, coroutine queues and mutexes, and the graph lock, on real threads.
 *
 * Numbers of rounds: 1000 take some hundredths of a second and show a rule that is missing, such as the kick or the
 * look at has_writer; windows of a few instructions are for the fuzz targets.
 */
#include "core_upper_harness.h"

#include "core/co_mutex.h"
#include "core/co_queue.h"
#include "core/graph_lock.h"

/* ------------------------------------------------------------------------------------------- aio_wait */

static void set_flag_and_kick(void *opaque)
{
    bool *flag = opaque;

    qatomic_store_release(flag, true);
    aio_wait_kick();
}

static void test_kick_ends_the_wait(void)
{
    core_up(1);
    for (int i = 0; i < 1000; i++) {
        bool flag = false;

        aio_bh_schedule_oneshot(thread_ctx(0), set_flag_and_kick, &flag);
        AIO_WAIT_WHILE_UNLOCKED(thread_ctx(0), !qatomic_load_acquire(&flag));
    }
    core_down();
}

static void test_kick_without_waiter_does_nothing(void)
{
    core_up(0);
    aio_wait_kick();
    g_assert_false(aio_bh_pending(qemu_get_aio_context()));
    core_down();
}

/* The condition, evaluated while the main thread waits for its own context, must find it counted. */
static bool counted_once(unsigned *evaluations)
{
    g_assert_cmpuint(qatomic_read(&global_aio_wait.num_waiters), ==, 1);
    if (++*evaluations == 1) {
        aio_wait_kick();
        g_assert_true(aio_bh_pending(qemu_get_aio_context()));
        return true;
    }
    return false;
}

static void test_home_waiter_is_counted(void)
{
    unsigned evaluations = 0;

    core_up(0);
    g_assert_true(AIO_WAIT_WHILE(qemu_get_aio_context(), counted_once(&evaluations)));
    g_assert_cmpuint(evaluations, ==, 2);
    g_assert_cmpuint(global_aio_wait.num_waiters, ==, 0);
    core_down();
}

static void test_false_condition_does_not_poll(void)
{
    bool ran = false;

    core_up(0);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), set_flag_and_kick, &ran);
    g_assert_false(AIO_WAIT_WHILE_UNLOCKED(NULL, false));
    g_assert_false(ran);
    core_down();
}

static void remember_context(void *opaque)
{
    *(AioContext **)opaque = qemu_get_current_aio_context();
}

static void test_bh_oneshot_runs_at_home(void)
{
    core_up(2);
    for (unsigned i = 0; i <= 2; i++) {
        AioContext *seen = NULL;

        aio_wait_bh_oneshot(any_ctx(i), remember_context, &seen);
        g_assert_true(seen == any_ctx(i));
    }
    core_down();
}

/* ------------------------------------------------------------------------------------------- CoQueue */

typedef struct QueueTest {
    CoQueue queue;
    CoMutex mutex;
    GString *order;
    unsigned next_id;
} QueueTest;

static void coroutine_fn queue_waiter(void *opaque)
{
    QueueTest *t = opaque;
    unsigned id = t->next_id++;

    qemu_co_mutex_lock(&t->mutex);
    qemu_co_queue_wait_flags(&t->queue, &t->mutex, id == 3 ? CO_QUEUE_WAIT_FRONT : 0);
    qemu_co_mutex_assert_locked(&t->mutex);
    g_string_append_printf(t->order, "%u", id);
    qemu_co_mutex_unlock(&t->mutex);
}

static void queue_test_begin(QueueTest *t, unsigned waiters)
{
    *t = (QueueTest){ .order = g_string_new("") };
    qemu_co_queue_init(&t->queue);
    qemu_co_mutex_init(&t->mutex);
    for (unsigned i = 0; i < waiters; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(queue_waiter, t));
    }
    g_assert_cmpstr(t->order->str, ==, "");
}

static void queue_test_end(QueueTest *t, const char *order)
{
    g_assert_cmpstr(t->order->str, ==, order);
    g_assert_true(qemu_co_queue_empty(&t->queue));
    g_string_free(t->order, TRUE);
}

static void coroutine_fn wake_all_from_coroutine(void *opaque)
{
    QueueTest *t = opaque;

    g_assert_true(qemu_co_queue_next(&t->queue));
    qemu_co_queue_restart_all(&t->queue);
    g_assert_false(qemu_co_queue_next(&t->queue));

    /* The woken run only when this coroutine gives way. */
    g_assert_cmpstr(t->order->str, ==, "");
}

static void test_queue_wakes_in_order(void)
{
    QueueTest t;

    core_up(0);
    queue_test_begin(&t, 6);
    qemu_coroutine_enter(qemu_coroutine_create(wake_all_from_coroutine, &t));
    queue_test_end(&t, "301245");
    core_down();
}

static void test_queue_outside_coroutine_runs_at_once(void)
{
    QueueTest t;

    core_up(0);
    queue_test_begin(&t, 3);
    g_assert_true(qemu_co_enter_next_impl(&t.queue, NULL));
    g_assert_cmpstr(t.order->str, ==, "0");
    qemu_co_enter_all_impl(&t.queue, NULL);
    g_assert_false(qemu_co_enter_next_impl(&t.queue, NULL));
    queue_test_end(&t, "012");
    core_down();
}

/* A bounded buffer of one element between coroutines of different threads. */
typedef struct Ping {
    QemuMutex lock;
    CoQueue changed;
    unsigned turn; /* under the lock */
    unsigned players;
    unsigned rounds;
} Ping;

typedef struct Player {
    Ping *ping;
    unsigned me;
} Player;

static void coroutine_fn play(void *opaque)
{
    Player *player = opaque;
    Ping *ping = player->ping;

    for (unsigned i = 0; i < ping->rounds; i++) {
        qemu_mutex_lock(&ping->lock);
        while (ping->turn % ping->players != player->me) {
            qemu_co_queue_wait(&ping->changed, &ping->lock);
        }
        ping->turn++;
        qemu_co_enter_all(&ping->changed, &ping->lock);
        qemu_mutex_unlock(&ping->lock);
    }
}

static void test_queue_across_threads(void)
{
    Ping ping = { .players = 3, .rounds = 1000 };
    Player players[3];

    core_up(2);
    qemu_mutex_init(&ping.lock);
    qemu_co_queue_init(&ping.changed);
    for (unsigned i = 0; i < ping.players; i++) {
        players[i] = (Player){ .ping = &ping, .me = i };
        test_co_start(any_ctx(i), play, &players[i]);
    }
    test_co_wait_all();
    g_assert_cmpuint(ping.turn, ==, ping.players * ping.rounds);
    g_assert_true(qemu_co_queue_empty(&ping.changed));
    qemu_mutex_destroy(&ping.lock);
    core_down();
}

/* ------------------------------------------------------------------------------------------- CoMutex */

typedef struct MutexTest {
    CoMutex mutex;
    unsigned inside;  /* atomic, so that a second coroutine inside is seen and not only raced with */
    unsigned counter; /* under the mutex, and plain */
    unsigned rounds;
} MutexTest;

static void coroutine_fn mutex_user(void *opaque)
{
    MutexTest *t = opaque;

    for (unsigned i = 0; i < t->rounds; i++) {
        qemu_co_mutex_lock(&t->mutex);
        g_assert_cmpuint(qatomic_fetch_inc(&t->inside), ==, 0);
        t->counter++;
        if (i % 8 == 0) {
            test_co_pause();
        }
        qatomic_dec(&t->inside);
        qemu_co_mutex_unlock(&t->mutex);
    }
}

static void test_mutex_excludes(gconstpointer data)
{
    unsigned threads = GPOINTER_TO_UINT(data);
    MutexTest t = { .rounds = 1000 };

    core_up(threads);
    qemu_co_mutex_init(&t.mutex);
    for (unsigned i = 0; i < 2 * threads; i++) {
        test_co_start(thread_ctx(i), mutex_user, &t);
    }
    test_co_wait_all();
    g_assert_cmpuint(t.counter, ==, 2 * threads * t.rounds);
    g_assert_cmpuint(t.mutex.locked, ==, 0);
    g_assert_cmpuint(t.mutex.handoff, ==, 0);
    g_assert_true(SLIST_EMPTY(&t.mutex.from_push));
    g_assert_true(SLIST_EMPTY(&t.mutex.to_pop));
    core_down();
}

static void coroutine_fn mutex_in_order(void *opaque)
{
    QueueTest *t = opaque;
    unsigned id = t->next_id++;

    qemu_co_mutex_lock(&t->mutex);
    g_string_append_printf(t->order, "%u", id);
    test_co_pause();
    qemu_co_mutex_unlock(&t->mutex);
}

static void test_mutex_is_fair(void)
{
    QueueTest t;

    core_up(0);
    queue_test_begin(&t, 0);
    for (unsigned i = 0; i < 8; i++) {
        test_co_start(qemu_get_aio_context(), mutex_in_order, &t);
    }
    test_co_wait_all();
    queue_test_end(&t, "01234567");
    core_down();
}

/* ------------------------------------------------------------------------------------------- graph lock */

typedef struct GraphTest {
    unsigned readers; /* inside; atomic */
    bool writing;     /* atomic */
    unsigned version; /* under the graph lock, and plain: ThreadSanitizer tells when the lock orders too little */
    unsigned rounds;
} GraphTest;

static void coroutine_fn graph_reader(void *opaque)
{
    GraphTest *t = opaque;

    for (unsigned i = 0; i < t->rounds; i++) {
        unsigned version;

        bdrv_graph_co_rdlock();
        qatomic_inc(&t->readers);
        g_assert_false(qatomic_read(&t->writing));
        version = t->version;
        if (i % 2) {
            test_co_pause();
        }
        g_assert_cmpuint(version, ==, t->version);
        g_assert_false(qatomic_read(&t->writing));
        qatomic_dec(&t->readers);
        bdrv_graph_co_rdunlock();
        if (i % 3 == 0) {
            test_co_pause();
        }
    }
}

static void graph_write(GraphTest *t, bool drained)
{
    if (drained) {
        bdrv_graph_wrlock_drained();
    } else {
        bdrv_graph_wrlock();
    }
    g_assert_cmpuint(qatomic_read(&t->readers), ==, 0);
    assert_bdrv_graph_writable();
    qatomic_set(&t->writing, true);
    t->version++;
    g_assert_cmpuint(qatomic_read(&t->readers), ==, 0);
    qatomic_set(&t->writing, false);
    bdrv_graph_wrunlock();
    if (drained) {
        bdrv_drain_all_end();
    }
}

static void graph_readers_and_writer(unsigned threads, bool drained)
{
    GraphTest t = { .rounds = 1000 };
    unsigned writes = 0;

    core_up(threads);
    for (unsigned i = 0; i < 2 * threads + 1; i++) {
        test_co_start(any_ctx(i % (threads + 1)), graph_reader, &t);
    }
    do {
        graph_write(&t, drained);
        writes++;
        aio_poll(qemu_get_aio_context(), false);
    } while (qatomic_load_acquire(&harness.running) > 0);
    g_assert_cmpuint(t.version, ==, writes);
    g_assert_cmpuint(bdrv_graph_reader_count(), ==, 0);
    core_down();
}

static void test_graph_plain(gconstpointer data)
{
    graph_readers_and_writer(GPOINTER_TO_UINT(data), false);
}

static void test_graph_drained(gconstpointer data)
{
    graph_readers_and_writer(GPOINTER_TO_UINT(data), true);
}

/* Leave only when the writer is waiting for this very reader: has_writer is 0 then, and the kick is all that can wake
 * it. */
static void coroutine_fn leave_while_writer_polls(void *opaque)
{
    bool *inside = opaque;

    bdrv_graph_co_rdlock();
    set_flag_and_kick(inside);
    while (qatomic_read(&global_aio_wait.num_waiters) == 0 || qatomic_read(inside)) {
        test_co_pause();
    }
    bdrv_graph_co_rdunlock();
}

static void test_graph_last_reader_wakes_polling_writer(void)
{
    core_up(1);
    for (int i = 0; i < 1000; i++) {
        bool inside = false;

        test_co_start(thread_ctx(0), leave_while_writer_polls, &inside);
        AIO_WAIT_WHILE_UNLOCKED(NULL, !qatomic_load_acquire(&inside));
        qatomic_set(&inside, false);
        bdrv_graph_wrlock();
        bdrv_graph_wrunlock();
        test_co_wait_all();
    }
    core_down();
}

/* Lock in one thread, unlock in another. */
static void coroutine_fn migrating_reader(void *opaque)
{
    bool *moved = opaque;

    bdrv_graph_co_rdlock();
    aio_co_reschedule_self(thread_ctx(1));
    set_flag_and_kick(moved);
    while (!qatomic_read(&global_aio_wait.num_waiters) || qatomic_read(moved)) {
        test_co_pause();
    }
    bdrv_graph_co_rdunlock();
}

static void test_graph_count_survives_context(void)
{
    bool moved = false;

    core_up(2);
    test_co_start(thread_ctx(0), migrating_reader, &moved);
    AIO_WAIT_WHILE_UNLOCKED(NULL, !qatomic_load_acquire(&moved));
    aio_wait_bh_oneshot(thread_ctx(0), nothing_bh, NULL);

    /* The context in which the reader is counted goes away, and the reader is still there. */
    iothread_destroy(harness.threads[0]);
    harness.threads[0] = harness.threads[1];
    harness.thread_count = 1;
    g_assert_cmpuint(bdrv_graph_reader_count(), ==, 1);

    qatomic_set(&moved, false);
    bdrv_graph_wrlock();
    g_assert_cmpuint(bdrv_graph_reader_count(), ==, 0);
    bdrv_graph_wrunlock();
    core_down();
}

static void coroutine_fn read_once(void *opaque)
{
    GRAPH_RDLOCK_GUARD();
    *(bool *)opaque = true;
}

static void test_graph_wrunlock_runs_readers_and_bottom_halves(void)
{
    bool reader = false, bh = false;

    core_up(0);
    bdrv_graph_wrlock();
    qemu_coroutine_enter(qemu_coroutine_create(read_once, &reader));
    aio_bh_schedule_oneshot(qemu_get_aio_context(), set_flag_and_kick, &bh);
    g_assert_false(reader);
    g_assert_false(bh);
    bdrv_graph_wrunlock();
    g_assert_true(reader);
    g_assert_true(bh);
    core_down();
}

static void add_per_threads(const char *path, unsigned from, void (*function)(gconstpointer))
{
    for (unsigned threads = from; threads <= TEST_THREADS_MAX; threads++) {
        char *name = g_strdup_printf("%s/%u-threads", path, threads);

        g_test_add_data_func(name, GUINT_TO_POINTER(threads), function);
        g_free(name);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/aio-wait/kick-ends-the-wait", test_kick_ends_the_wait);
    g_test_add_func("/aio-wait/kick-without-waiter-does-nothing", test_kick_without_waiter_does_nothing);
    g_test_add_func("/aio-wait/home-waiter-is-counted", test_home_waiter_is_counted);
    g_test_add_func("/aio-wait/false-condition-does-not-poll", test_false_condition_does_not_poll);
    g_test_add_func("/aio-wait/bh-oneshot-runs-at-home", test_bh_oneshot_runs_at_home);
    g_test_add_func("/co-queue/wakes-in-order", test_queue_wakes_in_order);
    g_test_add_func("/co-queue/outside-coroutine-runs-at-once", test_queue_outside_coroutine_runs_at_once);
    g_test_add_func("/co-queue/across-threads", test_queue_across_threads);
    add_per_threads("/co-mutex/excludes", 1, test_mutex_excludes);
    g_test_add_func("/co-mutex/is-fair", test_mutex_is_fair);
    add_per_threads("/graph-lock/readers-and-writer/plain", 1, test_graph_plain);
    add_per_threads("/graph-lock/readers-and-writer/drained", 1, test_graph_drained);
    g_test_add_func("/graph-lock/last-reader-wakes-polling-writer", test_graph_last_reader_wakes_polling_writer);
    g_test_add_func("/graph-lock/count-survives-its-context", test_graph_count_survives_context);
    g_test_add_func("/graph-lock/wrunlock-runs-readers-and-bottom-halves", test_graph_wrunlock_runs_readers_and_bottom_halves);
    return g_test_run();
}
