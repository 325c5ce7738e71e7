/*
 * Switching stacks by ucontext: for machines without a switch of their own. Two system calls slower, since it saves
 * the signal mask.
 */
#include "core/coroutine_switch.h"

#ifndef COROUTINE_SWITCH_X86_64

#include <stdint.h>

#include "core/fatal.h"

/* makecontext() passes ints: put the two pointers together again. */
static void start(unsigned function_low, unsigned function_high, unsigned argument_low, unsigned argument_high)
{
    uintptr_t function = (uintptr_t)(((uint64_t)function_high << 32) | function_low);
    uintptr_t argument = (uintptr_t)(((uint64_t)argument_high << 32) | argument_low);

    ((void (*)(void *))function)((void *)argument);
    core_fatal("assertion", "a coroutine's first function returned");
}

void coroutine_context_init(CoroutineContext *context, void *stack_low, size_t stack_bytes, void (*function)(void *),
                            void *argument)
{
    uint64_t f = (uintptr_t)function;
    uint64_t a = (uintptr_t)argument;

    core_assert(getcontext(&context->uc) == 0);
#if defined(__x86_64__) /* end the chain of frame pointers here */
    context->uc.uc_mcontext.gregs[REG_RBP] = 0;
#elif defined(__aarch64__)
    context->uc.uc_mcontext.regs[29] = 0;
#endif
    context->uc.uc_link = NULL;
    context->uc.uc_stack.ss_sp = stack_low;
    context->uc.uc_stack.ss_size = stack_bytes;
    context->uc.uc_stack.ss_flags = 0;
    makecontext(&context->uc, (void (*)(void))start, 4, (unsigned)f, (unsigned)(f >> 32), (unsigned)a, (unsigned)(a >> 32));
}

void coroutine_context_switch(CoroutineContext *from, CoroutineContext *to)
{
    core_assert(swapcontext(&from->uc, &to->uc) == 0);
}

void coroutine_context_frame(const CoroutineContext *context, const void **frame_pointer, const void **pc)
{
#if defined(__x86_64__)
    *frame_pointer = (const void *)context->uc.uc_mcontext.gregs[REG_RBP];
    *pc = (const void *)context->uc.uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    *frame_pointer = (const void *)context->uc.uc_mcontext.regs[29];
    *pc = (const void *)context->uc.uc_mcontext.pc;
#else
    (void)context;
    *frame_pointer = NULL;
    *pc = NULL;
#endif
}

#endif
