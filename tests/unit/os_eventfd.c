/* eventfd and timerfd behave as the kernel's, under every plan. */
#include "os_test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

static int fd;

static void look(void)
{
    struct pollfd request = { .fd = fd, .events = POLLIN | POLLOUT };

    SYS(poll(&request, 1, 0));
    say("revents %x", request.revents);
}

static void counter(void)
{
    uint64_t value = 7;

    SYS(eventfd(0, 12345));
    fd = eventfd(3, EFD_NONBLOCK);
    look();
    SYS(read(fd, &value, 7));
    SYS(read(fd, &value, sizeof(value)));
    say("read %lu", (unsigned long)value);
    look();
    SYS(read(fd, &value, sizeof(value)));
    value = 5;
    SYS(write(fd, &value, sizeof(value)));
    SYS(write(fd, &value, 4));
    SYS(eventfd_write(fd, 2));
    SYS(eventfd_read(fd, &value));
    say("read %lu", (unsigned long)value);
    SYS(eventfd_read(fd, &value));
    value = UINT64_MAX;
    SYS(write(fd, &value, sizeof(value)));
    value = UINT64_MAX - 1;
    SYS(write(fd, &value, sizeof(value)));
    look();
    value = 1;
    SYS(write(fd, &value, sizeof(value)));
    value = 0;
    SYS(write(fd, &value, sizeof(value)));
    SYS(read(fd, &value, sizeof(value)));
    say("read %lx", (unsigned long)value);
    SYS(lseek(fd, 0, SEEK_SET));
    SYS(pread(fd, &value, sizeof(value), 0));
    SYS(close(fd));
    SYS(close(-1));
    SYS(read(-1, &value, sizeof(value)));
}

static void vectors(void)
{
    uint32_t low = 0, high = 0;
    struct iovec vector[2] = { { &low, sizeof(low) }, { &high, sizeof(high) } };

    fd = eventfd(0, EFD_NONBLOCK);
    low = 1;
    high = 2;
    SYS(writev(fd, vector, 2));
    low = high = 0;
    SYS(readv(fd, vector, 2));
    say("low %u high %u", low, high);
    SYS(close(fd));
}

static void semaphore(void)
{
    uint64_t value;

    fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
    for (int i = 0; i < 3; i++) {
        SYS(read(fd, &value, sizeof(value)));
        say("read %lu", (unsigned long)value);
    }
    SYS(close(fd));
}

static void *read_blocking(void *unused)
{
    uint64_t value = 0;

    if (read(fd, &value, sizeof(value)) != sizeof(value)) {
        return NULL;
    }
    return unused ? NULL : (void *)(long)value;
}

static void blocking_read(void)
{
    pthread_t thread;

    fd = eventfd(0, 0);
    thread = start(read_blocking, NULL);
    SYS(eventfd_write(fd, 9));
    say("read %ld", (long)finish(thread));
    SYS(close(fd));
}

static void *write_blocking(void *unused)
{
    uint64_t value = 2;
    long result = write(fd, &value, sizeof(value));

    return unused ? NULL : (void *)result;
}

/* the counter is full: the writer sleeps until a read has emptied it */
static void blocking_write(void)
{
    uint64_t value = UINT64_MAX - 2;
    pthread_t thread;

    fd = eventfd(0, 0);
    SYS(write(fd, &value, sizeof(value)));
    thread = start(write_blocking, NULL);
    SYS(read(fd, &value, sizeof(value)));
    say("read %lx", (unsigned long)value);
    say("wrote %ld", (long)finish(thread));
    SYS(read(fd, &value, sizeof(value)));
    say("read %lx", (unsigned long)value);
    SYS(close(fd));
}

