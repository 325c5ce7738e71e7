/* Condition variables behave as glibc's, under every plan: no wakeup is lost or invented, deadlines mean the clock
 * that they should. */
#include "os_test.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER, other = PTHREAD_COND_INITIALIZER;
static int turn, waiting, released;

static void *ping(void *rounds)
{
    for (int i = 0; i < *(int *)rounds; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != 1) {
            pthread_cond_wait(&cond, &mutex);
        }
        turn = 0;
        pthread_cond_signal(&other);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void ping_pong(void)
{
    int rounds = 20;
    pthread_t thread;

    turn = 0;
    thread = start(ping, &rounds);
    for (int i = 0; i < rounds; i++) {
        pthread_mutex_lock(&mutex);
        turn = 1;
        pthread_cond_signal(&cond);
        while (turn != 0) {
            pthread_cond_wait(&other, &mutex);
        }
        pthread_mutex_unlock(&mutex);
    }
    finish(thread);
    say("turn %d", turn);
}

static void *wait_for_release(void *unused)
{
    pthread_mutex_lock(&mutex);
    waiting++;
    pthread_cond_signal(&other);
    while (!released) {
        pthread_cond_wait(&cond, &mutex);
    }
    waiting--;
    pthread_mutex_unlock(&mutex);
    return unused;
}

static void broadcast_wakes_all(void)
{
    pthread_t threads[4];

    waiting = released = 0;
    for (int i = 0; i < 4; i++) {
        threads[i] = start(wait_for_release, NULL);
    }
    pthread_mutex_lock(&mutex);
    while (waiting < 4) {
        pthread_cond_wait(&other, &mutex);
    }
    released = 1;
    PTH(pthread_cond_broadcast(&cond));
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 4; i++) {
        finish(threads[i]);
    }
    say("still waiting %d", waiting);
}

static int tickets;

static void *take_ticket(void *unused)
{
    pthread_mutex_lock(&mutex);
    waiting++;
    pthread_cond_signal(&other);
    while (!tickets) {
        pthread_cond_wait(&cond, &mutex);
    }
    tickets--;
    pthread_mutex_unlock(&mutex);
    return unused;
}

/* each signal lets one go: with fewer than one a signal a thread would be left behind */
static void signals_wake_one_each(void)
{
    pthread_t threads[3];

    waiting = tickets = 0;
    for (int i = 0; i < 3; i++) {
        threads[i] = start(take_ticket, NULL);
    }
    pthread_mutex_lock(&mutex);
    while (waiting < 3) {
        pthread_cond_wait(&other, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 3; i++) {
        pthread_mutex_lock(&mutex);
        tickets++;
        PTH(pthread_cond_signal(&cond));
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < 3; i++) {
        finish(threads[i]);
    }
    say("tickets %d", tickets);
}

static void time_outs(void)
{
    pthread_condattr_t attributes;
    pthread_cond_t monotonic;
    struct timespec time;

    pthread_condattr_init(&attributes);
    PTH(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    PTH(pthread_cond_init(&monotonic, &attributes));
    pthread_mutex_lock(&mutex);
    PTH(pthread_cond_signal(&cond)); /* is not remembered */
    time = in_ms(CLOCK_REALTIME, 10);
    PTH(pthread_cond_timedwait(&cond, &mutex, &time));
    time = in_ms(CLOCK_MONOTONIC, 10);
    PTH(pthread_cond_timedwait(&monotonic, &mutex, &time));
    time = in_ms(CLOCK_MONOTONIC, 10);
    PTH(pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &time));
    time = in_ms(CLOCK_REALTIME, -10);
    PTH(pthread_cond_timedwait(&cond, &mutex, &time));
    PTH(pthread_cond_clockwait(&cond, &mutex, CLOCK_PROCESS_CPUTIME_ID, &time));
    time = in_ms(CLOCK_MONOTONIC, 0); /* long past on the real-time clock */
    PTH(pthread_cond_timedwait(&cond, &mutex, &time));
    time.tv_nsec = 1000000000;
    PTH(pthread_cond_timedwait(&cond, &mutex, &time));
    PTH(pthread_mutex_trylock(&mutex)); /* still ours */
    pthread_mutex_unlock(&mutex);
    PTH(pthread_cond_destroy(&monotonic));
    pthread_condattr_destroy(&attributes);
}

static void *wait_long(void *result)
{
    struct timespec time = in_ms(CLOCK_REALTIME, 60000);

    pthread_mutex_lock(&mutex);
    waiting = 1;
    pthread_cond_signal(&other);
    while (!released && *(int *)result == 0) {
        *(int *)result = pthread_cond_timedwait(&cond, &mutex, &time);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void woken_before_its_deadline(void)
{
    int result = 0;
    pthread_t thread;

    waiting = released = 0;
    thread = start(wait_long, &result);
    pthread_mutex_lock(&mutex);
    while (!waiting) {
        pthread_cond_wait(&other, &mutex);
    }
    released = 1;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    finish(thread);
    say("timedwait %d", result);
}

static void foreign_mutex(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t checked;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attributes);
    PTH(pthread_cond_wait(&cond, &checked)); /* not locked */
    PTH(pthread_cond_signal(&cond));
    PTH(pthread_mutex_destroy(&checked));
    pthread_mutexattr_destroy(&attributes);
}

/* destroy waits for the woken to leave: the memory may be used for something else at once */
static void destroyed_after_broadcast(void)
{
    pthread_t threads[2];

    waiting = released = 0;
    for (int i = 0; i < 2; i++) {
        threads[i] = start(wait_for_release, NULL);
    }
    pthread_mutex_lock(&mutex);
    while (waiting < 2) {
        pthread_cond_wait(&other, &mutex);
    }
    released = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    PTH(pthread_cond_destroy(&cond));
    for (int i = 0; i < 2; i++) {
        finish(threads[i]);
    }
    pthread_cond_init(&cond, NULL);
    say("waiting %d", waiting);
}

static const OsProgram programs[] = {
    { "/os/cond/ping-pong", ping_pong },
    { "/os/cond/broadcast-wakes-all", broadcast_wakes_all },
    { "/os/cond/signals-wake-one-each", signals_wake_one_each },
    { "/os/cond/time-outs", time_outs },
    { "/os/cond/woken-before-its-deadline", woken_before_its_deadline },
    { "/os/cond/foreign-mutex", foreign_mutex },
    { "/os/cond/destroyed-after-broadcast", destroyed_after_broadcast },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
