/* Pipes and socket pairs behave as the kernel's, under every plan. */
#include "os_test.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int fds[2];
static char block[70000];

static void look(int fd)
{
    struct pollfd request = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };

    poll(&request, 1, 0);
    say("revents %x", request.revents);
}

static void bytes(void)
{
    char buffer[16] = "";
    int unread;

    SYS(pipe2(fds, 0x12345));
    SYS(pipe2(fds, O_CLOEXEC));
    SYS(fcntl(fds[0], F_GETFD));
    SYS(fcntl(fds[0], F_GETFL));
    SYS(fcntl(fds[1], F_GETFL));
    SYS(fcntl(fds[0], F_GETPIPE_SZ));
    look(fds[0]);
    look(fds[1]);
    SYS(read(fds[1], buffer, 1));
    SYS(write(fds[0], buffer, 1));
    SYS(write(fds[1], "hello world", 11));
    SYS(ioctl(fds[0], FIONREAD, &unread));
    say("unread %d", unread);
    look(fds[0]);
    SYS(read(fds[0], buffer, 5));
    SYS(read(fds[0], buffer + 5, 11));
    say("read %s", buffer);
    SYS(write(fds[1], "", 0));
    SYS(read(fds[0], buffer, 0));
    SYS(lseek(fds[0], 0, SEEK_CUR));
    SYS(close(fds[1]));
    look(fds[0]);
    SYS(read(fds[0], buffer, 1));
    SYS(close(fds[0]));
}

static void no_reader(void)
{
    signal(SIGPIPE, SIG_IGN);
    SYS(pipe(fds));
    SYS(close(fds[0]));
    look(fds[1]);
    SYS(write(fds[1], "x", 1));
    SYS(close(fds[1]));
}

/* pages, not bytes: what fits depends on how it was written */
static void capacity(void)
{
    SYS(pipe2(fds, O_NONBLOCK));
    SYS(read(fds[0], block, 1));
    SYS(write(fds[1], block, sizeof(block)));
    look(fds[1]);
    SYS(write(fds[1], block, 1));
    SYS(read(fds[0], block, 1)); /* frees no page */
    look(fds[1]);
    SYS(write(fds[1], block, 1));
    SYS(read(fds[0], block, PIPE_BUF - 1));
    look(fds[1]);
    SYS(write(fds[1], block, PIPE_BUF));
    SYS(write(fds[1], block, PIPE_BUF));
    SYS(read(fds[0], block, 3 * PIPE_BUF));
    SYS(write(fds[1], block, 2 * PIPE_BUF + 100));
    SYS(write(fds[1], block, PIPE_BUF - 100));
    SYS(write(fds[1], block, PIPE_BUF - 100));
    SYS(read(fds[0], block, sizeof(block)));
    SYS(close(fds[0]));
    SYS(close(fds[1]));
}

static void *read_all(void *total)
{
    char buffer[3000];
    ssize_t bytes;

    while ((bytes = read(fds[0], buffer, sizeof(buffer))) > 0) {
        *(size_t *)total += (size_t)bytes;
    }
    return NULL;
}

static void blocking(void)
{
    size_t total = 0;
    pthread_t thread;

    SYS(pipe(fds));
    thread = start(read_all, &total);
    SYS(write(fds[1], block, sizeof(block)));
    SYS(write(fds[1], block, sizeof(block)));
    SYS(close(fds[1])); /* end of file wakes the reader */
    finish(thread);
    say("total %zu", total);
    SYS(close(fds[0]));
}

static void *close_reader(void *unused)
{
    close(fds[0]);
    return unused;
}

static void reader_goes_away(void)
{
    pthread_t thread;
    ssize_t result;

    signal(SIGPIPE, SIG_IGN);
    SYS(pipe(fds));
    SYS(write(fds[1], block, 65536));
    thread = start(close_reader, NULL);
    result = write(fds[1], block, 10); /* full: sleeps until the reader closes, or comes after */
    say("write %zd %s", result, result < 0 ? strerrorname_np(errno) : "");
    finish(thread);
    SYS(close(fds[1]));
}

/* ---- socket pairs */

static void sockets(void)
{
    char buffer[16] = "";
    struct sockaddr_storage address;
    struct stat status;
    int value;
    socklen_t length = sizeof(value), bytes = sizeof(address);

    SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
    SYS(getsockname(fds[0], (struct sockaddr *)&address, &bytes));
    say("named %u %u", address.ss_family == AF_UNIX, bytes);
    SYS(getpeername(fds[0], (struct sockaddr *)&address, &bytes));
    say("named %u %u", address.ss_family == AF_UNIX, bytes);
    SYS(fcntl(fds[0], F_GETFL));
    look(fds[0]);
    SYS(read(fds[0], buffer, 1));
    SYS(write(fds[0], "to one", 6));
    SYS(send(fds[1], "to zero", 7, MSG_NOSIGNAL));
    look(fds[0]);
    SYS(recv(fds[0], buffer, 3, MSG_PEEK));
    SYS(ioctl(fds[0], FIONREAD, &value));
    say("unread %d", value);
    SYS(recv(fds[0], buffer, sizeof(buffer), 0));
    say("read %.7s", buffer);
    SYS(recv(fds[1], buffer, sizeof(buffer), MSG_DONTWAIT));
    say("read %.6s", buffer);
    SYS(recv(fds[1], buffer, sizeof(buffer), MSG_DONTWAIT));
    SYS(write(fds[0], "", 0));
    SYS(fstat(fds[0], &status));
    say("socket %d", S_ISSOCK(status.st_mode));
    SYS(getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &value, &length));
    say("type %d", value == SOCK_STREAM);
    SYS(lseek(fds[0], 0, SEEK_CUR));
    SYS(close(fds[0]));
    SYS(getpeername(fds[1], (struct sockaddr *)&address, &bytes));
    SYS(close(fds[1]));
}

