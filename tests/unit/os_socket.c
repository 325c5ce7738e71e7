/* Sockets with names, and descriptors in messages, behave as the kernel's, under every plan. */
#include "os_test.h"

#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "os/os.h"
#include "os_folder.h"

static int listener, fds[2];

static void look(int fd)
{
    struct pollfd request = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };

    poll(&request, 1, 0);
    say("revents %x", request.revents);
}

/* ---- names */

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    strcpy(address.sun_path, path);
    return address;
}

static int bind_to(int fd, const char *path)
{
    struct sockaddr_un address = address_of(path);

    return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

static int connect_to(int fd, const char *path)
{
    struct sockaddr_un address = address_of(path);

    return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static void say_name(int (*function)(int, struct sockaddr *restrict, socklen_t *restrict), int fd)
{
    struct sockaddr_un address = address_of("none");
    socklen_t length = sizeof(address);
    int result;

    errno = 0;
    result = function(fd, (struct sockaddr *)&address, &length);
    say_call("name", result, false);
    if (result == 0) {
        say("%u bytes, %u, %s", length, address.sun_family == AF_UNIX,
            length > offsetof(struct sockaddr_un, sun_path) ? address.sun_path : "");
    }
}

static int new_listener(const char *path, int backlog)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    SYS(bind_to(fd, path));
    SYS(listen(fd, backlog));
    return fd;
}

static void names(void)
{
    struct stat status;
    socklen_t length = sizeof(int);
    int first, second, value;

    first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    second = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SYS(fcntl(first, F_GETFD));
    SYS(fcntl(second, F_GETFL));
    SYS(listen(first, 1));
    say_name(getsockname, first);
    say_name(getpeername, first);
    SYS(bind_to(first, "nowhere/name"));
    SYS(bind_to(first, "name"));
    SYS(bind_to(first, "other"));
    SYS(bind_to(second, "name"));
    SYS(bind_to(second, "./name"));
    say_name(getsockname, first);
    SYS(stat("name", &status));
    say("socket %d", S_ISSOCK(status.st_mode));
    SYS(open("name", O_RDWR));
    SYS(connect_to(second, "name"));
    SYS(listen(first, 1));
    SYS(getsockopt(first, SOL_SOCKET, SO_ACCEPTCONN, &value, &length));
    say("listens %d", value);
    SYS(connect_to(first, "name"));
    SYS(connect_to(second, "missing"));
    SYS(unlink("name"));
    SYS(connect_to(second, "name"));
    SYS(unlink("name"));
    SYS(close(first));
    first = socket(AF_UNIX, SOCK_STREAM, 0);
    SYS(bind_to(first, "name"));
    SYS(close(first));
    SYS(connect_to(second, "name"));
    SYS(bind_to(second, "name"));
    SYS(unlink("name"));
    SYS(bind_to(second, "name"));
    SYS(close(second));
    SYS(unlink("name"));
}

static void no_connection(void)
{
    struct msghdr message = { 0 };
    char buffer[4];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), file = open("/dev/null", O_RDWR);

    signal(SIGPIPE, SIG_IGN);
    look(fd);
    SYS(read(fd, buffer, 1));
    SYS(write(fd, "a", 1));
    SYS(accept(fd, NULL, NULL));
    SYS(accept(-1, NULL, NULL));
    SYS(accept(file, NULL, NULL));
    SYS(sendmsg(file, &message, 0));
    SYS(recvmsg(-1, &message, 0));
    SYS(connect_to(file, "name"));
    SYS(close(file));
    SYS(pipe(fds));
    SYS(listen(fds[0], 1));
    SYS(bind_to(fds[0], "name"));
    SYS(accept(fds[0], NULL, NULL));
    SYS(connect_to(fds[0], "name"));
    SYS(close(fds[0]));
    SYS(close(fds[1]));
    SYS(close(fd));
}

static void connections(void)
{
    char buffer[8] = "";
    struct sockaddr_un address = address_of("none");
    socklen_t length = sizeof(address);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), end;

    listener = new_listener("name", 1);
    look(listener);
    SYS(read(listener, buffer, 1));
    SYS(write(listener, "a", 1));
    SYS(connect_to(fd, "name"));
    look(listener);
    look(fd);
    SYS(write(fd, "early", 5));
    SYS(connect_to(fd, "name"));
    end = accept4(listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    say("accepted %d, %u bytes, %u", end >= 0, length, address.sun_family == AF_UNIX);
    SYS(fcntl(end, F_GETFL));
    SYS(fcntl(end, F_GETFD));
    look(listener);
    look(end);
    SYS(read(end, buffer, sizeof(buffer)));
    say("read %s", buffer);
    SYS(read(end, buffer, sizeof(buffer)));
    say_name(getsockname, end);
    say_name(getpeername, end);
    say_name(getsockname, fd);
    say_name(getpeername, fd);
    say_name(getpeername, listener);
    SYS(listen(fd, 1));
    SYS(bind_to(fd, "late"));
    say_name(getpeername, end);
    SYS(unlink("late"));
    SYS(close(listener));
    SYS(write(end, "later", 5));
    SYS(read(fd, buffer, sizeof(buffer)));
    SYS(close(end));
    look(fd);
    say_name(getpeername, fd);
    SYS(close(fd));
    SYS(unlink("name"));
}

