/*
 * What ends an execution between two points. Faults: a hit of a stack's guard page ends the execution as a stack overflow; every other signal
 * goes to the handlers that were there before (a sanitizer's, the fuzzing engine's). And a clock: a thread that goes round without ever
 * coming to a point would never give way, and no bound of steps would be reached.
 *
 * The handlers run on their own signal stack, as the fiber's may be used up, and leave it by switching to the kernel thread's context. What is
 * left there is the innermost part of the culprit's stack, which the report unwinds: so the signals that follow get another stack. The
 * clock counts the processor time that the process spends in user code: what a machine does beside it does not matter, and nothing
 * happens after the last step that could make the trace another one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#include "sched/engine.h"

#define SIGNAL_STACK_BYTES (256u << 10)
#define TICK_S             1
#define UNWIND_PATIENCE_S  5u

static struct sigaction previous[2];
static const int signals[2] = { SIGSEGV, SIGBUS };
static void (*before_others)(void);
static stack_t stacks[2]; /* the signal stack that was found, or ours; and the other one */

extern const char __executable_start[], etext[]; /* of the linker: the program's code */

void sched_before_others(void (*function)(void))
{
    before_others = function;
}

static void pass_on(int which, siginfo_t *info, void *context)
{
    const struct sigaction *old = &previous[which];

    sched_passthrough_begin(); /* what the handlers do is not the program's */
    if (before_others) {
        before_others();
    }
    if (old->sa_flags & SA_SIGINFO && old->sa_sigaction) {
        old->sa_sigaction(signals[which], info, context);
    } else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(signals[which]);
    } else {
        sigaction(signals[which], old, NULL); /* the instruction faults again, now for good */
    }
}

/* The execution ends where a signal has interrupted it; the handler is left by a switch. */
__attribute__((noreturn)) static void end_interrupted(SchedOutcome outcome, SchedThread *self, const ucontext_t *machine)
{
    const char *pc = (const char *)machine->uc_mcontext.gregs[REG_RIP];
    sigset_t mask = machine->uc_sigmask;

    self->fault_frame = (void *)machine->uc_mcontext.gregs[REG_RBP];
    self->fault_pc = (void *)pc;
    sched_passthrough_begin();
    if (before_others && !(pc >= __executable_start && pc < etext)) {
        before_others(); /* it may have been in libc's malloc(), for one */
    }
    /* TSan runs a handler with every signal blocked, and the next hit would end the process. The clock's until sched_take_other_signal_stack(). */
    sigaddset(&mask, SIGVTALRM);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sched_passthrough_end();
    sched_end(outcome, self);
}

/* The guard page; or, by a function with a larger frame, what lies below. Not any other stack's: who gets there has gone astray. */
static bool is_overflow(const SchedThread *self, uintptr_t address, uintptr_t stack_pointer)
{
    uintptr_t low = (uintptr_t)self->stack_low;

    return sched_is_stack(address) && address < low &&
           (address >= low - SCHED_GUARD_BYTES || (sched_is_stack(stack_pointer) && stack_pointer < low));
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    SchedThread *self = sched_self_;
    const ucontext_t *machine = context;

    if (!self || !sched_engine_.running ||
        !is_overflow(self, (uintptr_t)info->si_addr, (uintptr_t)machine->uc_mcontext.gregs[REG_RSP])) {
        pass_on(signal_number == SIGBUS, info, context);
        return;
    }
    end_interrupted(SCHED_STACK_OVERFLOW, self, machine);
}

void sched_take_other_signal_stack(void)
{
    stack_t now;
    sigset_t clock;

    if (sigaltstack(NULL, &now) == 0 && stacks[1].ss_sp) {
        sigaltstack(&stacks[now.ss_sp == stacks[0].ss_sp], NULL);
    }
    sigemptyset(&clock);
    sigaddset(&clock, SIGVTALRM);
    pthread_sigmask(SIG_UNBLOCK, &clock, NULL);
}

const stack_t *sched_signal_stacks(void)
{
    return stacks;
}

