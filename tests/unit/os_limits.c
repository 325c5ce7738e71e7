/*
 * What an execution of the simulated OS ends with when the program goes wrong: deadlocks are quiescent, calls that
 * are not modelled are named, what was left open is counted, and the next execution starts clean.
 */
#include "os_test.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static int event;

/* Abandoned locks are put back by hand: they are the program's memory. No edge orders this after the abandoned threads.
 */
static void __attribute__((no_sanitize("thread"))) restore_locks(void)
{
    first = second = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    rwlock = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
}

/* ---- sleeping for ever */

static void lock_twice(void *unused)
{
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&own);
    pthread_mutex_lock(&own);
    g_assert_null(unused);
}

static void read_nothing(void *unused)
{
    int event = eventfd(0, 0);
    eventfd_t value;

    eventfd_read(event, &value);
    g_assert_null(unused);
}

static void poll_nothing(void *unused)
{
    int event = eventfd(0, 0);

    poll(&(struct pollfd){ .fd = event, .events = POLLIN }, 1, -1);
    g_assert_null(unused);
}

static void wait_for_nobody(void *unused)
{
    pthread_mutex_lock(&first);
    pthread_cond_wait(&cond, &first);
    g_assert_null(unused);
}

static void *sleep_in_read(void *fd)
{
    eventfd_t value;

    eventfd_read((int)(long)fd, &value);
    return NULL;
}

static void join_a_sleeper(void *unused)
{
    finish(start(sleep_in_read, (void *)(long)eventfd(0, 0)));
    g_assert_null(unused);
}

static void upgrade(void *unused)
{
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_wrlock(&rwlock);
    g_assert_null(unused);
}

static void futex_for_ever(void *unused)
{
    static uint32_t word;

    syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0);
    g_assert_null(unused);
}

static void unread_periodic_timer(void *unused)
{
    struct itimerspec value = { { 1, 0 }, { 1, 0 } };

    timerfd_settime(timerfd_create(CLOCK_MONOTONIC, 0), 0, &value, NULL);
    wait_for_nobody(unused);
}

static sem_t never; /* all bytes 0: no posts */

static void semaphore_for_ever(void *unused)
{
    sem_wait(&never);
    g_assert_null(unused);
}

static void test_quiescent(gconstpointer body)
{
    const SchedResult *result = os_test_simulate((void (*)(void *))(size_t)body, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_QUIESCENT);
    g_assert_cmpuint(result->threads_left, >, 0);
    restore_locks();
}

/* ---- two locks in two orders: some plan finds the deadlock, first-in-first-out does not */

static void *lock_second_first(void *unused)
{
    pthread_mutex_lock(&second);
    pthread_mutex_lock(&first);
    pthread_mutex_unlock(&first);
    pthread_mutex_unlock(&second);
    return unused;
}

static void opposite_orders(void *unused)
{
    pthread_t thread = start(lock_second_first, unused);

    pthread_mutex_lock(&first);
    pthread_mutex_lock(&second);
    pthread_mutex_unlock(&second);
    pthread_mutex_unlock(&first);
    finish(thread);
}

static void test_opposite_orders(void)
{
    unsigned quiescent = 0, done = 0;

    for (unsigned seed = 0; seed < 64; seed++) {
        SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed };
        const SchedResult *result = sched_run(opposite_orders, NULL, &plan, NULL);

        quiescent += result->outcome == SCHED_QUIESCENT;
        done += result->outcome == SCHED_DONE;
        restore_locks();
    }
    g_assert_cmpuint(quiescent, >, 0);
    g_assert_cmpuint(done, >, 0);
    g_assert_cmpuint(quiescent + done, ==, 64);
}

/* ---- which waiter is woken is a decision */

static pthread_mutex_t turns = PTHREAD_MUTEX_INITIALIZER; /* never abandoned */
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static int woken_first, woken;
static sem_t asleep;

static void *wait_in_turn(void *number)
{
    pthread_mutex_lock(&turns);
    sem_post(&asleep);
    pthread_cond_wait(&turn, &turns);
    woken_first = woken_first ? woken_first : (int)(long)number;
    woken++;
    pthread_mutex_unlock(&turns);
    return NULL;
}

