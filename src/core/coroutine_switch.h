/*
 * The machine's part of coroutines: leaving one stack in the middle and going on with another.
 *
 * Implemented in coroutine_switch_x86_64.c and, for other machines or with COROUTINE_UCONTEXT defined, in
 * coroutine_switch_ucontext.c. Knows nothing of coroutines, sanitizers or threads.
 */
#ifndef WAKEFUZZ_CORE_COROUTINE_SWITCH_H
#define WAKEFUZZ_CORE_COROUTINE_SWITCH_H

#include <stddef.h>

#if defined(__x86_64__) && !defined(COROUTINE_UCONTEXT)
#define COROUTINE_SWITCH_X86_64 1
typedef struct CoroutineContext {
    void **sp; /* what is saved there: see coroutine_switch_x86_64.c */
} CoroutineContext;
#else
#include <ucontext.h>
typedef struct CoroutineContext {
    ucontext_t uc;
} CoroutineContext;
#endif

/* Makes context run function(argument) on the given stack when it is first switched to. function must not return. */
void coroutine_context_init(CoroutineContext *context, void *stack_low, size_t stack_bytes, void (*function)(void *),
                            void *argument);

/*
 * Saves the running context in *from and goes on with *to. Returns when someone switches to *from, perhaps in another
 * thread.
 */
void coroutine_context_switch(CoroutineContext *from, CoroutineContext *to);

/* The innermost frame of a context that is not running: where its frame pointer is and where it will go on. */
void coroutine_context_frame(const CoroutineContext *context, const void **frame_pointer, const void **pc);

#endif
