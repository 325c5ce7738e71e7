/*
 * Thread-local variables of pooled threads. A fiber's real thread lives for many executions and keeps its thread-local storage; a
 * program expects fresh variables in each new thread. So at each start of a fiber the program's own __thread variables get
 * their initial values back.
 *
 * The executable's storage also holds the variables of the sanitizer runtimes, the fuzzing engine and the scheduler, which must stay.
 * The symbol table tells them apart by name. An executable that was stripped has no symbol table: then nothing is put back, and
 * a program that needs it says so itself (core_thread_reset() in the core).
 */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sched/internal.h"

#define RANGES_MAX 256u

typedef struct Range {
    size_t offset, bytes; /* within the block */
} Range;

static struct {
    const char *image; /* initial values */
    size_t image_bytes, block_bytes, align;
    Range ranges[RANGES_MAX];
    unsigned count;
} tls;

static bool belongs_to_runtime(const char *name)
{
    static const char *const prefixes[] = { "__asan",     "__tsan",      "__msan",      "__lsan",
                                            "__ubsan",    "__sanitizer", "__sancov",    "_ZN6__asan",
                                            "_ZN6__tsan", "_ZN6__lsan",  "_ZN7__ubsan", "_ZN11__sanitizer",
                                            "_ZN6fuzzer", "_ZL",         "_ZZ",         "_ZN",
                                            "_ZGV",       "sched_",      "os_real",     "cur_thread" };

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static int compare_ranges(const void *a, const void *b)
{
    const Range *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Neighbours become one range: each thread's start goes over all of them. */
static void join_ranges(void)
{
    unsigned joined = 0;

    for (unsigned i = 0; i < tls.count; i++) {
        Range *last = joined ? &tls.ranges[joined - 1] : NULL;

        if (last && tls.ranges[i].offset <= last->offset + last->bytes) {
            size_t end = tls.ranges[i].offset + tls.ranges[i].bytes;

            last->bytes = end > last->offset + last->bytes ? end - last->offset : last->bytes;
        } else {
            tls.ranges[joined++] = tls.ranges[i];
        }
    }
    tls.count = joined;
}

static int find_segment(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];

        if (header->p_type == PT_TLS) {
            tls.image = (const char *)info->dlpi_addr + header->p_vaddr;
            tls.image_bytes = header->p_filesz;
            tls.block_bytes = header->p_memsz;
            tls.align = header->p_align ? header->p_align : 1;
        }
    }
    return 1; /* the executable comes first, the others do not matter */
}

static void add_symbols(const char *file, const Elf64_Shdr *symbols, const Elf64_Shdr *names)
{
    const Elf64_Sym *symbol = (const Elf64_Sym *)(file + symbols->sh_offset);

    for (size_t i = 0; i < symbols->sh_size / sizeof(*symbol) && tls.count < RANGES_MAX; i++) {
        const char *name = file + names->sh_offset + symbol[i].st_name;

        if (ELF64_ST_TYPE(symbol[i].st_info) == STT_TLS && symbol[i].st_shndx != SHN_UNDEF && symbol[i].st_size &&
            symbol[i].st_value + symbol[i].st_size <= tls.block_bytes && !belongs_to_runtime(name)) {
            tls.ranges[tls.count++] = (Range){ symbol[i].st_value, symbol[i].st_size };
        }
    }
}

static void read_symbol_table(const char *file, size_t bytes)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)file;
    const Elf64_Shdr *section = (const Elf64_Shdr *)(file + header->e_shoff);

    if (bytes < sizeof(*header) || header->e_shoff + header->e_shnum * sizeof(*section) > bytes) {
        return;
    }
    for (unsigned i = 0; i < header->e_shnum; i++) {
        if (section[i].sh_type == SHT_SYMTAB && section[i].sh_link < header->e_shnum) {
            add_symbols(file, &section[i], &section[section[i].sh_link]);
        }
    }
    qsort(tls.ranges, tls.count, sizeof(tls.ranges[0]), compare_ranges);
    join_ranges();
}

void sched_tls_init(void)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat status;

    dl_iterate_phdr(find_segment, NULL);
    if (fd < 0) {
        return;
    }
    if (tls.block_bytes && fstat(fd, &status) == 0) {
        void *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (file != MAP_FAILED) {
            read_symbol_table(file, (size_t)status.st_size);
            munmap(file, (size_t)status.st_size);
        }
    }
    close(fd);
}

void sched_tls_reset(void)
{
    /* variant II: the executable's block ends at the thread pointer, rounded to its alignment */
    char *block = (char *)sched_arch_thread_pointer() - ((tls.block_bytes + tls.align - 1) & ~(tls.align - 1));

    for (unsigned i = 0; i < tls.count; i++) {
        const Range *range = &tls.ranges[i];
        size_t initialized = 0;

        if (range->offset < tls.image_bytes) {
            initialized = tls.image_bytes - range->offset;
            initialized = initialized < range->bytes ? initialized : range->bytes;
            memcpy(block + range->offset, tls.image + range->offset, initialized);
        }
        memset(block + range->offset + initialized, 0, range->bytes - initialized);
    }
}
