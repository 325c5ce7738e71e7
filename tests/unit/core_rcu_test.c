/*
 * RCU on real threads. Sections are held by semaphores, never by time.
 *
 * 2,000 replacements of an object under readers that do nothing but read it take about a tenth of a second: a grace period that ends too
 * early shows as an object that was cleared, and under a sanitizer as a use after free.
 */
#include "core_upper_harness.h"

#include "core/rcu.h"
#include "core/thread.h"

#define READERS      3
#define REPLACEMENTS 2000

typedef struct Object {
    struct rcu_head rcu;
    int value, copy; /* the same, until it is cleared */
} Object;

static Object *shared;    /* RCU */
static bool stop;         /* atomic */
static unsigned freed;    /* atomic */
static QemuSemaphore in_section, leave;

static void rcu_up(void)
{
    alarm(TEST_SECONDS);
    core_init();
    g_assert_cmpint(qemu_init_main_loop(), ==, 0);
    rcu_init();
    freed = 0;
    stop = false;
    qemu_sem_init(&in_section, 0);
    qemu_sem_init(&leave, 0);
}

static void rcu_down(void)
{
    rcu_cleanup();
    qemu_cleanup_main_loop();
    core_reset();
    qemu_sem_destroy(&in_section);
    qemu_sem_destroy(&leave);
    alarm(0);
}

static void object_free(struct rcu_head *head)
{
    Object *object = (Object *)head;

    g_assert_true(bql_locked());
    object->value = -1;
    g_free(object);
    qatomic_inc(&freed);
}

static Object *object_new(int value)
{
    Object *object = g_new0(Object, 1);

    object->value = object->copy = value;
    return object;
}

/* ---- one reader that is held */

static void *held_reader(void *opaque)
{
    Object *object;

    (void)opaque;
    rcu_register_thread();
    rcu_read_lock();
    rcu_read_lock();
    object = qatomic_rcu_read(&shared);
    qemu_sem_post(&in_section);
    qemu_sem_wait(&leave);
    rcu_read_unlock(); /* the inner one ends nothing */
    qemu_sem_post(&in_section);
    qemu_sem_wait(&leave);
    g_assert_cmpint(object->value, ==, object->copy);
    g_assert_cmpuint(qatomic_read(&freed), ==, 0);
    rcu_read_unlock();
    rcu_unregister_thread();
    return NULL;
}

static void *replace_and_wait(void *opaque)
{
    Object *old = qatomic_rcu_read(&shared);

    (void)opaque;
    rcu_register_thread();
    qatomic_rcu_set(&shared, object_new(2));
    synchronize_rcu();
    bql_lock();
    object_free(&old->rcu);
    bql_unlock();
    rcu_unregister_thread();
    return NULL;
}

static void replace_and_call(void)
{
    Object *old = qatomic_rcu_read(&shared);

    qatomic_rcu_set(&shared, object_new(2));
    call_rcu(old, object_free, rcu);
}

/* Freeing waits for the section, and for the outer one of two. */
static void test_section_keeps_the_object(gconstpointer by_call)
{
    QemuThread reader, writer;

    rcu_up();
    shared = object_new(1);
    qemu_thread_create(&reader, "reader", held_reader, NULL, QEMU_THREAD_JOINABLE);
    qemu_sem_wait(&in_section);
    if (by_call) {
        replace_and_call();
    } else {
        qemu_thread_create(&writer, "writer", replace_and_wait, NULL, QEMU_THREAD_JOINABLE);
    }
    qemu_sem_post(&leave);
    qemu_sem_wait(&in_section);
    qemu_sem_post(&leave);
    bql_unlock();
    qemu_thread_join(&reader);
    if (!by_call) {
        qemu_thread_join(&writer);
    }
    bql_lock();
    drain_call_rcu();
    g_assert_true(bql_locked());
    g_assert_cmpuint(freed, ==, 1);
    g_free(shared);
    rcu_down();
}

/* ---- many readers */

