/* The symbolizer, asked about this very program. Lines are taken with __LINE__, so that the file may be edited. */
#include <glib.h>
#include <string.h>

#include "report/lines.h"
#include "report/symbolize.h"

typedef struct Place {
    uintptr_t pc; /* of a return address, less one */
    unsigned line;
} Place;

static Place place;
static volatile unsigned kept;

__attribute__((noinline)) static void note_caller(unsigned line)
{
    place = (Place){ (uintptr_t)__builtin_return_address(0) - 1, line };
}

__attribute__((noinline)) static void plain_function(void)
{
    note_caller(__LINE__);
    kept++;
}

static unsigned inlined_line;

static inline __attribute__((always_inline)) void inlined_function(void)
{
    inlined_line = __LINE__ + 1;
    note_caller(__LINE__);
    kept++;
}

static unsigned outer_line;

__attribute__((noinline)) static void outer_function(void)
{
    outer_line = __LINE__ + 1;
    inlined_function();
    kept++;
}

__attribute__((noinline)) static void outer_function_plainly(void)
{
    note_caller(__LINE__);
    kept++;
}

void __wrap_work(void);

__attribute__((noinline)) void __wrap_work(void)
{
    note_caller(__LINE__);
    kept++;
}

/* /report/symbolize/wrapped: a function that the linker put before another has the other's name. */
static void test_wrapped(void)
{
    const ReportFrame *frames;

    __wrap_work();
    g_assert_cmpuint(report_symbolize(place.pc, &frames), ==, 1);
    g_assert_cmpstr(frames[0].function, ==, "work");
}

static void foreign_function(void), foreign_function_too(void); /* at the end of this file */

/* /report/symbolize/caller: function, line, and a path that begins at the root of the source tree. */
static void test_caller(void)
{
    const ReportFrame *frames;

    plain_function();
    g_assert_cmpuint(report_symbolize(place.pc, &frames), ==, 1);
    g_assert_cmpstr(frames[0].function, ==, "plain_function");
    g_assert_cmpuint(frames[0].line, ==, place.line);
    g_assert_cmpstr(frames[0].file, ==, "tests/unit/report_symbolize.c");
    g_assert_false(frames[0].inlined);
    g_assert_cmpstr(frames[0].module, !=, "??");
}

/* /report/symbolize/inlined: the inlined function, with its own line, then its caller with the line of the call. */
static void test_inlined(void)
{
    const ReportFrame *frames;

    outer_function();
    g_assert_cmpuint(report_symbolize(place.pc, &frames), ==, 2);
    g_assert_cmpstr(frames[0].function, ==, "inlined_function");
    g_assert_cmpuint(frames[0].line, ==, inlined_line);
    g_assert_true(frames[0].inlined);
    g_assert_cmpstr(frames[1].function, ==, "outer_function");
    g_assert_cmpuint(frames[1].line, ==, outer_line);
    g_assert_cmpstr(frames[1].file, ==, "tests/unit/report_symbolize.c");
    g_assert_false(frames[1].inlined);
}

/* /report/symbolize/library: without debug information there is still the symbol and the module. */
static void test_library(void)
{
    const ReportFrame *frames;

    report_symbolize((uintptr_t)g_strdup, &frames);
    g_assert_cmpstr(frames[0].function, ==, "g_strdup");
    g_assert_true(strstr(frames[0].module, "glib") != NULL);
}

/* /report/symbolize/nowhere: an address of nothing is no error. */
static void test_nowhere(void)
{
    const ReportFrame *frames;

    g_assert_cmpuint(report_symbolize(1, &frames), ==, 1);
    g_assert_cmpstr(frames[0].function, ==, "??");
    g_assert_cmpuint(report_symbolize(0, &frames), ==, 1);
    g_assert_cmpstr(frames[0].function, ==, "??");
}

/* /report/symbolize/kept: asked again, the same frames: memory stays flat however often a place is asked for. 3,000
 * addresses are more than the table's first 1,024 slots hold, so that it has to grow in between. */
static void test_kept(void)
{
    const ReportFrame *first, *again;

    plain_function();
    report_symbolize(place.pc, &first);
    for (uintptr_t i = 0; i < 3000; i++) {
        const ReportFrame *other;

        report_symbolize(16 + i, &other);
    }
    report_symbolize(place.pc, &again);
    g_assert_true(first == again);
}

static uint32_t name_of(void (*function)(void), void *caller)
{
    void *pcs[3] = { NULL, caller, NULL };

    function();
    pcs[0] = (void *)(place.pc + 1);
    return report_site_namer(pcs, 3);
}

static void *return_address_in_plain_function(void)
{
    plain_function();
    return (void *)(place.pc + 1);
}

/* /report/namer/functions: another function, another number; the same function, the same number, whoever else called
 * it. */
static void test_namer(void)
{
    void *caller = return_address_in_plain_function();
    uint32_t plain = name_of(plain_function, caller);

    g_assert_cmpuint(plain, ==, name_of(plain_function, caller));
    g_assert_cmpuint(plain, !=, name_of(outer_function_plainly, caller));
    g_assert_cmpuint(plain, !=, name_of(plain_function, (char *)(uintptr_t)g_strdup + 1));
}

__attribute__((noinline)) static void twin_inner(void)
{
    note_caller(__LINE__);
    kept++;
}

/* /report/namer/inlining: "inlined_function called by outer_function" has one number, were it inlined there or not.
 * FNV-1a of the names, as a call that nobody inlined gives it. */
