/* See watch.h. Only take() runs on the threads: it does no I/O and takes no memory. */
#include "report/watch.h"

#include <stdlib.h>
#include <string.h>

#include "report/unwinder.h"

enum { WATCHED_PCS_MAX = 96 };

typedef struct Taken {
    unsigned count;
    bool cut;
    uintptr_t pcs[WATCHED_PCS_MAX];
} Taken;

static size_t watched[REPORT_WATCHED_MAX];
static size_t watched_count;
static Taken *taken; /* of each */
static ReportPcs whole; /* of the stack being taken */

static size_t index_of(size_t step)
{
    size_t i = 0;

    while (i < watched_count && watched[i] != step) {
        i++;
    }
    return i;
}

static void take(size_t step, SchedThread *thread)
{
    size_t i = index_of(step);

    if (i == watched_count) {
        return;
    }
    whole.count = 0;
    if (thread) {
        report_unwind_here(&whole);
    }
    taken[i].cut = whole.count > WATCHED_PCS_MAX;
    taken[i].count = taken[i].cut ? WATCHED_PCS_MAX : whole.count;
    memcpy(taken[i].pcs, whole.at, taken[i].count * sizeof(whole.at[0]));
}

bool report_watch(const size_t *steps, size_t count)
{
    taken = count && count <= REPORT_WATCHED_MAX ? calloc(count, sizeof(*taken)) : NULL;
    if (!taken) {
        return false;
    }
    memcpy(watched, steps, count * sizeof(*steps));
    watched_count = count;
    sched_watch(watched, watched_count, take);
    return true;
}

const size_t *report_watched(size_t *count)
{
    *count = watched_count;
    return watched;
}

ReportStack report_watched_stack(size_t step)
{
    size_t i = index_of(step);

    if (i == watched_count || taken[i].count == 0) {
        return (ReportStack){ .count = 0 };
    }
    return report_stack_of_pcs(taken[i].pcs, taken[i].count, taken[i].cut);
}
