/* poll, select and epoll behave as the kernel's, under every plan. */
#include "os_test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int event, fds[2];

static void *signal_event(void *unused)
{
    eventfd_write(event, 1);
    return unused;
}

static void poll_states(void)
{
    struct timespec span = { 0, 5000000 }, bad = { 0, -1 };
    struct pollfd requests[4];

    event = eventfd(0, 0);
    pipe(fds);
    requests[0] = (struct pollfd){ .fd = event, .events = POLLIN };
    requests[1] = (struct pollfd){ .fd = -1, .events = POLLIN, .revents = 99 };
    requests[2] = (struct pollfd){ .fd = fds[0], .events = 0 };
    requests[3] = (struct pollfd){ .fd = fds[1], .events = POLLIN };
    SYS(poll(requests, 4, 0));
    SYS(poll(requests, 4, 5));
    SYS(poll(NULL, 0, 5));
    SYS(ppoll(requests, 4, &span, NULL));
    SYS(ppoll(requests, 4, &bad, NULL));
    say("ignored %d", requests[1].revents);
    requests[3].events = POLLOUT;
    SYS(poll(requests, 4, -1));
    say("revents %x %x %x", requests[0].revents, requests[2].revents, requests[3].revents);
    eventfd_write(event, 1);
    close(fds[1]);
    SYS(ppoll(requests, 4, NULL, NULL));
    say("revents %x %x %x", requests[0].revents, requests[2].revents, requests[3].revents);
    close(fds[0]);
    close(event);
    SYS(poll(requests, 4, -1));
    say("revents %x %x %x", requests[0].revents, requests[2].revents, requests[3].revents);
}

static void poll_wakes(void)
{
    struct pollfd requests[2];
    pthread_t thread;
    eventfd_t value;

    for (int i = 0; i < 5; i++) {
        event = eventfd(0, EFD_NONBLOCK);
        pipe(fds);
        requests[0] = (struct pollfd){ .fd = fds[0], .events = POLLIN };
        requests[1] = (struct pollfd){ .fd = event, .events = POLLIN };
        thread = start(signal_event, NULL);
        SYS(poll(requests, 2, i % 2 ? -1 : 60000));
        say("revents %x %x", requests[0].revents, requests[1].revents);
        SYS(eventfd_read(event, &value));
        finish(thread);
        close(event);
        close(fds[0]);
        close(fds[1]);
    }
}

static void *close_writer(void *unused)
{
    close(fds[1]);
    return unused;
}

static void poll_sees_hangup(void)
{
    struct pollfd request;
    pthread_t thread;

    pipe(fds);
    request = (struct pollfd){ .fd = fds[0], .events = 0 };
    thread = start(close_writer, NULL);
    SYS(poll(&request, 1, -1));
    say("revents %x", request.revents);
    finish(thread);
    close(fds[0]);
}

/* ---- select */

static void select_states(void)
{
    fd_set reads, writes, excepts;
    struct timeval timeout = { 0, 5000 };
    struct timespec span = { 0, 5000000 };
    int top;

    event = eventfd(0, 0);
    pipe(fds);
    top = (event > fds[1] ? event : fds[1]) + 1;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_ZERO(&excepts);
    FD_SET(event, &reads);
    FD_SET(fds[0], &reads);
    FD_SET(event, &excepts);
    SYS(select(top, &reads, NULL, &excepts, &timeout));
    say("set %d, left %ld", FD_ISSET(event, &reads), (long)timeout.tv_sec);
    FD_SET(event, &reads);
    SYS(pselect(top, &reads, NULL, NULL, &span, NULL));
    FD_SET(event, &reads);
    FD_SET(fds[0], &reads);
    FD_SET(fds[1], &writes);
    SYS(select(top, &reads, &writes, NULL, NULL));
    say("read %d %d write %d", FD_ISSET(event, &reads), FD_ISSET(fds[0], &reads), FD_ISSET(fds[1], &writes));
    eventfd_write(event, 1);
    FD_SET(event, &reads);
    FD_SET(fds[0], &reads);
    close(fds[1]);
    FD_ZERO(&writes);
    SYS(select(top, &reads, &writes, &excepts, NULL));
    say("read %d %d", FD_ISSET(event, &reads), FD_ISSET(fds[0], &reads));
    close(event);
    close(fds[0]);
    FD_SET(event, &reads);
    SYS(select(top, &reads, NULL, NULL, NULL));
    SYS(select(-1, NULL, NULL, NULL, NULL));
    timeout.tv_sec = -1;
    SYS(select(0, NULL, NULL, NULL, &timeout));
}

