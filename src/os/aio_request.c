/*
 * Requests: from an iocb to what is done with the file; see aio.h. The checks and their order are Linux's (fs/aio.c,
 * io_submit_one()): what is wrong with the iocb itself is io_submit's error, what is wrong with the transfer is the event's.
 */
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/aio.h"
#include "os/inode.h"
#include "os/os.h"
#include "os/real.h"
#include "os/sanitizer.h"

#define REQUESTS_MAX 4096u
#define VECTORS_MAX  16384u /* pieces of memory of all requests in flight */
#define BLOCK_BYTES  512u

REAL_SYMBOL(preadv)
REAL_SYMBOL(pwritev)
REAL_SYMBOL(fsync)
REAL_SYMBOL(fcntl)

static OsAioRequest requests[REQUESTS_MAX];
static TAILQ_HEAD(, OsAioRequest) free_requests = TAILQ_HEAD_INITIALIZER(free_requests);
static unsigned requests_used; /* taken from the array since the last reset */
static unsigned requests_live;

/* Pieces are taken one after another, and given back all at once when no request is left. */
static struct iovec vectors[VECTORS_MAX];
static unsigned vectors_used;

void os_aio_requests_reset(void)
{
    TAILQ_INIT(&free_requests);
    requests_used = requests_live = vectors_used = 0;
}

static OsAioRequest *request_new(void)
{
    OsAioRequest *request = TAILQ_FIRST(&free_requests);

    if (request) {
        TAILQ_REMOVE(&free_requests, request, next);
    } else if (requests_used < REQUESTS_MAX) {
        request = &requests[requests_used++];
    } else {
        sched_fail("unmodelled", "more than %u AIO requests at once are not modelled", REQUESTS_MAX);
    }
    requests_live++;
    return request;
}

void os_aio_release(OsAioRequest *request)
{
    if (request->file) {
        os_file_drop(request->file);
    }
    if (request->eventfd) {
        os_file_drop(request->eventfd);
    }
    TAILQ_INSERT_HEAD(&free_requests, request, next);
    if (--requests_live == 0) {
        vectors_used = 0;
    }
}

/* ---- checks */

static bool reads(const struct iocb *iocb)
{
    return iocb->aio_lio_opcode == IOCB_CMD_PREAD || iocb->aio_lio_opcode == IOCB_CMD_PREADV;
}

static bool writes(const struct iocb *iocb)
{
    return iocb->aio_lio_opcode == IOCB_CMD_PWRITE || iocb->aio_lio_opcode == IOCB_CMD_PWRITEV;
}

static bool syncs(const struct iocb *iocb)
{
    return iocb->aio_lio_opcode == IOCB_CMD_FSYNC || iocb->aio_lio_opcode == IOCB_CMD_FDSYNC;
}

static const struct iovec *take_vectors(const struct iovec *from, size_t count)
{
    struct iovec *taken = &vectors[vectors_used];

    if (count > VECTORS_MAX - vectors_used) {
        sched_fail("unmodelled", "more than %u pieces of memory in AIO requests at once are not modelled", VECTORS_MAX);
    }
    vectors_used += (unsigned)count;
    os_copy(taken, from, count * sizeof(*from));
    return taken;
}

static int import_memory(OsAioRequest *request)
{
    const struct iocb *iocb = &request->iocb;
    struct iovec one = { (void *)(uintptr_t)iocb->aio_buf, iocb->aio_nbytes };

    if (iocb->aio_lio_opcode == IOCB_CMD_PREAD || iocb->aio_lio_opcode == IOCB_CMD_PWRITE) {
        request->vector = take_vectors(&one, 1);
        request->vector_count = 1;
        return 0;
    }
    if (iocb->aio_nbytes > IOV_MAX) {
        return -EINVAL;
    }
    os_reads((const void *)(uintptr_t)iocb->aio_buf, iocb->aio_nbytes * sizeof(struct iovec));
    request->vector = take_vectors((const struct iovec *)(uintptr_t)iocb->aio_buf, iocb->aio_nbytes);
    request->vector_count = (int)iocb->aio_nbytes;
    return 0;
}

static int import_transfer(OsAioRequest *request)
{
    int error = import_memory(request);

    return error ? error : request->iocb.aio_offset < 0 ? -EINVAL : 0;
}

static int file_flags(const OsAioRequest *request)
{
    return request->file ? request->file->flags : REAL(fcntl)((int)request->iocb.aio_fildes, F_GETFL, 0);
}

