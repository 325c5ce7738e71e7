/*
 * The policy table: how soon each policy finds the defect of each racy program. docs/ explains the default policy with it.
 *
 *     policy_table [--quick] [--markdown] [--seeds N] [--program NAME] [--policy NAME]
 *
 * A cell is "found/tried median": fresh starts that found the defect with the right verdict, and the median number of executions
 * they took. --quick is a test: three seeds, the default policy alone, and exit status 1 where it misses one.
 *
 * 1. A start is fresh: nothing learned before enters it. It makes one FIFO execution and then draws plans as the mutator does.
 * 2. Executions run in this process, one after the other. What failed is abandoned by the next.
 * 3. A find is an execution with the expected verdict. Any other bad verdict is an error of ours and ends the run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check/check.h"
#include "os/os.h"
#include "programs.h"
#include "sched/learn.h"
#include "sched/mutate.h"

#define SEEDS_MAX        1000u
#define CAP_EXECUTIONS   100000u
#define CAP_SECONDS      1.5
#define CELL_SECONDS     4.0 /* later starts of a slow cell are left out, and its second number says so */
#define QUICK_EXECUTIONS 20000u
#define QUICK_SEEDS      3u

typedef struct Policy {
    const char *name;
    SchedBase base;
    bool constraints, bytes; /* bytes: overrides of FIFO read from random bytes, nothing learned */
} Policy;

static const Policy policies[] = {
    { "bytes", SCHED_BASE_FIFO, false, true },   { "fifo+c", SCHED_BASE_FIFO, true, false },
    { "walk", SCHED_BASE_WALK, false, false },   { "walk+c", SCHED_BASE_WALK, true, false },
    { "pos", SCHED_BASE_POS, false, false },     { "pos+c", SCHED_BASE_POS, true, false },
    { "urw", SCHED_BASE_URW, false, false },     { "urw+c", SCHED_BASE_URW, true, false },
    { "pct", SCHED_BASE_PCT, false, false },     { "pct+c", SCHED_BASE_PCT, true, false },
    { "surw", SCHED_BASE_SURW, false, false },   { "surw+c", SCHED_BASE_SURW, true, false },
    { "mixed", SCHED_BASE_MIXED, false, false }, { "default", SCHED_BASE_MIXED, true, false },
};

#define POLICIES (sizeof(policies) / sizeof(policies[0]))

static const RacySuite *const suites[] = { &racy_programs };

typedef struct Options {
    bool quick, markdown;
    unsigned seeds;
    uint32_t executions;
    const char *program, *policy;
} Options;

typedef struct Cell {
    unsigned found, tried;
    uint32_t median;
} Cell;

/* Calls as sites: distances in this executable. That is enough within one process; a driver asks report/ for names that last. */
static uint32_t name_call(void *const *pcs, unsigned n)
{
    extern char __executable_start;
    uint64_t hash = n;

    for (unsigned i = 0; i < n; i++) {
        hash = sched_mix64(hash ^ ((uintptr_t)pcs[i] - (uintptr_t)&__executable_start));
    }
    return (uint32_t)hash;
}

static double now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void draw(SchedRandom *random, const Policy *policy, SchedPlan *plan)
{
    uint8_t bytes[64];

    if (!policy->bytes) {
        sched_draw_plan(random, (SchedDraw){ policy->base, policy->constraints }, plan);
        return;
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)sched_random(random);
    }
    bytes[sizeof(bytes) - 1] &= (uint8_t)~7u; /* base FIFO */
    bytes[sizeof(bytes) - 2] &= (uint8_t)~7u; /* no constraints */
    sched_plan_decode(plan, bytes, sizeof(bytes));
}

/* Executed once. True: found. */
static bool run_once(const RacyProgram *program, const SchedPlan *plan)
{
    const SchedResult *result = sched_run(program->body, (void *)program->parameter, plan, NULL);
    CheckResult check = check_judge(result);

    if (check.verdict == CHECK_NONE) {
        return false;
    }
    if (strcmp(check_verdict_name(check.verdict), program->verdict) != 0) {
        fprintf(stderr, "policy_table: %s: verdict %s instead of %s: %s\n", program->name, check_verdict_name(check.verdict),
                program->verdict, check.message);
        exit(1);
    }
    return true;
}

