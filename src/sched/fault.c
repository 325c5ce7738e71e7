/*
 * What ends an execution between two points. Faults: a hit of a stack's guard page ends the execution as a stack overflow; every other signal
 * goes to the handlers that were there before (a sanitizer's, the fuzzing engine's). And a clock: a thread that goes round without ever
 * coming to a point would never give way, and no bound of steps would be reached.
 *
 * The handlers run on their own signal stack, as the fiber's may be used up, and leave it by switching to the kernel thread's context. The
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

static struct sigaction previous[2];
static const int signals[2] = { SIGSEGV, SIGBUS };
static void (*before_others)(void);

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

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    SchedThread *self = sched_self_;
    const ucontext_t *machine = context;

    if (!self || !sched_engine_.running || !sched_is_stack((uintptr_t)info->si_addr)) {
        pass_on(signal_number == SIGBUS, info, context);
        return;
    }
    self->fault_frame = (void *)machine->uc_mcontext.gregs[REG_RBP];
    self->fault_pc = (void *)machine->uc_mcontext.gregs[REG_RIP];
    /* the handler is left by a switch: TSan runs it with every signal blocked, and the next hit would end the process */
    pthread_sigmask(SIG_SETMASK, &machine->uc_sigmask, NULL);
    sched_end(SCHED_STACK_OVERFLOW, self);
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
    watched.ticks = 0;
    self->fault_frame = (void *)machine->uc_mcontext.gregs[REG_RBP];
    self->fault_pc = (void *)machine->uc_mcontext.gregs[REG_RIP];
    sched_end(SCHED_NO_STEP, self);
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

void sched_install_fault_handler(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    stack_t stack = { .ss_size = SIGNAL_STACK_BYTES };
    stack_t old;

    if (sigaltstack(NULL, &old) == 0 && old.ss_flags & SS_DISABLE) {
        stack.ss_sp = mmap(NULL, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL)) {
            fprintf(stderr, "wakefuzz: no signal stack (%s): an overflow of a guard page will end the process\n",
                    strerror(errno));
            return;
        }
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
