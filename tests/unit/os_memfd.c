/* Files of memfd_create() and their mappings behave as the kernel's, under every plan. */
#include "os_test.h"

#include <fcntl.h>
#include <glib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os/os.h"

#define BYTES 8192u

static int file;

static char *map(int protection, int flags, off_t offset)
{
    char *memory = mmap(NULL, 4096, protection, flags, file, offset);

    say("map %d", memory != MAP_FAILED);
    return memory;
}

static void status(void)
{
    struct statfs system;
    struct stat status;

    file = memfd_create("guest", MFD_CLOEXEC);
    SYS(fcntl(file, F_GETFD));
    SYS(fcntl(file, F_GETFL));
    SYS(ftruncate(file, BYTES));
    SYS(fstat(file, &status));
    say("regular %d, %d bytes, %d links, mode %o", S_ISREG(status.st_mode), (int)status.st_size, (int)status.st_nlink,
        status.st_mode & 0777);
    SYS(fstatfs(file, &system));
    say("type %lx, blocks of %ld", (long)system.f_type, (long)system.f_bsize);
    SYS(close(file));
    file = memfd_create("other", 0);
    SYS(fcntl(file, F_GETFD));
    SYS(close(file));
}

static void two_mappings(void)
{
    char buffer[8] = "", *one, *two;

    file = memfd_create("guest", 0);
    SYS(ftruncate(file, BYTES));
    one = map(PROT_READ | PROT_WRITE, MAP_SHARED, 4096);
    two = map(PROT_READ, MAP_SHARED, 4096);
    say("apart %d", one != two);
    memcpy(one, "first", 6);
    say("read %s", two);
    SYS(pread(file, buffer, 6, 4096));
    say("read %s", buffer);
    SYS(pwrite(file, "second", 7, 4096));
    say("read %s and %s", one, two);
    SYS(close(file)); /* the mappings keep it */
    memcpy(one, "third", 6);
    say("read %s", two);
    SYS(munmap(one, 4096));
    say("read %s", two);
    SYS(munmap(two, 4096));
}

