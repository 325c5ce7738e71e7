/*
 * The files of the simulated OS: names and bytes in memory. What an execution creates lives here and is gone when it ends; a name
 * that was not created in it is the machine's (open.c).
 *
 * Fibers only. Nothing here is a scheduling point, or allocates.
 *
 * 1. An inode lives while it has its name or somebody holds it.
 * 2. Bytes beyond its size are zero: a file grows without being cleared.
 */
#ifndef WAKEFUZZ_OS_INODE_H
#define WAKEFUZZ_OS_INODE_H

#include "os/fd.h"

#define OS_INODE_BYTES 262144u /* the largest size */
#define OS_NAME_BYTES  256u

typedef struct OsInode {
    char name[OS_NAME_BYTES]; /* absolute, as os_path() makes it; empty: none any more */
    unsigned char *bytes;
    size_t size, high; /* high: the largest size that it has had */
    uint32_t serial;   /* the object of scheduling points on it */
    uint32_t references;
    mode_t mode;
    OsFile *socket; /* S_IFSOCK: the socket that is bound to it, until it is closed */
    bool is_memory; /* memfd_create(): bytes is a mapping of the real file `backing` (memfd.c) */
    int backing;
} OsInode;

/* path as an absolute one without "//" and "/./"; false where it is too long, or relative to a descriptor. Symbolic links and ".."
 * are not resolved: one file has one name. */
bool os_path(int folder, const char *path, char name[OS_NAME_BYTES]);

/* NULL: not created in this execution. */
OsInode *os_inode_find(const char *name);
/* A new empty file of that name, with one reference for the caller; NULL when there are too many. mode: S_IFREG where it names no kind.
 * An empty name is none. */
OsInode *os_inode_new(const char *name, mode_t mode);
void os_inode_hold(OsInode *inode);
void os_inode_drop(OsInode *inode);
/* Take its name away; it may be the last that kept it. */
void os_inode_unlink(OsInode *inode);

/* The whole span, less what lies beyond the end; never fails. */
ssize_t os_inode_read(OsInode *inode, OsSpan *span, off_t offset);
/* The whole span. Ends the execution as `unmodelled` where the file would grow too large. */
ssize_t os_inode_write(OsInode *inode, OsSpan *span, off_t offset);
void os_inode_resize(OsInode *inode, size_t size);

/* -ENOENT: the machine has nothing of that name, and its folder; else a negative errno that says why nothing can be created there. */
int os_machine_look(const char *path);

struct stat;
/* For stat() and fstat(). */
void os_inode_status(const OsInode *inode, struct stat *status);

void os_inode_reset(void);

/* memfd.c: what is behind an inode of memfd_create(). */
void os_memory_resize(OsInode *inode, size_t size);
void os_memory_free(OsInode *inode);
void os_memory_reset(void);

/* ---- open files that are regular (regular.c) */

extern const OsFileKind os_regular_kind;

/* An open file on inode, for open(); takes over the reference. NULL when there are too many. */
OsFile *os_regular_open(OsInode *inode, int flags);
/* Does O_DIRECT allow this? offset, and each piece's length and address, are multiples of 512. */
bool os_regular_aligned(const struct iovec *vector, int count, off_t offset);

#endif
