/*
 * QEMU as the program under test: what of it the scheduler and the report must know, by wrapping a few of its functions at link time
 * (lane.py has the list). No line of QEMU is changed.
 *
 * 1. What QEMU sets up once, without threads and descriptors, is done in the parent; main loop, threads and the rest in each execution, on
 *    simulated descriptors.
 * 2. Coroutine stacks come from the scheduler's region: what lies on them has no identity.
 * 3. The call_rcu thread, which a constructor wants to start, begins with the first callback, and lives on.
 * 4. Signals are not modelled: the main loop's signalfd is an eventfd that nobody writes to.
 */
#include "qemu/osdep.h"

#include <sys/eventfd.h>

#include "block/block.h"
#include "check/check.h"
#include "check/given.h"
#include "fuzz/program.h"
#include "fuzz/qemu/scenario.h"
#include "os/os.h"
#include "qapi/error.h"
#include "qemu/coroutine_int.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "report/report.h"
#include "report/symbolize.h"
#include "sched/sched.h"

#define WRAPPED(type, name, ...)            \
    extern type __real_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__);        \
    type __wrap_##name(__VA_ARGS__)

/* ---- coroutines */

#define COROUTINES_MAX 4096u

typedef struct Strand {
    Coroutine *coroutine; /* NULL: free */
    char *low, *high;
    void *frame, *pc; /* where it gave way last */
    uint32_t number;
    bool suspended;
} Strand;

static Strand strands[COROUTINES_MAX];
static uint32_t strand_count, strand_number;
static int64_t live;
static char *fresh_low; /* the stack allocated last */
static size_t fresh_bytes;

static Strand *strand_of(const Coroutine *coroutine)
{
    for (uint32_t i = 0; i < strand_count; i++) {
        if (strands[i].coroutine == coroutine) {
            return &strands[i];
        }
    }
    return NULL; /* a thread's own stack */
}

static void now_on(const Strand *strand)
{
    if (strand) {
        sched_stack_switched(strand->low, strand->high, strand->number);
    } else {
        sched_stack_switched(NULL, NULL, 0);
    }
}

WRAPPED(void *, qemu_alloc_stack, size_t *size)
{
    *size = ROUND_UP(*size, qemu_real_host_page_size());
    fresh_low = sched_stack_alloc(*size);
    fresh_bytes = *size;
    if (!fresh_low) {
        sched_fail("unmodelled", "no memory for the stack of another coroutine");
    }
    return fresh_low;
}

/* Stacks are never given back: an execution is short, and the process ends with it. */
WRAPPED(void, qemu_free_stack, void *stack, size_t size)
{
}

WRAPPED(Coroutine *, qemu_coroutine_new, void)
{
    Coroutine *coroutine = __real_qemu_coroutine_new();
    Strand *strand = strand_of(NULL);

    if (!strand) {
        if (strand_count == COROUTINES_MAX) {
            sched_fail("unmodelled", "more than %u coroutines at a time", COROUTINES_MAX);
        }
        strand = &strands[strand_count++];
    }
    *strand = (Strand){ .coroutine = coroutine, .low = fresh_low, .high = fresh_low + fresh_bytes, .number = ++strand_number };
    return coroutine;
}

WRAPPED(void, qemu_coroutine_delete, Coroutine *coroutine)
{
    Strand *strand = strand_of(coroutine);

    __real_qemu_coroutine_delete(coroutine);
    if (strand) {
        strand->coroutine = NULL;
    }
}

WRAPPED(Coroutine *, qemu_coroutine_create, CoroutineEntry *entry, void *opaque)
{
    qatomic_inc(&live);
    return __real_qemu_coroutine_create(entry, opaque);
}

/* A switch comes back when somebody enters `from` again: then perhaps on another thread. */
WRAPPED(CoroutineAction, qemu_coroutine_switch, Coroutine *from, Coroutine *to, CoroutineAction action)
{
    Strand *strand = strand_of(from);
    CoroutineAction result;

    if (strand) {
        strand->frame = *(void **)__builtin_frame_address(0);
        strand->pc = __builtin_return_address(0);
        strand->suspended = true;
    }
    now_on(strand_of(to));
    result = __real_qemu_coroutine_switch(from, to, action);
    strand = strand_of(from);
    if (strand) {
        strand->suspended = false;
    }
    now_on(strand);
    if (result == COROUTINE_TERMINATE) {
        live--;
    }
    return result;
}

static uint64_t count_coroutines(void)
{
    return (uint64_t)live;
}

static void enumerate_coroutines(ReportVisitCoroutine *visit, void *opaque)
{
    for (uint32_t i = 0; i < strand_count; i++) {
        const Strand *strand = &strands[i];
        ReportCoroutine coroutine;

        if (!strand->coroutine || !strand->suspended) {
            continue;
        }
        coroutine = (ReportCoroutine){
            .name = report_function_at((uintptr_t)strand->coroutine->entry)->function,
            .strand = strand->number,
            .low = strand->low,
            .high = strand->high,
            .frame = strand->frame,
            .pc = strand->pc,
            .state = strand->coroutine->scheduled ? strand->coroutine->scheduled
                     : strand->coroutine->caller  ? "has entered another coroutine"
                                                  : "suspended",
        };
        visit(&coroutine, opaque);
    }
}

