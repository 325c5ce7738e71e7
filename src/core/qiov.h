/*
 * QEMUIOVector: the memory of one request, in one or more pieces.
 *
 * Threads: any; an object belongs to one request at a time. Nothing blocks.
 * From QEMU: include/qemu/iov.h.
 */
#ifndef WAKEFUZZ_CORE_QIOV_H
#define WAKEFUZZ_CORE_QIOV_H

#include <string.h>
#include <sys/uio.h>

#include "core/fatal.h"

typedef struct QEMUIOVector {
    struct iovec *iov;
    int niov;
    size_t size; /* sum of the pieces, in bytes */
    struct iovec local_iov;
    int nalloc; /* pieces that there is room for; 0: the list is not the vector's own */
} QEMUIOVector;

/* One piece: bytes at buf. The vector must not be moved afterwards. */
static inline void qemu_iovec_init_buf(QEMUIOVector *qiov, void *buf, size_t bytes)
{
    qiov->local_iov = (struct iovec){ .iov_base = buf, .iov_len = bytes };
    qiov->iov = &qiov->local_iov;
    qiov->niov = 1;
    qiov->nalloc = 0;
    qiov->size = bytes;
}

/* A list of its own, with room for alloc_hint pieces and no piece yet; to be destroyed. */
void qemu_iovec_init(QEMUIOVector *qiov, int alloc_hint);
void qemu_iovec_destroy(QEMUIOVector *qiov);
void qemu_iovec_reset(QEMUIOVector *qiov); /* no piece again */
void qemu_iovec_add(QEMUIOVector *qiov, void *base, size_t bytes);
/* Append the pieces of a range of another one; the memory is shared. */
void qemu_iovec_concat(QEMUIOVector *to, const QEMUIOVector *from, size_t offset, size_t bytes);
/* Fill a range, which lies inside the vector. */
void qemu_iovec_memset(QEMUIOVector *qiov, size_t offset, int value, size_t bytes);

typedef enum QiovDirection { QIOV_FROM_BUFFER, QIOV_TO_BUFFER } QiovDirection;

/* Copy bytes between the vector, from offset on, and a flat buffer. The range lies inside the vector. */
static inline void qemu_iovec_copy_(QEMUIOVector *qiov, size_t offset, char *buf, size_t bytes, QiovDirection direction)
{
    core_assert(offset <= qiov->size && bytes <= qiov->size - offset);
    for (int i = 0; bytes; i++) {
        size_t skip = offset < qiov->iov[i].iov_len ? offset : qiov->iov[i].iov_len;
        size_t part = qiov->iov[i].iov_len - skip;
        char *piece = (char *)qiov->iov[i].iov_base + skip;

        part = part < bytes ? part : bytes;
        if (direction == QIOV_FROM_BUFFER) {
            memcpy(piece, buf, part);
        } else {
            memcpy(buf, piece, part);
        }
        offset -= skip;
        buf += part;
        bytes -= part;
    }
}

static inline void qemu_iovec_from_buf(QEMUIOVector *qiov, size_t offset, const void *buf, size_t bytes)
{
    qemu_iovec_copy_(qiov, offset, (char *)buf, bytes, QIOV_FROM_BUFFER);
}

static inline void qemu_iovec_to_buf(QEMUIOVector *qiov, size_t offset, void *buf, size_t bytes)
{
    qemu_iovec_copy_(qiov, offset, buf, bytes, QIOV_TO_BUFFER);
}

#endif
