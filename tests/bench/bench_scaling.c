/*
 * How the cost of an execution grows with threads and operations: the time a step must stay the same.
 *
 * Measured on the default base with points at atomics; each thread adds to its own word and to a common one in turn.
 */
#include "bench.h"
#include "core/atomic.h"

static const unsigned thread_counts[] = { 2, 4, 8, 16, 32, 64 };
static const unsigned operation_counts[] = { 10, 100, 1000, 10000 }; /* of all threads together */

#define THREADS    (sizeof(thread_counts) / sizeof(thread_counts[0]))
#define OPERATIONS (sizeof(operation_counts) / sizeof(operation_counts[0]))

static unsigned threads, operations;
static unsigned common, own[64][16]; /* a cache line each */

static void *work(void *index)
{
    unsigned *mine = own[(uintptr_t)index];

    for (unsigned i = 0; i < operations; i++) {
        qatomic_inc(i % 2 ? &common : mine);
    }
    return NULL;
}

static void body(void *unused)
{
    (void)unused;
    for (uintptr_t i = 0; i < threads; i++) {
        SCHED_POINT(SCHED_CALL_CREATE, 0);
        sched_thread_reap(sched_thread_create(work, (void *)i));
    }
}

static double measure(unsigned executions, double *ns_per_step)
{
    SchedPlan plan = { .base = SCHED_BASE_MIXED, .atomics = true, .parameter = 3, .length = threads * operations };
    double values[BENCH_ROUNDS], per_step[BENCH_ROUNDS];

    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        uint64_t steps = 0;
        double start = bench_now_ns(), spent;

        for (plan.seed = 0; plan.seed < executions; plan.seed++) {
            steps += bench_run(body, NULL, &plan, NULL)->steps;
        }
        spent = bench_now_ns() - start;
        bench_check(steps == (uint64_t)executions * threads * (operations + 2) + executions, "steps are missing");
        values[round] = spent / executions;
        per_step[round] = spent / (double)steps;
    }
    *ns_per_step = bench_median(per_step, BENCH_ROUNDS);
    return bench_median(values, BENCH_ROUNDS);
}

int main(int argc, char **argv)
{
    bool quick = bench_init(argc, argv);

    printf("%8s %16s %14s %10s\n", "threads", "operations each", "ns/execution", "ns/step");
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned j = 0; j < OPERATIONS; j++) {
            unsigned executions;
            double ns, ns_per_step;

            threads = thread_counts[i];
            operations = operation_counts[j] / threads;
            if (operations == 0) {
                continue;
            }
            executions = quick ? 1 : 200000 / (threads * (operations + 10)) + 5;
            ns = measure(executions, &ns_per_step);
            printf("%8u %16u %14.0f %10.1f\n", threads, operations, ns, ns_per_step);
        }
    }
    return 0;
}
