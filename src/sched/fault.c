/*
 * Faults: a hit of a stack's guard page ends the execution as a stack overflow; every other signal goes to the handlers that were
 * there before (a sanitizer's, the fuzzing engine's).
 *
 * The handler runs on its own signal stack, as the fiber's is used up, and leaves it by switching to the kernel thread's context.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "sched/engine.h"

#define SIGNAL_STACK_BYTES (256u << 10)

static struct sigaction previous[2];
static const int signals[2] = { SIGSEGV, SIGBUS };

static void pass_on(int which, siginfo_t *info, void *context)
{
    const struct sigaction *old = &previous[which];

    sched_passthrough_begin(); /* what the handlers do is not the program's */
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
        sigaction(signals[i], &action, &previous[i]);
    }
}
