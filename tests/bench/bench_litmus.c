/*
 * Executions a second of two small pthread programs under the simulated OS, from creating the threads to joining them.
 *
 * The aim in the plain flavour is 1,000,000 executions a second of the first and 3,000,000 of the second, first in, first out.
 */
#include <pthread.h>

#include "bench.h"
#include "core/atomic.h"
#include "os/os.h"

static unsigned counter;
static pthread_mutex_t mutex;

static void *add(void *unused)
{
    for (unsigned i = 0; i < 10; i++) {
        qatomic_inc(&counter);
    }
    return unused;
}

static void *lock_twice(void *unused)
{
    for (unsigned i = 0; i < 2; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}

static void run_threads(void *(*function)(void *), unsigned count)
{
    pthread_t threads[3];

    counter = 0;
    for (unsigned i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, function, NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void additions(void *unused)
{
    (void)unused;
    run_threads(add, 3);
}

static void locks(void *unused)
{
    (void)unused;
    run_threads(lock_twice, 2);
}

typedef struct Litmus {
    const char *name;
    void (*body)(void *);
    unsigned result;
} Litmus;

static void measure(const Litmus *litmus, const char *policy, SchedPlan plan, unsigned executions)
{
    double values[BENCH_ROUNDS];
    uint64_t steps = 0, switches = 0;

    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        double start = bench_now_ns();

        steps = switches = 0;
        for (plan.seed = 0; plan.seed < executions; plan.seed++) {
            const SchedResult *result = bench_run(litmus->body, NULL, &plan, NULL);

            steps += result->steps;
            switches += result->switches;
            bench_check(counter == litmus->result, "the program did not do its work");
        }
        values[round] = (bench_now_ns() - start) / executions;
    }
    printf("%-34s %-8s %10.0f %10.0f %8.1f %8.1f\n", litmus->name, policy, 1e9 / bench_median(values, BENCH_ROUNDS),
           bench_median(values, BENCH_ROUNDS), (double)steps / executions, (double)switches / executions);
}

int main(int argc, char **argv)
{
    static const Litmus programs[] = { { "3 threads, 10 atomic additions", additions, 30 },
                                       { "2 threads, 2 locked sections", locks, 4 } };
    unsigned executions = bench_init(argc, argv) ? 300 : 50000;

    os_init();
    printf("%-34s %-8s %10s %10s %8s %8s\n", "program", "base", "exec/s", "ns/exec", "steps", "switches");
    for (unsigned i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        measure(&programs[i], "fifo", (SchedPlan){ .atomics = true }, executions);
        measure(&programs[i], "walk", (SchedPlan){ .base = SCHED_BASE_WALK, .atomics = true }, executions);
        measure(&programs[i], "pos", (SchedPlan){ .base = SCHED_BASE_POS, .atomics = true }, executions);
        measure(&programs[i], "mixed", (SchedPlan){ .base = SCHED_BASE_MIXED, .atomics = true, .length = 40 }, executions);
    }
    return 0;
}