static void select_wakes(void)
{
    pthread_t thread;
    fd_set reads;

    event = eventfd(0, 0);
    FD_ZERO(&reads);
    FD_SET(event, &reads);
    thread = start(signal_event, NULL);
    SYS(select(event + 1, &reads, NULL, NULL, NULL));
    finish(thread);
    close(event);
}

/* ---- epoll */

static int poller;

static void control(const char *what, int operation, int fd, uint32_t events, int tag)
{
    struct epoll_event request = { .events = events, .data.u32 = (uint32_t)tag };

    say("%s:", what);
    SYS(epoll_ctl(poller, operation, fd, &request));
}

static void wait_now(int max)
{
    struct epoll_event events[4];
    int count = (int)SYS(epoll_wait(poller, events, max, 0));

    for (int i = 0; i < count; i++) {
        say("  tag %u events %x", events[i].data.u32, events[i].events);
    }
}

static void epoll_control(void)
{
    int copy;

    SYS(epoll_create1(0x12345));
    SYS(epoll_create(0));
    poller = epoll_create1(EPOLL_CLOEXEC);
    event = eventfd(0, 0);
    control("add", EPOLL_CTL_ADD, event, EPOLLIN, 1);
    control("add again", EPOLL_CTL_ADD, event, EPOLLIN, 1);
    control("bad operation", 99, event, EPOLLIN, 1);
    control("closed", EPOLL_CTL_ADD, -1, EPOLLIN, 1);
    control("itself", EPOLL_CTL_ADD, poller, EPOLLIN, 1);
    wait_now(0);
    wait_now(4);
    copy = dup(event);
    control("a copy", EPOLL_CTL_ADD, copy, EPOLLIN | EPOLLOUT, 2);
    wait_now(4);
    control("modify", EPOLL_CTL_MOD, event, EPOLLOUT, 3);
    wait_now(4);
    wait_now(1); /* takes turns */
    wait_now(1);
    control("delete", EPOLL_CTL_DEL, event, 0, 0);
    control("delete again", EPOLL_CTL_DEL, event, 0, 0);
    control("modify deleted", EPOLL_CTL_MOD, event, EPOLLIN, 0);
    close(copy); /* the file is open still, so the watch stays */
    wait_now(4);
    close(event);
    wait_now(4);
    copy = event = eventfd(0, 0);
    SYS(epoll_wait(event, &(struct epoll_event){ 0 }, 1, 0)); /* no epoll */
    close(event);
    close(poller);
}

static void epoll_level(void)
{
    poller = epoll_create1(0);
    event = eventfd(2, EFD_SEMAPHORE);
    control("level", EPOLL_CTL_ADD, event, EPOLLIN, 1);
    wait_now(4);
    wait_now(4);
    eventfd_read(event, &(eventfd_t){ 0 });
    wait_now(4);
    eventfd_read(event, &(eventfd_t){ 0 });
    wait_now(4);
    eventfd_write(event, 1);
    wait_now(4);
    close(event);
    close(poller);
}

