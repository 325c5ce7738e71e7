/* See inode.h. */
#include "os/inode.h"

#include <string.h>
#include <unistd.h>

#include "os/sanitizer.h"

#define INODES_MAX 64u

static OsInode inodes[INODES_MAX]; /* references 0 and no name: free */
static unsigned char contents[INODES_MAX][OS_INODE_BYTES] __attribute__((aligned(4096)));
static unsigned used; /* taken from the array since the last reset */

void os_inode_reset(void)
{
    for (unsigned i = 0; i < used; i++) {
        if (inodes[i].is_memory) {
            os_memory_free(&inodes[i]);
        } else {
            memset(inodes[i].bytes, 0, inodes[i].high);
        }
        inodes[i] = (OsInode){ 0 };
    }
    used = 0;
    os_memory_reset();
}

/* ---- names */

/* Append part of a path, with one slash in front of each component. */
static bool append(char *name, const char *path)
{
    size_t length = strlen(name);

    while (*path) {
        size_t bytes = strcspn(path, "/");

        if (bytes && !(bytes == 1 && *path == '.')) {
            if (length + 1 + bytes >= OS_NAME_BYTES) {
                return false;
            }
            name[length++] = '/';
            memcpy(name + length, path, bytes);
            length += bytes;
            name[length] = '\0';
        }
        path += bytes + (path[bytes] == '/');
    }
    return true;
}

bool os_path(int folder, const char *path, char name[OS_NAME_BYTES])
{
    char here[OS_NAME_BYTES] = "";

    os_fills(here, sizeof(here));
    os_fills(name, OS_NAME_BYTES);
    name[0] = '\0';
    if (path[0] != '/' && (folder != AT_FDCWD || !getcwd(here, sizeof(here)))) {
        return false;
    }
    return append(name, here) && append(name, path);
}

OsInode *os_inode_find(const char *name)
{
    for (unsigned i = 0; i < used; i++) {
        if (inodes[i].name[0] && os_same_text(inodes[i].name, name)) {
            return &inodes[i];
        }
    }
    return NULL;
}

/* ---- life */

static OsInode *find_free(void)
{
    for (unsigned i = 0; i < used; i++) {
        if (!inodes[i].references && !inodes[i].name[0]) {
            return &inodes[i];
        }
    }
    return used < INODES_MAX ? &inodes[used++] : NULL;
}

OsInode *os_inode_new(const char *name, mode_t mode)
{
    OsInode *inode = find_free();

    if (inode) {
        unsigned char *bytes = contents[inode - inodes];

        os_clear(bytes, inode->high);
        *inode = (OsInode){
            .bytes = bytes, .serial = os_serial_new(), .references = 1, .mode = mode & S_IFMT ? mode : S_IFREG | (mode & 07777)
        };
        os_copy(inode->name, name, strnlen(name, sizeof(inode->name) - 1)); /* the rest is 0 */
    }
    return inode;
}

void os_inode_hold(OsInode *inode)
{
    inode->references++;
}

void os_inode_drop(OsInode *inode)
{
    inode->references--;
    if (!inode->references && inode->is_memory) {
        os_memory_free(inode);
    }
}

void os_inode_unlink(OsInode *inode)
{
    inode->name[0] = '\0';
}

/* ---- bytes */

ssize_t os_inode_read(OsInode *inode, OsSpan *span, off_t offset)
{
    size_t there = (size_t)offset < inode->size ? inode->size - (size_t)offset : 0;
    size_t bytes = span->left < there ? span->left : there;

    os_span_store(span, inode->bytes + offset, bytes);
    return (ssize_t)bytes;
}

ssize_t os_inode_write(OsInode *inode, OsSpan *span, off_t offset)
{
    size_t bytes = span->left;

    if (bytes > OS_INODE_BYTES || (size_t)offset > OS_INODE_BYTES - bytes) {
        sched_fail("unmodelled", "a simulated file of more than %u bytes is not modelled (%s)", OS_INODE_BYTES, inode->name);
    }
    if (inode->is_memory && bytes && (size_t)offset + bytes > inode->size) {
        os_memory_resize(inode, (size_t)offset + bytes);
    }
    os_span_fetch(span, inode->bytes + offset, bytes);
    if (bytes && (size_t)offset + bytes > inode->size) {
        inode->size = (size_t)offset + bytes;
        inode->high = inode->high > inode->size ? inode->high : inode->size;
    }
    return (ssize_t)bytes;
}

void os_inode_resize(OsInode *inode, size_t size)
{
    if (size > OS_INODE_BYTES) {
        sched_fail("unmodelled", "a simulated file of more than %u bytes is not modelled (%s)", OS_INODE_BYTES, inode->name);
    }
    if (inode->is_memory) {
        os_memory_resize(inode, size);
    } else if (size < inode->size) {
        memset(inode->bytes + size, 0, inode->size - size);
    }
    inode->size = size;
    inode->high = inode->high > size ? inode->high : size;
}
