/*
 * Memory that can be mapped twice: memfd_create, mmap and munmap of it.
 *
 * 1. Behind each such file is a real one of the kernel's, which belongs to nobody else; so mappings are real, with addresses of their own,
 *    and an access after munmap() is the fault that it is on Linux.
 * 2. Everything is gone when the next execution begins, what the program has left mapped too.
 * 3. mmap of any other simulated file ends the execution as `unmodelled`. All other mappings are the machine's, and no scheduling point.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os/inode.h"
#include "os/os.h"
#include "os/real.h"
#include "os/sanitizer.h"

REAL_SYMBOL(memfd_create)
REAL_SYMBOL(mmap)
REAL_SYMBOL(munmap)
REAL_SYMBOL(syscall)
REAL_SYMBOL(ftruncate)
REAL_SYMBOL(fstatfs)

#define MAPPINGS_MAX 64u
#define PAGE_BYTES   4096u
#define TMPFS_OF_ALL 0x01021994 /* TMPFS_MAGIC */
#define PAGES(bytes) (((bytes) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES)

typedef struct Mapping {
    char *start; /* NULL: free */
    size_t bytes;
} Mapping;

static Mapping mappings[MAPPINGS_MAX];
static unsigned used; /* taken from the array since the last reset */

/* ---- the file */

void os_memory_resize(OsInode *inode, size_t size)
{
    if (REAL(ftruncate)(inode->backing, (off_t)size) < 0) {
        sched_fail("unmodelled", "the machine has no memory for a file of %zu bytes", size);
    }
}

void os_memory_free(OsInode *inode)
{
    REAL(munmap)(inode->bytes, OS_INODE_BYTES);
    /* Not by close(): TSan takes that for a write to what mmap() has read, and whoever closes a descriptor of the simulated file last need
     * not know of who has mapped it by another one. */
    REAL(syscall)(SYS_close, inode->backing);
    inode->is_memory = false;
    inode->size = inode->high = 0;
}

static int make_memory(unsigned flags)
{
    int backing = REAL(memfd_create)("wakefuzz", MFD_CLOEXEC);
    void *bytes = backing < 0 ? MAP_FAILED : REAL(mmap)(NULL, OS_INODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, backing, 0);
    OsInode *inode = bytes == MAP_FAILED ? NULL : os_inode_new("", 0777);

    if (!inode) {
        sched_fail("unmodelled", "the machine, or the simulated OS, has no room for another memory file");
    }
    inode->bytes = bytes;
    inode->is_memory = true;
    inode->backing = backing;
    return os_fd_open_new(os_regular_open(inode, O_RDWR), flags & MFD_CLOEXEC);
}

int memfd_create(const char *name, unsigned flags)
{
    if (!sched_here()) {
        return REAL(memfd_create)(name, flags);
    }
    SCHED_POINT(SCHED_CALL_OPEN, 0);
    if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
        sched_fail("unmodelled", "memfd_create with flags 0x%x is not modelled", flags);
    }
    return make_memory(flags);
}

/* ---- mappings */

static Mapping *mapping_at(const char *address, size_t bytes)
{
    for (unsigned i = 0; i < used; i++) {
        if (mappings[i].start && address < mappings[i].start + mappings[i].bytes && mappings[i].start < address + bytes) {
            return &mappings[i];
        }
    }
    return NULL;
}

static Mapping *free_mapping(void)
{
    for (unsigned i = 0; i < used; i++) {
        if (!mappings[i].start) {
            return &mappings[i];
        }
    }
    return used < MAPPINGS_MAX ? &mappings[used++] : NULL;
}

void os_memory_reset(void)
{
    for (unsigned i = 0; i < used; i++) {
        if (mappings[i].start) {
            REAL(munmap)(mappings[i].start, mappings[i].bytes);
        }
    }
    used = 0;
}

uint64_t os_mappings_left(void)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < used; i++) {
        count += mappings[i].start != NULL;
    }
    return count;
}

/* Of a descriptor in the simulated range, after the scheduling point. */
static void *map(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    OsFile *file = os_fd_file(fd);
    Mapping *mapping;
    char *start;

    if (!file) {
        errno = EBADF;
        return MAP_FAILED;
    }
    mapping = free_mapping();
    if (file->kind != &os_regular_kind || !file->regular.inode->is_memory || (flags & MAP_FIXED) || !mapping) {
        sched_fail(
            "unmodelled",
            "mmap of a simulated descriptor that is not memfd_create()'s, of very many, or to a fixed address is not modelled");
    }
    start = REAL(mmap)(address, bytes, protection, flags, file->regular.inode->backing, offset);
    if (start != MAP_FAILED) {
        *mapping = (Mapping){ start, PAGES(bytes) };
    }
    return start;
}

static void *map_any(void *address, size_t bytes, int protection, int flags, int fd, off_t offset, void *site, void *frame)
{
    if (fd < OS_FD_FIRST || fd >= OS_FD_FIRST + OS_FD_COUNT || (flags & MAP_ANONYMOUS) || !sched_here()) {
        return REAL(mmap)(address, bytes, protection, flags, fd, offset);
    }
    sched_point(SCHED_CALL_MAP, os_fd_object(fd), site, frame);
    return map(address, bytes, protection, flags, fd, offset);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return map_any(address, bytes, protection, flags, fd, offset, __builtin_return_address(0), __builtin_frame_address(0));
}

/* The name that programs with 64-bit offsets call. */
void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    return map_any(address, bytes, protection, flags, fd, offset, __builtin_return_address(0), __builtin_frame_address(0));
}

int munmap(void *address, size_t bytes)
{
    Mapping *mapping = used && sched_here() ? mapping_at(address, bytes) : NULL;
    int result;

    if (!mapping) {
        return REAL(munmap)(address, bytes);
    }
    SCHED_POINT(SCHED_CALL_MAP, 0);
    mapping = mapping_at(address, bytes); /* another thread may have come first */
    if (mapping && (mapping->start != address || mapping->bytes != PAGES(bytes))) {
        sched_fail("unmodelled", "munmap of a part of a mapping is not modelled");
    }
    result = REAL(munmap)(address, bytes);
    if (mapping && result == 0) {
        sched_forget(mapping->start, mapping->bytes);
        mapping->start = NULL;
    }
    return result;
}

/* ---- what file system it is on: one in memory, as all simulated files are */

static int fill_file_system(int fd, struct statfs *status)
{
    OsFile *file = os_fd_file(fd);

    if (file->kind != &os_regular_kind) {
        sched_fail("unmodelled", "fstatfs of a simulated descriptor that is no file is not modelled");
    }
    os_writes(status, sizeof(*status));
    *status = (struct statfs){ .f_type = TMPFS_OF_ALL, .f_bsize = PAGE_BYTES, .f_frsize = PAGE_BYTES, .f_namelen = 255 };
    return 0;
}

int fstatfs(int fd, struct statfs *status)
{
    return sched_here() && os_fd_file(fd) ? fill_file_system(fd, status) : REAL(fstatfs)(fd, status);
}

_Static_assert(sizeof(struct statfs) == sizeof(struct statfs64), "one layout");

int fstatfs64(int fd, struct statfs64 *status)
{
    struct statfs *same = (struct statfs *)status;

    return sched_here() && os_fd_file(fd) ? fill_file_system(fd, same) : REAL(fstatfs)(fd, same);
}