/* ---- the clock */

static struct {
    uint64_t execution, steps;
    unsigned ticks; /* since it took its last step */
} watched;
static unsigned no_step_s = SCHED_NO_STEP_S;

void sched_expect_no_step(bool expected)
{
    no_step_s = expected ? SCHED_NO_STEP_AGAIN_S : SCHED_NO_STEP_S;
}

extern const void *_Unwind_Find_FDE(void *pc, void *bases[3]); /* of libgcc */

static bool has_unwind_information(const ucontext_t *machine)
{
    void *bases[3];

    return _Unwind_Find_FDE((void *)machine->uc_mcontext.gregs[REG_RIP], bases) != NULL;
}

static void on_tick(int signal_number, siginfo_t *info, void *context)
{
    SchedThread *self = sched_self_;
    const ucontext_t *machine = context;

    (void)signal_number;
    (void)info;
    if (!self || !sched_engine_.running || sched_engine_.ended || self->passthrough) {
        watched.ticks = 0;
        return;
    }
    if (watched.execution != sched_engine_.executions || watched.steps != sched_trace_.count) {
        watched.execution = sched_engine_.executions;
        watched.steps = sched_trace_.count;
        watched.ticks = 0;
        return;
    }
    if (++watched.ticks * TICK_S < no_step_s) {
        return;
    }
    if (!has_unwind_information(machine) && watched.ticks * TICK_S < no_step_s + UNWIND_PATIENCE_S) {
        return; /* nobody stays there for long, as in an entry of the procedure linkage table, and the stack ends there for the report */
    }
    watched.ticks = 0;
    end_interrupted(SCHED_NO_STEP, self, machine);
}

void sched_start_clock(void)
{
    const struct itimerval each = { .it_interval = { .tv_sec = TICK_S }, .it_value = { .tv_sec = TICK_S } };

    setitimer(ITIMER_VIRTUAL, &each, NULL);
}

void sched_stop_clock(void)
{
    setitimer(ITIMER_VIRTUAL, &(struct itimerval){ 0 }, NULL);
}

/* libc's own: ThreadSanitizer puts signals off until the thread's next call of something that it intercepts. */
static void install_clock(void)
{
    struct sigaction action = { .sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART };
    int (*install)(int, const struct sigaction *, struct sigaction *) = (int (*)(
        int, const struct sigaction *, struct sigaction *))dlsym(RTLD_NEXT, "sigaction");

    install(SIGVTALRM, &action, NULL);
    sched_start_clock();
}

/* A sanitizer, or the fuzzing engine, may have one already. */
static bool prepare_stacks(void)
{
    stack_t found;
    char *both;

    if (sigaltstack(NULL, &found)) {
        return false;
    }
    if (!stacks[1].ss_sp) {
        both = mmap(NULL, (size_t)2 * SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (both == MAP_FAILED) {
            return false;
        }
        stacks[0] = (stack_t){ .ss_sp = both, .ss_size = SIGNAL_STACK_BYTES };
        stacks[1] = (stack_t){ .ss_sp = both + SIGNAL_STACK_BYTES, .ss_size = SIGNAL_STACK_BYTES };
    }
    if (found.ss_flags & SS_DISABLE) {
        return sigaltstack(&stacks[0], NULL) == 0;
    }
    if (found.ss_sp != stacks[1].ss_sp) {
        stacks[0] = (stack_t){ .ss_sp = found.ss_sp, .ss_size = found.ss_size };
    }
    return true;
}

void sched_install_fault_handler(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

    if (!prepare_stacks()) {
        fprintf(stderr, "wakefuzz: no signal stack (%s): neither a full stack nor a loop without a point will end as a finding\n",
                strerror(errno));
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct sigaction before;

        sigaction(signals[i], &action, &before);
        if (!(before.sa_flags & SA_SIGINFO) || before.sa_sigaction != on_fault) { /* a second call has nobody new to pass on to */
            previous[i] = before;
        }
    }
    install_clock();
}
