/*
 * Regular files of the simulated OS as open files: position, append, O_DIRECT.
 *
 * 1. An open file has its inode's serial number: two of one inode are the same object to the scheduler.
 * 2. Always readable and writable, as poll() says of every regular file.
 * 3. With O_DIRECT the offset, each length and each address must be multiples of 512.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/inode.h"

#define BLOCK_BYTES 512u

#ifndef O_LARGEFILE_IN_KERNEL
#define O_LARGEFILE_IN_KERNEL 0100000 /* what F_GETFL shows of every file that was opened by name on x86-64 */
#endif

bool os_regular_aligned(const struct iovec *vector, int count, off_t offset)
{
    uintptr_t all = (uintptr_t)offset;

    for (int i = 0; i < count; i++) {
        all |= (uintptr_t)vector[i].iov_base | vector[i].iov_len;
    }
    return all % BLOCK_BYTES == 0;
}

/* A span as it comes from a call: at the start of its vector. */
static bool span_aligned(const OsFile *file, const OsSpan *span, off_t offset)
{
    size_t left = span->left;
    int count = 0;

    if (!(file->flags & O_DIRECT)) {
        return true;
    }
    for (; left && left >= span->vector[count].iov_len; count++) {
        left -= span->vector[count].iov_len;
    }
    return left % BLOCK_BYTES == 0 && os_regular_aligned(span->vector, count, offset);
}

static ssize_t regular_read_at(OsFile *file, OsSpan *span, off_t offset)
{
    if (offset < 0 || !span_aligned(file, span, offset)) {
        return -EINVAL;
    }
    return os_inode_read(file->regular.inode, span, offset);
}

static ssize_t regular_write_at(OsFile *file, OsSpan *span, off_t offset)
{
    OsInode *inode = file->regular.inode;

    if (file->flags & O_APPEND) { /* Linux appends whatever the offset */
        offset = (off_t)inode->size;
    }
    if (offset < 0 || !span_aligned(file, span, offset)) {
        return -EINVAL;
    }
    return os_inode_write(inode, span, offset);
}

static ssize_t regular_read(OsFile *file, OsSpan *span)
{
    ssize_t result = regular_read_at(file, span, file->regular.position);

    file->regular.position += result > 0 ? result : 0;
    return result;
}

static ssize_t regular_write(OsFile *file, OsSpan *span)
{
    off_t from = file->flags & O_APPEND ? (off_t)file->regular.inode->size : file->regular.position;
    ssize_t result = regular_write_at(file, span, from);

    if (result > 0) {
        file->regular.position = from + result;
    }
    return result;
}

/* Files have no holes here. */
static off_t regular_seek(OsFile *file, off_t offset, int whence)
{
    off_t size = (off_t)file->regular.inode->size;

    switch (whence) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        offset += file->regular.position;
        break;
    case SEEK_END:
        offset += size;
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        if (offset < 0 || offset >= size) {
            return -ENXIO;
        }
        offset = whence == SEEK_DATA ? offset : size;
        break;
    default:
        return -EINVAL;
    }
    if (offset < 0) {
        return -EINVAL;
    }
    file->regular.position = offset;
    return offset;
}

static int regular_truncate(OsFile *file, off_t size)
{
    if (size < 0 || (file->flags & O_ACCMODE) == O_RDONLY) {
        return -EINVAL;
    }
    os_inode_resize(file->regular.inode, (size_t)size);
    return 0;
}

static unsigned regular_poll(OsFile *file)
{
    (void)file;
    return POLLIN | POLLOUT;
}

static size_t regular_available(OsFile *file)
{
    off_t size = (off_t)file->regular.inode->size;

    return file->regular.position < size ? (size_t)(size - file->regular.position) : 0;
}

static void regular_release(OsFile *file)
{
    os_inode_drop(file->regular.inode);
}

static void regular_describe(OsFile *file, char *buffer, size_t size)
{
    snprintf(buffer, size, ", %s", file->regular.inode->name[0] ? file->regular.inode->name : "deleted");
}

const OsFileKind os_regular_kind = {
    .name = "file",
    .mode = S_IFREG | 0600,
    .poll = regular_poll,
    .read = regular_read,
    .write = regular_write,
    .read_at = regular_read_at,
    .write_at = regular_write_at,
    .seek = regular_seek,
    .truncate = regular_truncate,
    .release = regular_release,
    .available = regular_available,
    .describe = regular_describe,
};

OsFile *os_regular_open(OsInode *inode, int flags)
{
    enum { KEPT = O_ACCMODE | O_NONBLOCK | O_APPEND | O_DIRECT | O_DSYNC | O_SYNC | O_NOATIME };
    OsFile *file = os_file_new(&os_regular_kind, (flags & KEPT) | O_LARGEFILE_IN_KERNEL);

    if (file) {
        file->serial = inode->serial;
        file->regular.inode = inode;
    } else {
        os_inode_drop(inode);
    }
    return file;
}