/* A fresh start. Returns the number of executions up to the find, or 0. */
static uint32_t start(const RacyProgram *program, const Policy *policy, uint64_t seed, uint32_t most)
{
    const SchedPlan fifo = { .atomics = true };
    double end = now_seconds() + CAP_SECONDS;
    SchedRandom random;

    sched_random_seed(&random, seed);
    sched_learn_forget();
    if (run_once(program, &fifo)) {
        fprintf(stderr, "policy_table: %s fails first in, first out\n", program->name);
        exit(1);
    }
    for (uint32_t n = 1; n <= most; n++) {
        SchedPlan plan;

        draw(&random, policy, &plan);
        if (run_once(program, &plan)) {
            return n;
        }
        if (n % 64 == 0 && now_seconds() > end) {
            break;
        }
    }
    return 0;
}

static int compare_counts(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static Cell measure(const RacyProgram *program, const Policy *policy, const Options *options)
{
    static uint32_t counts[SEEDS_MAX];
    double end = now_seconds() + CELL_SECONDS;
    Cell cell = { 0 };

    for (unsigned seed = 0; seed < options->seeds && now_seconds() < end; seed++) {
        uint32_t count = start(program, policy, seed, options->executions);

        cell.tried++;
        if (count) {
            counts[cell.found++] = count;
        }
    }
    qsort(counts, cell.found, sizeof(counts[0]), compare_counts);
    cell.median = cell.found ? counts[cell.found / 2] : 0;
    return cell;
}

static bool wanted(const char *filter, const char *name)
{
    return !filter || strcmp(filter, name) == 0;
}

static void print_head(const Options *options)
{
    printf(options->markdown ? "| program |" : "%-20s", "program");
    for (unsigned i = 0; i < POLICIES; i++) {
        if (wanted(options->policy, policies[i].name)) {
            printf(options->markdown ? " %s |" : "%13s", policies[i].name);
        }
    }
    printf(options->markdown ? "\n|---|" : "\n");
    for (unsigned i = 0; options->markdown && i < POLICIES; i++) {
        printf(wanted(options->policy, policies[i].name) ? "---:|" : "");
    }
    printf(options->markdown ? "\n" : "");
}

static void print_cell(const Options *options, const Cell *cell)
{
    char text[32];

    if (cell->found) {
        snprintf(text, sizeof(text), "%u/%u %u", cell->found, cell->tried, cell->median);
    } else {
        snprintf(text, sizeof(text), "0/%u -", cell->tried);
    }
    printf(options->markdown ? " %s |" : "%13s", text);
    fflush(stdout);
}

/* Returns how many cells missed a defect in some start. */
static unsigned print_row(const RacyProgram *program, const Options *options)
{
    unsigned missed = 0;

    printf(options->markdown ? "| %s |" : "%-20s", program->name);
    for (unsigned i = 0; i < POLICIES; i++) {
        Cell cell;

        if (!wanted(options->policy, policies[i].name)) {
            continue;
        }
        cell = measure(program, &policies[i], options);
        print_cell(options, &cell);
        missed += cell.found < cell.tried || !cell.tried;
    }
    printf("\n");
    return missed;
}

static void usage(const char *wrong)
{
    fprintf(stderr, "policy_table: %s: usage: policy_table [--quick] [--markdown] [--seeds N] [--program NAME] [--policy NAME]\n",
            wrong);
    exit(2);
}

static Options parse(int argc, char **argv)
{
    Options options = { .seeds = 20, .executions = CAP_EXECUTIONS };

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--quick") == 0) {
            options.quick = true;
            options.seeds = QUICK_SEEDS;
            options.executions = QUICK_EXECUTIONS;
            options.policy = "default";
        } else if (strcmp(argv[i], "--markdown") == 0) {
            options.markdown = true;
        } else if (value && strcmp(argv[i], "--seeds") == 0) {
            options.seeds = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (value && strcmp(argv[i], "--program") == 0) {
            options.program = argv[++i];
        } else if (value && strcmp(argv[i], "--policy") == 0) {
            options.policy = argv[++i];
        } else {
            usage(argv[i]);
        }
    }
    if (!options.seeds || options.seeds > SEEDS_MAX) {
        usage("--seeds goes from 1 to 1000");
    }
    return options;
}

int main(int argc, char **argv)
{
    Options options = parse(argc, argv);
    unsigned missed = 0, rows = 0;

    if (sched_init()) {
        return 1;
    }
    os_init();
    check_init();
    sched_set_namer(name_call);
    sched_install_fault_handler();
    sched_set_learning(true);
    print_head(&options);
    for (unsigned i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        for (unsigned j = 0; j < suites[i]->count; j++) {
            if (wanted(options.program, suites[i]->programs[j].name)) {
                missed += print_row(&suites[i]->programs[j], &options);
                rows++;
            }
        }
    }
    if (!rows) {
        usage("no such program");
    }
    return options.quick && missed;
}
