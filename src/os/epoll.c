/*
 * epoll, with the kernel's ready list.
 *
 *     step | a writer                            | epoll_wait
 *     -----+-------------------------------------+-----------------------------------------------
 *        1 |                                     | ready list is empty: sleeps on the epoll file
 *        2 | os_file_notify: puts the watches    |
 *          | that ask for this event into the    |
 *          | ready list, wakes the epoll file    |
 *        3 |                                     | takes each watch out of the list and asks its
 *          |                                     | file again; what holds is returned
 *        4 |                                     | level-triggered: back to the end of the list
 *
 * 1. A watch is in the ready list from the event, or from EPOLL_CTL_ADD or MOD that found its file ready, until a
 *    wait takes it out.
 * 2. An edge-triggered watch goes back only with the next notification, a one-shot one only after EPOLL_CTL_MOD.
 * 3. A watch ends with its file, not with the number under which it was added: as in Linux.
 */
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "os/clock.h"
#include "os/fd.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(epoll_create)
REAL_SYMBOL(epoll_create1)
REAL_SYMBOL(epoll_ctl)
REAL_SYMBOL(epoll_wait)
REAL_SYMBOL(epoll_pwait)
REAL_SYMBOL(epoll_pwait2)
REAL_SYMBOL(fcntl)

#define WATCHES_MAX 2048u
#define NESTING_MAX 5 /* epoll files that watch epoll files, as in Linux */
#define MODES       (EPOLLET | EPOLLONESHOT | EPOLLWAKEUP)

struct OsWatch {
    OsFile *epoll, *file;
    int fd;
    uint32_t events;
    epoll_data_t data;
    bool ready; /* in epoll->epoll.ready */
    TAILQ_ENTRY(OsWatch) of_file, of_epoll, of_ready;
};

static OsWatch watches[WATCHES_MAX];
static OsWatchList free_watches = TAILQ_HEAD_INITIALIZER(free_watches);
static unsigned watches_used;

void os_epoll_reset(void)
{
    TAILQ_INIT(&free_watches);
    watches_used = 0;
}

/* ---- the ready list */

static void make_ready(OsWatch *watch)
{
    if (!watch->ready) {
        watch->ready = true;
        TAILQ_INSERT_TAIL(&watch->epoll->epoll.ready, watch, of_ready);
    }
}

static void make_unready(OsWatch *watch)
{
    if (watch->ready) {
        watch->ready = false;
        TAILQ_REMOVE(&watch->epoll->epoll.ready, watch, of_ready);
    }
}

static unsigned watch_poll(const OsWatch *watch)
{
    uint32_t wanted = watch->events & ~MODES;

    /* a one-shot watch that has fired asks for nothing, not even errors */
    return wanted ? watch->file->kind->poll(watch->file) & (wanted | EPOLLERR | EPOLLHUP) : 0;
}

void os_epoll_notify(OsFile *file, unsigned events)
{
    OsWatch *watch;

    TAILQ_FOREACH(watch, &file->watches, of_file) {
        uint32_t wanted = watch->events & ~MODES;

        if (wanted && ((wanted | EPOLLERR | EPOLLHUP) & events)) {
            make_ready(watch);
            os_file_notify(watch->epoll, POLLIN | POLLRDNORM);
        }
    }
}

static unsigned epoll_poll(OsFile *file)
{
    OsWatch *watch;

    TAILQ_FOREACH(watch, &file->epoll.ready, of_ready) {
        if (watch_poll(watch)) {
            return POLLIN | POLLRDNORM;
        }
    }
    return 0;
}

static int collect(OsFile *file, struct epoll_event *events, int max)
{
    OsWatch *last = TAILQ_LAST(&file->epoll.ready, OsWatchList), *watch = NULL;
    int count = 0;

    while (count < max && watch != last && (watch = TAILQ_FIRST(&file->epoll.ready))) {
        unsigned ready = watch_poll(watch);

        make_unready(watch);
        if (!ready) {
            continue;
        }
        os_acquire(file);
        os_acquire(watch->file);
        os_writes(&events[count], sizeof(events[count]));
        events[count].events = ready;
        events[count].data = watch->data;
        count++;
        if (watch->events & EPOLLONESHOT) {
            watch->events &= MODES;
        } else if (!(watch->events & EPOLLET)) {
            make_ready(watch);
        }
    }
    return count;
}

/* ---- watches */

static OsWatch *watch_new(void)
{
    OsWatch *watch = TAILQ_FIRST(&free_watches);

    if (watch) {
        TAILQ_REMOVE(&free_watches, watch, of_file);
    } else if (watches_used < WATCHES_MAX) {
        watch = &watches[watches_used++];
    }
    return watch;
}

