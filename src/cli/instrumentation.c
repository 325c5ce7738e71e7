/*
 * See instrumentation.h.
 *
 * A call is the byte E8 and the distance to the function from the next instruction. That the same five bytes stand somewhere else in code,
 * with exactly the distance to a function of a runtime, does not happen in practice; tests/oss-fuzz compares with objdump.
 */
#include "cli/instrumentation.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#define CALL       0xe8
#define CALL_BYTES 5u

const char *const instrumentation_runtimes[RUNTIMES] = { "__asan_", "__msan_", "__tsan_", "__ubsan_" };

/* Of these, what only a compiler inserts; the simulated OS calls others to tell a sanitizer what it does to the program's memory. */
static const char *const inserted[RUNTIMES] = { "__asan_report_", "__msan_warning", "__tsan_func_entry", "__ubsan_handle_" };
#define INSERTED (1u << 8)

typedef struct Program {
    Elf *elf;
    GHashTable *runtime_functions; /* address: runtime + 1, and INSERTED */
    Instrumentation *found;
} Program;

static bool has_prefix(const char *name, const char *const *prefixes)
{
    for (; *prefixes; prefixes++) {
        if (strncmp(name, *prefixes, strlen(*prefixes)) == 0) {
            return true;
        }
    }
    return false;
}

/* Ours is C: what has a C++ name belongs to a runtime or to an engine. */
static bool is_linked_in(const char *name)
{
    static const char *const prefixes[] = { "__",  "_Z",    "_GLOBAL__", "asan.", "msan.",     "tsan.", "sancov.", "LLVMFuzzer",
                                            "afl", "hfuzz", "sanitizer", "_dl",   "internal_", "wrap_", NULL };

    return has_prefix(name, prefixes);
}

/* Static functions of the core may have such names, too. */
static bool watches(const char *name, const GElf_Sym *symbol)
{
    static const char *const prefixes[] = { "sched_", "os_", "check_", "report_", "driver_", NULL };

    return GELF_ST_BIND(symbol->st_info) == STB_GLOBAL && has_prefix(name, prefixes);
}

/* The first symbol table there is. */
static Elf_Data *symbols_of(Elf *elf, GElf_Shdr *header)
{
    Elf_Scn *section = NULL;

    while ((section = elf_nextscn(elf, section))) {
        if (gelf_getshdr(section, header) && header->sh_type == SHT_SYMTAB) {
            return elf_getdata(section, NULL);
        }
    }
    return NULL;
}

static void note_runtime(Program *program, const char *name, const GElf_Sym *symbol)
{
    for (unsigned i = 0; i < RUNTIMES; i++) {
        if (strncmp(name, instrumentation_runtimes[i], strlen(instrumentation_runtimes[i])) == 0) {
            unsigned flag = strncmp(name, inserted[i], strlen(inserted[i])) == 0 ? INSERTED : 0;

            g_hash_table_insert(program->runtime_functions, GSIZE_TO_POINTER(symbol->st_value), GUINT_TO_POINTER((i + 1) | flag));
        }
    }
}

static void count_calls(Program *program, const char *name, const GElf_Sym *symbol)
{
    Elf_Scn *section = elf_getscn(program->elf, symbol->st_shndx);
    Elf_Data *data = section ? elf_getdata(section, NULL) : NULL;
    bool ours = !is_linked_in(name), watching = ours && watches(name, symbol);
    GElf_Shdr header;

    if (!data || !data->d_buf || !gelf_getshdr(section, &header) || symbol->st_value < header.sh_addr ||
        symbol->st_value - header.sh_addr + symbol->st_size > data->d_size) {
        return;
    }
    program->found->functions += ours;
    for (size_t i = 0; i + CALL_BYTES <= symbol->st_size; i++) {
        const unsigned char *code = (const unsigned char *)data->d_buf + (symbol->st_value - header.sh_addr) + i;
        gpointer runtime;
        gint32 distance;

        if (code[0] != CALL) {
            continue;
        }
        memcpy(&distance, code + 1, sizeof(distance));
        runtime = g_hash_table_lookup(program->runtime_functions,
                                      GSIZE_TO_POINTER(symbol->st_value + i + CALL_BYTES + (gsize)(gssize)distance));
        if (runtime) {
            unsigned index = (GPOINTER_TO_UINT(runtime) & ~INSERTED) - 1;

            program->found->all_calls[index]++;
            program->found->calls[index] += ours;
            program->found->watching[index] += watching && GPOINTER_TO_UINT(runtime) & INSERTED;
        }
    }
}

static void each_function(Program *program, void (*visit)(Program *, const char *, const GElf_Sym *))
{
    GElf_Shdr header;
    Elf_Data *data = symbols_of(program->elf, &header);
    GHashTable *seen = g_hash_table_new(NULL, NULL); /* one function may have several names */

    for (size_t i = 0; data && i < header.sh_size / header.sh_entsize; i++) {
        GElf_Sym symbol;
        const char *name;

        if (!gelf_getsym(data, (int)i, &symbol) || GELF_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF ||
            !(name = elf_strptr(program->elf, header.sh_link, symbol.st_name))) {
            continue;
        }
        if (visit == note_runtime || g_hash_table_add(seen, GSIZE_TO_POINTER(symbol.st_value))) {
            visit(program, name, &symbol);
        }
    }
    g_hash_table_unref(seen);
}

static bool has_section(Elf *elf, const char *wanted)
{
    Elf_Scn *section = NULL;
    GElf_Shdr header;
    size_t names;

    if (elf_getshdrstrndx(elf, &names) != 0) {
        return false;
    }
    while ((section = elf_nextscn(elf, section))) {
        const char *name = gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;

        if (name && strcmp(name, wanted) == 0) {
            return true;
        }
    }
    return false;
}

bool instrumentation_read(const char *path, Instrumentation *found, char **trouble)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    Program program = { .found = found };
    GElf_Ehdr header;
    GElf_Shdr table;
    bool good = false;

    *found = (Instrumentation){ 0 };
    *trouble = NULL;
    if (fd < 0) {
        *trouble = g_strdup(g_strerror(errno));
        return false;
    }
    elf_version(EV_CURRENT);
    program.elf = elf_begin(fd, ELF_C_READ, NULL);
    if (!program.elf || !gelf_getehdr(program.elf, &header) || header.e_machine != EM_X86_64) {
        *trouble = g_strdup("it is no program for x86-64");
    } else if (!symbols_of(program.elf, &table)) {
        *trouble = g_strdup("it has no symbol table: it was stripped, and reports would name no function");
    } else {
        program.runtime_functions = g_hash_table_new(NULL, NULL);
        each_function(&program, note_runtime);
        each_function(&program, count_calls);
        g_hash_table_unref(program.runtime_functions);
        found->profiled = has_section(program.elf, "__llvm_prf_cnts");
        good = true;
    }
    elf_end(program.elf);
    close(fd);
    return good;
}
