/* The C11 names behave as glibc's, under every plan. */
#include "os_test.h"

#include <threads.h>

static mtx_t mutex;
static cnd_t cond, back;
static tss_t key;
static int turn, runs;
static once_flag once;

static int square(void *number)
{
    return (int)(long)number * (int)(long)number;
}

static int leave_early(void *unused)
{
    thrd_exit(unused ? -3 : -4);
}

static void threads_and_results(void)
{
    thrd_t thread;
    int result = 0;

    SYS(thrd_create(&thread, square, (void *)9));
    SYS(thrd_join(thread, &result));
    say("result %d", result);
    thrd_create(&thread, leave_early, &result);
    SYS(thrd_join(thread, &result));
    say("result %d", result);
    thrd_create(&thread, square, (void *)2);
    SYS(thrd_detach(thread));
    SYS(thrd_equal(thrd_current(), thread) != 0);
    thrd_yield();
}

static int try_lock(void *unused)
{
    struct timespec soon = in_ms(CLOCK_REALTIME, 5);

    SYS(mtx_trylock(&mutex));
    SYS(mtx_timedlock(&mutex, &soon));
    return unused != NULL;
}

static void mutexes(void)
{
    thrd_t thread;

    mtx_init(&mutex, mtx_timed | mtx_recursive);
    SYS(mtx_lock(&mutex));
    SYS(mtx_trylock(&mutex));
    thrd_create(&thread, try_lock, NULL);
    thrd_join(thread, NULL);
    SYS(mtx_unlock(&mutex));
    SYS(mtx_unlock(&mutex));
    SYS(mtx_unlock(&mutex));
    mtx_destroy(&mutex);
}

static int answer(void *unused)
{
    mtx_lock(&mutex);
    while (turn != 1) {
        cnd_wait(&cond, &mutex);
    }
    turn = 2;
    cnd_broadcast(&back);
    mtx_unlock(&mutex);
    return unused != NULL;
}

static void conditions(void)
{
    struct timespec soon;
    thrd_t thread;

    turn = 0;
    mtx_init(&mutex, mtx_plain);
    cnd_init(&cond);
    cnd_init(&back);
    thrd_create(&thread, answer, NULL);
    mtx_lock(&mutex);
    turn = 1;
    SYS(cnd_signal(&cond));
    while (turn != 2) {
        cnd_wait(&back, &mutex);
    }
    soon = in_ms(CLOCK_REALTIME, 5);
    SYS(cnd_timedwait(&back, &mutex, &soon));
    mtx_unlock(&mutex);
    thrd_join(thread, NULL);
    cnd_destroy(&cond);
    cnd_destroy(&back);
    mtx_destroy(&mutex);
    say("turn %d", turn);
}

static void routine(void)
{
    thrd_yield();
    runs++;
}

static int run_once(void *unused)
{
    call_once(&once, routine);
    return unused ? -1 : runs;
}

static void only_once(void)
{
    thrd_t one, two;
    int first, second;

    once = (once_flag)ONCE_FLAG_INIT;
    runs = 0;
    thrd_create(&one, run_once, NULL);
    thrd_create(&two, run_once, NULL);
    thrd_join(one, &first);
    thrd_join(two, &second);
    say("saw %d %d", first, second);
}

static void destroy(void *text)
{
    say("destroyed %s", (const char *)text);
}

static int set_key(void *unused)
{
    say("before %d", tss_get(key) != NULL);
    SYS(tss_set(key, "the value"));
    return unused != NULL;
}

static void specific(void)
{
    thrd_t thread;

    SYS(tss_create(&key, destroy));
    for (int i = 0; i < 2; i++) {
        thrd_create(&thread, set_key, NULL);
        thrd_join(thread, NULL);
    }
    tss_delete(key);
}

static const OsProgram programs[] = {
    { "/os/c11/threads", threads_and_results }, { "/os/c11/mutexes", mutexes },   { "/os/c11/conditions", conditions },
    { "/os/c11/only-once", only_once },         { "/os/c11/specific", specific },
};

int main(int argc, char **argv)
{
    if (OS_TEST_TSAN) {
        return os_test_skip("TSan does not know glibc's C11 threads");
    }
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