static void client_with_a_name(void)
{
    struct sockaddr_un address = address_of("none");
    socklen_t length = sizeof(address);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), end;

    listener = new_listener("name", 1);
    SYS(bind_to(fd, "client"));
    SYS(connect_to(fd, "name"));
    end = accept(listener, (struct sockaddr *)&address, &length);
    say("%u bytes, %s", length, address.sun_path);
    say_name(getpeername, end);
    say_name(getsockname, fd);
    SYS(fcntl(end, F_GETFL));
    SYS(close(fd));
    SYS(close(end));
    SYS(close(listener));
    SYS(unlink("name"));
    SYS(unlink("client"));
}

static void backlog(void)
{
    int ends[3];

    listener = new_listener("name", 1);
    SYS(fcntl(listener, F_SETFL, O_NONBLOCK));
    for (int i = 0; i < 3; i++) {
        ends[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        SYS(connect_to(ends[i], "name"));
    }
    SYS(close(accept(listener, NULL, NULL)));
    SYS(connect_to(ends[2], "name"));
    SYS(listen(listener, 0));
    SYS(close(accept(listener, NULL, NULL)));
    SYS(close(accept(listener, NULL, NULL)));
    SYS(accept(listener, NULL, NULL));
    for (int i = 0; i < 3; i++) {
        SYS(close(ends[i]));
    }
    SYS(close(listener));
    SYS(unlink("name"));
}

static void *connect_and_speak(void *unused)
{
    for (int i = 0; i < 4; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        if (connect_to(fd, "name") || write(fd, "x", 1) != 1) {
            abort();
        }
        close(fd);
    }
    return unused;
}

/* Each side waits for the other: accept() for a connection, connect() for room. */
static void blocking(void)
{
    pthread_t threads[2];
    char byte;
    int total = 0;

    listener = new_listener("name", 0);
    threads[0] = start(connect_and_speak, NULL);
    threads[1] = start(connect_and_speak, NULL);
    for (int i = 0; i < 8; i++) {
        int end = accept(listener, NULL, NULL);

        total += read(end, &byte, 1) == 1 && read(end, &byte, 1) == 0;
        close(end);
    }
    finish(threads[0]);
    finish(threads[1]);
    say("served %d", total);
    SYS(close(listener));
    SYS(unlink("name"));
}

static void *close_listener(void *unused)
{
    close(listener);
    return unused;
}

static void listener_goes_away(void)
{
    int ends[2] = { socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_UNIX, SOCK_STREAM, 0) };
    pthread_t thread;
    char byte;

    signal(SIGPIPE, SIG_IGN);
    listener = new_listener("name", 0);
    SYS(connect_to(ends[0], "name"));
    thread = start(close_listener, NULL);
    SYS(connect_to(ends[1], "name")); /* no room: sleeps until the listener is closed, or comes after */
    finish(thread);
    look(ends[0]);
    SYS(read(ends[0], &byte, 1));
    SYS(read(ends[0], &byte, 1));
    SYS(write(ends[0], "a", 1));
    SYS(close(ends[0]));
    SYS(close(ends[1]));
    SYS(unlink("name"));
}

static void *accept_one(void *result)
{
    *(int *)result = accept(listener, NULL, NULL) < 0 ? errno : 0;
    return NULL;
}

static void listener_is_shut(void)
{
    pthread_t thread;
    int error = -1;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    listener = new_listener("name", 0);
    thread = start(accept_one, &error);
    SYS(shutdown(listener, SHUT_RD));
    finish(thread);
    say("accept %s", strerrorname_np(error));
    SYS(connect_to(fd, "name"));
    SYS(close(fd));
    SYS(close(listener));
    SYS(unlink("name"));
}

/* ---- descriptors in messages */