static void test_namer_inlining(void)
{
    static const char names[] = "inlined_function/outer_function/";
    uint32_t expected = 2166136261u;

    for (const char *c = names; *c; c++) {
        expected = (expected ^ (uint8_t)*c) * 16777619u;
    }
    g_assert_cmpuint(name_of(outer_function, return_address_in_plain_function()), ==, expected);

    static const char plain_names[] = "twin_inner/plain_function/";

    expected = 2166136261u;
    for (const char *c = plain_names; *c; c++) {
        expected = (expected ^ (uint8_t)*c) * 16777619u;
    }
    g_assert_cmpuint(name_of(twin_inner, return_address_in_plain_function()), ==, expected);
}

static inline __attribute__((always_inline)) void in_a_branch(void)
{
    if (kept % 2) {
        kept++;
    } else {
        note_caller(0);
    }
}

/* A caller that has the same call in another branch. */
__attribute__((noinline)) static void two_branches(bool inner)
{
    if (inner) {
        in_a_branch();
    } else {
        kept++;
        note_caller(0);
    }
}

static void first_branch(void)
{
    kept = 0;
    two_branches(true);
}

static void second_branch(void)
{
    two_branches(false);
}

/* /report/namer/branches: the two calls are not made one, which would be in neither branch, nor in the function that was inlined in one. */
static void test_namer_branches(void)
{
    void *caller = return_address_in_plain_function();
    uint32_t first = name_of(first_branch, caller);
    uintptr_t pc = place.pc;

    g_assert_cmpuint(first, !=, name_of(second_branch, caller));
    g_assert_true(pc != place.pc);
}

/* /report/symbolize/foreign-root: what lies below it is shown from there on. Run in a process of its own, as answers are kept. */
static void test_foreign_root(void)
{
    static char folder[4096];
    const ReportFrame *frames;

    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        return;
    }
    foreign_function();
    report_symbolize(place.pc, &frames);
    g_assert_true(frames[0].file[0] == '/' && g_str_has_suffix(frames[0].file, "/foreign/program/work.c"));
    g_strlcpy(folder, frames[0].file, strlen(frames[0].file) - strlen("program/work.c") + 1);
    report_set_foreign_root(folder);
    foreign_function_too();
    report_symbolize(place.pc, &frames);
    g_assert_cmpstr(frames[0].file, ==, "program/work.c");
}

/* ---- code by lines */

typedef struct Found {
    uintptr_t pc;
    unsigned first, last;
    unsigned ranges, with_pc;
    const char *function; /* of the code with that pc */
} Found;

static void visit(const ReportCode *code, void *opaque)
{
    Found *found = opaque;

    g_assert_cmpuint(code->low, <=, code->high);
    g_assert_cmpuint(code->line, >=, found->first);
    g_assert_cmpuint(code->line, <=, found->last);
    found->ranges++;
    if (found->pc - code->low < code->high - code->low) {
        found->with_pc++;
        found->function = code->function;
    }
}

static Found find(const char *file, unsigned first, unsigned last, bool known)
{
    Found found = { .pc = place.pc, .first = first, .last = last };

    g_assert_true(report_each_code_of_lines(file, (ReportLines){ first, last }, visit, &found) == known);
    return found;
}

static void check_function(Found found, const char *name)
{
    g_assert_cmpuint(found.with_pc, ==, 1);
#ifndef LINES_ONLY /* which say nothing of where a function begins */
    g_assert_cmpstr(found.function, ==, name);
#else
    (void)name;
#endif
}

/* /report/lines: the code of a call is that of its line, where it was inlined too, and of no other line. */
static void test_lines(void)
{
    static const char this[] = "unit/report_symbolize.c";

    plain_function();
    check_function(find(this, place.line, place.line, true), "plain_function");
    g_assert_cmpuint(find(this, place.line + 1, place.line + 1, true).with_pc, ==, 0);
    g_assert_cmpuint(find(this, 1, 1, true).ranges, ==, 0);
    outer_function();
    check_function(find(this, inlined_line, inlined_line, true), "inlined_function");
    g_assert_cmpuint(find(this, inlined_line - 1, inlined_line + 1, true).with_pc, ==, 1);
    g_assert_cmpuint(find(this, inlined_line - 1, inlined_line + 1, true).ranges, >,
                     find(this, inlined_line, inlined_line, true).ranges);
    g_assert_cmpuint(find("it/report_symbolize.c", place.line, place.line, false).ranges, ==, 0); /* no whole name */
    g_assert_cmpuint(find("nowhere.c", place.line, place.line, false).ranges, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/report/symbolize/caller", test_caller);
    g_test_add_func("/report/symbolize/inlined", test_inlined);
    g_test_add_func("/report/symbolize/wrapped", test_wrapped);
    g_test_add_func("/report/symbolize/foreign-root", test_foreign_root);
    g_test_add_func("/report/symbolize/library", test_library);
    g_test_add_func("/report/symbolize/nowhere", test_nowhere);
    g_test_add_func("/report/symbolize/kept", test_kept);
    g_test_add_func("/report/lines", test_lines);
    g_test_add_func("/report/namer/functions", test_namer);
    g_test_add_func("/report/namer/inlining", test_namer_inlining);
    g_test_add_func("/report/namer/branches", test_namer_branches);
    return g_test_run();
}

/* As if they came from another source tree. */
#line 10 "/elsewhere/foreign/program/work.c"
__attribute__((noinline)) static void foreign_function(void)
{
    note_caller(__LINE__);
    kept++;
}

__attribute__((noinline)) static void foreign_function_too(void)
{
    note_caller(__LINE__);
    kept++;
}
