/*
 * See rewind.h. How a page becomes one that is put back:
 *
 *     step | the program                          | here
 *     -----+--------------------------------------+---------------------------------------------------------
 *        1 |                                      | rewind_mark: all private writable pages are made read-only
 *        2 | writes to one for the first time     |
 *        3 |                                      | on_fault: copies it, makes it writable for good
 *        4 | goes on, and writes to it as it likes|
 *        5 |                                      | rewind_back: copies it back; and so after each execution
 *        6 | does not write to it any more        | rewind_back: finds it unchanged several times; makes it read-only again
 *
 * 1. After some executions nearly all pages that are often written to are known: no fault and no system call is needed for them.
 * 2. Step 6 keeps the copies to what executions of now write to. Where buffers lie differs from one to the next: of 4,367 pages that were copied
 *    after each of 40 executions of qemu_jobs, without step 6, 256 to 582 had changed.
 * 3. All that must be known while memory is put back lies in a shared mapping, which is not.
 * 4. The kernel writes to a thread's area for restartable sequences whenever it likes: the thread gives it up.
 * 5. Nothing here is instrumented, and nothing but system calls and memcpy() is called from the handler.
 */
#include "fuzz/rewind.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "sched/sched.h"

#define PAGE_BYTES       4096u
#define RANGES_MAX       1024u
#define PAGES_MAX        8192u             /* copied each time: 32 MiB; with more a new process is cheaper */
#define HEAP_SPARE_BYTES (64u << 20)       /* of addresses: so that an execution does not ask the kernel for more */
#define STACK_BYTES      (64u << 10)       /* of the kernel thread's stack, below the frame of rewind_mark() */
#define STACK_LEFT_BYTES (2u * PAGE_BYTES) /* of it, that this file itself runs on */
#define QUIET_LOOKS      4u                /* that find a page unchanged, in a row: then it is not looked at any more */
#define WRITE_FAULT      2                 /* x86-64, in the error code of a page fault */
#define RSEQ_SIGNATURE   0x53053053u       /* glibc's, x86-64 */
#define RSEQ_UNREGISTER  1

typedef struct Range {
    uintptr_t low, high;
    size_t first; /* page, in known */
} Range;

typedef struct Rewind {
    Range ranges[RANGES_MAX];
    size_t range_count;
    uint8_t *known; /* a byte a page of all ranges */
    size_t page_count;
    uintptr_t pages[PAGES_MAX];
    uint8_t quiet[PAGES_MAX]; /* looks in a row that have found the page unchanged */
    size_t count;             /* of pages */
    size_t kept;              /* the first of them are of the kernel thread's stack, which is never protected */
    bool full;
    struct sigaction before;
    sigset_t mask;
    void *stacks;
    void *heap_end;
    long mapped_pages;
    int statm, free_fd;
    char copies[PAGES_MAX][PAGE_BYTES];
} Rewind;

static Rewind *self; /* in a shared mapping; the pointer never changes after rewind_mark() */

extern void __asan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

/* One heap that grows at its end, and neither shrinks nor lies anywhere else. */
static bool tame_heap(void)
{
    void *volatile spare; /* the compiler would leave both calls out */

    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT32_MAX);
    spare = malloc(HEAP_SPARE_BYTES);
    free(spare);
    return spare != NULL;
}

static void *map_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

/* ---- what is there */

/* Pages that the process has mapped, and the lowest descriptor that is free: both tell of what an execution leaves. */
static long mapped_pages(void)
{
    char text[64];
    ssize_t bytes = pread(self->statm, text, sizeof(text) - 1, 0);

    if (bytes <= 0) {
        return -1;
    }
    text[bytes] = '\0';
    return strtol(text, NULL, 10);
}

static int free_fd(void)
{
    int fd = dup(self->statm);

    close(fd);
    return fd;
}

static uintptr_t page_of(uintptr_t address)
{
    return address & ~(uintptr_t)(PAGE_BYTES - 1);
}

static bool add_range(uintptr_t low, uintptr_t high)
{
    if (self->range_count == RANGES_MAX) {
        return false;
    }
    self->ranges[self->range_count++] = (Range){ low, high, self->page_count };
    self->page_count += (high - low) / PAGE_BYTES;
    return true;
}

static bool add_without(uintptr_t low, uintptr_t high, const stack_t *holes, unsigned count)
{
    uintptr_t hole_low, hole_high;

    if (count == 0) {
        return low >= high || add_range(low, high);
    }
    hole_low = page_of((uintptr_t)holes->ss_sp);
    hole_high = page_of((uintptr_t)holes->ss_sp + holes->ss_size + PAGE_BYTES - 1);
    if (hole_high <= low || hole_low >= high) {
        return add_without(low, high, holes + 1, count - 1);
    }
    return add_without(low, hole_low, holes + 1, count - 1) && add_without(hole_high, high, holes + 1, count - 1);
}

/* All private writable memory, without this thread's stack and its signal stacks, which the kernel writes to. */
static bool find_ranges(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), low, high;
    char line[512], mode[5];
    const stack_t *signals = sched_signal_stacks();
    stack_t holes[3] = { signals[0], signals[1] };
    bool good = maps && sigaltstack(NULL, &holes[2]) == 0;

    while (good && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx %4s", &low, &high, mode) != 3 || mode[1] != 'w' || mode[3] != 'p' ||
            (here >= low && here < high)) {
            continue;
        }
        good = add_without(low, high, holes, 3);
    }
    if (maps) {
        fclose(maps);
    }
    return good;
}

/* ---- pages */

