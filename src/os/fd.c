/* The table of simulated descriptors, and what all kinds of files have in common; see fd.h. */
#include "os/fd.h"

#include <stdio.h>
#include <string.h>

#include "os/os.h"
#include "os/sanitizer.h"

#define FILES_MAX    1024u /* numbers, and files that only a sleeping call still holds */
#define BUFFERS_MAX  512u
#define SERIAL_FIRST 2048u /* below are real descriptors */
#define WORDS        (OS_FD_COUNT / 64)

typedef struct Descriptor {
    OsFile *file; /* NULL: free */
    bool close_on_exec;
} Descriptor;

#define APART_FIRST (OS_FD_COUNT / 2)
#define APART_MAX   8u

static Descriptor table[OS_FD_COUNT];
static uint64_t taken[WORDS];
static unsigned open_count;
static SchedThread *apart[APART_MAX];
static unsigned apart_count;

static OsFile files[FILES_MAX];
static OsFile *free_files;
static unsigned files_used; /* taken from the array since the last reset */
static uint32_t last_serial = SERIAL_FIRST;

static unsigned char storage[BUFFERS_MAX][OS_BUFFER_BYTES];
static OsBuffer buffers[BUFFERS_MAX];
static OsBuffer *free_buffers;
static unsigned buffers_used;

void os_fd_reset(void)
{
    apart_count = 0;
    if (!files_used) {
        return;
    }
    if (open_count) { /* closing has emptied the rest */
        memset(table, 0, sizeof(table));
        memset(taken, 0, sizeof(taken));
        open_count = 0;
    }
    free_files = NULL;
    files_used = 0;
    last_serial = SERIAL_FIRST;
    free_buffers = NULL;
    buffers_used = 0;
}

/* ---- files */

uint32_t os_serial_new(void)
{
    return last_serial++;
}

OsFile *os_file_new(const OsFileKind *kind, int flags)
{
    OsFile *file = free_files;

    if (file) {
        free_files = file->next_free;
    } else if (files_used < FILES_MAX) {
        file = &files[files_used++];
    } else {
        return NULL;
    }
    *file = (OsFile){ .kind = kind, .flags = flags, .references = 1, .serial = os_serial_new() };
    TAILQ_INIT(&file->watches);
    return file;
}

void os_file_hold(OsFile *file)
{
    file->references++;
}

void os_file_drop(OsFile *file)
{
    if (--file->references) {
        return;
    }
    os_epoll_forget(file);
    if (file->kind->release) {
        file->kind->release(file);
    }
    file->next_free = free_files;
    free_files = file;
}

void os_file_notify(OsFile *file, unsigned events)
{
    SchedWaiter *next;

    for (SchedWaiter *waiter = file->queue.first; waiter; waiter = next) {
        next = waiter->next;
        if (waiter->data & events) {
            sched_queue_remove(waiter);
            sched_wake(waiter->thread);
        }
    }
    if (!TAILQ_EMPTY(&file->watches)) {
        os_epoll_notify(file, events);
    }
}

void os_file_wait(OsFile *file, unsigned events, SchedCall call)
{
    SchedWaiter waiter = { .data = events | POLLERR | POLLHUP };
    SchedBlock block = { .call = call, .object = (const void *)(uintptr_t)file->serial, .deadline_ns = SCHED_FOREVER };

    sched_queue_add(&file->queue, &waiter);
    sched_block(&block);
    sched_queue_remove(&waiter);
}

/* Of a transfer that could be that long: what takes place, where the input has it cut short. */
static size_t cut_short(size_t bytes)
{
    switch (bytes > 1 ? sched_disturb(3) : 0) {
    case 1:
        return 1;
    case 2:
        return bytes - 1;
    default:
        return bytes;
    }
}

static void shorten_read(OsFile *file, OsSpan *span)
{
    size_t there = file->kind->available ? file->kind->available(file) : 0;

    there = there < span->left ? there : span->left;
    if (file->kind->stream && there) {
        size_t taken = cut_short(there);

        span->left = taken < there ? taken : span->left;
    }
}

