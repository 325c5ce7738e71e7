/*
 * Calls that go wrong because the input asks for it: EINTR out of waits, reads and writes cut short. Only where the
 * program says that it copes; and the same again when the deviations are given as overrides.
 */
#include "os_test.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/os.h"

#define SEEDS 64u /* at rate 1/2 a call stays undisturbed in all of them once in 2^64 */

enum { BYTES = 100 };

/* What one execution saw. */
typedef struct Seen {
    bool interrupted_poll, interrupted_epoll, interrupted_read, one_byte, all_but_one, short_write, split_pipe_write;
} Seen;

static Seen seen;

static void *write_later(void *opaque)
{
    char bytes[BYTES] = { 0 };
    int fd = *(int *)opaque;

    g_assert_cmpint(write(fd, bytes, BYTES), ==, BYTES);
    return NULL;
}

static void transfer(int from, int to)
{
    char bytes[BYTES] = { 0 };
    ssize_t sent = write(to, bytes, BYTES), got;

    g_assert_cmpint(sent, >, 0);
    seen.short_write |= sent < BYTES;
    for (ssize_t left = sent; left; left -= got) {
        got = read(from, bytes, BYTES);
        g_assert_cmpint(got, >, 0);
        g_assert_cmpint(got, <=, left);
        seen.one_byte |= got == 1 && left > 2;
        seen.all_but_one |= got == left - 1 && left > 2;
    }
}

/* Each wait is interrupted at most so often as it is tried, and then sees the byte. */
static void wait_for(int fd, int epoll)
{
    struct pollfd wanted = { .fd = fd, .events = POLLIN };
    struct epoll_event event;

    while (poll(&wanted, 1, -1) < 0) {
        g_assert_cmpint(errno, ==, EINTR);
        seen.interrupted_poll = true;
    }
    g_assert_cmpint(wanted.revents, ==, POLLIN);
    while (epoll_wait(epoll, &event, 1, -1) < 0) {
        g_assert_cmpint(errno, ==, EINTR);
        seen.interrupted_epoll = true;
    }
}

static void wait_for_pipe(void)
{
    struct epoll_event event = { .events = EPOLLIN };
    int pipes[2], epoll = epoll_create1(0);
    char bytes[BYTES];
    pthread_t thread;
    ssize_t got = 0;

    g_assert_cmpint(pipe(pipes), ==, 0);
    g_assert_cmpint(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event), ==, 0);
    thread = start(write_later, &pipes[1]);
    while (epoll_wait(epoll, &event, 1, -1) < 0) {
        seen.interrupted_epoll |= errno == EINTR;
    }
    wait_for(pipes[0], epoll);
    for (size_t left = BYTES; left; left -= (size_t)got) {
        got = read(pipes[0], bytes, left);
        g_assert_cmpint(got, >, 0);
    }
    finish(thread);
    thread = start(write_later, &pipes[1]);
    while ((got = read(pipes[0], bytes, BYTES)) < 0) {
        g_assert_cmpint(errno, ==, EINTR);
        seen.interrupted_read = true;
    }
    seen.split_pipe_write |= got == 0;
    for (size_t left = BYTES - (size_t)got; left; left -= (size_t)got) {
        got = read(pipes[0], bytes, left);
        g_assert_cmpint(got, >, 0);
    }
    finish(thread);
    close(pipes[0]);
    close(pipes[1]);
    close(epoll);
}

/* An eventfd's eight bytes come whole or not at all. */
static void count_event(void)
{
    int fd = eventfd(1, 0);
    uint64_t value;

    g_assert_cmpint(read(fd, &value, sizeof(value)), ==, sizeof(value));
    close(fd);
}

static void body(void *opaque)
{
    int sockets[2];

    (void)opaque;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
    transfer(sockets[0], sockets[1]);
    transfer(sockets[1], sockets[0]);
    close(sockets[0]);
    close(sockets[1]);
    wait_for_pipe();
    count_event();
}

static SchedResult run(const SchedPlan *plan, bool allowed)
{
    const SchedLimits limits = { .disturb = allowed };
    const SchedResult *result = sched_run(body, NULL, plan, &limits);

    g_assert_cmpint(result->outcome, ==, SCHED_DONE);
    return *result;
}

/* /os/disturb/everything: over all seeds each kind of disturbance happens; a short write to a pipe never does. */
static void test_everything(void)
{
    seen = (Seen){ 0 };
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        run(&(SchedPlan){ .base = SCHED_BASE_WALK, .seed = seed, .disturb = 1 }, true);
    }
    g_assert_true(seen.interrupted_poll || seen.interrupted_epoll);
    g_assert_true(seen.interrupted_read);
    g_assert_true(seen.one_byte);
    g_assert_true(seen.all_but_one);
    g_assert_true(seen.short_write);
    g_assert_false(seen.split_pipe_write);
}

/* /os/disturb/not-asked: without the plan's asking, or without the program's allowing, nothing happens, and the
 * execution is the same to the last decision. */
static void test_not_asked(void)
{
    seen = (Seen){ 0 };
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed };
        SchedResult plain = run(&plan, false), allowed = run(&plan, true), asked;

        plan.disturb = 1;
        asked = run(&plan, false);
        g_assert_cmpuint(allowed.trace_hash, ==, plain.trace_hash);
        g_assert_cmpuint(allowed.decisions, ==, plain.decisions);
        g_assert_cmpuint(asked.trace_hash, ==, plain.trace_hash);
        g_assert_cmpuint(asked.decisions, ==, plain.decisions);
    }
    g_assert_false(seen.interrupted_poll || seen.interrupted_epoll || seen.interrupted_read || seen.one_byte ||
                   seen.all_but_one || seen.short_write);
}

/* /os/disturb/overrides: a disturbance is a decision, so that an execution can be written as FIFO plus overrides. */
static void test_overrides(void)
{
    unsigned rewritten = 0;

    for (unsigned seed = 0; seed < SEEDS; seed++) {
        SchedResult first = run(&(SchedPlan){ .base = SCHED_BASE_POS, .seed = seed, .disturb = 2 }, true), again;
        SchedPlan plan = { .disturb = 2 };

        if (!first.deviations_complete || first.deviation_count > SCHED_OVERRIDES_MAX) {
            continue;
        }
        plan.override_count = (uint8_t)first.deviation_count;
        memcpy(plan.overrides, first.deviations, first.deviation_count * sizeof(plan.overrides[0]));
        uint8_t bytes[SCHED_PLAN_BYTES_MAX];
        size_t length = sched_plan_encode(&plan, bytes);

        sched_plan_decode(&plan, bytes, length); /* sorts */
        again = run(&plan, true);
        g_assert_cmpuint(again.trace_hash, ==, first.trace_hash);
        rewritten++;
    }
    g_assert_cmpuint(rewritten, >, 0);
}

int main(int argc, char **argv)
{
    os_test_init(&argc, &argv);
    g_test_add_func("/os/disturb/everything", test_everything);
    g_test_add_func("/os/disturb/not-asked", test_not_asked);
    g_test_add_func("/os/disturb/overrides", test_overrides);
    return os_test_run_programs(NULL, 0);
}