static void *busy_reader(void *opaque)
{
    (void)opaque;
    rcu_register_thread();
    while (!qatomic_read(&stop)) {
        Object *object;

        rcu_read_lock();
        object = qatomic_rcu_read(&shared);
        g_assert_cmpint(object->value, ==, object->copy);
        rcu_read_unlock();
    }
    rcu_unregister_thread();
    return NULL;
}

static void test_many_readers(void)
{
    QemuThread readers[READERS];

    rcu_up();
    shared = object_new(0);
    for (unsigned i = 0; i < READERS; i++) {
        qemu_thread_create(&readers[i], "reader", busy_reader, NULL, QEMU_THREAD_JOINABLE);
    }
    for (int i = 1; i <= REPLACEMENTS; i++) {
        Object *old = qatomic_rcu_read(&shared);

        qatomic_rcu_set(&shared, object_new(i));
        call_rcu(old, object_free, rcu);
        if (i % 500 == 0) {
            drain_call_rcu();
            g_assert_cmpuint(qatomic_read(&freed), ==, i);
        }
    }
    qatomic_set(&stop, true);
    bql_unlock();
    for (unsigned i = 0; i < READERS; i++) {
        qemu_thread_join(&readers[i]);
    }
    bql_lock();
    g_free(shared);
    rcu_down();
    g_assert_cmpuint(freed, ==, REPLACEMENTS);
}

/* ---- callbacks */

typedef struct Numbered {
    struct rcu_head rcu;
    unsigned number, follow_ups;
} Numbered;

static unsigned next_number;

static void numbered_callback(struct rcu_head *head)
{
    Numbered *numbered = (Numbered *)head;

    g_assert_cmpuint(numbered->number, ==, next_number++);
    if (numbered->follow_ups) {
        numbered->follow_ups--;
        numbered->number = next_number;
        call_rcu(numbered, numbered_callback, rcu);
    } else {
        g_free(numbered);
    }
}

static void test_callbacks_in_order(void)
{
    rcu_up();
    next_number = 0;
    for (unsigned i = 0; i < 100; i++) {
        Numbered *numbered = g_new0(Numbered, 1);

        numbered->number = i;
        call_rcu(numbered, numbered_callback, rcu);
    }
    drain_call_rcu();
    g_assert_cmpuint(next_number, ==, 100);
    rcu_down();
}

/* Each callback calls for the next, while the thread is told to stop: cleaning up runs them all. */
static void test_cleanup_runs_what_callbacks_call_for(void)
{
    Numbered *numbered;

    rcu_up();
    next_number = 0;
    numbered = g_new0(Numbered, 1);
    numbered->follow_ups = 10;
    call_rcu(numbered, numbered_callback, rcu);
    rcu_down();
    g_assert_cmpuint(next_number, ==, 11);
}

/* Without rcu_init() sections cost nothing and end nothing; io threads register with it. */
static void test_io_threads_with_and_without(void)
{
    for (int with = 0; with < 2; with++) {
        IOThread *thread;

        alarm(TEST_SECONDS);
        core_init();
        g_assert_cmpint(qemu_init_main_loop(), ==, 0);
        if (with) {
            rcu_init();
        }
        rcu_read_lock();
        rcu_read_unlock();
        thread = iothread_new("io");
        if (with) {
            drain_call_rcu();
        }
        iothread_destroy(thread);
        rcu_cleanup();
        qemu_cleanup_main_loop();
        core_reset();
        alarm(0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/rcu/section-keeps-the-object/synchronize", NULL, test_section_keeps_the_object);
    g_test_add_data_func("/rcu/section-keeps-the-object/call", GINT_TO_POINTER(1), test_section_keeps_the_object);
    g_test_add_func("/rcu/many-readers", test_many_readers);
    g_test_add_func("/rcu/callbacks-in-order", test_callbacks_in_order);
    g_test_add_func("/rcu/cleanup-runs-what-callbacks-call-for", test_cleanup_runs_what_callbacks_call_for);
    g_test_add_func("/rcu/io-threads-with-and-without", test_io_threads_with_and_without);
    return g_test_run();
}
