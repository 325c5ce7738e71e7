/* Context switch for x86-64, System V calling convention. The contract is in arch.h. */

#define SYS_ARCH_PRCTL 158
#define ARCH_SET_FS    0x1002
#define SYS_FUTEX      202
#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129

        .text
        .hidden sched_arch_slow

        .macro push_callee_saved
        pushq   %rbp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        .endm

        .macro pop_callee_saved
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        .endm

        .globl  sched_arch_switch
        .hidden sched_arch_switch
        .type   sched_arch_switch, @function
        .p2align 4
sched_arch_switch:
        push_callee_saved
        movq    %rsp, 0(%rdi)
        cmpb    $0, sched_arch_slow(%rip)
        movq    0(%rsi), %rsp
        movq    8(%rsi), %rax
        jne     1f
        wrfsbase %rax
        pop_callee_saved
        ret
1:      movq    %rax, %rsi
        movl    $ARCH_SET_FS, %edi
        movl    $SYS_ARCH_PRCTL, %eax
        syscall
        pop_callee_saved
        ret
        .size   sched_arch_switch, . - sched_arch_switch

        .globl  sched_arch_park
        .hidden sched_arch_park
        .type   sched_arch_park, @function
        .p2align 4
sched_arch_park:
        push_callee_saved
        movq    %rsp, 0(%rdi)
        movq    %fs:0, %rax
        movq    %rax, 8(%rdi)
        movq    %rdi, %r12
        movq    %rsi, %r13
        movq    %rdx, %r14
        movl    $1, (%r13)
        movl    $SYS_FUTEX, %eax
        movq    %r13, %rdi
        movl    $FUTEX_WAKE_PRIVATE, %esi
        movl    $1, %edx
        xorl    %r10d, %r10d
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        syscall
1:      cmpl    $0, (%r14)
        jne     2f
        movl    $SYS_FUTEX, %eax
        movq    %r14, %rdi
        movl    $FUTEX_WAIT_PRIVATE, %esi
        xorl    %edx, %edx
        xorl    %r10d, %r10d
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        syscall
        jmp     1b
2:      movq    0(%r12), %rsp
        pop_callee_saved
        ret
        .size   sched_arch_park, . - sched_arch_park

        .section .note.GNU-stack, "", @progbits