static const Range *range_of(uintptr_t address)
{
    for (size_t i = 0; i < self->range_count; i++) {
        if (address >= self->ranges[i].low && address < self->ranges[i].high) {
            return &self->ranges[i];
        }
    }
    return NULL;
}

static void remember(uintptr_t page)
{
    if (self->count == PAGES_MAX) {
        self->full = true; /* from here on the memory cannot be put back; the execution goes on */
        return;
    }
    memcpy(self->copies[self->count], (const void *)page, PAGE_BYTES);
    self->quiet[self->count] = 0;
    self->pages[self->count++] = page;
}

static uint8_t *known_of(const Range *range, uintptr_t page)
{
    return &self->known[range->first + (page - range->low) / PAGE_BYTES];
}

/* It is as it was, and is not looked at until it is written to again. The last page takes its place. */
static void forget(size_t index)
{
    uintptr_t page = self->pages[index];

    if (mprotect((void *)page, PAGE_BYTES, PROT_READ)) {
        return; /* the kernel has no room for one more border between pages */
    }
    *known_of(range_of(page), page) = 0;
    self->count--;
    if (index != self->count) {
        self->pages[index] = self->pages[self->count];
        self->quiet[index] = self->quiet[self->count];
        memcpy(self->copies[index], self->copies[self->count], PAGE_BYTES);
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr, page = page_of(address);
    const ucontext_t *machine = context;
    const Range *range = machine->uc_mcontext.gregs[REG_ERR] & WRITE_FAULT ? range_of(address) : NULL;
    uint8_t *known = range ? known_of(range, page) : NULL;

    if (known && !*known) {
        *known = 1;
        remember(page);
        if (mprotect((void *)page, PAGE_BYTES, PROT_READ | PROT_WRITE) == 0) {
            return;
        }
    }
    if (self->before.sa_flags & SA_SIGINFO) {
        self->before.sa_sigaction(number, info, context);
    } else {
        sigaction(number, &self->before, NULL); /* the instruction faults again, now for good */
    }
}

/* Below the frame of rewind_mark() and of what runs here, the kernel thread's stack is put back too; it is never protected. */
static void remember_stack(void)
{
    uintptr_t top = page_of((uintptr_t)__builtin_frame_address(0) - STACK_LEFT_BYTES);
    volatile char deep[STACK_BYTES + STACK_LEFT_BYTES];

    for (size_t i = 0; i < sizeof(deep); i += PAGE_BYTES) {
        deep[sizeof(deep) - 1 - i] = 0; /* the stack grows now, not in an execution */
    }
    for (uintptr_t page = top - STACK_BYTES; page < top; page += PAGE_BYTES) {
        remember(page);
    }
    self->kept = self->count;
}

static bool protect(void)
{
    for (size_t i = 0; i < self->range_count; i++) {
        const Range *range = &self->ranges[i];

        if (range->high > range->low && mprotect((void *)range->low, range->high - range->low, PROT_READ)) {
            return false;
        }
    }
    return true;
}

static void unprotect(void)
{
    for (size_t i = 0; i < self->range_count; i++) {
        mprotect((void *)self->ranges[i].low, self->ranges[i].high - self->ranges[i].low, PROT_READ | PROT_WRITE);
    }
}

static void leave_rseq(void)
{
    if (&__rseq_size && __rseq_size) {
        syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, RSEQ_UNREGISTER, RSEQ_SIGNATURE);
    }
}

/* ---- marking and going back */

static bool give_up(void)
{
    if (self->statm >= 0) {
        close(self->statm);
    }
    if (self->known) {
        munmap(self->known, self->page_count);
    }
    munmap(self, sizeof(*self));
    self = NULL;
    return false;
}

bool rewind_wanted(void)
{
    return !getenv("WAKEFUZZ_FORK");
}

bool rewind_mark(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    stack_t signals;

    if (__asan_init || __msan_init || __tsan_init || !tame_heap() || !(self = map_shared(sizeof(*self)))) {
        return false;
    }
    self->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (self->statm < 0 || sigaltstack(NULL, &signals) || signals.ss_flags & SS_DISABLE || !find_ranges()) {
        return give_up();
    }
    self->known = map_shared(self->page_count);
    if (!self->known) {
        return give_up();
    }
    leave_rseq();
    sigprocmask(SIG_SETMASK, NULL, &self->mask);
    self->stacks = sched_stacks_mark();
    self->heap_end = sbrk(0);
    self->free_fd = free_fd();
    remember_stack();
    self->mapped_pages = mapped_pages();
    sigaction(SIGSEGV, &action, &self->before);
    if (!protect()) {
        unprotect();
        sigaction(SIGSEGV, &self->before, NULL);
        return give_up();
    }
    return true;
}

void rewind_leave(void)
{
    if (self) {
        unprotect();
        sigaction(SIGSEGV, &self->before, NULL);
    }
}

static void put_back(size_t index)
{
    void *page = (void *)self->pages[index];

    if (memcmp(page, self->copies[index], PAGE_BYTES) != 0) {
        memcpy(page, self->copies[index], PAGE_BYTES);
        self->quiet[index] = 0;
    } else if (++self->quiet[index] >= QUIET_LOOKS && index >= self->kept) {
        forget(index);
    }
}

bool rewind_back(void)
{
    if (self->full || mapped_pages() != self->mapped_pages || free_fd() != self->free_fd || sbrk(0) != self->heap_end) {
        return false;
    }
    sched_stacks_cut(self->stacks);
    for (size_t i = self->count; i-- > 0;) { /* from the end: what takes a place has been put back */
        put_back(i);
    }
    sigprocmask(SIG_SETMASK, &self->mask, NULL);
    return true;
}
