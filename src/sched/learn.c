/*
 * Learning and feedback. Two things are told to the fuzzing engine through its extra counters: which write a read observed, and which
 * waker met a waiter in which wait. What the mutator draws constraints from is the table of sites, in groups of those that
 * have touched the same object.
 *
 * 1. Nothing here changes what an execution does.
 * 2. The frequent case, a pair of sites seen before, costs one look into a bitmap.
 */
#include "sched/learn.h"

#include <string.h>

#include "sched/internal.h"

#define PAIR_BITS (1u << 16)
#define COUNTERS  4096u
#define SITES_MAX 4096u

__attribute__((section("__libfuzzer_extra_counters"), used)) static uint8_t extra_counters[COUNTERS];

typedef struct LearnedSite {
    uint16_t name;
    uint16_t group; /* union-find: index of a site of the same group */
    bool reads, writes, shared; /* shared: another thread touched the object before */
} LearnedSite;

/* What the last execution measured. */
typedef struct Measured {
    uint32_t threads;
    uint32_t points[SCHED_THREADS_MAX], decisions[SCHED_THREADS_MAX];
} Measured;

/* In pages of its own: processes may share it (sched_share_with_children). */
static struct {
    uint64_t pairs_seen[PAIR_BITS / 64];
    LearnedSite sites[SITES_MAX]; /* from 1 */
    uint16_t site_index[1u << 16];
    uint32_t site_count, pair_count;
    Measured last;
} __attribute__((aligned(4096))) learned;

void *sched_learn_memory(size_t *bytes)
{
    *bytes = sizeof(learned);
    return &learned;
}

void sched_learn_note(void)
{
    Measured *last = &learned.last;

    last->threads = sched_engine_.thread_count;
    for (uint32_t i = 0; i < last->threads; i++) {
        last->points[i] = sched_thread_slot_id(i)->points;
        last->decisions[i] = sched_thread_slot_id(i)->decisions;
    }
}

static uint32_t find_group(uint32_t index)
{
    while (learned.sites[index].group != index) {
        learned.sites[index].group = learned.sites[learned.sites[index].group].group;
        index = learned.sites[index].group;
    }
    return index;
}

static LearnedSite *site_of(uint16_t name)
{
    uint16_t index = learned.site_index[name];

    if (!index) {
        if (learned.site_count == SITES_MAX - 1) {
            return NULL;
        }
        index = (uint16_t)++learned.site_count;
        learned.site_index[name] = index;
        learned.sites[index] = (LearnedSite){ .name = name, .group = index };
    }
    return &learned.sites[index];
}

static void learn_pair(uint16_t before, uint16_t name, bool reads, bool writes, bool shared)
{
    LearnedSite *site = site_of(name), *previous = before ? site_of(before) : NULL;

    learned.pair_count++;
    if (!site) {
        return;
    }
    site->reads |= reads;
    site->writes |= writes;
    site->shared |= shared;
    if (previous) {
        previous->shared |= shared;
        learned.sites[find_group((uint32_t)(site - learned.sites))].group = (uint16_t)find_group(
            (uint32_t)(previous - learned.sites));
    }
}

static void count(uint32_t hash)
{
    uint8_t *counter = &extra_counters[hash % COUNTERS];

    *counter += *counter != UINT8_MAX;
}

void sched_learn_access(SchedObject *object, uint16_t site, bool reads, bool writes)
{
    uint16_t before = object->last_site;
    bool shared = object->last_writer != sched_self_->id;
    uint32_t pair = ((uint32_t)before * 0x9e3779b1u ^ (uint32_t)site * 0x85ebca6bu ^ (uint32_t)shared << 31 ^
                     (uint32_t)writes << 30) >>
                    16;
    uint64_t bit = 1ull << (pair % 64);

    object->last_site = site;
    if (!(learned.pairs_seen[pair / 64 % (PAIR_BITS / 64)] & bit)) {
        learned.pairs_seen[pair / 64 % (PAIR_BITS / 64)] |= bit;
        learn_pair(before, site, reads, writes, shared);
    }
    if (reads && shared) {
        count((uint32_t)object->last_write * 40503u ^ site);
    }
}

