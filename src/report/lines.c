/* See lines.h. */
#include "report/lines.h"

#include <elfutils/libdwfl.h>
#include <string.h>

#include "report/symbolize.h"

/* Is end the end of path, from a slash on? */
static bool ends_in(const char *path, const char *end)
{
    size_t length = strlen(path), tail = strlen(end);

    return length >= tail && strcmp(path + length - tail, end) == 0 && (length == tail || path[length - tail - 1] == '/');
}

static void visit_unit(Dwarf_Die *unit, Dwarf_Addr bias, const char *file, unsigned first, unsigned last, ReportVisitCode *visit,
                       void *opaque)
{
    Dwarf_Lines *lines;
    size_t count;

    if (dwarf_getsrclines(unit, &lines, &count)) {
        return;
    }
    for (size_t i = 0; i + 1 < count; i++) { /* the last one only ends what was before it */
        Dwarf_Line *here = dwarf_onesrcline(lines, i);
        const char *path = dwarf_linesrc(here, NULL, NULL);
        Dwarf_Addr low, high;
        bool ended;
        int line;

        if (path && ends_in(path, file) && !dwarf_lineno(here, &line) && (unsigned)line >= first && (unsigned)line <= last &&
            !dwarf_lineendsequence(here, &ended) && !ended && !dwarf_lineaddr(here, &low) &&
            !dwarf_lineaddr(dwarf_onesrcline(lines, i + 1), &high)) {
            visit((unsigned)line, low + bias, high + bias, opaque);
        }
    }
}

bool report_each_code_of_lines(const char *file, unsigned first, unsigned last, ReportVisitCode *visit, void *opaque)
{
    Dwfl *dwfl = report_modules();
    Dwfl_Module *module = dwfl ? dwfl_addrmodule(dwfl, (uintptr_t)report_each_code_of_lines) : NULL;
    Dwarf_Die *unit = NULL;
    Dwarf_Addr bias;
    bool found = false;

    while (module && (unit = dwfl_module_nextcu(module, unit, &bias)) != NULL) {
        const char *name = dwarf_diename(unit);

        if (name && ends_in(name, file)) {
            found = true;
            visit_unit(unit, bias, file, first, last, visit, opaque);
        }
    }
    return found;
}