static void private_mapping(void)
{
    char *one, *two;

    file = memfd_create("guest", 0);
    SYS(ftruncate(file, BYTES));
    one = map(PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    two = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    memcpy(two, "mine", 5);
    say("%d", one[0]);
    SYS(munmap(one, 4096));
    SYS(munmap(two, 4096));
    SYS(close(file));
}

static void sizes(void)
{
    char buffer[8], *one;
    struct stat status;

    file = memfd_create("guest", 0);
    SYS(write(file, "abcdefgh", 8)); /* grows */
    one = map(PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    say("read %.8s, then %d", one, one[8]);
    SYS(ftruncate(file, 4));
    SYS(ftruncate(file, 8));
    SYS(pread(file, buffer, 8, 0));
    say("read %.4s, then %d", buffer, buffer[4]);
    SYS(lseek(file, 0, SEEK_END));
    SYS(write(file, "ij", 2));
    SYS(fstat(file, &status));
    say("%d bytes", (int)status.st_size);
    SYS(munmap(one, 4096));
    SYS(close(file));
}

static void refused(void)
{
    int pipes[2];
    char *memory;

    file = memfd_create("guest", 0);
    SYS(ftruncate(file, BYTES));
    SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 100) == MAP_FAILED ? -1 : 0);
    SYS(mmap(NULL, 0, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
    SYS(mmap(NULL, 4096, PROT_READ, 0, file, 0) == MAP_FAILED ? -1 : 0);
    SYS(close(file));
    SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
    SYS(pipe(pipes));
    SYS(close(pipes[0]));
    SYS(close(pipes[1]));
    memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory[0] = 1;
    SYS(munmap(memory, 4096));
}

static char *shared;

static void *write_there(void *unused)
{
    char *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

    memcpy(own, "from a thread", 14);
    munmap(own, 4096);
    return unused;
}

static void threads(void)
{
    pthread_t thread;

    file = memfd_create("guest", 0);
    SYS(ftruncate(file, BYTES));
    shared = map(PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    thread = start(write_there, NULL);
    finish(thread);
    say("read %s", shared);
    SYS(munmap(shared, 4096));
    SYS(close(file));
}

/* ---- of the simulated OS alone */

static void map_a_pipe(void *unused)
{
    int pipes[2];

    g_assert_cmpint(pipe(pipes), ==, 0);
    mmap(NULL, 4096, PROT_READ, MAP_SHARED, pipes[0], 0);
    g_assert_null(unused);
}

static void unmap_a_part(void *unused)
{
    int fd = memfd_create("guest", 0);

    g_assert_cmpint(ftruncate(fd, BYTES), ==, 0);
    munmap(mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0), 4096);
    g_assert_null(unused);
}

static void huge_pages(void *unused)
{
    memfd_create("guest", MFD_HUGETLB);
    g_assert_null(unused);
}

static int own;

static void *map_own(void *unused)
{
    munmap(mmap(NULL, 4096, PROT_READ, MAP_SHARED, own, 0), 4096);
    close(own);
    return unused;
}

/* Nothing but time orders the two threads, and they share nothing but the file: in tsan no race, though the second to close closes what is behind it. */
static void closed_by_two(void)
{
    pthread_t thread;

    file = memfd_create("guest", 0);
    SYS(ftruncate(file, BYTES));
    own = fcntl(file, F_DUPFD, 0);
    pthread_create(&thread, NULL, map_own, NULL);
    usleep(1000);
    SYS(close(file));
    pthread_join(thread, NULL);
}

static void pipe_system(void *unused)
{
    struct statfs system;
    int pipes[2];

    g_assert_cmpint(pipe(pipes), ==, 0);
    fstatfs(pipes[0], &system);
    g_assert_null(unused);
}

static void leave_mapped(void *unused)
{
    file = memfd_create("guest", 0);
    g_assert_cmpint(ftruncate(file, BYTES), ==, 0);
    memcpy(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), "left", 5);
    close(file);
    g_assert_null(unused);
}

static void find_nothing(void *unused)
{
    char *memory;

    file = memfd_create("guest", 0);
    g_assert_cmpint(ftruncate(file, BYTES), ==, 0);
    memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    g_assert_cmpint(memory[0], ==, 0);
    munmap(memory, BYTES);
    close(file);
    g_assert_cmpint((int)syscall(SYS_userfaultfd, 0), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_null(unused);
}

/* More often than there is room for at once. */
static void test_left_mapped(void)
{
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpint(os_test_simulate(leave_mapped, NULL)->outcome, ==, SCHED_DONE);
        g_assert_cmpuint(os_mappings_left(), ==, 1);
        g_assert_cmpint(os_test_simulate(find_nothing, NULL)->outcome, ==, SCHED_DONE);
        g_assert_cmpuint(os_mappings_left(), ==, 0);
        g_assert_cmpuint(os_fds_left(), ==, 0);
    }
}

static const OsProgram programs[] = {
    { "/os/memfd/status", status },
    { "/os/memfd/two-mappings", two_mappings },
    { "/os/memfd/private-mapping", private_mapping },
    { "/os/memfd/sizes", sizes },
    { "/os/memfd/refused", refused },
    { "/os/memfd/threads", threads },
    { "/os/memfd/closed-by-two", closed_by_two },
};

int main(int argc, char **argv)
{
    os_test_init(&argc, &argv);
    g_test_add_data_func("/os/memfd/unmodelled/pipe", (const void *)(size_t)map_a_pipe, os_test_unmodelled);
    g_test_add_data_func("/os/memfd/unmodelled/part", (const void *)(size_t)unmap_a_part, os_test_unmodelled);
    g_test_add_data_func("/os/memfd/unmodelled/huge", (const void *)(size_t)huge_pages, os_test_unmodelled);
    g_test_add_data_func("/os/memfd/unmodelled/system", (const void *)(size_t)pipe_system, os_test_unmodelled);
    g_test_add_func("/os/memfd/left-mapped", test_left_mapped);
    return os_test_run_programs(programs, sizeof(programs) / sizeof(programs[0]));
}
