/* Mutexes of each type behave as glibc's, under every plan. */
#include "os_test.h"

static pthread_mutex_t mutex;

static void make(int type)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, type);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static void *use_from_other(void *unused)
{
    struct timespec soon;

    PTH(pthread_mutex_trylock(&mutex));
    soon = in_ms(CLOCK_REALTIME, 5);
    PTH(pthread_mutex_timedlock(&mutex, &soon));
    soon = in_ms(CLOCK_MONOTONIC, 5);
    PTH(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &soon));
    soon = in_ms(CLOCK_REALTIME, -1000);
    PTH(pthread_mutex_timedlock(&mutex, &soon));
    soon.tv_nsec = -1;
    PTH_MISUSE(pthread_mutex_timedlock(&mutex, &soon));
    PTH_MISUSE(pthread_mutex_clocklock(&mutex, CLOCK_PROCESS_CPUTIME_ID, &soon));
    return unused;
}

static void basic(void)
{
    struct timespec bad = { 0, -1 };

    PTH(pthread_mutex_lock(&mutex));
    finish(start(use_from_other, NULL));
    PTH(pthread_mutex_destroy(&mutex));
    PTH(pthread_mutex_unlock(&mutex));
    PTH(pthread_mutex_timedlock(&mutex, &bad)); /* not looked at when the mutex is free */
    PTH(pthread_mutex_unlock(&mutex));
    PTH(pthread_mutex_trylock(&mutex));
    PTH(pthread_mutex_unlock(&mutex));
    PTH(pthread_mutex_destroy(&mutex));
}

static void normal(void)
{
    struct timespec soon;

    make(PTHREAD_MUTEX_NORMAL);
    PTH(pthread_mutex_lock(&mutex));
    PTH(pthread_mutex_trylock(&mutex));
    soon = in_ms(CLOCK_REALTIME, 5);
    PTH(pthread_mutex_timedlock(&mutex, &soon)); /* of one's own: waits for itself */
    PTH(pthread_mutex_unlock(&mutex));
    basic();
}

static void adaptive(void)
{
    make(PTHREAD_MUTEX_ADAPTIVE_NP);
    basic();
}

static void recursive(void)
{
    make(PTHREAD_MUTEX_RECURSIVE);
    PTH(pthread_mutex_lock(&mutex));
    PTH(pthread_mutex_lock(&mutex));
    PTH(pthread_mutex_trylock(&mutex));
    PTH(pthread_mutex_unlock(&mutex));
    PTH(pthread_mutex_unlock(&mutex));
    finish(start(use_from_other, NULL));
    PTH(pthread_mutex_unlock(&mutex));
    PTH(pthread_mutex_unlock(&mutex));
    basic();
}

static void *unlock_from_other(void *unused)
{
    PTH(pthread_mutex_unlock(&mutex));
    return unused;
}

static void error_checking(void)
{
    struct timespec soon;

    make(PTHREAD_MUTEX_ERRORCHECK);
    PTH(pthread_mutex_unlock(&mutex));
    PTH(pthread_mutex_lock(&mutex));
    PTH(pthread_mutex_lock(&mutex));
    PTH(pthread_mutex_trylock(&mutex));
    soon = in_ms(CLOCK_REALTIME, 5);
    PTH(pthread_mutex_timedlock(&mutex, &soon));
    finish(start(unlock_from_other, NULL));
    PTH(pthread_mutex_unlock(&mutex));
    basic();
}

static void with_attributes(int protocol, int robust, int shared)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    pthread_mutexattr_setrobust(&attributes, robust);
    pthread_mutexattr_setpshared(&attributes, shared);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    PTH(pthread_mutex_lock(&mutex));
    PTH(pthread_mutex_trylock(&mutex));
    PTH(pthread_mutex_unlock(&mutex));
    PTH(pthread_mutex_destroy(&mutex));
}

static void robust(void)
{
    with_attributes(PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_PRIVATE);
}

static void inheriting(void)
{
    with_attributes(PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED, PTHREAD_PROCESS_PRIVATE);
}

static void shared(void)
{
    with_attributes(PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED, PTHREAD_PROCESS_SHARED);
}

static int counter;

static void *count_up(void *unused)
{
    for (int i = 0; i < 50; i++) {
        int seen;

        pthread_mutex_lock(&mutex);
        seen = counter;
        sched_yield();
        counter = seen + 1;
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}

static void excludes(int type)
{
    pthread_t threads[3];

    make(type);
    counter = 0;
    for (int i = 0; i < 3; i++) {
        threads[i] = start(count_up, NULL);
    }
    for (int i = 0; i < 3; i++) {
        finish(threads[i]);
    }
    say("counted to %d", counter);
    PTH(pthread_mutex_destroy(&mutex));
}

static void excludes_normal(void)
{
    excludes(PTHREAD_MUTEX_NORMAL);
}

static void excludes_recursive(void)
{
    excludes(PTHREAD_MUTEX_RECURSIVE);
}

static void excludes_error_checking(void)
{
    excludes(PTHREAD_MUTEX_ERRORCHECK);
}

static const OsProgram programs[] = {
    { "/os/mutex/normal", normal },
    { "/os/mutex/adaptive", adaptive },
    { "/os/mutex/recursive", recursive },
    { "/os/mutex/error-checking", error_checking },
    { "/os/mutex/robust", robust },
    { "/os/mutex/inheriting", inheriting },
    { "/os/mutex/shared", shared },
    { "/os/mutex/excludes/normal", excludes_normal },
    { "/os/mutex/excludes/recursive", excludes_recursive },
    { "/os/mutex/excludes/error-checking", excludes_error_checking },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
