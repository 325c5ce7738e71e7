/*
 * From a code address to function, file and line, inside this process, by its own debug information.
 *
 * Kernel thread only (the tables are not locked). The first call maps the debug information; answers are kept, one
 * entry for each address that was asked for.
 */
#ifndef WAKEFUZZ_REPORT_SYMBOLIZE_H
#define WAKEFUZZ_REPORT_SYMBOLIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ReportFrame {
    uintptr_t pc;            /* as asked */
    const char *function;    /* "??" when unknown */
    const char *file;        /* relative to the root of the source tree where it lies in there; NULL when unknown */
    unsigned line;           /* 0 when unknown */
    const char *module;      /* base name of executable or library; "??" when unknown */
    uintptr_t module_offset; /* of pc in it */
    bool inlined;            /* into the next frame */
    bool system_header;      /* an inline function of a header below /usr: not part of anybody's program */
} ReportFrame;

/*
 * The frames that one code address stands for: the functions inlined there, innermost first, then the one they were
 * inlined into. Returns how many, at least 1, and points *frames at them; they stay valid for ever. For a return
 * address ask for pc - 1, so that the call and not what follows it is named. Does not fail: what is unknown is "??"
 * or NULL.
 */
unsigned report_symbolize(uintptr_t pc, const ReportFrame **frames);

/* How many addresses have been asked for so far, and which they are from the n-th on: at most max; returns how many were stored. A forked
 * child tells its parent, so that the next child knows the answers from the start. */
size_t report_symbolized_count(void);
size_t report_symbolized_since(size_t n, uintptr_t *pcs, size_t max);

/* The innermost function at this address that is no inline function of a system header. */
const ReportFrame *report_function_at(uintptr_t pc);

/* The variable with static storage that lies at this address, or NULL. Valid until the next call. */
const char *report_variable_at(uintptr_t address);

/* The path of a file of our own sources, as __FILE__ has it, from their root on. A part of path. After the first address was asked for. */
const char *report_path_from_root(const char *path);

/* Paths below this folder, with its final slash, are shown from there on, as those of our own sources are. Static storage;
 * before the first address is asked for. */
void report_set_foreign_root(const char *folder);

/* The modules of this process, for unwinding; NULL when libdw cannot read them. */
struct Dwfl *report_modules(void);

/*
 * For sched_set_namer(): a number for the place of a call, the same in every build flavour. pcs[0] is the return
 * address of the call, then its callers'; n > 0, unknown ones may be NULL. It is made of the names of the two
 * innermost functions, inlined or not; neither lines nor addresses enter.
 */
uint32_t report_site_namer(void *const *pcs, unsigned n);

#endif
