/* Threads, semaphores, events and lockcnts on real threads. See core_lower_test.c. */
#include <errno.h>

#include "core/event.h"
#include "core/lockcnt.h"
#include "core/thread.h"
#include "core_lower.h"

/* ---- threads, events, lockcnt ---- */

static void *return_argument(void *opaque)
{
    return opaque;
}

static void test_thread_join_returns_result(void)
{
    QemuThread thread;
    int object;

    qemu_thread_create(&thread, "a-name-longer-than-the-kernel-allows", return_argument, &object, QEMU_THREAD_JOINABLE);
    g_assert_true(qemu_thread_join(&thread) == &object);
}

typedef struct PingPong {
    QemuEvent ping, pong;
    int rounds;
    int turn; /* plain: the events order it, or TSan reports it */
} PingPong;

static void *pong_thread(void *opaque)
{
    PingPong *p = opaque;

    for (int i = 0; i < p->rounds; i++) {
        qemu_event_wait(&p->ping);
        qemu_event_reset(&p->ping);
        g_assert_cmpint(p->turn, ==, 2 * i + 1);
        p->turn++;
        qemu_event_set(&p->pong);
    }
    return NULL;
}

static void test_event_wakes_each_time(void)
{
    PingPong p = { .rounds = 5000 };
    QemuThread thread;

    qemu_event_init(&p.ping, false);
    qemu_event_init(&p.pong, false);
    qemu_thread_create(&thread, "pong", pong_thread, &p, QEMU_THREAD_JOINABLE);
    for (int i = 0; i < p.rounds; i++) {
        g_assert_cmpint(p.turn, ==, 2 * i);
        p.turn++;
        qemu_event_set(&p.ping);
        qemu_event_wait(&p.pong);
        qemu_event_reset(&p.pong);
    }
    qemu_thread_join(&thread);
    qemu_event_destroy(&p.ping);
    qemu_event_destroy(&p.pong);
}

static void test_event_set_twice_is_set_once(void)
{
    QemuEvent event;

    qemu_event_init(&event, true);
    qemu_event_wait(&event);
    qemu_event_set(&event);
    qemu_event_wait(&event);
    qemu_event_reset(&event);
    qemu_event_reset(&event);
    qemu_event_set(&event);
    qemu_event_wait(&event); /* would hang if the second reset had made the event busy */
    qemu_event_destroy(&event);
}

static void test_sem_times_out_only_when_empty(void)
{
    QemuSemaphore sem;

    qemu_sem_init(&sem, 1);
    g_assert_cmpint(qemu_sem_timedwait(&sem, 1), ==, 0);
    g_assert_cmpint(qemu_sem_timedwait(&sem, 1), ==, -ETIMEDOUT);
    qemu_sem_post(&sem);
    qemu_sem_wait(&sem);
    qemu_sem_destroy(&sem);
}

static void test_lockcnt_counts(void)
{
    QemuLockCnt l;

    qemu_lockcnt_init(&l);
    qemu_lockcnt_inc(&l);
    qemu_lockcnt_inc(&l);
    g_assert_cmpuint(qemu_lockcnt_count(&l), ==, 2);
    g_assert_false(qemu_lockcnt_dec_if_lock(&l)); /* not the last one: nothing changes */
    g_assert_cmpuint(qemu_lockcnt_count(&l), ==, 2);
    g_assert_false(qemu_lockcnt_dec_and_lock(&l));
    g_assert_cmpuint(qemu_lockcnt_count(&l), ==, 1);

    g_assert_true(qemu_lockcnt_dec_if_lock(&l));
    g_assert_cmpuint(qemu_lockcnt_count(&l), ==, 0);
    qemu_lockcnt_inc_and_unlock(&l);
    g_assert_cmpuint(qemu_lockcnt_count(&l), ==, 1);

    qemu_lockcnt_lock(&l); /* visitors do not keep the lock from being taken */
    qemu_lockcnt_inc(&l);
    g_assert_cmpuint(qemu_lockcnt_count(&l), ==, 2);
    qemu_lockcnt_unlock(&l);
    g_assert_false(qemu_lockcnt_dec_and_lock(&l));
    g_assert_true(qemu_lockcnt_dec_and_lock(&l));
    qemu_lockcnt_unlock(&l);
    qemu_lockcnt_destroy(&l);
}

typedef struct LockcntStress {
    QemuLockCnt l;
    int *object; /* visitors read it, a changer replaces it with the lock held at count 0 */
    int changes;
} LockcntStress;

static void *lockcnt_visitor(void *opaque)
{
    LockcntStress *s = opaque;

    for (int i = 0; i < 3000; i++) {
        qemu_lockcnt_inc(&s->l);
        g_assert_cmpint(*s->object, >=, 0); /* use after free, or a race, if somebody changes it now */
        if (qemu_lockcnt_dec_if_lock(&s->l)) {
            g_free(s->object);
            s->object = g_new0(int, 1);
            s->changes++;
            qemu_lockcnt_unlock(&s->l);
        } else {
            qemu_lockcnt_dec(&s->l);
        }
    }
    return NULL;
}

static void test_lockcnt_changes_only_without_visitors(void)
{
    LockcntStress s = { .object = g_new0(int, 1) };
    QemuThread threads[3];

    qemu_lockcnt_init(&s.l);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        qemu_thread_create(&threads[i], "visitor", lockcnt_visitor, &s, QEMU_THREAD_JOINABLE);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        qemu_thread_join(&threads[i]);
    }
    g_assert_cmpint(s.changes, >, 0);
    g_free(s.object);
    qemu_lockcnt_destroy(&s.l);
}

const CoreLowerTest core_lower_threads_tests[] = {
    { "/thread/join-returns-result", test_thread_join_returns_result },
    { "/thread/sem-times-out-only-when-empty", test_sem_times_out_only_when_empty },
    { "/event/wakes-each-time", test_event_wakes_each_time },
    { "/event/set-twice-is-set-once", test_event_set_twice_is_set_once },
    { "/lockcnt/counts", test_lockcnt_counts },
    { "/lockcnt/changes-only-without-visitors", test_lockcnt_changes_only_without_visitors },
    { NULL, NULL },
};
