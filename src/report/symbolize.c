/*
 * Symbols through libdwfl, on the map of our own process. Kernel thread only.
 *
 * 1. A debug server (DEBUGINFOD_URLS) is never asked: a fuzz target does not use the network.
 * 2. Names and paths are copied, once per frame: when the map is read again, libdwfl may let go of debug information.
 * 3. clang writes no .debug_aranges: where libdw finds no unit for an address, the units are searched.
 */
#include "report/symbolize.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INLINED_MAX = 32, MODULE_MAPS_MAX = 16, PATH_BYTES = 1024 };

static const char own_path[] = "src/report/symbolize.c";

static Dwfl *dwfl;
static unsigned maps_read;
static const char *foreign_root; /* likewise, of a foreign program's sources; NULL: there is none */
static char root[PATH_BYTES]; /* of the source tree, with the final slash; empty: unknown */

/* ------------------------------------------------------------------------------------------- the map of the process */

static int find_debug_file(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base, const char *file,
                           const char *link, GElf_Word crc, char **found)
{
    const char *set = getenv("DEBUGINFOD_URLS");
    char *servers = set ? strdup(set) : NULL;
    int result;

    unsetenv("DEBUGINFOD_URLS"); /* invariant 1; what the machine itself has is read all the same */
    result = dwfl_standard_find_debuginfo(module, user, name, base, file, link, crc, found);
    if (servers) {
        setenv("DEBUGINFOD_URLS", servers, 1);
        free(servers);
    }
    return result;
}

extern const char __executable_start[]; /* of the linker */

/* The program's file may have been replaced, as by a build: its own debug information is still there under another name. */
static int find_elf(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base, char **file, Elf **elf)
{
    if (base == (Dwarf_Addr)(uintptr_t)__executable_start) {
        int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

        if (fd >= 0) {
            *file = strdup("/proc/self/exe");
            return fd;
        }
    }
    return dwfl_linux_proc_find_elf(module, user, name, base, file, elf);
}

static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf,
    .find_debuginfo = find_debug_file,
};

static void read_map(void)
{
    maps_read++;
    if (!dwfl) {
        dwfl = dwfl_begin(&callbacks);
    } else {
        dwfl_report_begin(dwfl); /* modules that are still there are kept */
    }
    if (dwfl) {
        dwfl_linux_proc_report(dwfl, getpid());
        dwfl_report_end(dwfl, NULL, NULL);
    }
}

struct Dwfl *report_modules(void)
{
    if (!dwfl) {
        read_map();
    }
    return dwfl;
}

static Dwfl_Module *module_at(uintptr_t pc)
{
    Dwfl_Module *module = report_modules() ? dwfl_addrmodule(dwfl, pc) : NULL;

    if (!module && maps_read < MODULE_MAPS_MAX) {
        read_map(); /* a library may have been loaded since */
        module = dwfl ? dwfl_addrmodule(dwfl, pc) : NULL;
    }
    return module;
}

static Dwarf_Die *unit_at(Dwfl_Module *module, uintptr_t pc, Dwarf_Addr *bias)
{
    Dwarf_Die *unit = dwfl_module_addrdie(module, pc, bias);

    if (unit) {
        return unit;
    }
    do { /* invariant 3 */
        unit = dwfl_module_nextcu(module, unit, bias);
    } while (unit && dwarf_haspc(unit, pc - *bias) != 1);
    return unit;
}

/* ------------------------------------------------------------------------------------------- paths */

/* Take out "//", "." and "..": path is absolute or not, out has PATH_BYTES. */
static void normalize(const char *path, char *out)
{
    size_t used = 0;

    while (*path && used < PATH_BYTES - 2) {
        size_t part = strcspn(path, "/");
        bool slash = path[part] == '/';

        if (part == 2 && path[0] == '.' && path[1] == '.' && used > 1 && (used < 3 || strncmp(out + used - 3, "../", 3) != 0)) {
            for (used--; used > 0 && out[used - 1] != '/'; used--) {
            }
        } else if (!(part == 1 && path[0] == '.') && (part || used == 0)) {
            part = part < PATH_BYTES - 2 - used ? part : PATH_BYTES - 2 - used;
            memcpy(out + used, path, part);
            used += part;
            if (slash) {
                out[used++] = '/';
            }
        }
        path += part + slash;
    }
    out[used] = '\0';
}

static void full_path(Dwarf_Die *unit, const char *file, char *out)
{
    Dwarf_Attribute attribute;
    const char *folder = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attribute));
    char joined[2 * PATH_BYTES];

    if (file[0] == '/' || !folder) {
        normalize(file, out);
        return;
    }
    snprintf(joined, sizeof(joined), "%s/%s", folder, file);
    normalize(joined, out);
}

