/*
 * Coroutines: functions that can give way in the middle and go on later, on a stack of their own.
 *
 * A coroutine runs on the stack that qemu_coroutine_create() gave it and on the thread that entered it; it may go on
 * later on another thread. Names and semantics: QEMU's include/qemu/coroutine-core.h and util/qemu-coroutine.c.
 *
 * Inside a coroutine, never keep the address of a thread variable across a yield: the thread may be another one
 * afterwards.
 */
#ifndef WAKEFUZZ_CORE_COROUTINE_H
#define WAKEFUZZ_CORE_COROUTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Marks a function that must run inside a coroutine, since it may yield. */
#define coroutine_fn
/* Marks one that must not: it blocks or polls. */
#define no_coroutine_fn

typedef struct AioContext AioContext;
typedef struct Coroutine Coroutine;
typedef void coroutine_fn CoroutineEntry(void *opaque);

/* Each coroutine's stack, as in QEMU. Only the pages that were touched take memory. */
#define COROUTINE_STACK_BYTES ((size_t)1 << 20)

/*
 * Makes a coroutine that will run entry(opaque) once it is entered. Any thread; does not block. It frees itself when
 * entry returns. Its name in reports is the text of the first argument.
 */
#define qemu_coroutine_create(entry, opaque) qemu_coroutine_create_named(#entry, entry, opaque)
Coroutine *qemu_coroutine_create_named(const char *name, CoroutineEntry *entry, void *opaque);

/*
 * Runs the coroutine until it yields or ends, and then those it woke (aio_co_wake() on itself's context inside a
 * coroutine) one after the other on this same stack: the depth does not grow with their number (c40a254570). Aborts
 * with "double-entry" if co has been entered already, or if aio_co_schedule() or another owner has claimed it. The
 * thread must be the home of co's context; other threads use aio_co_wake().
 */
void qemu_coroutine_enter(Coroutine *co);

/* The same, and from now on ctx is the context in which co goes on. ctx must be the calling thread's current one. */
void qemu_aio_coroutine_enter(AioContext *ctx, Coroutine *co);

/*
 * Back to whoever entered this coroutine. Returns when it is entered again, perhaps on another thread. Only inside a
 * coroutine.
 */
void coroutine_fn qemu_coroutine_yield(void);

/* The coroutine that runs; on a thread's own stack, an object that stands for that stack. */
Coroutine *qemu_coroutine_self(void);
bool qemu_in_coroutine(void);

/*
 * Whether co has been entered and has not yielded since; it may have entered others. Only where co cannot move to
 * another thread meanwhile.
 */
bool qemu_coroutine_entered(Coroutine *co);

/* The context in which co runs or will go on; NULL before it was first entered. Any thread. */
AioContext *qemu_coroutine_get_aio_context(Coroutine *co);

/*
 * What a fuzz driver or a debugging aid may put in: all NULL by default. Set them while no coroutine exists. The
 * functions must not create, enter or yield from coroutines. stack_alloc returns the low end of bytes usable bytes and
 * sees to a guard below them; the stack is never given back, the core reuses it for ever.
 */
typedef struct CoroutineHooks {
    void *(*stack_alloc)(size_t bytes);
    void (*created)(Coroutine *co);
    void (*finished)(Coroutine *co);
    void (*switched)(Coroutine *to); /* on the old stack, just before the switch; NULL: to the thread's own stack */
} CoroutineHooks;

extern CoroutineHooks coroutine_hooks;

typedef enum CoroutineState {
    COROUTINE_NEW,       /* never entered: no frames yet */
    COROUTINE_RUNNING,   /* on a thread's processor now: no saved frames */
    COROUTINE_ENTERING,  /* has entered another coroutine and waits for it */
    COROUTINE_SUSPENDED, /* has yielded */
} CoroutineState;

typedef struct CoroutineInfo {
    const char *name;         /* text of the entry function's name */
    uint32_t id;              /* 1, 2, ... in the order of creation since core_init() */
    CoroutineState state;
    AioContext *ctx;          /* as qemu_coroutine_get_aio_context() */
    const char *scheduled;    /* who claimed it for a later entry, or NULL */
    const void *stack_low;    /* the usable stack is [stack_low, stack_high) */
    const void *stack_high;
    const void *frame_pointer; /* of the frame that pc lies in; NULL when new or running */
    const void *pc;
} CoroutineInfo;

/*
 * Describe a coroutine, or all that are alive, newest first. For reports, while the threads that run coroutines stand
 * still. The callback must not create or finish coroutines.
 */
void coroutine_describe(Coroutine *co, CoroutineInfo *info);
void coroutine_foreach(void (*callback)(const CoroutineInfo *info, void *opaque), void *opaque);

/* How many coroutines have been created and have not ended. Any thread. */
size_t coroutine_live_count(void);

/* Parts of core_init(), core_reset() and core_thread_reset(). */
void coroutine_init(void);
void coroutine_thread_reset(void);

#endif
