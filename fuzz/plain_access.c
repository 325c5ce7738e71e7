/*
 * See plain_access.h. The compiler puts a call before each load and store; which of these calls are points is looked up once, by their return addresses:
 *
 * 1. Debug information says which code a line has become; the calls in it are those call instructions (e8 rel32) whose target is one of ours.
 * 2. A call that is no point costs a look into a table.
 */
#include "fuzz/plain_access.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/lines.h"
#include "sched/sched.h"

enum { ACCESSES_MAX = 16384, SLOTS = 4 * ACCESSES_MAX, CALL_BYTES = 5, CALL_OPCODE = 0xe8 };

static SchedSite sites[ACCESSES_MAX];
static uintptr_t addresses[ACCESSES_MAX]; /* the return address of each site's call */
static char names[ACCESSES_MAX][sizeof("line 4294967295")];
static unsigned count, calls_seen;
/* Of a site, plus 1; 0: none. By addresses; a slot that is taken by another one is followed by the next. */
static uint16_t slots[SLOTS];

static unsigned slot_of(uintptr_t pc)
{
    return (unsigned)(pc * 0x9e3779b97f4a7c15u >> 32) % SLOTS;
}

static SchedSite *site_at(uintptr_t pc)
{
    for (unsigned slot = slot_of(pc); slots[slot]; slot = (slot + 1) % SLOTS) {
        if (addresses[slots[slot] - 1] == pc) {
            return &sites[slots[slot] - 1];
        }
    }
    return NULL;
}

/* ---- the compiler's calls */

static void is_about_to(const volatile void *object, void *pc)
{
    SchedSite *site = count ? site_at((uintptr_t)pc) : NULL;

    if (!site) {
        return;
    }
    if (site->operation == SCHED_LOAD) {
        sched_atomic(site, object, 0);
    } else {
        sched_store(site, object);
    }
}

#define ACCESS(kind, bytes)                                 \
    void __sanitizer_cov_##kind##bytes(const void *object); \
    void __sanitizer_cov_##kind##bytes(const void *object)  \
    {                                                       \
        is_about_to(object, __builtin_return_address(0));   \
    }

ACCESS(load, 1)
ACCESS(load, 2)
ACCESS(load, 4)
ACCESS(load, 8)
ACCESS(load, 16)
ACCESS(store, 1)
ACCESS(store, 2)
ACCESS(store, 4)
ACCESS(store, 8)
ACCESS(store, 16)

static const struct {
    void (*function)(const void *object);
    SchedOperation operation;
    uint8_t bytes; /* 0: a value that no step holds */
} kinds[] = {
    { __sanitizer_cov_load1, SCHED_LOAD, 1 },   { __sanitizer_cov_load2, SCHED_LOAD, 2 },
    { __sanitizer_cov_load4, SCHED_LOAD, 4 },   { __sanitizer_cov_load8, SCHED_LOAD, 8 },
    { __sanitizer_cov_load16, SCHED_LOAD, 0 },  { __sanitizer_cov_store1, SCHED_STORE, 1 },
    { __sanitizer_cov_store2, SCHED_STORE, 2 }, { __sanitizer_cov_store4, SCHED_STORE, 4 },
    { __sanitizer_cov_store8, SCHED_STORE, 8 }, { __sanitizer_cov_store16, SCHED_STORE, 0 },
};

/* ---- which of them */

/* A copy for ever; calls come function by function. */
static const char *kept(const char *function)
{
    const char *copy = count && strcmp(sites[count - 1].function, function) == 0 ? sites[count - 1].function : strdup(function);

    if (!copy) {
        abort();
    }
    return copy;
}

static void add(const char *file, const ReportCode *code, uintptr_t address, size_t kind)
{
    unsigned slot = slot_of(address);

    if (site_at(address)) {
        return; /* lines that are named twice, or rows of the table of lines that overlap */
    }
    if (count == ACCESSES_MAX) {
        fprintf(stderr, "wakefuzz: more than %d plain accesses are to be points, up to %s:%u\n", ACCESSES_MAX, file, code->line);
        exit(2);
    }
    while (slots[slot]) {
        slot = (slot + 1) % SLOTS;
    }
    snprintf(names[count], sizeof(names[0]), "line %u", code->line);
    sites[count] = (SchedSite){
        .file = file,
        .function = kept(code->function),
        .expression = names[count],
        .line = code->line,
        .operation = (uint8_t)kinds[kind].operation,
        .size_bytes = kinds[kind].bytes,
    };
    addresses[count] = address;
    slots[slot] = (uint16_t)++count;
}

static void look_for_calls(const ReportCode *code, void *opaque)
{
    const PlainLines *lines = opaque;

    for (uintptr_t at = code->low; at + CALL_BYTES <= code->high; at++) {
        const uint8_t *instruction = (const uint8_t *)at;
        int32_t distance;

        if (instruction[0] != CALL_OPCODE) {
            continue;
        }
        memcpy(&distance, instruction + 1, sizeof(distance));
        for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
            if (at + CALL_BYTES + (uintptr_t)(intptr_t)distance == (uintptr_t)kinds[kind].function) {
                calls_seen++;
                add(lines->file, code, at + CALL_BYTES, kind);
            }
        }
    }
}

void plain_access_init(void)
{
    for (const PlainLines *lines = wakefuzz_plain_lines; lines && lines->file; lines++) {
        unsigned before = calls_seen;
        bool known = report_each_code_of_lines(lines->file, lines->lines, look_for_calls, (void *)(uintptr_t)lines);

        if (calls_seen == before) {
            fprintf(stderr, "wakefuzz: no point at %s:%u", lines->file, lines->lines.first);
            if (lines->lines.last > lines->lines.first) {
                fprintf(stderr, "-%u", lines->lines.last);
            }
            fprintf(stderr, ": %s\n",
                    known ? "no access to memory was compiled there" : "the program has no debug information of that file");
            exit(2);
        }
    }
    sched_name_sites(sites, count);
}

bool plain_access_any(void)
{
    return count > 0;
}
