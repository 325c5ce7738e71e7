/* Vectors whose list of pieces is allocated; see qiov.h. Any thread. */
#include "core/qiov.h"

#include <glib.h>

void qemu_iovec_init(QEMUIOVector *qiov, int alloc_hint)
{
    qiov->iov = g_new(struct iovec, MAX(alloc_hint, 1));
    qiov->niov = 0;
    qiov->nalloc = MAX(alloc_hint, 1);
    qiov->size = 0;
}

void qemu_iovec_destroy(QEMUIOVector *qiov)
{
    core_assert(qiov->nalloc > 0);
    g_free(qiov->iov);
    *qiov = (QEMUIOVector){ 0 };
}

void qemu_iovec_reset(QEMUIOVector *qiov)
{
    core_assert(qiov->nalloc > 0);
    qiov->niov = 0;
    qiov->size = 0;
}

void qemu_iovec_add(QEMUIOVector *qiov, void *base, size_t bytes)
{
    core_assert(qiov->nalloc > 0);
    if (qiov->niov == qiov->nalloc) {
        qiov->nalloc = 2 * qiov->nalloc;
        qiov->iov = g_renew(struct iovec, qiov->iov, qiov->nalloc);
    }
    qiov->iov[qiov->niov++] = (struct iovec){ .iov_base = base, .iov_len = bytes };
    qiov->size += bytes;
}

void qemu_iovec_concat(QEMUIOVector *to, const QEMUIOVector *from, size_t offset, size_t bytes)
{
    core_assert(offset <= from->size && bytes <= from->size - offset);
    for (int i = 0; bytes; i++) {
        size_t skip = MIN(offset, from->iov[i].iov_len);
        size_t part = MIN(from->iov[i].iov_len - skip, bytes);

        if (part) {
            qemu_iovec_add(to, (char *)from->iov[i].iov_base + skip, part);
        }
        offset -= skip;
        bytes -= part;
    }
}

void qemu_iovec_memset(QEMUIOVector *qiov, size_t offset, int value, size_t bytes)
{
    core_assert(offset <= qiov->size && bytes <= qiov->size - offset);
    for (int i = 0; bytes; i++) {
        size_t skip = MIN(offset, qiov->iov[i].iov_len);
        size_t part = MIN(qiov->iov[i].iov_len - skip, bytes);

        memset((char *)qiov->iov[i].iov_base + skip, value, part);
        offset -= skip;
        bytes -= part;
    }
}