static int open_files(OsAioRequest *request)
{
    const struct iocb *iocb = &request->iocb;
    OsFile *eventfd;

    request->file = os_fd_file((int)iocb->aio_fildes);
    if (request->file) {
        os_file_hold(request->file);
    } else if (file_flags(request) < 0) {
        return -EBADF;
    }
    if (iocb->aio_flags & IOCB_FLAG_RESFD) {
        eventfd = os_fd_file((int)iocb->aio_resfd);
        if (!eventfd) {
            return REAL(fcntl)((int)iocb->aio_resfd, F_GETFD, 0) < 0 ? -EBADF : -EINVAL;
        }
        if (!os_file_is_eventfd(eventfd)) {
            return -EINVAL;
        }
        os_file_hold(eventfd);
        request->eventfd = eventfd;
    }
    return 0;
}

static int check_operation(OsAioRequest *request)
{
    int access = file_flags(request) & O_ACCMODE;

    if (request->file && !S_ISREG(request->file->kind->mode)) {
        sched_fail("unmodelled", "AIO on a descriptor that is no regular file is not modelled (%s)", request->file->kind->name);
    }
    request->direct = file_flags(request) & O_DIRECT;
    if (reads(&request->iocb)) {
        return access == O_WRONLY ? -EBADF : import_transfer(request);
    }
    if (writes(&request->iocb)) {
        return access == O_RDONLY ? -EBADF : import_transfer(request);
    }
    if (syncs(&request->iocb)) {
        return request->iocb.aio_buf || request->iocb.aio_offset || request->iocb.aio_nbytes || request->iocb.aio_rw_flags
                   ? -EINVAL
                   : 0;
    }
    if (request->iocb.aio_lio_opcode == IOCB_CMD_POLL) {
        sched_fail("unmodelled", "AIO of kind IOCB_CMD_POLL is not modelled");
    }
    return -EINVAL;
}

static void check_flags(const struct iocb *iocb)
{
    if ((reads(iocb) || writes(iocb)) && iocb->aio_rw_flags & ~(RWF_DSYNC | RWF_SYNC | RWF_HIPRI)) {
        sched_fail("unmodelled", "AIO with flags %#x is not modelled", (unsigned)iocb->aio_rw_flags);
    }
}

int os_aio_prepare(OsAioContext *context, struct iocb *user, OsAioRequest **request)
{
    OsAioRequest *made;
    int error;

    os_reads(user, sizeof(*user));
    if (user->aio_reserved2 || (int64_t)user->aio_nbytes < 0) {
        return -EINVAL;
    }
    made = request_new();
    *made = (OsAioRequest){ .context = context, .iocb = *user, .user = user };
    error = open_files(made);
    if (!error) {
        user->aio_key = 0; /* what io_cancel() asks for */
        check_flags(&made->iocb);
        error = check_operation(made);
    }
    if (error) {
        os_aio_release(made);
    } else {
        *request = made;
    }
    return error;
}

bool os_aio_is_synchronous(const OsAioRequest *request)
{
    if (syncs(&request->iocb)) {
        return false;
    }
    return !request->direct || !os_regular_aligned(request->vector, request->vector_count, request->iocb.aio_offset);
}

/* ---- the transfer */

/* The same on the machine's own file, which is a regular one. */
static long transfer_real(const OsAioRequest *request, size_t bytes)
{
    int fd = (int)request->iocb.aio_fildes;
    struct iovec first = { request->vector_count ? request->vector[0].iov_base : NULL, bytes };
    const struct iovec *vector = request->vector;
    int count = request->vector_count;
    ssize_t result;

    if (count && bytes < vector[0].iov_len) {
        vector = &first;
        count = 1;
    }
    result = reads(&request->iocb) ? REAL(preadv)(fd, vector, count, request->iocb.aio_offset)
                                   : REAL(pwritev)(fd, vector, count, request->iocb.aio_offset);
    return result < 0 ? -errno : result;
}

static long transfer(OsAioRequest *request, size_t bytes)
{
    OsFile *file = request->file;
    OsSpan span = { .vector = request->vector, .left = bytes };

    if (!file) {
        return transfer_real(request, bytes);
    }
    return reads(&request->iocb) ? file->kind->read_at(file, &span, request->iocb.aio_offset)
                                 : file->kind->write_at(file, &span, request->iocb.aio_offset);
}

/* A short transfer stops behind a whole block, and is never empty. */
static size_t shortened(size_t bytes)
{
    size_t blocks = bytes / BLOCK_BYTES;

    if (blocks < 2 || !os_aio_fault(OS_AIO_SHORT)) {
        return bytes;
    }
    return BLOCK_BYTES * (1 + sched_choose((unsigned)(blocks - 1)));
}

long os_aio_perform(OsAioRequest *request)
{
    if (os_aio_fault(OS_AIO_ERRORS)) {
        return -EIO;
    }
    if (syncs(&request->iocb)) {
        return request->file || REAL(fsync)((int)request->iocb.aio_fildes) == 0 ? 0 : -errno;
    }
    return transfer(request, shortened(os_span(request->vector, request->vector_count).left));
}