static const char *keep_path(Dwarf_Die *unit, const char *file)
{
    char path[PATH_BYTES];
    const char *shown = path;

    if (!file) {
        return NULL;
    }
    full_path(unit, file, path);
    if (root[0] && strncmp(path, root, strlen(root)) == 0) {
        shown = path + strlen(root);
    } else if (foreign_root && strncmp(path, foreign_root, strlen(foreign_root)) == 0) {
        shown = path + strlen(foreign_root);
    }
    return strdup(shown);
}

void report_set_foreign_root(const char *folder)
{
    foreign_root = folder;
}

const char *report_path_from_root(const char *path)
{
    while (strncmp(path, "../", 3) == 0) {
        path += 3; /* as the compiler saw it from the build folder */
    }
    return root[0] && strncmp(path, root, strlen(root)) == 0 ? path + strlen(root) : path;
}

/* The root is what stands before the path of this very file. */
static void find_root(void)
{
    static bool done;
    Dwarf_Addr bias;
    char path[PATH_BYTES];

    if (done) {
        return;
    }
    done = true;

    uintptr_t here = (uintptr_t)report_symbolize;
    Dwfl_Module *module = module_at(here);
    Dwarf_Die *unit = module ? unit_at(module, here, &bias) : NULL;
    const char *name = unit ? dwarf_diename(unit) : NULL;

    if (!name) {
        return;
    }
    full_path(unit, name, path);

    size_t length = strlen(path), own = strlen(own_path);

    if (length > own && strcmp(path + length - own, own_path) == 0) {
        path[length - own] = '\0';
        strcpy(root, path);
    }
}

/* ------------------------------------------------------------------------------------------- frames of one address */

static void name_by_line(Dwarf_Die *unit, Dwarf_Addr address, ReportFrame *frame)
{
    Dwarf_Line *line = dwarf_getsrc_die(unit, address);
    int number = 0;

    if (line && dwarf_lineno(line, &number) == 0) {
        frame->line = (unsigned)number;
        frame->file = keep_path(unit, dwarf_linesrc(line, NULL, NULL));
    }
}

static Dwarf_Word constant_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;

    dwarf_formudata(dwarf_attr(die, name, &attribute), &value);
    return value;
}

/* Where the inlined function `die` was called from. */
static void name_by_call(Dwarf_Die *unit, Dwarf_Die *die, ReportFrame *frame)
{
    Dwarf_Files *files;
    size_t count;
    Dwarf_Word file = constant_of(die, DW_AT_call_file);

    frame->line = (unsigned)constant_of(die, DW_AT_call_line);
    if (dwarf_getsrcfiles(unit, &files, &count) == 0 && file < count) {
        frame->file = keep_path(unit, dwarf_filesrc(files, file, NULL, NULL));
    }
}

static bool from_system_header(Dwarf_Die *die)
{
    const char *file = dwarf_decl_file(die);

    return file && strncmp(file, "/usr/", 5) == 0;
}

/* "work" for "__wrap_work", which is how the linker calls what stands before a function. */
static const char *unwrapped(const char *name)
{
    static const char wrap[] = "__wrap_";

    return strncmp(name, wrap, sizeof(wrap) - 1) == 0 ? name + sizeof(wrap) - 1 : name;
}

/* The functions around address, innermost first. Returns how many; 0 when the debug information does not know, which with
 * -gline-tables-only it does of those alone in which something is inlined. */
static unsigned frames_by_debug_info(Dwarf_Die *unit, Dwarf_Addr address, ReportFrame *frames)
{
    Dwarf_Die *inner = NULL, *scopes = NULL;
    Dwarf_Die call = { 0 };
    unsigned count = 0;
    int scope_count;

    if (dwarf_getscopes(unit, address, &inner) <= 0) {
        return 0;
    }
    /* What dwarf_getscopes() lists beyond an inlined function is where that was defined; we want where it was called.
     */
    scope_count = dwarf_getscopes_die(inner, &scopes);
    for (int i = 0; i < scope_count && count < INLINED_MAX; i++) {
        int tag = dwarf_tag(&scopes[i]);

        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram) {
            continue;
        }

        ReportFrame *frame = &frames[count++];
        const char *name = dwarf_diename(&scopes[i]);

        frame->function = strdup(name ? unwrapped(name) : "??");
        frame->inlined = tag == DW_TAG_inlined_subroutine;
        frame->system_header = frame->inlined && from_system_header(&scopes[i]);
        if (count == 1) {
            name_by_line(unit, address, frame);
        } else {
            name_by_call(unit, &call, frame);
        }
        call = scopes[i];
        if (tag == DW_TAG_subprogram) {
            break;
        }
    }
    free(scopes);
    free(inner);
    return count;
}

/* "work" for "work.part.0": how a compiler cut a function up is nobody's business. */
static const char *plain_name(const char *symbol)
{
    symbol = unwrapped(symbol);

    size_t length = strcspn(symbol, ".");

    return symbol[length] && length ? strndup(symbol, length) : strdup(symbol);
}

