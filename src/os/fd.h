/*
 * Simulated descriptors: a table of numbers, and the open files behind them.
 *
 * Fibers only, unless said otherwise. Nothing here is a scheduling point, except where a function says that it may
 * sleep.
 *
 * 1. A number names an open file; dup() makes several name one. A file lives while a number names it or a call is at
 *    work on it.
 * 2. A file's serial number is never used again in an execution: it is the object of scheduling points.
 * 3. Whoever changes what a file's poll() would say calls os_file_notify().
 * 4. Everything lies in fixed arrays: nothing is allocated.
 */
#ifndef WAKEFUZZ_OS_FD_H
#define WAKEFUZZ_OS_FD_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "sched/sched.h"

#define OS_FD_FIRST     512
#define OS_FD_COUNT     512 /* all below FD_SETSIZE */
#define OS_BUFFER_BYTES 65536u

typedef struct OsFile OsFile;
typedef struct OsWatch OsWatch;
typedef struct OsRights OsRights;

/* What is left of the program's buffers in a read or write. */
typedef struct OsSpan {
    const struct iovec *vector;
    size_t offset; /* into *vector */
    size_t left;   /* bytes in all */
    OsRights *rights; /* sendmsg: descriptors that go with the first byte; recvmsg: those that came with these (socket.h) */
    bool takes_rights; /* recvmsg; whoever else reads them drops them */
} OsSpan;

/* What a kind of file does. Errors are negative; -EAGAIN from read and write means that the call would have to wait. */
typedef struct OsFileKind {
    const char *name;
    mode_t mode; /* for fstat */
    unsigned (*poll)(OsFile *file);
    ssize_t (*read)(OsFile *file, OsSpan *span);  /* NULL: EINVAL */
    ssize_t (*write)(OsFile *file, OsSpan *span); /* may write a part */
    /* At an offset of 0 or more; never has to wait. NULL: ESPIPE. */
    ssize_t (*read_at)(OsFile *file, OsSpan *span, off_t offset);
    ssize_t (*write_at)(OsFile *file, OsSpan *span, off_t offset);
    off_t (*seek)(OsFile *file, off_t offset, int whence); /* NULL: there is no position */
    int (*truncate)(OsFile *file, off_t size);             /* NULL: EINVAL */
    void (*release)(OsFile *file);
    size_t (*available)(OsFile *file); /* FIONREAD; NULL: ENOTTY */
    bool stream;                       /* reads and writes may be cut short, where the input asks for it: sched_disturb() */
    size_t whole_write_bytes;          /* but writes of so many bytes never */
    void (*describe)(OsFile *file, char *buffer, size_t size);
} OsFileKind;

/* 64 KiB of what was written and not yet read. */
typedef struct OsBuffer {
    struct OsBuffer *next_free;
    unsigned char *bytes;
} OsBuffer;

typedef TAILQ_HEAD(OsWatchList, OsWatch) OsWatchList;

struct OsFile {
    const OsFileKind *kind;
    uint32_t serial;
    uint32_t references;
    int flags;           /* O_ACCMODE and O_NONBLOCK; of a regular file all that F_GETFL shows */
    SchedQueue queue;    /* who sleeps on it; data is the poll events that concern them */
    OsWatchList watches; /* epoll */
    union {
        struct {
            uint64_t counter;
            bool semaphore;
        } event;
        struct OsPipe *pipe;
        struct {
            OsFile *peer; /* NULL: closed, or not connected yet */
            OsBuffer *buffer; /* a ring of what the peer has sent */
            size_t head, used;
            uint64_t taken;   /* bytes taken out of the ring so far */
            OsRights *rights; /* what came with bytes that are not taken yet, in order */
            bool receive_shut, send_shut;
            bool connected, listening;
            int error; /* reported once */
            const struct OsAddress *address, *peer_address; /* NULL: without a name */
            OsFile *pending; /* listening: ends that nobody has accepted, the first one; and of an end the one behind it */
            unsigned pending_count, backlog;
        } socket;
        struct {
            SchedTimer timer;
            uint64_t ticks, interval_ns;
            uint64_t due_ns; /* the expiry that set ticks */
            clockid_t clock;
        } timer;
        struct {
            OsWatchList all, ready;
        } epoll;
        struct {
            struct OsInode *inode;
            off_t position;
        } regular;
    };
    OsFile *next_free;
};

