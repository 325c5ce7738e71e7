/*
 * open in all its forms, and what else is done to a file by its name.
 *
 * 1. A name that was created in this execution is simulated; every other one is the machine's, as it was before.
 * 2. O_CREAT of a name that the machine does not have either creates it in the simulated OS. So does O_CREAT with O_TRUNC of a
 *    regular file that it has: nothing of the old one would be left, and the machine's is not touched.
 * 3. A folder is the machine's: a file is created only where its folder is there.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/inode.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(openat)
REAL_SYMBOL(fstatat)
REAL_SYMBOL(unlinkat)
REAL_SYMBOL(remove)
REAL_SYMBOL(faccessat)
REAL_SYMBOL(rename)
REAL_SYMBOL(truncate)
REAL_SYMBOL(link)
REAL_SYMBOL(fopen)

/* ---- open */

/* 0: the machine has a file there that O_CREAT|O_TRUNC empties; -ENOENT: nothing, and it can be created; else what open() says. */
static int look_at_machine(int folder, const char *path, int flags)
{
    struct stat status = { 0 }; /* touched before the kernel writes to it: the page may be one that is put back (fuzz/rewind.h) */
    char parent[OS_NAME_BYTES];
    char *slash;

    if (REAL(fstatat)(folder, path, &status, 0) == 0) {
        return S_ISREG(status.st_mode) && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_EXCL) ? 0 : -EEXIST;
    }
    if (errno != ENOENT || !os_path(folder, path, parent)) {
        return -errno;
    }
    slash = strrchr(parent, '/');
    slash[slash == parent] = '\0';
    if (REAL(fstatat)(AT_FDCWD, parent, &status, 0) < 0) {
        return -ENOTDIR;
    }
    return S_ISDIR(status.st_mode) ? -ENOENT : -ENOTDIR;
}

int os_machine_look(const char *path)
{
    return look_at_machine(AT_FDCWD, path, 0);
}

static int open_inode(OsInode *inode, int flags)
{
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        return (int)os_result(-EEXIST);
    }
    if (flags & O_DIRECTORY) {
        return (int)os_result(-ENOTDIR);
    }
    if (S_ISSOCK(inode->mode)) {
        return (int)os_result(-ENXIO);
    }
    if ((flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY) {
        os_inode_resize(inode, 0);
    }
    os_inode_hold(inode);
    return os_fd_open_new(os_regular_open(inode, flags), flags & O_CLOEXEC);
}

static int create_inode(const char *name, int flags, mode_t mode)
{
    OsInode *inode = os_inode_new(name, mode);

    if (!inode) {
        sched_fail("unmodelled", "so many simulated files are not modelled (%s)", name);
    }
    return os_fd_open_new(os_regular_open(inode, flags), flags & O_CLOEXEC);
}

