/*
 * Fibers: stacks, their pool, and switches that the sanitizers know of. Any thread.
 *
 * Invariants
 * 1. A fiber never ends. Its lowest frame loops: run the borrower, wait for the next. So its stack, its TSan fiber and
 *    its ASan fake stack, all expensive to make, serve one coroutine after the other.
 * 2. The pool only grows. Nothing here is a scheduling point, blocks, or depends on what earlier executions left in
 *    the pool.
 * 3. Between leaving one stack and arriving on the other no thread variable is read: the thread may have changed.
 */
#include "core/coroutine_fiber.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/coroutine.h"
#include "core/fatal.h"
#include "core/sanitizer.h"

/* How much of a pooled stack ASan is told not to touch: most of what short-lived coroutines have used. */
#define POISON_BYTES ((size_t)64 << 10)

static SLIST_HEAD(, CoroutineFiber) pool = SLIST_HEAD_INITIALIZER(pool);
static unsigned char spin_locked; /* raw builtins instead of atomic.h: not a part of the program under test */

void coroutine_spin_lock(void)
{
    while (__atomic_exchange_n(&spin_locked, 1, __ATOMIC_ACQUIRE)) {
        sched_yield(); /* on real threads only: under the scheduler nobody else runs while the lock is held */
    }
}

void coroutine_spin_unlock(void)
{
    __atomic_store_n(&spin_locked, 0, __ATOMIC_RELEASE);
}

static void *map_stack(size_t bytes)
{
    size_t guard_bytes = (size_t)sysconf(_SC_PAGESIZE);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE;
    char *mapping = mmap(NULL, guard_bytes + bytes, PROT_NONE, flags, -1, 0);

    if (mapping == MAP_FAILED || mprotect(mapping + guard_bytes, bytes, PROT_READ | PROT_WRITE) < 0) {
        core_fatal("assertion", "no memory for a coroutine's stack: %s", strerror(errno));
    }
    return mapping + guard_bytes;
}

/*
 * The first thing on the new stack, in whatever thread that is: tells ASan, and learns where the stack that was left
 * lies.
 */
static void arrive(CoroutineFiber *self)
{
#ifdef CORE_ASAN
    CoroutineFiber *previous = self->came_from;

    __sanitizer_finish_switch_fiber(self->asan_fake_stack, &previous->stack_low, &previous->stack_bytes);
#else
    (void)self;
#endif
}

__attribute__((noinline)) void coroutine_fiber_switch(CoroutineFiber *from, CoroutineFiber *to)
{
    to->came_from = from;
    to->suspended = false;
    from->suspended = true;
#ifdef CORE_TSAN
    if (!from->tsan_fiber) {
        from->tsan_fiber = __tsan_get_current_fiber(); /* a thread's own stack, the first time */
    }
#endif
#ifdef CORE_ASAN
    __sanitizer_start_switch_fiber(&from->asan_fake_stack, to->stack_low, to->stack_bytes);
#endif
#ifdef CORE_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    coroutine_context_switch(&from->context, &to->context);
    arrive(from);
}

/*
 * The lowest frame of every fiber; see invariant 1. run() ends by a switch, and comes back here for the next borrower.
 */
static void fiber_main(void *opaque)
{
    CoroutineFiber *self = opaque;

    arrive(self);
    for (;;) {
        self->run(self->run_argument);
    }
}

static CoroutineFiber *fiber_new(void)
{
    CoroutineFiber *fiber = calloc(1, sizeof(*fiber));
    void *stack;

    core_assert(fiber);
    stack = (coroutine_hooks.stack_alloc ? coroutine_hooks.stack_alloc : map_stack)(COROUTINE_STACK_BYTES);
    fiber->stack_low = stack;
    fiber->stack_bytes = COROUTINE_STACK_BYTES;
    fiber->suspended = true;
#ifdef CORE_TSAN
    fiber->tsan_fiber = __tsan_create_fiber(0);
#endif
    coroutine_context_init(&fiber->context, stack, COROUTINE_STACK_BYTES, fiber_main, fiber);
    return fiber;
}

/* The top of a pooled stack, without the frames of fiber_main() and below that wait there. */
static void poison_stack(CoroutineFiber *fiber, bool poison)
{
    char *high = (char *)fiber->stack_low + fiber->stack_bytes;

    if (poison) {
        SANITIZER_POISON(high - POISON_BYTES, POISON_BYTES);
    } else {
        SANITIZER_UNPOISON(high - POISON_BYTES, POISON_BYTES);
    }
    (void)high;
}

CoroutineFiber *coroutine_fiber_get(void (*run)(void *), void *argument)
{
    CoroutineFiber *fiber;

    coroutine_spin_lock();
    fiber = SLIST_FIRST(&pool);
    if (fiber) {
        SLIST_REMOVE_HEAD(&pool, pool_next);
    }
    coroutine_spin_unlock();

    if (fiber) {
        poison_stack(fiber, false);
    } else {
        fiber = fiber_new();
    }
    fiber->run = run;
    fiber->run_argument = argument;
    return fiber;
}

void coroutine_fiber_put(CoroutineFiber *fiber)
{
    poison_stack(fiber, true);
    coroutine_spin_lock();
    SLIST_INSERT_HEAD(&pool, fiber, pool_next);
    coroutine_spin_unlock();
}
