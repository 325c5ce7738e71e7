/* The checked forms that _FORTIFY_SOURCE puts in the place of read, recv, poll and ppoll are simulated too. They are
 * called by name: whether a compiler puts them in depends on what it knows of the buffers. */
#include "os_test.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

extern ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t size);
extern ssize_t __recv_chk(int fd, void *buffer, size_t bytes, size_t size, int flags);
extern int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size);
extern int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t size);

static void *write_both(void *fds)
{
    for (int i = 0; i < 2; i++) {
        if (write(((int *)fds)[i], "12345678", 8) != 8) {
            abort();
        }
    }
    return NULL;
}

static void checked(void)
{
    struct timespec forever = { 60, 0 };
    struct pollfd requests[2];
    char buffer[16];
    pthread_t thread;
    int pair[2], fds[2];

    fds[0] = eventfd(0, 0);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    fds[1] = pair[1];
    thread = start(write_both, fds);
    requests[0] = (struct pollfd){ .fd = fds[0], .events = POLLIN };
    requests[1] = (struct pollfd){ .fd = pair[0], .events = POLLIN };
    SYS(__poll_chk(requests, 1, -1, sizeof(requests)));
    SYS(__read_chk(fds[0], buffer, 8, sizeof(buffer)));
    SYS(__ppoll_chk(requests, 2, &forever, NULL, sizeof(requests)));
    say("revents %x", requests[1].revents);
    SYS(__recv_chk(pair[0], buffer, 16, sizeof(buffer), 0));
    finish(thread);
    close(fds[0]);
    close(pair[0]);
    close(pair[1]);
}

static const OsProgram programs[] = {
    { "/os/fortify", checked },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
