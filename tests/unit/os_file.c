/* Regular files that an execution creates behave as the machine's, under every plan, and are gone when it ends. */
#include "os_test.h"

#include <glib.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "os/os.h"
#include "os_folder.h"

static char block[8192] __attribute__((aligned(4096)));

static void names(void)
{
    struct stat status;
    int fd;

    SYS(open("name", O_RDWR));
    SYS(open("no-folder/name", O_RDWR | O_CREAT, 0600));
    fd = open("name", O_RDWR | O_CREAT | O_EXCL, 0640);
    say("created %d", fd >= 0);
    SYS(close(fd));
    SYS(open("name", O_RDWR | O_CREAT | O_EXCL, 0640));
    SYS(open("./name", O_RDONLY | O_DIRECTORY));
    SYS(access("name", F_OK));
    SYS(stat("./name", &status));
    say("size %ld links %ld regular %d", (long)status.st_size, (long)status.st_nlink, S_ISREG(status.st_mode));
    fd = open(".//name", O_WRONLY);
    SYS(write(fd, "12345", 5));
    SYS(stat("name", &status));
    say("size %ld", (long)status.st_size);
    SYS(unlink("name"));
    SYS(unlink("name"));
    SYS(stat("name", &status));
    SYS(open("name", O_RDONLY));
    SYS(write(fd, "67", 2));
    SYS(fstat(fd, &status));
    say("size %ld links %ld", (long)status.st_size, (long)status.st_nlink);
    SYS(close(fd));
}

static void same_file_twice(void)
{
    int one = open("twice", O_RDWR | O_CREAT | O_TRUNC, 0600), other = creat("twice", 0600);
    char text[8] = "";

    SYS(write(other, "abc", 3));
    SYS(read(one, text, sizeof(text)));
    say("%s", text);
    SYS(read(other, text, 1));
    SYS(write(other, "def", 3));
    SYS(lseek(one, 1, SEEK_SET));
    SYS(read(one, text, sizeof(text)));
    say("%s", text);
    SYS(close(open("twice", O_WRONLY | O_TRUNC)) < 0);
    SYS(lseek(one, 0, SEEK_END));
    SYS(close(one));
    SYS(close(other));
    SYS(unlink("twice"));
}

static void positions(void)
{
    int fd = open("positions", O_RDWR | O_CREAT, 0600);
    char text[16] = "";

    SYS(write(fd, "0123456789", 10));
    SYS(lseek(fd, 0, SEEK_CUR));
    SYS(lseek(fd, -3, SEEK_END));
    SYS(read(fd, text, sizeof(text)));
    say("%.3s", text);
    SYS(read(fd, text, sizeof(text)));
    SYS(lseek(fd, -1, SEEK_SET));
    SYS(lseek(fd, 0, 99));
    SYS(pread(fd, text, 4, 2));
    say("%.4s", text);
    SYS(pread(fd, text, 4, 8));
    SYS(pread(fd, text, 4, 100));
    SYS(pread(fd, text, 4, -1));
    SYS(pwrite(fd, "xy", 2, 4));
    SYS(lseek(fd, 0, SEEK_CUR));
    SYS(lseek(fd, 20, SEEK_SET));
    SYS(write(fd, "end", 3));
    SYS(pread(fd, text, 3, 9));
    say("%d %d %d", text[0], text[1], text[2]); /* what was skipped is zero */
    SYS(lseek(fd, 1000, SEEK_DATA));
    SYS(lseek(fd, 1000, SEEK_HOLE));
    SYS(lseek(fd, 0, SEEK_HOLE));
    SYS(close(fd));
    SYS(unlink("positions"));
}

static void vectors(void)
{
    int fd = open("vectors", O_RDWR | O_CREAT, 0600);
    char a[4] = "abc", b[4] = "def";
    struct iovec vector[3] = { { a, 3 }, { NULL, 0 }, { b, 3 } };
    volatile int none = -1; /* or the compiler sees it, and refuses */

    SYS(pwritev(fd, vector, 3, 1));
    SYS(writev(fd, vector, 3));
    memset(a, 'x', 3);
    memset(b, 'x', 3);
    SYS(preadv(fd, vector, 3, 0));
    say("%s%s", a, b);
    SYS(preadv(fd, vector, 3, 4));
    say("%s%s", a, b);
    SYS(readv(fd, vector, 3));
    SYS(preadv(fd, vector, none, 0));
    SYS(preadv2(fd, vector, 1, 0, 0));
    SYS(pwritev2(fd, vector, 1, 7, RWF_DSYNC));
    SYS(lseek(fd, 0, SEEK_END));
    SYS(close(fd));
    SYS(unlink("vectors"));
}

