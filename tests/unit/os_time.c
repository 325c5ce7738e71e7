/* Clocks move forward together and sleeps last as long as they should, natively and simulated. */
#include "os_test.h"

#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <unistd.h>

static int64_t now_ns(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void clocks(void)
{
    static const clockid_t all[] = {
        CLOCK_REALTIME,        CLOCK_MONOTONIC,        CLOCK_MONOTONIC_RAW,      CLOCK_BOOTTIME,         CLOCK_TAI,
        CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID
    };
    struct timespec at;
    struct timeval old_time;
    clockid_t own;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        int64_t before = now_ns(all[i]);

        say("clock %d goes forward %d", (int)all[i], now_ns(all[i]) >= before);
        SYS(clock_getres(all[i], &at));
    }
    SYS(clock_gettime(99, &at));
    SYS(clock_getres(99, &at));
    SYS(clock_getres(CLOCK_MONOTONIC, NULL));
    PTH(pthread_getcpuclockid(pthread_self(), &own));
    SYS(clock_gettime(own, &at));
    SYS(gettimeofday(&old_time, NULL));
    say("one real time %d", labs((long)(old_time.tv_sec - time(NULL))) <= 1);
    say("the same for C11 %d %d", timespec_get(&at, TIME_UTC) == TIME_UTC, labs((long)(old_time.tv_sec - at.tv_sec)) <= 1);
    say("no other base %d", timespec_get(&at, 77));
    say("processor time %d", clock() >= 0);
}

static void slept(const char *what, int64_t start_ns, int64_t at_least_ns)
{
    say("%s slept enough %d", what, now_ns(CLOCK_MONOTONIC) - start_ns >= at_least_ns);
}

static void sleeps(void)
{
    struct timespec span = { 0, 5000000 }, bad = { 0, 1000000000 }, negative = { -1, 0 }, at;
    int64_t start_ns = now_ns(CLOCK_MONOTONIC);

    SYS(nanosleep(&span, &at));
    slept("nanosleep", start_ns, 5000000);
    SYS(nanosleep(&bad, NULL));
    SYS(nanosleep(&negative, NULL));
    start_ns = now_ns(CLOCK_MONOTONIC);
    PTH(clock_nanosleep(CLOCK_REALTIME, 0, &span, NULL));
    slept("clock_nanosleep", start_ns, 5000000);
    start_ns = now_ns(CLOCK_MONOTONIC);
    at = in_ms(CLOCK_MONOTONIC, 5);
    PTH(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL));
    slept("until", start_ns, 5000000);
    at = in_ms(CLOCK_REALTIME, -5);
    PTH(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL));
    PTH(clock_nanosleep(99, 0, &span, NULL));
    PTH(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &span, NULL));
    PTH(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL));
    start_ns = now_ns(CLOCK_MONOTONIC);
    SYS(usleep(5000));
    slept("usleep", start_ns, 5000000);
    SYS(sleep(0));
    SYS(thrd_sleep(&span, NULL));
    SYS(sched_yield());
}

static int order[2], arrived;

static void *sleep_then_arrive(void *ms)
{
    struct timespec span = { 0, (long)ms * 1000000 };

    nanosleep(&span, NULL);
    order[__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST)] = (int)(long)ms;
    return NULL;
}

static void side_by_side(void)
{
    int64_t start_ns = now_ns(CLOCK_MONOTONIC);
    pthread_t one, two;

    arrived = 0;
    one = start(sleep_then_arrive, (void *)15);
    two = start(sleep_then_arrive, (void *)14);
    finish(one);
    finish(two);
    say("both %d, at the same time %d", order[0] + order[1], now_ns(CLOCK_MONOTONIC) - start_ns < 1000000000);
}

static const OsProgram programs[] = {
    { "/os/time/clocks", clocks },
    { "/os/time/sleeps", sleeps },
    { "/os/time/side-by-side", side_by_side },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