static void signal_one_of_two(void *unused)
{
    pthread_t threads[2];

    woken_first = woken = 0;
    sem_init(&asleep, 0, 0);
    for (long i = 0; i < 2; i++) {
        threads[i] = start(wait_in_turn, (void *)(i + 1));
        sem_wait(&asleep);
    }
    pthread_mutex_lock(&turns);
    pthread_cond_signal(&turn);
    pthread_mutex_unlock(&turns);
    sched_yield();
    pthread_mutex_lock(&turns);
    g_assert_cmpint(woken, <=, 1);
    pthread_cond_broadcast(&turn);
    pthread_mutex_unlock(&turns);
    for (int i = 0; i < 2; i++) {
        finish(threads[i]);
    }
    sem_destroy(&asleep);
    g_assert_null(unused);
}

static void test_woken_by_decision(void)
{
    unsigned seen[3] = { 0 };

    for (unsigned seed = 0; seed < 64; seed++) {
        SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed, .parameter = 7 };

        g_assert_cmpint(sched_run(signal_one_of_two, NULL, &plan, NULL)->outcome, ==, SCHED_DONE);
        seen[woken_first]++;
    }
    g_assert_cmpuint(seen[1], >, 0);
    g_assert_cmpuint(seen[2], >, 0);
}

/* ---- calls that are not modelled */

static void call_fork(void *unused)
{
    fork();
    g_assert_null(unused);
}

static void call_waitpid(void *unused)
{
    waitpid(-1, NULL, 0);
    g_assert_null(unused);
}

static void call_pthread_cancel(void *unused)
{
    pthread_cancel(pthread_self());
    g_assert_null(unused);
}

static void call_flock(void *unused)
{
    flock(0, LOCK_EX);
    g_assert_null(unused);
}

static void call_syscall(void *unused)
{
    syscall(SYS_pause);
    g_assert_null(unused);
}

static void call_futex_pi(void *unused)
{
    static uint32_t word;

    syscall(SYS_futex, &word, 6, 0, NULL, NULL, 0);
    g_assert_null(unused);
}

static void call_socketpair(void *unused)
{
    int fds[2];

    socketpair(AF_UNIX, SOCK_DGRAM, 0, fds);
    g_assert_null(unused);
}

static void call_dup2(void *unused)
{
    dup2(eventfd(0, 0), 1);
    g_assert_null(unused);
}

static void call_fdopen(void *unused)
{
    g_assert_null(fdopen(eventfd(0, 0), "r"));
    g_assert_null(unused);
}

typedef struct Unmodelled {
    void (*body)(void *);
    const char *name; /* what the message names */
} Unmodelled;

static void test_unmodelled(gconstpointer opaque)
{
    const Unmodelled *call = opaque;

    g_assert_nonnull(strstr(os_test_expect_unmodelled(call->body)->message, call->name));
}

/* outside an execution they work */
static void test_real_outside(void)
{
    pid_t child = fork();
    int status, fds[2];

    if (child == 0) {
        _exit(7);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(WEXITSTATUS(status), ==, 7);
    child = vfork();
    if (child == 0) {
        _exit(8);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(WEXITSTATUS(status), ==, 8);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), ==, 0);
    g_assert_cmpint(fds[0], <, 512);
    close(fds[0]);
    close(fds[1]);
    g_assert_cmpint(pthread_kill(pthread_self(), 0), ==, 0);
}

/* ---- what is left */

static void leave_open(void *unused)
{
    int fds[2];

    g_assert_cmpint(eventfd(3, 0), ==, 512);
    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_cmpint(fds[1], ==, 514);
    g_assert_cmpint(write(fds[1], "abc", 3), ==, 3);
    close(512);
    g_assert_cmpint(epoll_create1(0), ==, 512);
    pthread_mutex_lock(&first);
    g_assert_null(unused);
}

static void test_left_open(void)
{
    const SchedResult *result = os_test_simulate(leave_open, NULL);
    char text[64];

    g_assert_cmpint(result->outcome, ==, SCHED_DONE);
    g_assert_cmpuint(os_fds_left(), ==, 3);
    g_assert_cmpint(os_describe_fd_left(0, text, sizeof(text)), ==, 512);
    g_assert_cmpstr(text, ==, "epoll 512, nothing watched");
    g_assert_cmpint(os_describe_fd_left(1, text, sizeof(text)), ==, 513);
    g_assert_cmpstr(text, ==, "pipe 513 (reads), 3 bytes unread");
    g_assert_cmpint(os_describe_fd_left(2, text, sizeof(text)), ==, 514);
    g_assert_cmpint(os_describe_fd_left(3, text, sizeof(text)), ==, -1);
    g_assert_cmpint(os_mutexes_left(), ==, 1);
    restore_locks();
}