static void shorten_write(OsFile *file, OsSpan *span)
{
    if (file->kind->stream && span->left > file->kind->whole_write_bytes) {
        span->left = cut_short(span->left);
    }
}

/* A call that is about to sleep: may a signal handler run first, and the call return? */
static bool interrupted(void)
{
    return sched_disturb(2) != 0;
}

ssize_t os_file_read(OsFile *file, OsSpan *span, bool nonblocking)
{
    ssize_t result;

    if ((file->flags & O_ACCMODE) == O_WRONLY) {
        return -EBADF;
    }
    if (!file->kind->read) {
        return -EINVAL;
    }
    os_file_hold(file);
    for (;;) {
        shorten_read(file, span);
        result = file->kind->read(file, span);
        if (result != -EAGAIN || nonblocking) {
            break;
        }
        if (interrupted()) {
            result = -EINTR;
            break;
        }
        os_file_wait(file, POLLIN, SCHED_CALL_READ);
    }
    os_file_drop(file);
    return result;
}

ssize_t os_file_write(OsFile *file, OsSpan *span, bool nonblocking)
{
    ssize_t result, written = 0;

    if ((file->flags & O_ACCMODE) == O_RDONLY) {
        return -EBADF;
    }
    if (!file->kind->write) {
        return -EINVAL;
    }
    os_file_hold(file);
    shorten_write(file, span);
    for (;;) {
        result = file->kind->write(file, span);
        written += result > 0 ? result : 0;
        if (result < 0 ? result != -EAGAIN || nonblocking : span->left == 0) {
            break;
        }
        if (nonblocking) {
            break;
        }
        if (interrupted()) {
            result = -EINTR;
            break;
        }
        os_file_wait(file, POLLOUT, SCHED_CALL_WRITE);
    }
    os_file_drop(file);
    return written ? written : result;
}

/* ---- numbers */

OsFile *os_fd_file(int fd)
{
    unsigned index = (unsigned)fd - OS_FD_FIRST;

    return index < OS_FD_COUNT ? table[index].file : NULL;
}

uintptr_t os_fd_object(int fd)
{
    OsFile *file = os_fd_file(fd);

    if (file) {
        return file->serial;
    }
    return fd >= 0 && (unsigned)fd + 1 < SERIAL_FIRST ? (uintptr_t)fd + 1 : 0;
}

/* The lowest free index from `least` on, or -1. */
static int lowest_free(unsigned least)
{
    for (unsigned word = least / 64; word < WORDS; word++) {
        uint64_t candidates = ~taken[word];

        if (word == least / 64) {
            candidates &= ~UINT64_C(0) << (least % 64);
        }
        if (candidates) {
            return (int)(word * 64) + __builtin_ctzll(candidates);
        }
    }
    return -1;
}

static void take(unsigned index, OsFile *file, bool close_on_exec)
{
    table[index] = (Descriptor){ .file = file, .close_on_exec = close_on_exec };
    taken[index / 64] |= UINT64_C(1) << (index % 64);
    open_count++;
}

static OsFile *untake(unsigned index)
{
    OsFile *file = table[index].file;

    table[index].file = NULL;
    taken[index / 64] &= ~(UINT64_C(1) << (index % 64));
    open_count--;
    return file;
}

void os_fds_apart(void)
{
    if (apart_count == APART_MAX) {
        sched_fail("unmodelled", "more than %u threads with descriptors of their own are not modelled", APART_MAX);
    }
    apart[apart_count++] = sched_thread_self();
}

static unsigned first_number(void)
{
    for (unsigned i = 0; i < apart_count; i++) {
        if (apart[i] == sched_thread_self()) {
            return APART_FIRST;
        }
    }
    return 0;
}