static void no_socket(void)
{
    char buffer[1];

    SYS(pipe(fds));
    SYS(recv(fds[0], buffer, 1, 0));
    SYS(send(fds[1], buffer, 1, 0));
    SYS(shutdown(fds[0], SHUT_RD));
    SYS(recv(-1, buffer, 1, 0));
    SYS(close(fds[0]));
    SYS(close(fds[1]));
}

static void shutting_down(void)
{
    char buffer[4];

    signal(SIGPIPE, SIG_IGN);
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    SYS(write(fds[0], "ab", 2));
    SYS(shutdown(fds[0], SHUT_WR));
    SYS(shutdown(fds[0], 77));
    look(fds[0]);
    look(fds[1]);
    SYS(write(fds[0], "c", 1));
    SYS(read(fds[1], buffer, 4));
    SYS(read(fds[1], buffer, 4));
    SYS(write(fds[1], "d", 1));
    SYS(shutdown(fds[1], SHUT_WR));
    look(fds[0]);
    look(fds[1]);
    SYS(read(fds[0], buffer, 4));
    SYS(read(fds[0], buffer, 4));
    SYS(close(fds[0]));
    SYS(close(fds[1]));
}

static void other_end_closes(void)
{
    char buffer[4];

    signal(SIGPIPE, SIG_IGN);
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    SYS(write(fds[0], "a", 1));
    SYS(close(fds[0]));
    look(fds[1]);
    SYS(write(fds[1], "b", 1));
    SYS(read(fds[1], buffer, 4));
    SYS(read(fds[1], buffer, 4));
    SYS(close(fds[1]));
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    SYS(write(fds[1], "lost", 4));
    SYS(close(fds[0]));
    look(fds[1]);
    SYS(read(fds[1], buffer, 4));
    SYS(read(fds[1], buffer, 4));
    SYS(close(fds[1]));
}

static void *echo(void *unused)
{
    char buffer[7];
    ssize_t bytes;

    while ((bytes = read(fds[1], buffer, sizeof(buffer))) > 0) {
        if (write(fds[1], buffer, (size_t)bytes) != bytes) {
            break;
        }
    }
    return unused;
}

static void messages(void)
{
    char sent[] = "first second", received[32] = "";
    struct iovec parts[2] = { { sent, 6 }, { sent + 6, 6 } }, whole = { received, sizeof(received) };
    struct msghdr out = { .msg_iov = parts, .msg_iovlen = 2 }, in = { .msg_iov = &whole, .msg_iovlen = 1 };
    size_t total = 0;
    pthread_t thread;

    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    thread = start(echo, NULL);
    SYS(sendmsg(fds[0], &out, 0));
    while (total < 12) {
        ssize_t bytes;

        whole = (struct iovec){ received + total, sizeof(received) - total };
        bytes = recvmsg(fds[0], &in, 0);
        if (bytes <= 0) {
            break;
        }
        total += (size_t)bytes;
    }
    say("echoed %s", received);
    SYS(shutdown(fds[0], SHUT_WR));
    finish(thread);
    SYS(close(fds[0]));
    SYS(close(fds[1]));
}

static void *drain(void *total)
{
    char buffer[5000];
    ssize_t bytes;

    while ((bytes = recv(fds[1], buffer, sizeof(buffer), 0)) > 0) {
        *(size_t *)total += (size_t)bytes;
    }
    return NULL;
}

static void much_data(void)
{
    size_t total = 0;
    pthread_t thread;

    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    thread = start(drain, &total);
    for (int i = 0; i < 5; i++) {
        SYS(send(fds[0], block, sizeof(block), 0));
    }
    SYS(close(fds[0]));
    finish(thread);
    say("total %zu", total);
    SYS(close(fds[1]));
}

static const OsProgram programs[] = {
    { "/os/pipe/bytes", bytes },
    { "/os/pipe/no-reader", no_reader },
    { "/os/pipe/capacity", capacity },
    { "/os/pipe/blocking", blocking },
    { "/os/pipe/reader-goes-away", reader_goes_away },
    { "/os/socket/bytes", sockets },
    { "/os/socket/no-socket", no_socket },
    { "/os/socket/shutting-down", shutting_down },
    { "/os/socket/other-end-closes", other_end_closes },
    { "/os/socket/messages", messages },
    { "/os/socket/much-data", much_data },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
