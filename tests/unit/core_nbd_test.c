/*
 * The client of a network block device, against a server that hangs up and refuses. On real threads.
 *
 * An hour stands for "for ever": a test that has to wait for it is ended by alarm().
 */
#include "core_upper_harness.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "core/block_backend.h"
#include "core/nbd_client.h"
#include "core/thread.h"

#define SECTORS 8
#define HOUR_NS (3600 * NANOSECONDS_PER_SECOND)

typedef struct Server {
    QemuThread thread;
    uint8_t disk[SECTORS][BDRV_SECTOR_SIZE]; /* of the thread */
    unsigned held_max; /* it answers when it has that many requests, in the opposite order */
    int fd;            /* -1: none. Under the lock, as what follows */
    bool closing;
    QemuMutex lock;
    QemuCond changed;
    unsigned refused; /* so many attempts to connect, from now on; atomic */
    unsigned attempts; /* atomic */
    unsigned lost_after; /* hangs up instead of answering the n-th request, once; 0: never */
    unsigned most; /* requests that it had at once */
} Server;

typedef struct Test {
    Server server;
    BlockBackend *blk;
    BlockDriverState *bs;
} Test;

typedef struct Request {
    Test *test;
    unsigned number;
    int ret;
} Request;

/* ------------------------------------------------------------------------------------------- the server */

static bool move(int fd, void *buffer, size_t size, bool out)
{
    for (size_t done = 0; done < size;) {
        char *at = (char *)buffer + done;
        ssize_t ret = out ? send(fd, at, size - done, MSG_NOSIGNAL) : recv(fd, at, size - done, 0);

        if (ret <= 0) {
            return false;
        }
        done += (size_t)ret;
    }
    return true;
}

static bool answer(Server *server, int fd, const NBDRequest *request)
{
    NBDReply reply = { .cookie = request->cookie };

    return move(fd, &reply, sizeof(reply), true) &&
           (request->type == NBD_CMD_WRITE || move(fd, server->disk[request->from / BDRV_SECTOR_SIZE], request->len, true));
}

static void serve(Server *server, int fd)
{
    NBDRequest held[NBD_REQUESTS_MAX];
    unsigned count = 0;

    while (move(fd, &held[count], sizeof(held[count]), false)) {
        NBDRequest *request = &held[count++];
        char more;

        if (request->type == NBD_CMD_WRITE && !move(fd, server->disk[request->from / BDRV_SECTOR_SIZE], request->len, false)) {
            break;
        }
        if (server->lost_after && --server->lost_after == 0) {
            break;
        }
        server->most = MAX(server->most, count);

        /* All that have been sent by now, as far as they are to be held. */
        if (count < server->held_max && recv(fd, &more, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
            continue;
        }
        while (count > 0 && answer(server, fd, &held[count - 1])) {
            count--;
        }
        count = 0;
    }
    close(fd);
}

static void *server_thread(void *opaque)
{
    Server *server = opaque;

    for (;;) {
        int fd;

        qemu_mutex_lock(&server->lock);
        while (server->fd < 0 && !server->closing) {
            qemu_cond_wait(&server->changed, &server->lock);
        }
        fd = server->fd;
        server->fd = -1;
        qemu_mutex_unlock(&server->lock);
        if (fd < 0) {
            return NULL;
        }
        serve(server, fd);
    }
}

static int connect_to_server(void *opaque)
{
    Server *server = opaque;
    int fds[2];

    qatomic_inc(&server->attempts);
    if (qatomic_read(&server->refused)) {
        qatomic_dec(&server->refused);
        return -ECONNREFUSED;
    }
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    qemu_mutex_lock(&server->lock);
    g_assert_cmpint(server->fd, ==, -1);
    server->fd = fds[1];
    qemu_cond_signal(&server->changed);
    qemu_mutex_unlock(&server->lock);
    return fds[0];
}

/* ------------------------------------------------------------------------------------------- up and down */

static void up(Test *test, unsigned max_requests, uint64_t reconnect_delay_ns, unsigned refused)
{
    NBDClientOptions options = {
        .bytes = SECTORS * BDRV_SECTOR_SIZE,
        .max_requests = max_requests,
        .reconnect_delay_ns = reconnect_delay_ns,
        .retry_ns = 1000000,
        .connect = connect_to_server,
        .opaque = &test->server,
    };

    core_up(1);
    test->server.fd = -1;
    test->server.refused = refused;
    test->server.held_max = max_requests;
    qemu_mutex_init(&test->server.lock);
    qemu_cond_init(&test->server.changed);
    qemu_thread_create(&test->server.thread, "server", server_thread, &test->server, QEMU_THREAD_JOINABLE);
    test->blk = blk_new(thread_ctx(0));
    test->bs = bdrv_new_nbd("disk", thread_ctx(0), &options);
    blk_insert_bs(test->blk, test->bs);
}

static void down(Test *test)
{
    Server *server = &test->server;

    blk_remove_bs(test->blk);
    bdrv_unref(test->bs);
    blk_unref(test->blk);
    qemu_mutex_lock(&server->lock);
    server->closing = true;
    qemu_cond_signal(&server->changed);
    qemu_mutex_unlock(&server->lock);
    qemu_thread_join(&server->thread);
    qemu_cond_destroy(&server->changed);
    qemu_mutex_destroy(&server->lock);
    core_down();
}

static void coroutine_fn write_and_read(void *opaque)
{
    Request *request = opaque;
    int64_t offset = (int64_t)request->number * BDRV_SECTOR_SIZE;
    uint8_t out[BDRV_SECTOR_SIZE], in[BDRV_SECTOR_SIZE];

    memset(out, (int)request->number + 1, sizeof(out));
    request->ret = blk_co_pwrite(request->test->blk, offset, sizeof(out), out, 0);
    if (request->ret == 0) {
        request->ret = blk_co_pread(request->test->blk, offset, sizeof(in), in, 0);
        g_assert_true(request->ret < 0 || memcmp(in, out, sizeof(in)) == 0);
    }
}

static void start(Test *test, Request *requests, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        requests[i] = (Request){ .test = test, .number = i, .ret = 1 };
        test_co_start(thread_ctx(0), write_and_read, &requests[i]);
    }
}

