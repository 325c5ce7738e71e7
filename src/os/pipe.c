/*
 * Pipes, with Linux's accounting: 16 pages, and a write begins a new page unless its last odd part fits into the page
 * written last.
 *
 * 1. Readable while a page holds data, or when no writer is left (end of file, POLLHUP). Writable while a page is free.
 * 2. A write of at most PIPE_BUF bytes is never split, as it needs one page.
 * 3. A write without readers fails with EPIPE; there is no SIGPIPE.
 */
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/fd.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(pipe)
REAL_SYMBOL(pipe2)

#define PAGES      16u
#define PAGE_BYTES (OS_BUFFER_BYTES / PAGES)
#define PIPES_MAX  OS_FD_COUNT

_Static_assert(PAGE_BYTES == PIPE_BUF, "invariant 2");

typedef struct Page {
    uint32_t offset, bytes; /* what is there to read */
} Page;

typedef struct OsPipe {
    OsFile *reader, *writer; /* NULL: closed */
    OsBuffer *buffer;
    uint32_t head, count; /* pages in use, a ring */
    Page pages[PAGES];
    struct OsPipe *next_free;
} OsPipe;

static OsPipe pipes[PIPES_MAX];
static OsPipe *free_pipes;
static unsigned pipes_used;

void os_pipe_reset(void)
{
    free_pipes = NULL;
    pipes_used = 0;
}

static OsPipe *pipe_new(void)
{
    OsPipe *pipe = free_pipes;

    if (pipe) {
        free_pipes = pipe->next_free;
    } else if (pipes_used < PIPES_MAX) {
        pipe = &pipes[pipes_used++];
    } else {
        return NULL;
    }
    *pipe = (OsPipe){ .buffer = os_buffer_get() };
    return pipe;
}

static void pipe_free(OsPipe *pipe)
{
    if (pipe->buffer) {
        os_buffer_put(pipe->buffer);
    }
    pipe->next_free = free_pipes;
    free_pipes = pipe;
}

/* ---- the reader's end */

static unsigned reader_poll(OsFile *file)
{
    return (file->pipe->count ? POLLIN | POLLRDNORM : 0) | (file->pipe->writer ? 0 : POLLHUP);
}

static ssize_t reader_read(OsFile *file, OsSpan *span)
{
    OsPipe *pipe = file->pipe;
    bool was_full = pipe->count == PAGES;
    size_t before = span->left;

    if (!before) {
        return 0;
    }
    if (!pipe->count) {
        os_acquire(pipe); /* end of file: what was done before the close */
        return pipe->writer ? -EAGAIN : 0;
    }
    os_acquire(pipe);
    while (span->left && pipe->count) {
        Page *page = &pipe->pages[pipe->head];
        size_t bytes = span->left < page->bytes ? span->left : page->bytes;

        os_span_store(span, pipe->buffer->bytes + pipe->head * PAGE_BYTES + page->offset, bytes);
        page->offset += (uint32_t)bytes;
        page->bytes -= (uint32_t)bytes;
        if (!page->bytes) {
            pipe->head = (pipe->head + 1) % PAGES;
            pipe->count--;
        }
    }
    if (was_full && pipe->count < PAGES && pipe->writer) {
        os_file_notify(pipe->writer, POLLOUT | POLLWRNORM);
    }
    return (ssize_t)(before - span->left);
}

static size_t reader_available(OsFile *file)
{
    const OsPipe *pipe = file->pipe;
    size_t bytes = 0;

    for (uint32_t i = 0; i < pipe->count; i++) {
        bytes += pipe->pages[(pipe->head + i) % PAGES].bytes;
    }
    return bytes;
}

static void reader_release(OsFile *file)
{
    OsPipe *pipe = file->pipe;

    pipe->reader = NULL;
    if (pipe->writer) {
        os_file_notify(pipe->writer, POLLOUT | POLLWRNORM | POLLERR);
    } else {
        pipe_free(pipe);
    }
}

static void reader_describe(OsFile *file, char *buffer, size_t size)
{
    snprintf(buffer, size, " (reads), %zu bytes unread%s", reader_available(file), file->pipe->writer ? "" : ", writer closed");
}

/* ---- the writer's end */

static unsigned writer_poll(OsFile *file)
{
    return (file->pipe->count < PAGES ? POLLOUT | POLLWRNORM : 0) | (file->pipe->reader ? 0 : POLLERR);
}

/* Put the odd part of a write behind what the last page holds, if there is room for all of it. */
static void append_to_last_page(OsPipe *pipe, OsSpan *span)
{
    size_t odd = span->left % PAGE_BYTES;
    uint32_t index = (pipe->head + pipe->count - 1) % PAGES;
    Page *last = &pipe->pages[index];

    if (odd && pipe->count && last->offset + last->bytes + odd <= PAGE_BYTES) {
        os_span_fetch(span, pipe->buffer->bytes + index * PAGE_BYTES + last->offset + last->bytes, odd);
        last->bytes += (uint32_t)odd;
    }
}