static void name_by_symbol(Dwfl_Module *module, uintptr_t pc, ReportFrame *frame)
{
    GElf_Off offset;
    GElf_Sym symbol;
    const char *name = dwfl_module_addrinfo(module, pc, &offset, &symbol, NULL, NULL, NULL);

    frame->function = name && name[0] ? plain_name(name) : strdup("??");
}

static unsigned find_frames(uintptr_t pc, ReportFrame *frames)
{
    Dwfl_Module *module = module_at(pc);
    Dwarf_Die *unit = NULL;
    Dwarf_Addr start = 0, bias = 0;
    unsigned count = 0;
    const char *name = "??";

    if (module) {
        const char *path = dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL);
        const char *slash = path ? strrchr(path, '/') : NULL;

        unit = unit_at(module, pc, &bias);
        name = slash ? slash + 1 : path ? path : name;
        if (unit) {
            count = frames_by_debug_info(unit, pc - bias, frames);
        }
    }
    if (count == 0) {
        if (module) {
            name_by_symbol(module, pc, &frames[0]);
        } else {
            frames[0].function = strdup("??");
        }
        if (unit) {
            name_by_line(unit, pc - bias, &frames[0]);
        }
        count = 1;
    }
    for (unsigned i = 0; i < count; i++) {
        frames[i].pc = pc;
        frames[i].module = i == 0 ? strdup(name) : frames[0].module;
        frames[i].module_offset = pc - start;
    }
    return count;
}

/* ------------------------------------------------------------------------------------------- what was found before */

typedef struct Entry {
    uintptr_t pc; /* 0: free */
    ReportFrame *frames;
    unsigned count;
    size_t number; /* in order of the questions */
} Entry;

static Entry *entries;
static size_t entry_slots, entries_used;

static Entry *slot_of(Entry *table, size_t slots, uintptr_t pc)
{
    size_t at = (pc * 0x9e3779b97f4a7c15u >> 20) & (slots - 1);

    while (table[at].pc && table[at].pc != pc) {
        at = (at + 1) & (slots - 1);
    }
    return &table[at];
}

static void grow(void)
{
    size_t slots = entry_slots ? entry_slots * 2 : 1024;
    Entry *table = calloc(slots, sizeof(*table));

    if (!table) {
        abort();
    }
    for (size_t i = 0; i < entry_slots; i++) {
        if (entries[i].pc) {
            *slot_of(table, slots, entries[i].pc) = entries[i];
        }
    }
    free(entries);
    entries = table;
    entry_slots = slots;
}

unsigned report_symbolize(uintptr_t pc, const ReportFrame **frames)
{
    static const ReportFrame nowhere = { .function = "??", .module = "??" };

    if (pc == 0 || pc == UINTPTR_MAX) {
        *frames = &nowhere;
        return 1;
    }
    if (entries_used * 2 >= entry_slots) {
        grow();
    }

    Entry *entry = slot_of(entries, entry_slots, pc);

    if (!entry->pc) {
        ReportFrame found[INLINED_MAX] = { 0 };

        find_root();
        entry->count = find_frames(pc, found);
        entry->frames = malloc(entry->count * sizeof(*found));
        if (!entry->frames) {
            abort();
        }
        memcpy(entry->frames, found, entry->count * sizeof(*found));
        entry->pc = pc;
        entry->number = entries_used++;
    }
    *frames = entry->frames;
    return entry->count;
}

size_t report_symbolized_count(void)
{
    return entries_used;
}

size_t report_symbolized_since(size_t n, uintptr_t *pcs, size_t max)
{
    size_t stored = 0;

    for (size_t i = 0; i < entry_slots && stored < max; i++) {
        if (entries[i].pc && entries[i].number >= n) {
            pcs[stored++] = entries[i].pc;
        }
    }
    return stored;
}

const ReportFrame *report_function_at(uintptr_t pc)
{
    const ReportFrame *frames;
    unsigned count = report_symbolize(pc, &frames);

    for (unsigned i = 0; i + 1 < count; i++) {
        if (!frames[i].system_header) {
            return &frames[i];
        }
    }
    return &frames[count - 1];
}

/* Of the executable alone: what is zero at first lies behind what the map of the process has of it, so that the module is not found by
 * the address; and most addresses that are asked for are on the heap. */
const char *report_variable_at(uintptr_t address)
{
    Dwfl_Module *module = module_at((uintptr_t)report_variable_at);
    GElf_Off offset;
    GElf_Sym symbol;
    const char *name = module ? dwfl_module_addrinfo(module, address, &offset, &symbol, NULL, NULL, NULL) : NULL;
    static char copy[128]; /* invariant 2 */

    if (!name || !name[0] || GELF_ST_TYPE(symbol.st_info) != STT_OBJECT || offset >= symbol.st_size) {
        return NULL;
    }
    snprintf(copy, sizeof(copy), "%s", name);
    return copy;
}
