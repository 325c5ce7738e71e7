/* Read-write locks, spin locks, barriers and semaphores behave as glibc's, under every plan. */
#include "os_test.h"

#include <limits.h>
#include <semaphore.h>

static pthread_rwlock_t lock;

static void *try_both(void *unused)
{
    struct timespec soon;
    int error = pthread_rwlock_tryrdlock(&lock);

    say("tryrdlock %d", error);
    if (!error) {
        PTH(pthread_rwlock_unlock(&lock));
    }
    PTH(pthread_rwlock_trywrlock(&lock));
    soon = in_ms(CLOCK_REALTIME, 5);
    PTH(pthread_rwlock_timedwrlock(&lock, &soon));
    soon = in_ms(CLOCK_MONOTONIC, 5);
    PTH(pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &soon));
    soon = in_ms(CLOCK_REALTIME, 5);
    error = pthread_rwlock_timedrdlock(&lock, &soon);
    say("timedrdlock %d", error);
    if (!error) {
        PTH(pthread_rwlock_unlock(&lock));
    }
    soon.tv_nsec = -1;
    PTH(pthread_rwlock_timedwrlock(&lock, &soon));
    PTH(pthread_rwlock_clockrdlock(&lock, CLOCK_PROCESS_CPUTIME_ID, &soon));
    return unused;
}

static void rwlock_states(int kind)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, kind);
    pthread_rwlock_init(&lock, &attributes);
    PTH(pthread_rwlock_rdlock(&lock));
    PTH(pthread_rwlock_rdlock(&lock));
    finish(start(try_both, NULL));
    PTH(pthread_rwlock_unlock(&lock));
    PTH(pthread_rwlock_unlock(&lock));
    PTH(pthread_rwlock_wrlock(&lock));
    PTH(pthread_rwlock_rdlock(&lock));
    PTH(pthread_rwlock_wrlock(&lock));
    finish(start(try_both, NULL));
    PTH(pthread_rwlock_unlock(&lock));
    PTH(pthread_rwlock_destroy(&lock));
    pthread_rwlockattr_destroy(&attributes);
}

static void rwlock_prefers_readers(void)
{
    rwlock_states(PTHREAD_RWLOCK_PREFER_READER_NP);
}