static ssize_t send_with(int fd, const char *text, const int *sent, unsigned count)
{
    union {
        char bytes[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr part;
    } control = { { 0 } };
    struct iovec vector = { (char *)(size_t)text, strlen(text) };
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof(int))
    };

    control.part.cmsg_level = SOL_SOCKET;
    control.part.cmsg_type = SCM_RIGHTS;
    control.part.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control.part), sent, count * sizeof(int));
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* Say what comes: bytes and how many descriptors; these go to `got`, which has room for 4. */
static void receive(int fd, size_t bytes, unsigned room, int flags, int *got)
{
    union {
        char bytes[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr part;
    } control = { { 0 } };
    char text[32] = "";
    struct iovec vector = { text, bytes };
    struct msghdr message = { .msg_iov = &vector,
                              .msg_iovlen = 1,
                              .msg_control = room ? &control : NULL,
                              .msg_controllen = room ? CMSG_LEN(room * sizeof(int)) : 0 };
    ssize_t result = recvmsg(fd, &message, flags);
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    unsigned count = part ? (unsigned)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;

    say("%zd bytes, %s, %u descriptors, flags %x, control %zu", result, text, count, message.msg_flags,
        (size_t)message.msg_controllen);
    if (part) {
        say("level %d, type %d", part->cmsg_level == SOL_SOCKET, part->cmsg_type == SCM_RIGHTS);
        memcpy(got, CMSG_DATA(part), count * sizeof(int));
    }
}

static void rights(void)
{
    eventfd_t value = 0;
    int event = eventfd(3, EFD_NONBLOCK), got[4];

    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    SYS(send_with(fds[0], "one", &event, 1));
    SYS(eventfd_write(event, 4));
    SYS(close(event));
    receive(fds[1], 32, 4, MSG_CMSG_CLOEXEC, got);
    SYS(fcntl(got[0], F_GETFD));
    SYS(fcntl(got[0], F_GETFL));
    SYS(eventfd_read(got[0], &value));
    say("value %d", (int)value);
    SYS(close(got[0]));
    event = -1;
    SYS(send_with(fds[0], "none", &event, 1));
    SYS(ioctl(fds[1], FIONREAD, &event));
    say("unread %d", event);
    SYS(send_with(fds[0], "", fds, 1));
    SYS(close(fds[0]));
    receive(fds[1], 32, 4, 0, got);
    SYS(close(fds[1]));
}

/* They come with the first of the bytes that they were sent with, and the last of these is the last one that comes. */
static void rights_between_bytes(void)
{
    int event = eventfd(0, 0), got[4], pair[2] = { event, event };

    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    SYS(write(fds[0], "abc", 3));
    SYS(send_with(fds[0], "def", &event, 1));
    SYS(write(fds[0], "ghi", 3));
    SYS(send_with(fds[0], "jkl", pair, 2));
    receive(fds[1], 2, 4, 0, got);
    receive(fds[1], 2, 4, 0, got);
    SYS(close(got[0]));
    receive(fds[1], 3, 4, 0, got);
    receive(fds[1], 32, 4, 0, got);
    SYS(close(got[0]));
    SYS(close(got[1]));
    SYS(send_with(fds[0], "abc", &event, 1));
    SYS(send_with(fds[0], "def", &event, 1));
    receive(fds[1], 32, 4, 0, got);
    SYS(close(got[0]));
    receive(fds[1], 32, 4, 0, got);
    SYS(close(got[0]));
    SYS(close(event));
    SYS(close(fds[0]));
    SYS(close(fds[1]));
}

static void rights_without_room(void)
{
    char buffer[8];
    int pipes[2], sent[3], got[4];

    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    SYS(pipe2(pipes, O_NONBLOCK));
    sent[0] = sent[1] = sent[2] = pipes[1];
    SYS(send_with(fds[0], "a", sent, 3));
    SYS(send_with(fds[0], "b", sent, 3));
    SYS(send_with(fds[0], "c", sent, 3));
    SYS(close(pipes[1]));
    SYS(read(pipes[0], buffer, 1)); /* its writer is on its way */
    receive(fds[1], 32, 1, 0, got);
    SYS(close(got[0]));
    receive(fds[1], 32, 0, 0, got);
    SYS(read(fds[1], buffer, sizeof(buffer)));
    SYS(read(pipes[0], buffer, 1)); /* and nobody is any more */
    SYS(close(pipes[0]));
    SYS(close(fds[0]));
    SYS(close(fds[1]));
}

/* What nobody has received is closed with the socket; a socket may carry another one. */
static void rights_that_nobody_takes(void)
{
    char byte;
    int pipes[2], others[2], got[4];

    SYS(pipe2(pipes, O_NONBLOCK));
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, others));
    SYS(send_with(others[0], "inner", &pipes[1], 1));
    SYS(send_with(fds[0], "outer", &others[1], 1));
    SYS(close(pipes[1]));
    SYS(close(others[0]));
    SYS(close(others[1]));
    SYS(read(pipes[0], &byte, 1));
    receive(fds[1], 32, 4, 0, got);
    SYS(send_with(fds[0], "again", &got[0], 1));
    SYS(close(got[0]));
    SYS(read(pipes[0], &byte, 1));
    SYS(close(fds[1]));
    SYS(read(pipes[0], &byte, 1));
    SYS(close(fds[0]));
    SYS(close(pipes[0]));
}

