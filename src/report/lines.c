/* See lines.h. */
#include "report/lines.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>

#include "report/symbolize.h"

/* A function begins at this line. */
typedef struct Function {
    const char *name;
    int line;
} Function;

/* Those of one source file in one object, by their lines. */
typedef struct Functions {
    Function *list;
    size_t count, room;
} Functions;

/* Is end the end of path, from a slash on? */
static bool ends_in(const char *path, const char *end)
{
    size_t length = strlen(path), tail = strlen(end);

    return length >= tail && strcmp(path + length - tail, end) == 0 && (length == tail || path[length - tail - 1] == '/');
}

/* ---- functions: to ask for the scopes of each address takes a millisecond, and there may be thousands */

static int compare_lines(const void *a, const void *b)
{
    const Function *x = a, *y = b;

    return (x->line > y->line) - (x->line < y->line);
}

static void add_function(Functions *functions, const char *name, int line)
{
    if (functions->count == functions->room) {
        functions->room = 2 * functions->room + 64;

        void *grown = realloc(functions->list, functions->room * sizeof(*functions->list));

        if (!grown) {
            abort();
        }
        functions->list = grown;
    }
    functions->list[functions->count++] = (Function){ name, line };
}

static Functions functions_of(Dwarf_Die *unit, const char *file)
{
    Functions functions = { 0 };
    Dwarf_Die die;

    if (dwarf_child(unit, &die) != 0) {
        return functions;
    }
    do {
        const char *name = dwarf_diename(&die), *path;
        int line;

        if (dwarf_tag(&die) != DW_TAG_subprogram || !name || dwarf_decl_line(&die, &line) != 0) {
            continue;
        }
        path = dwarf_decl_file(&die); /* NULL of the unit's own file, which is the first in DWARF 5's table, and number 0 */
        if (!path || ends_in(path, file)) {
            add_function(&functions, name, line);
        }
    } while (dwarf_siblingof(&die, &die) == 0);
    if (functions.count) {
        qsort(functions.list, functions.count, sizeof(functions.list[0]), compare_lines);
    }
    return functions;
}

/* The last one that begins at this line or before. */
static const char *function_at(const Functions *functions, int line)
{
    const char *name = "??";

    for (size_t i = 0; i < functions->count && functions->list[i].line <= line; i++) {
        name = functions->list[i].name;
    }
    return name;
}

/* ---- lines */

static void visit_unit(Dwarf_Die *unit, Dwarf_Addr bias, const char *file, const ReportLines *wanted, ReportVisitCode *visit,
                       void *opaque)
{
    Functions functions = functions_of(unit, file);
    Dwarf_Lines *lines;
    size_t count;

    if (dwarf_getsrclines(unit, &lines, &count)) {
        count = 0;
    }
    for (size_t i = 0; i + 1 < count; i++) { /* the last one only ends what was before it */
        Dwarf_Line *here = dwarf_onesrcline(lines, i);
        const char *path = dwarf_linesrc(here, NULL, NULL);
        Dwarf_Addr low, high;
        bool ended;
        int line;

        if (path && ends_in(path, file) && !dwarf_lineno(here, &line) && (unsigned)line >= wanted->first &&
            (unsigned)line <= wanted->last && !dwarf_lineendsequence(here, &ended) && !ended && !dwarf_lineaddr(here, &low) &&
            !dwarf_lineaddr(dwarf_onesrcline(lines, i + 1), &high)) {
            visit(&(ReportCode){ function_at(&functions, line), (unsigned)line, low + bias, high + bias }, opaque);
        }
    }
    free(functions.list);
}

bool report_each_code_of_lines(const char *file, ReportLines wanted, ReportVisitCode *visit, void *opaque)
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
            visit_unit(unit, bias, file, &wanted, visit, opaque);
        }
    }
    return found;
}