void os_fd_reset(void);

/* The file of a descriptor, or NULL: real or not open. */
OsFile *os_fd_file(int fd);
/* A number that names a simulated object, and none before or after it in this execution. */
uint32_t os_serial_new(void);
/* The object of scheduling points on it: a file's serial number, a real descriptor's own small number. */
uintptr_t os_fd_object(int fd);

/* A new file with one reference; NULL when there are too many. */
OsFile *os_file_new(const OsFileKind *kind, int flags);
void os_file_hold(OsFile *file);
void os_file_drop(OsFile *file); /* the last one closes it */

/* Give file, with the caller's reference, the lowest free number from `least` on. -EMFILE, and the reference is
 * dropped. */
int os_fd_open(OsFile *file, int least, bool close_on_exec);
/* The same for a fresh file, which may be NULL; returns like a system call: the number, or -1 with errno. */
int os_fd_open_new(OsFile *file, bool close_on_exec);
int os_fd_close(int fd);                       /* 0 or -EBADF */
/* dup2: fd, open or not, names file, with the caller's reference. */
void os_fd_replace(int fd, OsFile *file, bool close_on_exec);
bool os_fd_close_on_exec(int fd);
void os_fd_set_close_on_exec(int fd, bool value);

/* events (POLLIN, ...) may have become true: wake who sleeps for them, and tell epoll. Also in the scheduler's
 * callbacks. */
void os_file_notify(OsFile *file, unsigned events);
/* Sleep until one of events is notified. */
void os_file_wait(OsFile *file, unsigned events, SchedCall call);

/* Read or write, sleeping where the kind says -EAGAIN, unless nonblocking. What the system call returns, or a
 * negative errno. */
ssize_t os_file_read(OsFile *file, OsSpan *span, bool nonblocking);
ssize_t os_file_write(OsFile *file, OsSpan *span, bool nonblocking);

OsSpan os_span(const struct iovec *vector, int count);
/* Bytes left in the first buffer that has any; 0: none at all. */
size_t os_span_piece(OsSpan *span);
void os_span_store(OsSpan *span, const void *from, size_t bytes); /* at most span->left: into the program's memory */
void os_span_fetch(OsSpan *span, void *to, size_t bytes);         /* at most span->left: out of the program's memory */

/* eventfd.c: is it one, and the kernel's own addition of 1 to it, on the calling fiber. A full counter stays full. */
bool os_file_is_eventfd(const OsFile *file);
void os_eventfd_complete(OsFile *file);

/* NULL when all are in use. */
OsBuffer *os_buffer_get(void);
void os_buffer_put(OsBuffer *buffer);

/* epoll.c */
void os_epoll_reset(void);
void os_epoll_notify(OsFile *file, unsigned events);
void os_epoll_forget(OsFile *file);
/* pipe.c */
void os_pipe_reset(void);
/* socket_listen.c, socket_rights.c */
void os_socket_reset(void);
void os_rights_reset(void);

/* A negative errno becomes -1 and errno. */
static inline ssize_t os_result(ssize_t result)
{
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* ---- real descriptors (real_fd.c) */

/* Sleep until the real fd is ready for events, unless it is in non-blocking mode, a standard stream, or broken. */
void os_real_fd_wait(int fd, short events, SchedCall call);
/* Something was done to a real descriptor: those who sleep for one look again. */
void os_real_fd_changed(void);
void os_real_fd_reset(void);
extern SchedQueue os_real_fd_queue;

#endif