static void *echo_descriptor(void *unused)
{
    int got[1];
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr part;
    } control = { { 0 } };
    char byte;
    struct iovec vector = { &byte, 1 };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

    if (recvmsg(fds[1], &message, 0) == 1) { /* may have to wait for it */
        memcpy(got, CMSG_DATA(&control.part), sizeof(got));
        eventfd_write(got[0], 5);
        close(got[0]);
    }
    return unused;
}

static void rights_to_a_sleeper(void)
{
    int event = eventfd(0, 0);
    eventfd_t value = 0;
    pthread_t thread;

    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    thread = start(echo_descriptor, NULL);
    SYS(send_with(fds[0], "a", &event, 1));
    SYS(eventfd_read(event, &value));
    say("value %d", (int)value);
    finish(thread);
    SYS(close(event));
    SYS(close(fds[0]));
    SYS(close(fds[1]));
}

/* ---- of the simulated OS alone */

static void abstract_name(void *unused)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "\0name" };

    bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof(address));
    g_assert_null(unused);
}

static void name_of_the_machine(void *unused)
{
    connect_to(socket(AF_UNIX, SOCK_STREAM, 0), "/dev/null");
    g_assert_null(unused);
}

static void real_socket(void *unused)
{
    accept(socket(AF_INET, SOCK_STREAM, 0), NULL, NULL);
    g_assert_null(unused);
}

static void other_control_data(void *unused)
{
    struct cmsghdr part = { .cmsg_len = CMSG_LEN(0), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS };
    struct msghdr message = { .msg_control = &part, .msg_controllen = sizeof(part) };

    socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
    sendmsg(fds[0], &message, 0);
    g_assert_null(unused);
}

static void *open_apart(void *unused)
{
    int got[4];

    os_fds_apart();
    fds[0] = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(connect_to(fds[0], "name"), ==, 0);
    receive(fds[0], 1, 1, 0, got);
    g_assert_cmpint(fds[0], ==, 512 + 256);
    g_assert_cmpint(got[0], ==, 512 + 257);
    close(got[0]);
    close(fds[0]);
    return unused;
}

/* As from another process: neither what it opens nor what it is sent takes a number of the others. */
static void two_processes(void *unused)
{
    pthread_t thread;
    int end;

    listener = new_listener("name", 0);
    g_assert_cmpint(listener, ==, 512);
    thread = start(open_apart, NULL);
    end = accept(listener, NULL, NULL);
    g_assert_cmpint(end, ==, 513);
    g_assert_cmpint(send_with(end, "a", &listener, 1), ==, 1);
    finish(thread);
    close(end);
    close(listener);
    unlink("name");
    g_assert_null(unused);
}

static void test_two_processes(void)
{
    g_assert_cmpint(os_test_simulate(two_processes, NULL)->outcome, ==, SCHED_DONE);
    g_assert_cmpuint(os_fds_left(), ==, 0);
}

static const OsProgram programs[] = {
    { "/os/socket/names", names },
    { "/os/socket/no-connection", no_connection },
    { "/os/socket/connections", connections },
    { "/os/socket/client-with-a-name", client_with_a_name },
    { "/os/socket/backlog", backlog },
    { "/os/socket/blocking", blocking },
    { "/os/socket/listener-goes-away", listener_goes_away },
    { "/os/socket/listener-is-shut", listener_is_shut },
    { "/os/rights/sent", rights },
    { "/os/rights/between-bytes", rights_between_bytes },
    { "/os/rights/without-room", rights_without_room },
    { "/os/rights/that-nobody-takes", rights_that_nobody_takes },
    { "/os/rights/to-a-sleeper", rights_to_a_sleeper },
};

int main(int argc, char **argv)
{
    int result;

    folder_enter();
    os_test_init(&argc, &argv);
    g_test_add_data_func("/os/socket/unmodelled/abstract", (const void *)(size_t)abstract_name, os_test_unmodelled);
    g_test_add_data_func("/os/socket/unmodelled/machine", (const void *)(size_t)name_of_the_machine, os_test_unmodelled);
    g_test_add_data_func("/os/socket/unmodelled/real", (const void *)(size_t)real_socket, os_test_unmodelled);
    g_test_add_data_func("/os/socket/unmodelled/control", (const void *)(size_t)other_control_data, os_test_unmodelled);
    g_test_add_func("/os/socket/two-processes", test_two_processes);
    result = os_test_run_programs(programs, sizeof(programs) / sizeof(programs[0]));
    folder_leave();
    return result;
}
