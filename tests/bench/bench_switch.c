/*
 * A context switch, beside the two usual ways to get the same: swapcontext() and a futex that hands over between kernel threads.
 *
 * The three are measured in turn, round after round, so that a change of the machine's speed meets all of them.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <ucontext.h>

#include "bench.h"
#include "sched/internal.h"

static uint32_t switches; /* of each kind in a round; even */

/* ---- ours: two fibers, the engine bypassed */

static SchedContext *first, *second;
static double ours_ns;
static uint32_t arrived;

static void *answer(void *unused)
{
    for (uint32_t i = 0; i < switches / 2; i++) {
        arrived++;
        sched_arch_switch(second, first);
    }
    return unused;
}

/* The other fiber is enabled and has not run: its context is that of its start. The engine never learns of these switches, and finds
 * both fibers in the states that it knows. */
static void ours_body(void *unused)
{
    SchedThread *other = sched_thread_create(answer, NULL);
    double start = bench_now_ns();

    (void)unused;
    first = &sched_thread_self()->context;
    second = &other->context;
    for (uint32_t i = 0; i < switches / 2; i++) {
        sched_arch_switch(first, second);
    }
    ours_ns = (bench_now_ns() - start) / switches;
    sched_thread_reap(other);
}

static double measure_ours(void)
{
    const SchedPlan plan = { 0 };

    arrived = 0;
    bench_run(ours_body, NULL, &plan, NULL);
    bench_check(arrived == switches / 2, "the other fiber has not run as often as it was switched to");
    return ours_ns;
}

/* ---- swapcontext: saves the signal mask with a system call */

static ucontext_t main_context, side_context;

static void side(void)
{
    for (;;) {
        arrived++;
        swapcontext(&side_context, &main_context);
    }
}

static double measure_swapcontext(void)
{
    static char stack[64 << 10];
    double start;

    getcontext(&side_context);
    side_context.uc_stack.ss_sp = stack;
    side_context.uc_stack.ss_size = sizeof(stack);
    makecontext(&side_context, side, 0);
    arrived = 0;
    start = bench_now_ns();
    for (uint32_t i = 0; i < switches / 2; i++) {
        swapcontext(&main_context, &side_context);
    }
    bench_check(arrived == switches / 2, "swapcontext() has not switched");
    return (bench_now_ns() - start) / switches;
}

/* ---- kernel threads that wake each other */

static uint32_t turn, handovers;

static void wait_for_turn(uint32_t mine)
{
    while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != mine) {
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, 1 - mine, NULL, NULL, 0);
    }
}

static void pass_turn(uint32_t other)
{
    __atomic_store_n(&turn, other, __ATOMIC_RELEASE);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *partner(void *unused)
{
    for (uint32_t i = 0; i < handovers / 2; i++) {
        wait_for_turn(1);
        pass_turn(0);
    }
    return unused;
}

/* Two processors, or one and a wait: only the wall clock has it all. */
static double measure_futex(void)
{
    pthread_t thread;
    double start;

    handovers = switches / 100 + 2;
    handovers += handovers % 2;
    turn = 0;
    bench_check(pthread_create(&thread, NULL, partner, NULL) == 0, "no second thread");
    start = bench_clock_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < handovers / 2; i++) {
        pass_turn(1);
        wait_for_turn(0);
    }
    start = (bench_clock_ns(CLOCK_MONOTONIC) - start) / handovers;
    pthread_join(thread, NULL);
    return start;
}

int main(int argc, char **argv)
{
    bool quick = bench_init(argc, argv);
    double ours[BENCH_ROUNDS], swap[BENCH_ROUNDS], futex[BENCH_ROUNDS];

    switches = quick ? 20000 : 2000000;
    for (unsigned i = 0; i < BENCH_ROUNDS; i++) {
        ours[i] = measure_ours();
        swap[i] = measure_swapcontext();
        futex[i] = measure_futex();
    }
    printf("%-34s %10s\n", "one switch", "ns");
    printf("%-34s %10.1f\n", sched_arch_slow ? "fiber (fs base by system call)" : "fiber", bench_median(ours, BENCH_ROUNDS));
    printf("%-34s %10.1f\n", "swapcontext", bench_median(swap, BENCH_ROUNDS));
    printf("%-34s %10.1f\n", "futex between kernel threads", bench_median(futex, BENCH_ROUNDS));
    return 0;
}