static void check(const Request *requests, unsigned count, int ret)
{
    for (unsigned i = 0; i < count; i++) {
        g_assert_cmpint(requests[i].ret, ==, ret);
    }
}

/* ------------------------------------------------------------------------------------------- tests */

static void test_no_more_in_flight_than_allowed(void)
{
    Test test = { 0 };
    Request requests[SECTORS];

    up(&test, 3, 0, 0);
    start(&test, requests, SECTORS);
    test_co_wait_all();
    check(requests, SECTORS, 0);
    down(&test);
    g_assert_cmpint(test.server.most, <=, 3);
}

static void test_requests_are_sent_again(void)
{
    Test test = { .server.lost_after = 2 };
    Request requests[SECTORS];

    up(&test, 4, HOUR_NS, 0);
    start(&test, requests, SECTORS);
    test_co_wait_all();
    check(requests, SECTORS, 0);
    g_assert_cmpint(qatomic_read(&test.server.attempts), ==, 2);
    down(&test);
}

/* Those that wait for room fail too, and are not left behind. */
static void test_requests_fail_without_delay(void)
{
    Test test = { .server.lost_after = 1 };
    Request requests[SECTORS];

    up(&test, 1, 0, 0);
    qatomic_set(&test.server.refused, 1000000);
    start(&test, requests, SECTORS);
    test_co_wait_all();
    check(requests, SECTORS, -EIO);
    down(&test);
}

/* The connection is lost when the disk is there: the drained section in which it came lets nobody wait. */
static void test_delay_ends(void)
{
    Test test = { .server.lost_after = 1 };
    Request requests[2];
    gint64 begin_us;

    up(&test, 4, 20000000, 0);
    qatomic_set(&test.server.refused, 1000000);
    begin_us = g_get_monotonic_time();
    start(&test, requests, 2);
    test_co_wait_all();
    check(requests, 2, -EIO);
    g_assert_cmpint(g_get_monotonic_time() - begin_us, >=, 20000);
    while (qatomic_read(&test.server.attempts) < 2) {
        g_usleep(100);
    }
    down(&test);
}

static void test_section_lets_waiters_go(void)
{
    Test test = { 0 };
    Request requests[2];

    up(&test, 4, HOUR_NS, 1000000);
    start(&test, requests, 2);
    flush_threads(); /* they wait for the connection */
    bdrv_drained_begin(test.bs);
    bdrv_drained_end(test.bs);
    test_co_wait_all();
    check(requests, 2, -EIO);
    down(&test);
}

static void test_section_connects_to_nobody(void)
{
    Test test = { 0 };
    Request request;
    unsigned attempts;

    up(&test, 4, 0, 1000000);
    bdrv_drained_begin(test.bs);
    attempts = qatomic_read(&test.server.attempts);
    g_usleep(20000); /* a mistake shows then, at the latest at the next attempt */
    g_assert_cmpint(qatomic_read(&test.server.attempts), ==, attempts);
    qatomic_set(&test.server.refused, 0);
    bdrv_drained_end(test.bs);
    while (qatomic_read(&test.server.attempts) == attempts) {
        g_usleep(100);
    }
    flush_threads();
    start(&test, &request, 1);
    test_co_wait_all();
    check(&request, 1, 0);
    down(&test);
}

static void test_closed_while_lost(void)
{
    Test test = { 0 };

    up(&test, 4, HOUR_NS, 1000000);
    down(&test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nbd/no-more-in-flight-than-allowed", test_no_more_in_flight_than_allowed);
    g_test_add_func("/nbd/lost/requests-are-sent-again", test_requests_are_sent_again);
    g_test_add_func("/nbd/lost/requests-fail-without-delay", test_requests_fail_without_delay);
    g_test_add_func("/nbd/lost/delay-ends", test_delay_ends);
    g_test_add_func("/nbd/drain/lets-waiters-go", test_section_lets_waiters_go);
    g_test_add_func("/nbd/drain/connects-to-nobody", test_section_connects_to_nobody);
    g_test_add_func("/nbd/closed-while-lost", test_closed_while_lost);
    return g_test_run();
}