int os_fd_open(OsFile *file, int least, bool close_on_exec)
{
    int index = lowest_free(least > OS_FD_FIRST ? (unsigned)least - OS_FD_FIRST : first_number());

    if (index < 0) {
        os_file_drop(file);
        return -EMFILE;
    }
    take((unsigned)index, file, close_on_exec);
    return OS_FD_FIRST + index;
}

int os_fd_open_new(OsFile *file, bool close_on_exec)
{
    return (int)os_result(file ? os_fd_open(file, 0, close_on_exec) : -ENFILE);
}

int os_fd_close(int fd)
{
    OsFile *file = os_fd_file(fd);

    if (!file) {
        return -EBADF;
    }
    untake((unsigned)fd - OS_FD_FIRST);
    os_file_drop(file);
    return 0;
}

void os_fd_replace(int fd, OsFile *file, bool close_on_exec)
{
    OsFile *old = os_fd_file(fd) ? untake((unsigned)fd - OS_FD_FIRST) : NULL;

    take((unsigned)fd - OS_FD_FIRST, file, close_on_exec);
    if (old) {
        os_file_drop(old);
    }
}

bool os_fd_close_on_exec(int fd)
{
    return table[fd - OS_FD_FIRST].close_on_exec;
}

void os_fd_set_close_on_exec(int fd, bool value)
{
    table[fd - OS_FD_FIRST].close_on_exec = value;
}

/* ---- what was left open */

unsigned os_fds_left(void)
{
    return open_count;
}

int os_describe_fd_left(unsigned i, char *buffer, size_t size)
{
    for (unsigned index = 0; index < OS_FD_COUNT; index++) {
        OsFile *file = table[index].file;
        int length;

        if (!file || i--) {
            continue;
        }
        length = snprintf(buffer, size, "%s %u", file->kind->name, OS_FD_FIRST + index);
        if (file->kind->describe && length >= 0 && (size_t)length < size) {
            file->kind->describe(file, buffer + length, size - (size_t)length);
        }
        return (int)(OS_FD_FIRST + index);
    }
    return -1;
}

/* ---- the program's buffers */

OsSpan os_span(const struct iovec *vector, int count)
{
    OsSpan span = { .vector = vector };

    for (int i = 0; i < count; i++) {
        span.left += vector[i].iov_len;
    }
    return span;
}

size_t os_span_piece(OsSpan *span)
{
    if (!span->left) {
        return 0;
    }
    while (span->offset == span->vector->iov_len) {
        span->vector++;
        span->offset = 0;
    }
    return span->vector->iov_len - span->offset;
}

/* The next piece of memory, at most `bytes` long; the span moves past it. */
static unsigned char *next_piece(OsSpan *span, size_t *bytes)
{
    size_t longest = os_span_piece(span);
    unsigned char *piece = (unsigned char *)span->vector->iov_base + span->offset;

    *bytes = *bytes < longest ? *bytes : longest;
    span->offset += *bytes;
    span->left -= *bytes;
    return piece;
}

void os_span_store(OsSpan *span, const void *from, size_t bytes)
{
    for (size_t length; bytes; bytes -= length, from = (const char *)from + length) {
        unsigned char *piece;

        length = bytes;
        piece = next_piece(span, &length);
        os_writes(piece, length);
        os_copy(piece, from, length);
    }
}

void os_span_fetch(OsSpan *span, void *to, size_t bytes)
{
    for (size_t length; bytes; bytes -= length, to = (char *)to + length) {
        unsigned char *piece;

        length = bytes;
        piece = next_piece(span, &length);
        os_reads(piece, length);
        os_copy(to, piece, length);
    }
}

/* ---- buffers */

OsBuffer *os_buffer_get(void)
{
    OsBuffer *buffer = free_buffers;

    if (buffer) {
        free_buffers = buffer->next_free;
    } else if (buffers_used < BUFFERS_MAX) {
        buffer = &buffers[buffers_used];
        buffer->bytes = storage[buffers_used++];
    }
    return buffer;
}

void os_buffer_put(OsBuffer *buffer)
{
    buffer->next_free = free_buffers;
    free_buffers = buffer;
}
