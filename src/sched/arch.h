/*
 * What depends on the processor: a context is a stack pointer and a thread pointer.
 *
 * The thread pointer (the fs base on x86-64) makes a fiber a whole thread: __thread variables, errno, pthread_self() and the
 * sanitizers' per-thread state follow it.
 */
#ifndef WAKEFUZZ_SCHED_ARCH_H
#define WAKEFUZZ_SCHED_ARCH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct SchedContext {
    void *sp;             /* the callee-saved registers and the return address lie on this stack */
    void *thread_pointer; /* constant for the life of a fiber */
} SchedContext;

/* What lies at sp of a context that is not running. */
typedef struct SchedFrame {
    uint64_t r15, r14, r13, r12, rbx;
    void *frame_pointer;
    void *return_address;
} SchedFrame;

/* True: the thread pointer is switched by a system call, as the kernel or the processor has no FSGSBASE. Set by sched_arch_init(). */
extern uint8_t sched_arch_slow;

/* Choose how the thread pointer is switched. force_slow is for tests. */
void sched_arch_init(bool force_slow);

void *sched_arch_thread_pointer(void);

/* Save the running context in *from (its thread pointer excepted, which does not change) and continue *to. */
void sched_arch_switch(SchedContext *from, const SchedContext *to);

/* Save the context, set *parked and wake its futex, then sleep until *released, touching no stack: another kernel thread
 * runs this context meanwhile. */
void sched_arch_park(SchedContext *context, int *parked, int *released);

#endif