static void watch_free(OsWatch *watch)
{
    make_unready(watch);
    TAILQ_REMOVE(&watch->file->watches, watch, of_file);
    TAILQ_REMOVE(&watch->epoll->epoll.all, watch, of_epoll);
    TAILQ_INSERT_HEAD(&free_watches, watch, of_file);
}

static OsWatch *watch_find(OsFile *epoll, const OsFile *file, int fd)
{
    OsWatch *watch;

    TAILQ_FOREACH(watch, &epoll->epoll.all, of_epoll) {
        if (watch->file == file && watch->fd == fd) {
            return watch;
        }
    }
    return NULL;
}

void os_epoll_forget(OsFile *file)
{
    OsWatch *watch;

    while ((watch = TAILQ_FIRST(&file->watches))) {
        watch_free(watch);
    }
}

static void epoll_release(OsFile *file)
{
    OsWatch *watch;

    while ((watch = TAILQ_FIRST(&file->epoll.all))) {
        watch_free(watch);
    }
}

static void epoll_describe(OsFile *file, char *buffer, size_t size)
{
    snprintf(buffer, size, "%s", TAILQ_EMPTY(&file->epoll.all) ? ", nothing watched" : ", watching");
}

static const OsFileKind epoll_kind = {
    .name = "epoll",
    .mode = 0600,
    .poll = epoll_poll,
    .release = epoll_release,
    .describe = epoll_describe,
};

/* ---- control */

/* How many levels of epoll files hang below file; NESTING_MAX + 1 when `forbidden` is among them, or there are too
 * many. */
static int nesting(const OsFile *file, const OsFile *forbidden, int level)
{
    const OsWatch *watch;
    int deepest = level;

    if (file == forbidden || level > NESTING_MAX) {
        return NESTING_MAX + 1;
    }
    if (file->kind != &epoll_kind) {
        return level;
    }
    TAILQ_FOREACH(watch, &file->epoll.all, of_epoll) {
        int below = nesting(watch->file, forbidden, level + 1);

        deepest = below > deepest ? below : deepest;
    }
    return deepest;
}

static void watch_set(OsWatch *watch, const struct epoll_event *event)
{
    watch->events = event->events | EPOLLERR | EPOLLHUP;
    watch->data = event->data;
    if (watch_poll(watch)) {
        make_ready(watch);
        os_file_notify(watch->epoll, POLLIN | POLLRDNORM);
    }
}

static int control_add(OsFile *epoll, OsFile *file, int fd, const struct epoll_event *event)
{
    OsWatch *watch;

    if (watch_find(epoll, file, fd)) {
        return -EEXIST;
    }
    if (nesting(file, epoll, 0) > NESTING_MAX) {
        return -ELOOP;
    }
    watch = watch_new();
    if (!watch) {
        return -ENOSPC;
    }
    *watch = (OsWatch){ .epoll = epoll, .file = file, .fd = fd };
    TAILQ_INSERT_TAIL(&file->watches, watch, of_file);
    TAILQ_INSERT_TAIL(&epoll->epoll.all, watch, of_epoll);
    watch_set(watch, event);
    return 0;
}

static int control(OsFile *epoll, int operation, OsFile *file, int fd, const struct epoll_event *event)
{
    OsWatch *watch;

    if (S_ISREG(file->kind->mode)) {
        return -EPERM;
    }
    if (epoll->kind != &epoll_kind || epoll == file) {
        return -EINVAL;
    }
    if (operation != EPOLL_CTL_DEL) {
        os_reads(event, sizeof(*event));
        os_release(epoll); /* what event->data points to is the waiter's, too */
        if (event->events & EPOLLEXCLUSIVE) {
            sched_fail("unmodelled", "EPOLLEXCLUSIVE is not modelled");
        }
    }
    if (operation == EPOLL_CTL_ADD) {
        return control_add(epoll, file, fd, event);
    }
    watch = watch_find(epoll, file, fd);
    if (operation != EPOLL_CTL_DEL && operation != EPOLL_CTL_MOD) {
        return -EINVAL;
    }
    if (!watch) {
        return -ENOENT;
    }
    if (operation == EPOLL_CTL_DEL) {
        watch_free(watch);
    } else {
        watch_set(watch, event);
    }
    return 0;
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    OsFile *file, *epoll_file;

    if (!sched_here()) {
        return REAL(epoll_ctl)(epoll, operation, fd, event);
    }
    SCHED_POINT(SCHED_CALL_EPOLL, os_fd_object(epoll));
    epoll_file = os_fd_file(epoll);
    file = os_fd_file(fd);
    if (!epoll_file && !file) {
        return REAL(epoll_ctl)(epoll, operation, fd, event);
    }
    if (!epoll_file || !file) {
        if (REAL(fcntl)(epoll_file ? fd : epoll, F_GETFD) < 0) {
            return -1; /* EBADF */
        }
        sched_fail("unmodelled", "epoll_ctl with a simulated and a real descriptor is not modelled");
    }
    return (int)os_result(control(epoll_file, operation, file, fd, event));
}

