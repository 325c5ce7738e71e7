/*
 * Sites: the places in the program at which steps are taken, under names that are the same in every flavour.
 *
 * An atomic access: function, file, expression, operation, and an ordinal among those that agree in all of these, in order of lines.
 * A call of libc: a number from the namer (report/ reads it from debug information), remembered per code address and caller.
 */
#include <stdlib.h>
#include <string.h>

#include "sched/internal.h"

#define CALL_SLOTS (1u << 14)
#define CALLERS    2u /* code addresses that name a call: its own and its caller's */
#define UNKNOWN    1u /* the caller's, where the call comes from code that keeps no frame pointers */

extern SchedSite __start_sched_sites[] __attribute__((weak, visibility("hidden")));
extern SchedSite __stop_sched_sites[] __attribute__((weak, visibility("hidden")));
extern const char __executable_start[], etext[];

static const SchedSite *by_name[1u << 16];
static uint32_t (*call_namer)(void *const *pcs, unsigned n);

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Order of names: equal names are neighbours, in order of lines. */
static int compare_names(const SchedSite *a, const SchedSite *b)
{
    int order = strcmp(base_name(a->file), base_name(b->file));

    order = order ? order : strcmp(a->function, b->function);
    order = order ? order : strcmp(a->expression, b->expression);
    return order ? order : (int)a->operation - (int)b->operation;
}

static int compare_sites(const void *a, const void *b)
{
    const SchedSite *x = *(const SchedSite *const *)a, *y = *(const SchedSite *const *)b;
    int order = compare_names(x, y);

    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static uint32_t hash_text(uint32_t hash, const char *text)
{
    for (; *text; text++) {
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    }
    return (hash ^ 0xff) * 16777619u;
}

static uint32_t never_zero(uint32_t id)
{
    return id & 0xffff ? id : id | 1;
}

void sched_name_sites(SchedSite *sites, size_t count)
{
    SchedSite **sorted = calloc(count + 1, sizeof(*sorted));
    uint32_t ordinal = 0;

    if (!sorted) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &sites[i];
    }
    qsort(sorted, count, sizeof(*sorted), compare_sites);
    for (size_t i = 0; i < count; i++) {
        SchedSite *site = sorted[i];
        uint32_t hash = 2166136261u;

        if (i && compare_names(sorted[i - 1], site) == 0) {
            /* the same line again: one source line, compiled into several objects */
            ordinal += sorted[i - 1]->line != site->line;
        } else {
            ordinal = 0;
        }
        hash = hash_text(hash, base_name(site->file));
        hash = hash_text(hash, site->function);
        hash = hash_text(hash, site->expression);
        hash = (hash ^ (site->operation + 16 * ordinal)) * 16777619u;
        site->id = never_zero((uint32_t)sched_mix64(hash));
        by_name[site->id & 0xffff] = site;
    }
    free(sorted);
}

void sched_sites_init(void)
{
    sched_name_sites(__start_sched_sites, __start_sched_sites ? (size_t)(__stop_sched_sites - __start_sched_sites) : 0);
}

const SchedSite *sched_site_by_name(uint16_t site)
{
    return by_name[site];
}

void sched_set_namer(uint32_t (*namer)(void *const *pcs, unsigned n))
{
    call_namer = namer;
}

/* ---- calls */

typedef struct CallSite {
    void *pcs[CALLERS];
    uint16_t name;
    uint16_t call;
} CallSite;

/* In pages of its own: processes may share it (sched_share_with_children). */
static struct {
    CallSite sites[CALL_SLOTS];
    uint32_t used;
} __attribute__((aligned(4096))) calls;

void *sched_sites_memory(size_t *bytes)
{
    *bytes = sizeof(calls);
    return &calls;
}

static void *name_call(void *opaque)
{
    CallSite *site = opaque;
    uint32_t hash = call_namer ? call_namer(site->pcs, CALLERS) : 0;

    site->name = (uint16_t)never_zero((uint32_t)sched_mix64(hash * 64ull + site->call));
    return NULL;
}

static bool in_executable(const void *pc)
{
    return (const char *)pc >= __executable_start && (const char *)pc < etext;
}

/* Where the function was called from that makes the call at pc. Shared libraries keep no frame pointers: what stands where one would
 * stand is left from some earlier call, and differs between builds. */
static void *caller_of(const void *pc, void *frame)
{
    char **caller = frame ? *(char ***)frame : NULL;

    if (!in_executable(pc)) {
        return (void *)(uintptr_t)UNKNOWN;
    }
    if ((char *)caller > (char *)frame && (char *)caller < sched_self_->stack_high - 16 && ((uintptr_t)caller & 7) == 0) {
        return caller[1];
    }
    return NULL;
}

/* ---- callers: as offsets into the executable, two in a word */

static bool has_callers(const SchedStep *step)
{
    return step->operation == SCHED_CALL && (step->call == SCHED_CALL_MUTEX_UNLOCK || step->call == SCHED_CALL_COND_SIGNAL ||
                                             step->call == SCHED_CALL_COND_BROADCAST);
}

void sched_note_callers(SchedStep *step, void *frame)
{
    char **at = frame;
    uint64_t words[SCHED_CALLERS_MAX / 2] = { 0 };

    if (!has_callers(step) || !in_executable(step->pc)) {
        return; /* a shared library keeps no frame pointers */
    }
    for (unsigned i = 0; i < SCHED_CALLERS_MAX; i++) {
        char **next = (char **)*at;

        if ((char *)next <= (char *)at || (char *)next >= sched_self_->stack_high - 16 || ((uintptr_t)next & 7) != 0 ||
            !in_executable(next[1])) {
            break;
        }
        words[i / 2] |= (uint64_t)(uint32_t)(next[1] - (char *)__executable_start) << i % 2 * 32;
        at = next;
    }
    step->old_value = words[0];
    step->new_value = words[1];
}

unsigned sched_step_callers(const SchedStep *step, uintptr_t pcs[SCHED_CALLERS_MAX])
{
    const uint64_t words[SCHED_CALLERS_MAX / 2] = { step->old_value, step->new_value };
    unsigned count = 0;

    if (!has_callers(step)) {
        return 0;
    }
    while (count < SCHED_CALLERS_MAX && (uint32_t)(words[count / 2] >> count % 2 * 32)) {
        pcs[count] = (uintptr_t)__executable_start + (uint32_t)(words[count / 2] >> count % 2 * 32);
        count++;
    }
    return count;
}

uint16_t sched_call_site(SchedCall call, void *pc, void *frame)
{
    CallSite site = { .pcs = { pc, caller_of(pc, frame) }, .call = (uint16_t)call };
    uint32_t slot;

    slot = (uint32_t)(sched_mix64((uintptr_t)pc * 31 + (uintptr_t)site.pcs[1]) + call) % CALL_SLOTS;
    for (; calls.sites[slot].name; slot = (slot + 1) % CALL_SLOTS) {
        const CallSite *known = &calls.sites[slot];

        if (known->pcs[0] == pc && known->pcs[1] == site.pcs[1] && known->call == call) {
            return known->name;
        }
    }
    sched_on_kernel_thread(name_call, &site);
    if (calls.used < CALL_SLOTS / 2) {
        calls.used++;
        calls.sites[slot] = site;
    }
    return site.name;
}