static ssize_t writer_write(OsFile *file, OsSpan *span)
{
    OsPipe *pipe = file->pipe;
    size_t before = span->left;

    if (!before) {
        return 0;
    }
    if (!pipe->reader) {
        return -EPIPE;
    }
    append_to_last_page(pipe, span);
    while (span->left && pipe->count < PAGES) {
        uint32_t index = (pipe->head + pipe->count++) % PAGES;
        size_t bytes = span->left < PAGE_BYTES ? span->left : PAGE_BYTES;

        os_span_fetch(span, pipe->buffer->bytes + index * PAGE_BYTES, bytes);
        pipe->pages[index] = (Page){ .bytes = (uint32_t)bytes };
    }
    if (before == span->left) {
        return -EAGAIN;
    }
    os_release(pipe);
    os_file_notify(pipe->reader, POLLIN | POLLRDNORM);
    return (ssize_t)(before - span->left);
}

static void writer_release(OsFile *file)
{
    OsPipe *pipe = file->pipe;

    pipe->writer = NULL;
    os_release(pipe);
    if (pipe->reader) {
        os_file_notify(pipe->reader, POLLIN | POLLRDNORM | POLLHUP);
    } else {
        pipe_free(pipe);
    }
}

static void writer_describe(OsFile *file, char *buffer, size_t size)
{
    snprintf(buffer, size, " (writes)%s", file->pipe->reader ? "" : ", reader closed");
}

static size_t writer_available(OsFile *file)
{
    return reader_available(file);
}

static const OsFileKind reader_kind = {
    .name = "pipe",
    .stream = true,
    .mode = S_IFIFO | 0600,
    .poll = reader_poll,
    .read = reader_read,
    .release = reader_release,
    .available = reader_available,
    .describe = reader_describe,
};

static const OsFileKind writer_kind = {
    .name = "pipe",
    .stream = true,
    .whole_write_bytes = PIPE_BUF,
    .mode = S_IFIFO | 0600,
    .poll = writer_poll,
    .write = writer_write,
    .release = writer_release,
    .available = writer_available,
    .describe = writer_describe,
};

/* ---- making one */

/* Both ends of a new pipe. 0 or -ENFILE. */
static int make_ends(OsFile *end[2], int flags)
{
    OsPipe *pipe = pipe_new();

    if (!pipe) {
        return -ENFILE;
    }
    end[0] = pipe->buffer ? os_file_new(&reader_kind, O_RDONLY | flags) : NULL;
    if (!end[0]) {
        pipe_free(pipe);
        return -ENFILE;
    }
    pipe->reader = end[0];
    pipe->reader->pipe = pipe;
    end[1] = os_file_new(&writer_kind, O_WRONLY | flags);
    if (!end[1]) {
        os_file_drop(end[0]);
        return -ENFILE;
    }
    pipe->writer = end[1];
    pipe->writer->pipe = pipe;
    return 0;
}

static int make(int fds[2], int flags)
{
    OsFile *end[2];
    int error, numbers[2];

    if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) {
        return -EINVAL;
    }
    if (flags & O_DIRECT) {
        sched_fail("unmodelled", "pipe2 with O_DIRECT is not modelled");
    }
    error = make_ends(end, flags & O_NONBLOCK);
    if (error) {
        return error;
    }
    numbers[0] = os_fd_open(end[0], 0, flags & O_CLOEXEC);
    if (numbers[0] < 0) {
        os_file_drop(end[1]);
        return -EMFILE;
    }
    numbers[1] = os_fd_open(end[1], 0, flags & O_CLOEXEC);
    if (numbers[1] < 0) {
        os_fd_close(numbers[0]);
        return -EMFILE;
    }
    os_writes(fds, sizeof(numbers));
    fds[0] = numbers[0];
    fds[1] = numbers[1];
    return 0;
}

int pipe2(int fds[2], int flags)
{
    if (!sched_here()) {
        return REAL(pipe2)(fds, flags);
    }
    SCHED_POINT(SCHED_CALL_PIPE, 0);
    return (int)os_result(make(fds, flags));
}

/* The sanitizer runtimes make real pipes to their symbolizer, on the fiber that has run into the error. */
extern const char start_symbolizer[] __asm__("_ZN11__sanitizer17SymbolizerProcess25StartSymbolizerSubprocessEv")
    __attribute__((weak));

#define START_SYMBOLIZER_BYTES 4096u /* what follows the function is the runtime's too */

static bool called_by_symbolizer(const void *caller)
{
    return start_symbolizer && (uintptr_t)caller - (uintptr_t)start_symbolizer < START_SYMBOLIZER_BYTES;
}

int pipe(int fds[2])
{
    if (!sched_here() || called_by_symbolizer(__builtin_return_address(0))) {
        return REAL(pipe)(fds);
    }
    SCHED_POINT(SCHED_CALL_PIPE, 0);
    return (int)os_result(make(fds, 0));
}
