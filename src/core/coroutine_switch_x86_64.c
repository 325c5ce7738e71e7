/*
 * Switching stacks on x86-64, System V calling convention.
 *
 * Only what a function must preserve is saved: the six registers below and the stack pointer. The floating point
 * control words are the same in all of this program's code. The saved stack, from the saved stack pointer upwards:
 *
 *     sp[0] r15   sp[1] r14   sp[2] r13   sp[3] r12   sp[4] rbx   sp[5] rbp   sp[6] return address
 *
 * so that &sp[5] looks like an ordinary frame to a reader that follows frame pointers from outside.
 */
#include "core/coroutine_switch.h"

#ifdef COROUTINE_SWITCH_X86_64

#include <stdint.h>

enum { SAVED_R12 = 3, SAVED_RBX = 4, SAVED_RBP = 5, SAVED_RETURN = 6, SAVED_WORDS = 7 };

__asm__(".text\n"
        ".p2align 4\n"
        ".globl coroutine_context_switch\n"
        ".type coroutine_context_switch, @function\n"
        "coroutine_context_switch:\n"
        "    .cfi_startproc\n"
        "    pushq %rbp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %rbp, 0\n"
        "    pushq %rbx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %rbx, 0\n"
        "    pushq %r12\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %r12, 0\n"
        "    pushq %r13\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %r13, 0\n"
        "    pushq %r14\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %r14, 0\n"
        "    pushq %r15\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %r15, 0\n"
        "    movq %rsp, (%rdi)\n"
        "    movq (%rsi), %rsp\n" /* the new stack has the same layout, so the rules above hold for it, too */
        "    popq %r15\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %r15\n"
        "    popq %r14\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %r14\n"
        "    popq %r13\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %r13\n"
        "    popq %r12\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %r12\n"
        "    popq %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %rbx\n"
        "    popq %rbp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %rbp\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size coroutine_context_switch, . - coroutine_context_switch\n"
        "\n"
        /*
         * Where a new stack begins: calls rbx(r12), with a frame pointer of 0 and no return address for unwinders to
         * follow.
         */
        ".p2align 4\n"
        ".type coroutine_context_start, @function\n"
        "coroutine_context_start:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined %rip\n"
        "    movq %r12, %rdi\n"
        "    callq *%rbx\n"
        "    ud2\n"
        "    .cfi_endproc\n"
        ".size coroutine_context_start, . - coroutine_context_start\n");

void coroutine_context_start(void);

void coroutine_context_init(CoroutineContext *context, void *stack_low, size_t stack_bytes, void (*function)(void *),
                            void *argument)
{
    uintptr_t top = ((uintptr_t)stack_low + stack_bytes) & ~(uintptr_t)15;
    void **sp = (void **)top - SAVED_WORDS; /* the return takes the last word: start begins with an aligned stack */

    for (int i = 0; i < SAVED_WORDS; i++) {
        sp[i] = NULL;
    }
    sp[SAVED_R12] = argument;
    sp[SAVED_RBX] = (void *)function;
    sp[SAVED_RETURN] = (void *)coroutine_context_start;
    context->sp = sp;
}

/* The stack may be poisoned for ASan below this frame; reading the two saved words is legal all the same. */
__attribute__((no_sanitize("address", "thread"))) void coroutine_context_frame(const CoroutineContext *context,
                                                                               const void **frame_pointer, const void **pc)
{
    *frame_pointer = context->sp[SAVED_RBP];
    *pc = context->sp[SAVED_RETURN];
}

#endif