void sched_learn_wake(const SchedThread *waker, const SchedThread *waiter)
{
    count((uint32_t)waker->event.site * 26881u ^ (waiter->block ? (uint32_t)waiter->block->call : 0) ^
          (uint32_t)waiter->event.site);
}

/* A random learned site with the wanted effect, in the group (0: any). */
static LearnedSite *draw_site(SchedRandom *random, bool write, uint32_t group)
{
    LearnedSite *chosen = NULL;
    uint32_t seen = 0;

    for (uint32_t i = 1; i <= learned.site_count; i++) {
        LearnedSite *site = &learned.sites[i];

        if (site->shared && (write ? site->writes : site->reads) && (!group || find_group(i) == group) &&
            sched_random_below(random, ++seen) == 0) {
            chosen = site;
        }
    }
    return chosen;
}

bool sched_learn_draw_constraint(SchedRandom *random, SchedConstraint *constraint)
{
    LearnedSite *read = draw_site(random, false, 0), *write;

    if (!read) {
        return false;
    }
    write = draw_site(random, true, find_group((uint32_t)(read - learned.sites)));
    constraint->read_site = read->name;
    constraint->write_site = write && sched_random_below(random, 8) ? write->name : SCHED_SITE_INITIAL;
    constraint->must_not = sched_random_below(random, 2);
    return true;
}

/* SURW: an object that several threads touch, and how often each does. */
static void measure_object(SchedRandom *random, SchedPlan *plan)
{
    const Trace *trace = &sched_trace_;
    uint32_t object = 0;

    for (unsigned attempt = 0; attempt < 8 && trace->count; attempt++) {
        const SchedStep *step = &trace->steps[sched_random_below(random, (uint32_t)trace->count)];

        if (step->object_id && step->object_id <= UINT16_MAX) {
            object = step->object_id;
            break;
        }
    }
    plan->object = (uint16_t)object;
    plan->count_count = 0;
    memset(plan->counts, 0, sizeof(plan->counts));
    for (size_t i = 0; i < trace->count; i++) {
        const SchedStep *step = &trace->steps[i];

        if (step->object_id == object && step->thread < SCHED_COUNTS_MAX && plan->counts[step->thread] < UINT16_MAX) {
            plan->counts[step->thread]++;
            if (plan->count_count <= step->thread) {
                plan->count_count = (uint8_t)(step->thread + 1);
            }
        }
    }
}

static void measure_threads(SchedPlan *plan)
{
    const Measured *last = &learned.last;

    plan->count_count = (uint8_t)(last->threads < SCHED_COUNTS_MAX ? last->threads : SCHED_COUNTS_MAX);
    for (uint32_t i = 0; i < plan->count_count; i++) {
        plan->counts[i] = (uint16_t)(last->points[i] < UINT16_MAX ? last->points[i] : UINT16_MAX);
    }
}

void sched_learn_measure(SchedRandom *random, SchedPlan *plan)
{
    const Measured *last = &learned.last;
    uint32_t length = 0;

    for (uint32_t i = 0; i < last->threads; i++) {
        length += last->points[i];
    }
    plan->length = length < UINT16_MAX ? length : UINT16_MAX;
    if (plan->base == SCHED_BASE_SURW || (plan->base == SCHED_BASE_MIXED && sched_random_below(random, 2))) {
        measure_object(random, plan);
    } else if (plan->base == SCHED_BASE_URW || plan->base == SCHED_BASE_MIXED) {
        measure_threads(plan);
    }
}

uint32_t sched_learn_threads(void)
{
    return learned.last.threads;
}

uint32_t sched_learn_decisions(uint32_t thread)
{
    return thread < learned.last.threads ? learned.last.decisions[thread] : 0;
}

void sched_learn_forget(void)
{
    memset(learned.pairs_seen, 0, sizeof(learned.pairs_seen));
    memset(learned.site_index, 0, sizeof(learned.site_index));
    learned.site_count = learned.pair_count = 0;
}

uint32_t sched_learn_site_count(void)
{
    return learned.site_count;
}

uint32_t sched_learn_pair_count(void)
{
    return learned.pair_count;
}