static int create(int flags)
{
    OsFile *file = os_file_new(&epoll_kind, O_RDWR);

    if (file) {
        TAILQ_INIT(&file->epoll.all);
        TAILQ_INIT(&file->epoll.ready);
    }
    return os_fd_open_new(file, flags & EPOLL_CLOEXEC);
}

int epoll_create1(int flags)
{
    if (!sched_here()) {
        return REAL(epoll_create1)(flags);
    }
    SCHED_POINT(SCHED_CALL_EPOLL, 0);
    if (flags & ~EPOLL_CLOEXEC) {
        errno = EINVAL;
        return -1;
    }
    return create(flags);
}

int epoll_create(int size)
{
    if (!sched_here()) {
        return REAL(epoll_create)(size);
    }
    SCHED_POINT(SCHED_CALL_EPOLL, 0);
    if (size <= 0) {
        errno = EINVAL;
        return -1;
    }
    return create(0);
}

/* ---- waiting */

static int wait_until(OsFile *file, struct epoll_event *events, int max, uint64_t deadline_ns)
{
    SchedBlock block = {
        .call = SCHED_CALL_EPOLL_WAIT,
        .spurious_ok = true,
        .object = (const void *)(uintptr_t)file->serial,
        .deadline_ns = deadline_ns,
    };
    int count;

    while ((count = collect(file, events, max)) == 0 && sched_now_ns() < deadline_ns) {
        SchedWaiter waiter = { .data = POLLIN };
        SchedWake wake;

        if (sched_disturb(2)) {
            return -EINTR;
        }
        sched_queue_add(&file->queue, &waiter);
        wake = sched_block(&block);
        sched_queue_remove(&waiter);
        if (wake == SCHED_SPURIOUS) {
            return -EINTR;
        }
    }
    return count;
}

static int wait_held(int fd, struct epoll_event *events, int max, uint64_t deadline_ns)
{
    OsFile *file = os_fd_file(fd);
    int result;

    if (max <= 0 || file->kind != &epoll_kind) {
        return -EINVAL;
    }
    os_file_hold(file);
    result = wait_until(file, events, max, deadline_ns);
    os_file_drop(file);
    return result;
}

static uint64_t deadline_of_ms(int timeout_ms)
{
    return timeout_ms < 0 ? SCHED_FOREVER : os_deadline_after((uint64_t)timeout_ms * 1000000);
}

/* A real epoll: look without waiting, and again whenever the program has used a real descriptor. */
static int wait_real(int fd, struct epoll_event *events, int max, uint64_t deadline_ns)
{
    SchedBlock block = {
        .call = SCHED_CALL_EPOLL_WAIT,
        .spurious_ok = true,
        .object = (const void *)os_fd_object(fd),
        .deadline_ns = deadline_ns,
    };
    int count;

    while ((count = REAL(epoll_wait)(fd, events, max, 0)) == 0 && sched_now_ns() < deadline_ns) {
        SchedWaiter waiter = { 0 };
        SchedWake wake;

        sched_queue_add(&os_real_fd_queue, &waiter);
        wake = sched_block(&block);
        sched_queue_remove(&waiter);
        if (wake == SCHED_SPURIOUS) {
            return -EINTR;
        }
    }
    return count < 0 ? -errno : count;
}

static int wait_any(int fd, struct epoll_event *events, int max, uint64_t deadline_ns)
{
    return (int)os_result(os_fd_file(fd) ? wait_held(fd, events, max, deadline_ns) : wait_real(fd, events, max, deadline_ns));
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    if (!sched_here()) {
        return REAL(epoll_wait)(fd, events, max, timeout_ms);
    }
    SCHED_POINT(SCHED_CALL_EPOLL_WAIT, os_fd_object(fd));
    return wait_any(fd, events, max, deadline_of_ms(timeout_ms));
}

int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask)
{
    if (!sched_here()) {
        return REAL(epoll_pwait)(fd, events, max, timeout_ms, mask);
    }
    SCHED_POINT(SCHED_CALL_EPOLL_WAIT, os_fd_object(fd));
    return wait_any(fd, events, max, deadline_of_ms(timeout_ms));
}

int epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask)
{
    uint64_t span_ns = 0;

    if (!sched_here()) {
        return REAL(epoll_pwait2)(fd, events, max, timeout, mask);
    }
    SCHED_POINT(SCHED_CALL_EPOLL_WAIT, os_fd_object(fd));
    if (timeout) {
        span_ns = os_span_ns(timeout);
        if (span_ns == UINT64_MAX) {
            errno = EINVAL;
            return -1;
        }
    }
    return wait_any(fd, events, max, timeout ? os_deadline_after(span_ns) : SCHED_FOREVER);
}
