/*
 * A decision, for each base policy and number of threads: all threads come to points on one object as fast as they can. The time
 * is that of everything an execution of such points costs, the start and end of threads included, divided by the decisions.
 */
#include "bench.h"

static const char *const base_names[] = { "fifo", "walk", "pos", "urw", "pct", "surw" };
static const unsigned thread_counts[] = { 2, 4, 16, 64 };

#define COUNTS (sizeof(thread_counts) / sizeof(thread_counts[0]))

static unsigned threads, points;
static int object;

static void *work(void *unused)
{
    for (unsigned i = 0; i < points; i++) {
        SCHED_POINT(SCHED_CALL_OTHER, &object);
    }
    return unused;
}

static void body(void *unused)
{
    (void)unused;
    for (unsigned i = 1; i < threads; i++) {
        sched_thread_reap(sched_thread_create(work, NULL));
    }
    work(NULL);
}

typedef struct Cost {
    double ns, switched; /* a decision; of which this part led to a switch */
} Cost;

static Cost measure(SchedBase base, bool constrained, unsigned total)
{
    SchedPlan plan = { .base = base, .parameter = 1, .seed = 1, .length = total, .object = 1, .constraint_count = constrained };
    double values[BENCH_ROUNDS];
    Cost cost = { 0 };

    points = total / threads;
    plan.constraints[0] = (SchedConstraint){ 1, 2, false }; /* matches nothing: its price is the looking */
    plan.count_count = SCHED_COUNTS_MAX;
    for (unsigned i = 0; i < SCHED_COUNTS_MAX; i++) {
        plan.counts[i] = (uint16_t)points;
    }
    for (unsigned i = 0; i < BENCH_ROUNDS; i++) {
        double start = bench_now_ns();
        const SchedResult *result = bench_run(body, NULL, &plan, NULL);

        values[i] = (bench_now_ns() - start) / (double)result->decisions;
        cost.switched = (double)result->switches / (double)result->decisions;
        bench_check(result->decisions >= (uint64_t)(threads - 1) * points, "not every point was a decision");
        bench_check(base == SCHED_BASE_FIFO || result->switches > threads, "the policy never switched");
    }
    cost.ns = bench_median(values, BENCH_ROUNDS);
    return cost;
}

int main(int argc, char **argv)
{
    unsigned total = bench_init(argc, argv) ? 2000 : 60000;

    printf("%-12s", "ns/decision");
    for (unsigned i = 0; i < COUNTS; i++) {
        printf("%9u threads", thread_counts[i]);
    }
    printf("\n%-12s%*s\n", "", (int)(17 * COUNTS), "(in brackets: the part that led to a switch)");
    for (SchedBase base = 0; base < SCHED_BASE_MIXED; base++) {
        for (unsigned constrained = 0; constrained < 2; constrained++) {
            printf("%-5s%-7s", base_names[base], constrained ? "+c" : "");
            for (unsigned i = 0; i < COUNTS; i++) {
                Cost cost;

                threads = thread_counts[i];
                cost = measure(base, constrained, total);
                printf("%10.1f (%.2f)", cost.ns, cost.switched);
            }
            printf("\n");
        }
    }
    return 0;
}