static void leave_nothing(void *unused)
{
    int fd = eventfd(0, 0);

    g_assert_cmpint(fd, ==, 512);
    close(fd);
    g_assert_null(unused);
}

static void test_starts_clean(void)
{
    test_left_open();
    g_assert_cmpint(os_test_simulate(leave_nothing, NULL)->outcome, ==, SCHED_DONE);
    g_assert_cmpuint(os_fds_left(), ==, 0);
    g_assert_cmpint(os_mutexes_left(), ==, 0);
}

/* ---- all numbers in use */

static void use_all(void *unused)
{
    int count = 0, fd, fds[2];

    while ((fd = eventfd(0, 0)) >= 0) {
        g_assert_cmpint(fd, ==, 512 + count);
        count++;
    }
    g_assert_cmpint(errno, ==, EMFILE);
    g_assert_cmpint(count, ==, 512);
    g_assert_cmpint(pipe(fds), ==, -1);
    g_assert_cmpint(errno, ==, EMFILE);
    close(700);
    g_assert_cmpint(pipe(fds), ==, -1); /* one number is not enough, and is given back */
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, -1);
    g_assert_cmpint(errno, ==, EMFILE);
    g_assert_cmpint(dup(600), ==, 700);
    for (int i = 0; i < count; i++) {
        g_assert_cmpint(close(512 + i), ==, 0);
    }
    for (int i = 0; i < 1000; i++) { /* the buffers of the failed ones were given back too */
        g_assert_cmpint(pipe(fds), ==, 0);
        close(fds[0]);
        close(fds[1]);
    }
    g_assert_null(unused);
}

static void test_use_all(void)
{
    g_assert_cmpint(os_test_simulate(use_all, NULL)->outcome, ==, SCHED_DONE);
    g_assert_cmpuint(os_fds_left(), ==, 0);
}

/* ---- signals from the simulated kernel */

/* Runs as the kernel would, beside the program's threads: no edge orders it after them. */
static void __attribute__((no_sanitize("thread"))) complete(SchedTimer *timer)
{
    g_assert_cmpint(os_eventfd_signal(event, 2), ==, 0);
    g_assert_cmpuint(timer->deadline_ns, ==, SCHED_FOREVER);
}

static void wait_for_kernel(void *unused)
{
    static SchedTimer timer;
    eventfd_t value = 0;

    event = eventfd(0, 0);
    timer = (SchedTimer){ .deadline_ns = SCHED_FOREVER, .expired = complete };
    sched_timer_arm(&timer, 1000000);
    g_assert_cmpint(eventfd_read(event, &value), ==, 0);
    g_assert_cmpuint(value, ==, 2);
    g_assert_cmpint(os_eventfd_signal(event, UINT64_MAX), ==, 0);
    g_assert_cmpint(eventfd_read(event, &value), ==, 0);
    g_assert_cmpuint(value, ==, UINT64_MAX - 1);
    close(event);
    g_assert_cmpint(os_eventfd_signal(event, 1), ==, -EBADF);
    g_assert_null(unused);
}

static void test_kernel_signal(void)
{
    g_assert_cmpint(os_test_simulate(wait_for_kernel, NULL)->outcome, ==, SCHED_DONE);
}

/* ---- real descriptors, made before the execution: their users do not block the process */

static int real_event, real_pipe[2];

static void *write_real(void *unused)
{
    g_assert_cmpint(eventfd_write(real_event, 1), ==, 0);
    g_assert_cmpint(write(real_pipe[1], "x", 1), ==, 1);
    return unused;
}