static void descriptors(void)
{
    uint64_t value;
    struct stat status;
    int flag = 1, copy, third;

    fd = eventfd(1, EFD_CLOEXEC);
    SYS(fcntl(fd, F_GETFD));
    SYS(fcntl(fd, F_GETFL));
    SYS(fcntl(fd, F_SETFD, 0));
    SYS(fcntl(fd, F_GETFD));
    SYS(ioctl(fd, FIONBIO, &flag));
    SYS(fcntl(fd, F_GETFL));
    copy = dup(fd);
    say("another number %d", copy > fd);
    SYS(fcntl(copy, F_GETFL));
    SYS(fcntl(copy, F_SETFL, 0));
    SYS(fcntl(fd, F_GETFL)); /* the flags are the file's */
    third = fcntl(fd, F_DUPFD_CLOEXEC, copy + 3);
    say("at least the asked number %d", third >= copy + 3);
    SYS(fcntl(third, F_GETFD));
    say("dup2 gives its number %d", dup2(fd, third) == third);
    SYS(fcntl(third, F_GETFD));
    say("onto itself %d", dup2(fd, fd) == fd);
    SYS(dup3(fd, fd, 0));
    say("dup3 %d", dup3(fd, third, O_CLOEXEC) == third);
    SYS(fcntl(third, F_GETFD));
    SYS(dup2(-1, third));
    SYS(fcntl(fd, F_DUPFD, -1));
    SYS(close(fd));
    SYS(close(third));
    SYS(read(copy, &value, sizeof(value))); /* the file lives on */
    say("read %lu", (unsigned long)value);
    SYS(fstat(copy, &status));
    say("regular %d fifo %d", S_ISREG(status.st_mode), S_ISFIFO(status.st_mode));
    SYS(ioctl(copy, FIONREAD, &flag));
    say("lowest number first %d", dup(copy) == fd);
    SYS(close(fd));
    SYS(close(copy));
    SYS(close(copy));
    SYS(dup(copy));
    SYS(fcntl(copy, F_GETFD));
}

/* ---- timerfd */

static void arm(long first_ms, long interval_ms, int flags, const struct timespec *at)
{
    struct itimerspec value = {
        .it_value = { first_ms / 1000, first_ms % 1000 * 1000000 },
        .it_interval = { interval_ms / 1000, interval_ms % 1000 * 1000000 },
    };

    if (at) {
        value.it_value = *at;
    }
    SYS(timerfd_settime(fd, flags, &value, NULL));
}

static void timers(void)
{
    struct itimerspec value = { .it_value = { 0, -1 } };
    struct timespec soon;
    uint64_t ticks;
    int number;

    SYS(timerfd_create(CLOCK_MONOTONIC, 0x12345));
    SYS(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
    fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    SYS(timerfd_settime(fd, 0, &value, NULL));
    SYS(read(fd, &ticks, sizeof(ticks)));
    SYS(write(fd, &ticks, sizeof(ticks)));
    arm(60000, 0, 0, NULL);
    look();
    SYS(timerfd_gettime(fd, &value));
    say("left %d s or less", value.it_value.tv_sec == 59 || value.it_value.tv_sec == 60 ? 60 : 0);
    arm(0, 0, 0, NULL);
    SYS(timerfd_gettime(fd, &value));
    say("left %ld", (long)value.it_value.tv_sec);
    SYS(fcntl(fd, F_SETFL, 0));
    arm(5, 0, 0, NULL);
    SYS(read(fd, &ticks, sizeof(ticks))); /* sleeps */
    say("ticks %lu", (unsigned long)ticks);
    soon = in_ms(CLOCK_MONOTONIC, 5);
    arm(0, 0, TFD_TIMER_ABSTIME, &soon);
    SYS(read(fd, &ticks, 4));
    SYS(read(fd, &ticks, sizeof(ticks)));
    soon = in_ms(CLOCK_MONOTONIC, -5);
    arm(0, 0, TFD_TIMER_ABSTIME, &soon); /* past: at once */
    SYS(read(fd, &ticks, sizeof(ticks)));
    say("ticks %lu", (unsigned long)ticks);
    SYS(close(fd));
    number = eventfd(0, 0);
    SYS(timerfd_gettime(number, &value));
    SYS(timerfd_settime(-1, 0, &value, NULL));
    SYS(close(number));
}

static void periodic_timer(void)
{
    struct timespec pause = { 0, 11000000 };
    uint64_t ticks;

    fd = timerfd_create(CLOCK_REALTIME, 0);
    arm(5, 5, 0, NULL);
    SYS(read(fd, &ticks, sizeof(ticks)));
    SYS(nanosleep(&pause, NULL));
    SYS(read(fd, &ticks, sizeof(ticks)));
    say("more than one period %d", ticks >= 2);
    SYS(close(fd));
}

static const OsProgram programs[] = {
    { "/os/eventfd/counter", counter },
    { "/os/eventfd/vectors", vectors },
    { "/os/eventfd/semaphore", semaphore },
    { "/os/eventfd/blocking-read", blocking_read },
    { "/os/eventfd/blocking-write", blocking_write },
    { "/os/eventfd/descriptors", descriptors },
    { "/os/timerfd/timers", timers },
    { "/os/timerfd/periodic", periodic_timer },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