static void epoll_edge(void)
{
    poller = epoll_create1(0);
    event = eventfd(1, 0);
    control("edge", EPOLL_CTL_ADD, event, EPOLLIN | EPOLLET, 1);
    wait_now(4);
    wait_now(4);
    eventfd_write(event, 1); /* not empty, but a new event */
    wait_now(4);
    wait_now(4);
    control("modify shows it once more", EPOLL_CTL_MOD, event, EPOLLIN | EPOLLET, 1);
    wait_now(4);
    eventfd_write(event, 1);
    eventfd_read(event, &(eventfd_t){ 0 }); /* gone before anybody looked */
    wait_now(4);
    close(event);
    pipe(fds);
    control("pipe", EPOLL_CTL_ADD, fds[0], EPOLLIN | EPOLLET, 2);
    SYS(write(fds[1], "ab", 2));
    wait_now(4);
    wait_now(4);
    SYS(read(fds[0], (char[1]){ 0 }, 1));
    wait_now(4);
    SYS(write(fds[1], "c", 1));
    wait_now(4);
    close(fds[1]);
    wait_now(4);
    close(fds[0]);
    close(poller);
}

static void epoll_one_shot(void)
{
    poller = epoll_create1(0);
    event = eventfd(1, 0);
    control("one shot", EPOLL_CTL_ADD, event, EPOLLIN | EPOLLONESHOT, 1);
    wait_now(4);
    wait_now(4);
    eventfd_write(event, 1);
    wait_now(4);
    control("again", EPOLL_CTL_MOD, event, EPOLLIN | EPOLLONESHOT, 1);
    wait_now(4);
    wait_now(4);
    close(event);
    close(poller);
}

static void epoll_nested(void)
{
    struct pollfd request;
    int outer = epoll_create1(0), inner = epoll_create1(0);

    event = eventfd(0, 0);
    poller = inner;
    control("inner", EPOLL_CTL_ADD, event, EPOLLIN, 1);
    poller = outer;
    control("outer", EPOLL_CTL_ADD, inner, EPOLLIN, 2);
    poller = inner;
    control("a circle", EPOLL_CTL_ADD, outer, EPOLLIN, 3);
    request = (struct pollfd){ .fd = outer, .events = POLLIN };
    SYS(poll(&request, 1, 0));
    eventfd_write(event, 1);
    SYS(poll(&request, 1, 0));
    poller = outer;
    wait_now(4);
    poller = inner;
    wait_now(4);
    eventfd_read(event, &(eventfd_t){ 0 });
    SYS(poll(&request, 1, 0));
    close(event);
    close(inner);
    close(outer);
}

static void epoll_wakes(void)
{
    struct timespec span = { 0, 5000000 };
    struct epoll_event ready;
    pthread_t thread;

    poller = epoll_create1(0);
    event = eventfd(0, 0);
    control("add", EPOLL_CTL_ADD, event, EPOLLIN, 7);
    SYS(epoll_wait(poller, &ready, 1, 5));
    SYS(epoll_pwait(poller, &ready, 1, 5, NULL));
    SYS(epoll_pwait2(poller, &ready, 1, &span, NULL));
    thread = start(signal_event, NULL);
    SYS(epoll_wait(poller, &ready, 1, -1));
    say("tag %u events %x", ready.data.u32, ready.events);
    finish(thread);
    close(event);
    close(poller);
}

static void epoll_sockets(void)
{
    poller = epoll_create1(0);
    socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
    control("socket", EPOLL_CTL_ADD, fds[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
    wait_now(4);
    SYS(write(fds[1], "x", 1));
    wait_now(4);
    shutdown(fds[1], SHUT_WR);
    wait_now(4);
    close(fds[1]);
    wait_now(4);
    close(fds[0]);
    close(poller);
}

static const OsProgram programs[] = {
    { "/os/poll/states", poll_states },     { "/os/poll/wakes", poll_wakes },     { "/os/poll/sees-hangup", poll_sees_hangup },
    { "/os/select/states", select_states }, { "/os/select/wakes", select_wakes }, { "/os/epoll/control", epoll_control },
    { "/os/epoll/level", epoll_level },     { "/os/epoll/edge", epoll_edge },     { "/os/epoll/one-shot", epoll_one_shot },
    { "/os/epoll/nested", epoll_nested },   { "/os/epoll/wakes", epoll_wakes },   { "/os/epoll/sockets", epoll_sockets },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