static void wait_for_real(void *unused)
{
    struct pollfd request = { .fd = real_event, .events = POLLIN };
    pthread_t thread = start(write_real, NULL);
    eventfd_t value;
    char byte;

    g_assert_cmpint(poll(&request, 1, -1), ==, 1);
    g_assert_cmpint(eventfd_read(real_event, &value), ==, 0);
    g_assert_cmpint(read(real_pipe[0], &byte, 1), ==, 1);
    finish(thread);
    g_assert_cmpint(poll(&request, 1, 5), ==, 0);
    g_assert_null(unused);
}

static void read_real_for_ever(void *unused)
{
    char byte;

    g_assert_cmpint(read(real_pipe[0], &byte, 1), ==, 1);
    g_assert_null(unused);
}

static void test_real_descriptors(void)
{
    real_event = eventfd(0, 0);
    g_assert_cmpint(pipe(real_pipe), ==, 0);
    for (unsigned seed = 0; seed < 16; seed++) {
        SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed };

        g_assert_cmpint(sched_run(wait_for_real, NULL, &plan, NULL)->outcome, ==, SCHED_DONE);
    }
    g_assert_cmpint(os_test_simulate(read_real_for_ever, NULL)->outcome, ==, SCHED_QUIESCENT);
    close(real_event);
    close(real_pipe[0]);
    close(real_pipe[1]);
}

/* ---- time costs nothing */

static void sleep_for_an_hour(void *unused)
{
    struct timespec before, after;

    clock_gettime(CLOCK_MONOTONIC, &before);
    sleep(3600);
    clock_gettime(CLOCK_MONOTONIC, &after);
    g_assert_cmpint(after.tv_sec - before.tv_sec, ==, 3600);
    clock_gettime(CLOCK_REALTIME, &after);
    g_assert_cmpint(after.tv_sec, ==, 1735689600 + 3600);
    g_assert_null(unused);
}

static void test_virtual_time(void)
{
    const SchedResult *result = os_test_simulate(sleep_for_an_hour, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_DONE);
    g_assert_cmpuint(result->time_ns / 1000000000, ==, 3600);
}

static const Unmodelled unmodelled[] = {
    { call_fork, "fork" },
    { call_waitpid, "waitpid" },
    { call_pthread_cancel, "pthread_cancel" },
    { call_flock, "flock" },
    { call_syscall, "syscall 34" },
    { call_futex_pi, "futex operation 6" },
    { call_socketpair, "socketpair" },
    { call_dup2, "dup2" },
    { call_fdopen, "fdopen" },
};

typedef struct Quiescent {
    const char *path;
    void (*body)(void *);
} Quiescent;

static const Quiescent quiescent[] = {
    { "/os/quiescent/lock-twice", lock_twice },
    { "/os/quiescent/read-nothing", read_nothing },
    { "/os/quiescent/poll-nothing", poll_nothing },
    { "/os/quiescent/wait-for-nobody", wait_for_nobody },
    { "/os/quiescent/join-a-sleeper", join_a_sleeper },
    { "/os/quiescent/upgrade", upgrade },
    { "/os/quiescent/futex", futex_for_ever },
    { "/os/quiescent/semaphore", semaphore_for_ever },
    { "/os/quiescent/unread-periodic-timer", unread_periodic_timer },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(sched_init(), ==, 0);
    os_init();
    for (size_t i = 0; i < sizeof(quiescent) / sizeof(quiescent[0]); i++) {
        g_test_add_data_func(quiescent[i].path, (const void *)(size_t)quiescent[i].body, test_quiescent);
    }
    for (size_t i = 0; i < sizeof(unmodelled) / sizeof(unmodelled[0]); i++) {
        char *path = g_strdup_printf("/os/unmodelled/%s", unmodelled[i].name);

        g_test_add_data_func(path, &unmodelled[i], test_unmodelled);
        g_free(path);
    }
    g_test_add_func("/os/unmodelled/real-outside", test_real_outside);
    g_test_add_func("/os/opposite-orders", test_opposite_orders);
    g_test_add_func("/os/woken-by-decision", test_woken_by_decision);
    g_test_add_func("/os/left-open", test_left_open);
    g_test_add_func("/os/starts-clean", test_starts_clean);
    g_test_add_func("/os/use-all", test_use_all);
    g_test_add_func("/os/kernel-signal", test_kernel_signal);
    g_test_add_func("/os/real-descriptors", test_real_descriptors);
    g_test_add_func("/os/virtual-time", test_virtual_time);
    return g_test_run();
}