static void sizes(void)
{
    int fd = open("sizes", O_RDWR | O_CREAT, 0600), reader = open("sizes", O_RDONLY);
    struct stat status;
    char text[8] = "";

    SYS(write(fd, "abcdef", 6));
    SYS(ftruncate(fd, 3));
    SYS(ftruncate(fd, 5));
    SYS(pread(fd, text, 8, 0));
    say("%s %d %d", text, text[3], text[4]);
    SYS(ftruncate(fd, -1));
    SYS(ftruncate(reader, 1));
    SYS(fsync(fd));
    SYS(fdatasync(reader));
    SYS(fstat(fd, &status));
    say("size %ld", (long)status.st_size);
    SYS(close(reader));
    SYS(close(fd));
    SYS(unlink("sizes"));
}

static void access_modes(void)
{
    int fd = open("modes", O_WRONLY | O_CREAT, 0600), reader = open("modes", O_RDONLY);
    char text[8];

    SYS(read(fd, text, 1));
    SYS(pread(fd, text, 1, 0));
    SYS(write(reader, "a", 1));
    SYS(pwrite(reader, "a", 1, 0));
    say("flags %x", fcntl(reader, F_GETFL));
    SYS(close(reader));
    SYS(write(fd, "abc", 3));
    SYS(fcntl(fd, F_SETFL, O_APPEND));
    say("append %d", (fcntl(fd, F_GETFL) & O_APPEND) != 0);
    SYS(lseek(fd, 0, SEEK_SET));
    SYS(write(fd, "def", 3));
    SYS(pwrite(fd, "ghi", 3, 0));
    SYS(lseek(fd, 0, SEEK_CUR));
    SYS(lseek(fd, 0, SEEK_END));
    SYS(close(fd));
    SYS(unlink("modes"));
}

static void waiting(void)
{
    int fd = open("waiting", O_RDWR | O_CREAT, 0600), epoll = epoll_create1(0);
    struct pollfd request = { .fd = fd, .events = POLLIN | POLLOUT };
    struct epoll_event event = { .events = EPOLLIN };

    SYS(poll(&request, 1, -1));
    say("revents %x", request.revents);
    SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    SYS(close(epoll));
    SYS(close(fd));
    SYS(unlink("waiting"));
}

static void of_others(void)
{
    int ends[2];
    char byte = 0;

    SYS(pipe(ends));
    SYS(pread(ends[0], &byte, 1, 0));
    SYS(lseek(ends[0], 0, SEEK_SET));
    SYS(ftruncate(ends[1], 0));
    SYS(fsync(ends[1]));
    SYS(close(ends[0]));
    SYS(close(ends[1]));
}

static void direct(void)
{
    int fd = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0600);
    struct iovec vector[2] = { { block, 4096 }, { block + 4096, 4096 } };

    say("direct %d", (fcntl(fd, F_GETFL) & O_DIRECT) != 0);
    SYS(pwrite(fd, block, 4096, 0));
    SYS(pwrite(fd, block, 4096, 1));
    SYS(pwrite(fd, block + 1, 4096, 0));
    SYS(pwrite(fd, block, 100, 0));
    SYS(pwritev(fd, vector, 2, 4096));
    SYS(pread(fd, block, 4096, 8192));
    SYS(pread(fd, block, 8192, 8192)); /* up to the end */
    SYS(pread(fd, block, 4096, 12288));
    vector[1].iov_len = 17;
    SYS(preadv(fd, vector, 2, 0));
    SYS(fcntl(fd, F_SETFL, 0));
    SYS(pwrite(fd, block + 1, 100, 1));
    SYS(close(fd));
    SYS(unlink("direct"));
}

static void *append_lines(void *opaque)
{
    int fd = open("shared", O_WRONLY | O_APPEND);

    for (unsigned i = 0; i < 4; i++) {
        if (write(fd, opaque, 4) != 4) {
            abort();
        }
    }
    close(fd);
    return NULL;
}

