/*
 * Stable numbers for the places of calls: what an input calls "the call at R" must be the same place in every build
 * flavour, whatever the compiler inlined there. Kernel thread only.
 */
#include <dlfcn.h>
#include <stddef.h>

#include "report/symbolize.h"

enum { LEVELS = 2 };

static uint32_t hash_name(uint32_t hash, const char *name)
{
    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * 16777619u; /* FNV-1a */
    }
    return (hash ^ '/') * 16777619u;
}

/*
 * The function of a shared library that an address is in; NULL: it is the program's. By the symbols that the library itself has, and not
 * by debug information, which one machine has installed and another one not: it would be another place there.
 */
static const char *library_function(const void *pc)
{
    Dl_info own, there;

    if (!dladdr((const char *)pc - 1, &there) || !dladdr((const void *)(uintptr_t)library_function, &own) ||
        there.dli_fbase == own.dli_fbase) {
        return NULL;
    }
    return there.dli_sname ? there.dli_sname : "??";
}

uint32_t report_site_namer(void *const *pcs, unsigned n)
{
    uint32_t hash = 2166136261u;
    unsigned levels = 0;

    for (unsigned i = 0; i < n && levels < LEVELS && pcs[i]; i++) {
        const char *function = library_function(pcs[i]);
        const ReportFrame *frames;
        unsigned count;

        if (function) {
            hash = hash_name(hash, function);
            levels++;
            continue;
        }
        count = report_symbolize((uintptr_t)pcs[i] - 1, &frames);
        for (unsigned k = 0; k < count && levels < LEVELS; k++) {
            /* read() is an inline function of a header where FORTIFY is on, and a plain call where it is off */
            if (!frames[k].system_header) {
                hash = hash_name(hash, frames[k].function);
                levels++;
            }
        }
    }
    return hash;
}