static void rwlock_prefers_writers(void)
{
    rwlock_states(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
}

static int first_half, second_half, torn;

static void *write_halves(void *unused)
{
    for (int i = 0; i < 20; i++) {
        pthread_rwlock_wrlock(&lock);
        first_half++;
        sched_yield();
        second_half++;
        pthread_rwlock_unlock(&lock);
    }
    return unused;
}

static void *read_halves(void *unused)
{
    for (int i = 0; i < 20; i++) {
        pthread_rwlock_rdlock(&lock);
        if (first_half != second_half) {
            __atomic_store_n(&torn, 1, __ATOMIC_RELAXED);
        }
        sched_yield();
        pthread_rwlock_unlock(&lock);
    }
    return unused;
}

static void rwlock_excludes(void)
{
    pthread_t threads[4];

    first_half = second_half = torn = 0;
    pthread_rwlock_init(&lock, NULL);
    for (int i = 0; i < 4; i++) {
        threads[i] = start(i % 2 ? write_halves : read_halves, NULL);
    }
    for (int i = 0; i < 4; i++) {
        finish(threads[i]);
    }
    say("halves %d %d, torn %d", first_half, second_half, torn);
    PTH(pthread_rwlock_destroy(&lock));
}

/* ---- spin */

static pthread_spinlock_t spin;
static int spun;

static void *try_spin(void *unused)
{
    PTH(pthread_spin_trylock(&spin));
    return unused;
}

static void *spin_up(void *unused)
{
    for (int i = 0; i < 30; i++) {
        pthread_spin_lock(&spin);
        spun++;
        pthread_spin_unlock(&spin);
    }
    return unused;
}

static void spinning(void)
{
    pthread_t thread;

    pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
    PTH(pthread_spin_lock(&spin));
    finish(start(try_spin, NULL));
    PTH(pthread_spin_unlock(&spin));
    spun = 0;
    thread = start(spin_up, NULL);
    spin_up(NULL);
    finish(thread);
    say("spun %d", spun);
    PTH(pthread_spin_destroy(&spin));
}

/* ---- barrier */

static pthread_barrier_t barrier;
static int serials, arrived[3], early;

static void *meet(void *number)
{
    for (int round = 1; round <= 4; round++) {
        int result;

        __atomic_store_n(&arrived[(long)number], round, __ATOMIC_RELAXED);
        result = pthread_barrier_wait(&barrier);
        if (result == PTHREAD_BARRIER_SERIAL_THREAD) {
            __atomic_fetch_add(&serials, 1, __ATOMIC_RELAXED);
        } else if (result) {
            __atomic_fetch_add(&serials, 100, __ATOMIC_RELAXED);
        }
        for (int i = 0; i < 3; i++) {
            if (__atomic_load_n(&arrived[i], __ATOMIC_RELAXED) < round) {
                __atomic_store_n(&early, 1, __ATOMIC_RELAXED);
            }
        }
    }
    return NULL;
}

static void meeting(void)
{
    pthread_t threads[3];

    serials = early = 0;
    PTH(pthread_barrier_init(&barrier, NULL, 0));
    PTH(pthread_barrier_init(&barrier, NULL, 3));
    for (long i = 0; i < 3; i++) {
        threads[i] = start(meet, (void *)i);
    }
    for (int i = 0; i < 3; i++) {
        finish(threads[i]);
    }
    say("serial threads %d, left early %d", serials, early);
    PTH(pthread_barrier_destroy(&barrier));
    pthread_barrier_init(&barrier, NULL, 1);
    say("alone: serial %d", pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD);
    pthread_barrier_destroy(&barrier);
}

/* ---- semaphore */

static sem_t semaphore, back;

static void *post_and_wait(void *unused)
{
    for (int i = 0; i < 10; i++) {
        sem_post(&semaphore);
        sem_wait(&back);
    }
    return unused;
}

static void semaphores(void)
{
    struct timespec soon;
    pthread_t thread;
    int value;

    sem_init(&semaphore, 0, 1);
    sem_init(&back, 0, 0);
    SYS(sem_wait(&semaphore));
    SYS(sem_trywait(&semaphore));
    soon = in_ms(CLOCK_REALTIME, 5);
    SYS(sem_timedwait(&semaphore, &soon));
    soon = in_ms(CLOCK_MONOTONIC, 5);
    SYS(sem_clockwait(&semaphore, CLOCK_MONOTONIC, &soon));
    soon = in_ms(CLOCK_REALTIME, -5);
    SYS(sem_timedwait(&semaphore, &soon));
    SYS(sem_clockwait(&semaphore, CLOCK_PROCESS_CPUTIME_ID, &soon));
    soon.tv_nsec = 1000000000;
    SYS(sem_timedwait(&semaphore, &soon));
    thread = start(post_and_wait, NULL);
    for (int i = 0; i < 10; i++) {
        sem_wait(&semaphore);
        sem_post(&back);
    }
    finish(thread);
    SYS(sem_getvalue(&semaphore, &value));
    say("value %d", value);
    sem_destroy(&semaphore);
    sem_init(&semaphore, 0, SEM_VALUE_MAX);
    SYS(sem_post(&semaphore));
    sem_destroy(&semaphore);
    sem_destroy(&back);
}

static const OsProgram programs[] = {
    { "/os/rwlock/prefers-readers", rwlock_prefers_readers },
    { "/os/rwlock/prefers-writers", rwlock_prefers_writers },
    { "/os/rwlock/excludes", rwlock_excludes },
    { "/os/spin", spinning },
    { "/os/barrier", meeting },
    { "/os/semaphore", semaphores },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