/* Appends of several threads do not overwrite each other. */
static void appends(void)
{
    int fd = open("shared", O_RDWR | O_CREAT, 0600);
    pthread_t one = start(append_lines, "aaa\n"), other = start(append_lines, "bbb\n");
    char text[64];
    unsigned lines[2] = { 0 };

    finish(one);
    finish(other);
    SYS(pread(fd, text, sizeof(text), 0));
    for (unsigned i = 0; i < 8; i++) {
        lines[text[4 * i] == 'b'] += memcmp(text + 4 * i + 1, text + 4 * i, 2) == 0;
    }
    say("%u %u", lines[0], lines[1]);
    SYS(close(fd));
    SYS(unlink("shared"));
}

/* ---- what only the simulated OS does */

static void leave_a_file(void *unused)
{
    int fd = open("left", O_RDWR | O_CREAT, 0600);

    (void)unused;
    g_assert_cmpint(write(fd, "here", 4), ==, 4);
    g_assert_cmpint(close(fd), ==, 0);
    g_assert_cmpint(open("left", O_RDONLY | O_CREAT | O_EXCL, 0600), ==, -1);
}

static void look_for_it(void *unused)
{
    int fd = open("left", O_RDWR | O_CREAT | O_EXCL, 0600);
    char byte;

    (void)unused;
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, 4), ==, 0);
    g_assert_cmpint(read(fd, &byte, 1), ==, 1);
    g_assert_cmpint(byte, ==, 0); /* nothing of the other execution's bytes */
    close(fd);
}

static void gone_with_the_execution(void)
{
    g_assert_cmpint(os_test_simulate(leave_a_file, NULL)->outcome, ==, SCHED_DONE);
    g_assert_cmpint(access("left", F_OK), ==, -1); /* nor on the machine */
    g_assert_cmpint(os_test_simulate(look_for_it, NULL)->outcome, ==, SCHED_DONE);
}

static void empty_the_machines(void *unused)
{
    int fd = open("machine", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char text[4];

    (void)unused;
    g_assert_cmpint(read(fd, text, 4), ==, 0);
    close(fd);
    fd = open("machine", O_RDONLY);
    g_assert_cmpint(read(fd, text, 4), ==, 0);
    close(fd);
}

/* An execution may empty a file of the machine's, but only for itself. */
static void machine_is_spared(void)
{
    gchar *text = NULL;

    g_assert_true(g_file_set_contents("machine", "safe", 4, NULL));
    g_assert_cmpint(os_test_simulate(empty_the_machines, NULL)->outcome, ==, SCHED_DONE);
    g_assert_true(g_file_get_contents("machine", &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "safe");
    g_free(text);
    unlink("machine");
}

static void grow_too_far(void *unused)
{
    int fd = open("large", O_RDWR | O_CREAT, 0600);

    (void)unused;
    g_assert_cmpint(pwrite(fd, "x", 1, 262143), ==, 1);
    ftruncate(fd, 262145);
}

static void large_is_unmodelled(void)
{
    const SchedResult *result = os_test_simulate(grow_too_far, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_FAILED);
    g_assert_cmpstr(result->reason, ==, "unmodelled");
}

int main(int argc, char **argv)
{
    static const OsProgram programs[] = {
        { "/os/file/names", names },         { "/os/file/same-file-twice", same_file_twice },
        { "/os/file/positions", positions }, { "/os/file/vectors", vectors },
        { "/os/file/sizes", sizes },         { "/os/file/access-modes", access_modes },
        { "/os/file/waiting", waiting },     { "/os/file/of-others", of_others },
        { "/os/file/appends", appends },     { "/os/file/direct", direct }, /* last: left out where the machine cannot */
    };
    size_t count = G_N_ELEMENTS(programs);
    int status;

    folder_enter();
    if (!folder_direct()) {
        printf("# /os/file/direct is left out: the file system of this folder does not do O_DIRECT in blocks\n");
        count--;
    }
    os_test_init(&argc, &argv);
    g_test_add_func("/os/file/gone-with-the-execution", gone_with_the_execution);
    g_test_add_func("/os/file/machine-is-spared", machine_is_spared);
    g_test_add_func("/os/file/large-is-unmodelled", large_is_unmodelled);
    status = os_test_run_programs(programs, count);
    folder_leave();
    return status;
}