/* ---- RCU */

static void *(*rcu_thread)(void *);
static bool rcu_started;

WRAPPED(void, qemu_thread_create, QemuThread *thread, const char *name, void *(*function)(void *), void *argument, int mode)
{
    if (!sched_here()) {
        assert(strcmp(name, "call_rcu") == 0);
        rcu_thread = function; /* by a constructor, and by QEMU's handler of fork() */
        return;
    }
    __real_qemu_thread_create(thread, name, function, argument, mode);
    if (mode == QEMU_THREAD_JOINABLE) { /* the others may have ended, and their records with them */
        sched_thread_set_name(sched_thread_by_handle((uintptr_t)thread->thread), name);
    }
}

static void *run_rcu(void *unused)
{
    sched_thread_lives_on(sched_thread_self());
    return rcu_thread(NULL);
}

static void need_rcu(void)
{
    QemuThread thread;

    if (!rcu_started) {
        rcu_started = true;
        __real_qemu_thread_create(&thread, "call_rcu", run_rcu, NULL, QEMU_THREAD_DETACHED);
    }
}

WRAPPED(void, call_rcu1, struct rcu_head *head, RCUCBFunc *function)
{
    need_rcu();
    __real_call_rcu1(head, function);
}

WRAPPED(void, drain_call_rcu, void)
{
    need_rcu();
    __real_drain_call_rcu();
}

/* ---- barriers, told to TSan: see override/qemu/atomic.h */

#ifdef CONFIG_TSAN
#undef lane_barrier
void lane_barrier(int order);

void lane_barrier(int order)
{
    if (order != __ATOMIC_RELEASE) {
        __tsan_acquire(&os_barrier);
    }
    if (order != __ATOMIC_ACQUIRE && order != __ATOMIC_CONSUME) {
        __tsan_release(&os_barrier);
    }
}
#endif

/* ---- sleeps: a wake that others give ends the sleep that is under way, or the next one; the timer's is not given */

static __thread QemuCoSleep *giving;

/* For reports: QEMU 10.2's own accesses here are plain, and so no steps. A wake begins by reading who sleeps. */
static SchedSite wake_site __attribute__((section("sched_sites"), used, aligned(8))) = {
    .file = __FILE__,
    .function = "qemu_co_sleep_wake",
    .expression = "to_wake",
    .line = __LINE__,
    .operation = SCHED_LOAD,
    .size_bytes = sizeof(Coroutine *),
};

WRAPPED(void, qemu_co_sleep_wake, QemuCoSleep *w)
{
    check_wake_given(w);
    sched_atomic(&wake_site, &w->to_wake, 0);
    giving = w;
    __real_qemu_co_sleep_wake(w);
    giving = NULL;
}

WRAPPED(void, aio_co_wake, Coroutine *coroutine)
{
    if (giving) {
        check_wake_delivered(giving);
        giving = NULL;
    }
    __real_aio_co_wake(coroutine);
}

WRAPPED(void, qemu_co_sleep_ns_wakeable, QemuCoSleep *w, QEMUClockType type, int64_t ns)
{
    check_sleep_begins(w);
    __real_qemu_co_sleep_ns_wakeable(w, type, ns);
    check_sleep_ended(w);
}

/* ---- signals */

WRAPPED(int, qemu_signalfd, const sigset_t *mask)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* ---- descriptors: eventfds and epoll belong to contexts, and the main loop's context lives as long as QEMU */

static bool next_fd(unsigned *i, char *text, size_t size)
{
    while (os_describe_fd_left((*i)++, text, size) >= 0) {
        if (!g_str_has_prefix(text, "eventfd") && !g_str_has_prefix(text, "epoll")) {
            return true;
        }
    }
    return false;
}

static uint64_t count_fds(void)
{
    char text[128];
    uint64_t count = 0;

    for (unsigned i = 0; next_fd(&i, text, sizeof(text)); count++) {
    }
    return count;
}

static void describe_fds(char *text, size_t size)
{
    unsigned i = 0;

    if (!next_fd(&i, text, size)) {
        text[0] = '\0';
    }
}

/* ---- the program */

static void init(void)
{
    scenario_init_qemu();
    g_main_context_default();
    report_set_foreign_root(LANE_SOURCE "/");
    report_set_coroutines(enumerate_coroutines);
    check_leak_register("file descriptor", count_fds, describe_fds);
    check_leak_register("coroutine", count_coroutines, NULL);
    check_leak_register("guest memory mapping", os_mappings_left, NULL);
}

static void run(FuzzInput *in)
{
    rcu_register_thread();
    qemu_init_main_loop(&error_fatal);
    fuzz_target.run(in);
}

const DriverProgram driver_program = { .forks = true, .init = init, .run = run };