static bool creates(int folder, const char *path, int flags)
{
    if (!(flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {
        return false;
    }
    switch (look_at_machine(folder, path, flags)) {
    case 0:
    case -ENOENT:
        return true;
    default:
        return false;
    }
}

static int open_any(int folder, const char *path, int flags, mode_t mode, void *site, void *frame)
{
    char name[OS_NAME_BYTES];
    OsInode *inode;

    if (!sched_here() || !path || !os_path(folder, path, name)) {
        return REAL(openat)(folder, path, flags, mode);
    }
    inode = os_inode_find(name);
    if (!inode && !creates(folder, path, flags)) {
        return REAL(openat)(folder, path, flags, mode);
    }
    sched_point(SCHED_CALL_OPEN, inode ? inode->serial : 0, site, frame);
    inode = os_inode_find(name); /* another thread may have created it meanwhile, or deleted it */
    if (inode) {
        return open_inode(inode, flags);
    }
    return flags & O_CREAT ? create_inode(name, flags, mode) : (int)os_result(-ENOENT);
}

#define MODE(flags, mode)                                                \
    do {                                                                 \
        va_list list;                                                    \
        va_start(list, flags);                                           \
        mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                    \
    } while (0)

#define OPEN(folder, path, flags, mode) \
    open_any(folder, path, flags, mode, __builtin_return_address(0), __builtin_frame_address(0))

int open(const char *path, int flags, ...)
{
    mode_t mode;

    MODE(flags, mode);
    return OPEN(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode;

    MODE(flags, mode);
    return OPEN(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    mode_t mode;

    MODE(flags, mode);
    return OPEN(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    mode_t mode;

    MODE(flags, mode);
    return OPEN(folder, path, flags, mode);
}

int creat(const char *path, mode_t mode)
{
    return OPEN(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode)
{
    return OPEN(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* FORTIFY's forms, for calls without a mode. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return OPEN(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return OPEN(AT_FDCWD, path, flags, 0);
}

int __openat_2(int folder, const char *path, int flags)
{
    return OPEN(folder, path, flags, 0);
}

int __openat64_2(int folder, const char *path, int flags)
{
    return OPEN(folder, path, flags, 0);
}

/* ---- other things done by name */

/* The inode of a simulated name; NULL: the call is the machine's. */
static OsInode *named(int folder, const char *path)
{
    char name[OS_NAME_BYTES];

    return sched_here() && path && os_path(folder, path, name) ? os_inode_find(name) : NULL;
}

static int unlink_named(OsInode *inode, void *site, void *frame)
{
    char name[OS_NAME_BYTES];

    memcpy(name, inode->name, sizeof(name));
    sched_point(SCHED_CALL_FILE, inode->serial, site, frame);
    inode = os_inode_find(name);
    if (!inode) {
        return (int)os_result(-ENOENT);
    }
    os_inode_unlink(inode);
    return 0;
}

#define UNLINK(inode) unlink_named(inode, __builtin_return_address(0), __builtin_frame_address(0))

int unlink(const char *path)
{
    OsInode *inode = named(AT_FDCWD, path);

    return inode ? UNLINK(inode) : REAL(unlinkat)(AT_FDCWD, path, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    OsInode *inode = named(folder, path);

    return inode && !flags ? UNLINK(inode) : REAL(unlinkat)(folder, path, flags);
}

int remove(const char *path)
{
    OsInode *inode = named(AT_FDCWD, path);

    return inode ? UNLINK(inode) : REAL(remove)(path);
}

void os_inode_status(const OsInode *inode, struct stat *status)
{
    os_writes(status, sizeof(*status));
    *status = (struct stat){
        .st_mode = inode->mode,
        .st_nlink = inode->name[0] != '\0',
        .st_ino = inode->serial,
        .st_size = (off_t)inode->size,
        .st_blksize = 4096,
        .st_blocks = (blkcnt_t)((inode->size + 511) / 512),
    };
}

static int status_of(int folder, const char *path, struct stat *status, int flags)
{
    OsInode *inode = named(folder, path);

    if (!inode) {
        return REAL(fstatat)(folder, path, status, flags);
    }
    os_inode_status(inode, status);
    return 0;
}

int stat(const char *restrict path, struct stat *restrict status)
{
    return status_of(AT_FDCWD, path, status, 0);
}

int lstat(const char *restrict path, struct stat *restrict status)
{
    return status_of(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

int fstatat(int folder, const char *restrict path, struct stat *restrict status, int flags)
{
    return status_of(folder, path, status, flags);
}

int stat64(const char *restrict path, struct stat64 *restrict status)
{
    return status_of(AT_FDCWD, path, (struct stat *)status, 0);
}

int lstat64(const char *restrict path, struct stat64 *restrict status)
{
    return status_of(AT_FDCWD, path, (struct stat *)status, AT_SYMLINK_NOFOLLOW);
}

int fstatat64(int folder, const char *restrict path, struct stat64 *restrict status, int flags)
{
    return status_of(folder, path, (struct stat *)status, flags);
}

int access(const char *path, int mode)
{
    return named(AT_FDCWD, path) ? 0 : REAL(faccessat)(AT_FDCWD, path, mode, 0);
}

int faccessat(int folder, const char *path, int mode, int flags)
{
    return named(folder, path) ? 0 : REAL(faccessat)(folder, path, mode, flags);
}

/* ---- what is not modelled of a simulated name, and would be ENOENT if it went to the machine */

static void refuse(const char *call, const char *path)
{
    if (named(AT_FDCWD, path)) {
        sched_fail("unmodelled", "%s of a simulated file is not modelled (%s)", call, path);
    }
}

int rename(const char *from, const char *to)
{
    refuse("rename", from);
    refuse("rename", to);
    return REAL(rename)(from, to);
}

int link(const char *from, const char *to)
{
    refuse("link", from);
    refuse("link", to);
    return REAL(link)(from, to);
}

int truncate(const char *path, off_t size)
{
    refuse("truncate", path);
    return REAL(truncate)(path, size);
}

FILE *fopen(const char *restrict path, const char *restrict mode)
{
    refuse("fopen", path);
    return REAL(fopen)(path, mode);
}

FILE *fopen64(const char *restrict path, const char *restrict mode)
{
    refuse("fopen", path);
    return REAL(fopen)(path, mode);
}
