/*
 * A point at which nobody else can run: what the instrumentation of a sequential stretch costs.
 */
#include "bench.h"
#include "core/atomic.h"
#include "sched/learn.h"

static uint32_t points;
static uint32_t word;

static void calls(void *unused)
{
    (void)unused;
    for (uint32_t i = 0; i < points; i++) {
        SCHED_POINT(SCHED_CALL_OTHER, &word);
    }
}

static void loads(void *unused)
{
    (void)unused;
    for (uint32_t i = 0; i < points; i++) {
        (void)qatomic_read(&word);
    }
}

static void additions(void *unused)
{
    (void)unused;
    for (uint32_t i = 0; i < points; i++) {
        qatomic_inc(&word);
    }
}

static double measure(void (*body)(void *), const SchedPlan *plan)
{
    double values[BENCH_ROUNDS];

    for (unsigned i = 0; i < BENCH_ROUNDS; i++) {
        double start = bench_now_ns();
        const SchedResult *result = bench_run(body, NULL, plan, NULL);

        values[i] = (bench_now_ns() - start) / points;
        bench_check(result->steps > points, "not every point was a step");
        bench_check(result->switches == 0, "somebody else ran");
    }
    return bench_median(values, BENCH_ROUNDS);
}

static void outside(const char *name)
{
    double start = bench_now_ns();

    loads(NULL);
    printf("%-44s %8.1f\n", name, (bench_now_ns() - start) / points);
}

int main(int argc, char **argv)
{
    static const SchedPlan quiet = { 0 }, atomics = { .atomics = true }, pos = { .base = SCHED_BASE_POS, .atomics = true };

    points = bench_init(argc, argv) ? 1000 : 100000;
    printf("%-44s %8s\n", "one point, no switch", "ns");
    outside("atomic load outside an execution");
    printf("%-44s %8.1f\n", "call", measure(calls, &quiet));
    printf("%-44s %8.1f\n", "atomic load, points at calls only", measure(loads, &quiet));
    printf("%-44s %8.1f\n", "atomic load", measure(loads, &atomics));
    printf("%-44s %8.1f\n", "atomic load, base POS", measure(loads, &pos));
    printf("%-44s %8.1f\n", "atomic addition", measure(additions, &atomics));
    sched_set_learning(true);
    printf("%-44s %8.1f\n", "atomic addition, learning", measure(additions, &atomics));
    bench_check(sched_learn_site_count() > 0, "nothing was learned");
    return 0;
}
