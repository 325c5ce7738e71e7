/* The checked forms that _FORTIFY_SOURCE puts in the place of read, recv, poll and ppoll are simulated too. */
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 2
#include "os_test.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* The length must not be known to the compiler, or it calls the plain form. */
static size_t unknown(size_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

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
    SYS(poll(requests, unknown(1), -1));
    SYS(read(fds[0], buffer, unknown(8)));
    SYS(ppoll(requests, unknown(2), &forever, NULL));
    say("revents %x", requests[1].revents);
    SYS(recv(pair[0], buffer, unknown(16), 0));
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
