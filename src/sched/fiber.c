/*
 * The pool of fibers: real pthreads whose contexts the scheduler's kernel thread runs.
 *
 *     step | a new pthread                                  | the scheduler's kernel thread
 *     -----+------------------------------------------------+------------------------------------------
 *        1 |                                                | sched_fiber_get: pthread_create, waits for parked
 *        2 | blocks all signals of its kernel thread        |
 *        3 | sched_arch_park: saves its context,            |
 *          | sets parked, sleeps without touching its stack |
 *        4 |                                                | sched_arch_switch to the context: the pthread's code
 *          |                                                | goes on, with its stack and thread pointer, but here
 *        5 |                                                | ... and at the end of an execution is left for the next
 *
 * 1. Fiber i serves thread i of each execution, so that handles and orders are the same in every execution.
 * 2. Its kernel thread never runs again: the fiber is memory, and the process ends without it.
 * 3. Its signals are blocked only in its own kernel thread: SIGALRM still reaches the scheduler's.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sched/internal.h"

#define STACK_BYTES        (8u << 20)
#define START_FRAMES_BYTES 256u /* frames of libc and of the sanitizer below the first one of ours, at least */

__thread SchedThread *sched_self_;

#define HANDLE_SLOTS (16 * SCHED_THREADS_MAX) /* retired fibers keep theirs */

SchedThread *sched_fibers_[SCHED_THREADS_MAX];
static SchedThread *by_handle[HANDLE_SLOTS]; /* open addressing; never removed from */

typedef int (*CreateFunction)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* The sanitizers must see the creation, the simulated OS must not. */
extern int __interceptor_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) __attribute__((weak));
extern void __asan_unpoison_memory_region(void const volatile *, size_t) __attribute__((weak));
extern void __tsan_acquire(void *) __attribute__((weak));

static CreateFunction real_create(void)
{
    static CreateFunction function;

    if (!function) {
        function = __interceptor_pthread_create ? __interceptor_pthread_create
                                                : (CreateFunction)dlsym(RTLD_NEXT, "pthread_create");
    }
    return function;
}

static void *fiber_entry(void *opaque)
{
    SchedThread *self = opaque;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    sched_self_ = self;
    sched_arch_park(&self->context, &self->parked, &self->released);
    sched_fiber_main(self); /* does not return */
    return NULL;
}

static int start_pthread(SchedThread *fiber)
{
    pthread_attr_t attributes;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, fiber->own_low, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    error = real_create()(&fiber->pthread, &attributes, fiber_entry, fiber);
    pthread_attr_destroy(&attributes);
    if (error) {
        return -error;
    }
    while (!__atomic_load_n(&fiber->parked, __ATOMIC_ACQUIRE)) {
        syscall(SYS_futex, &fiber->parked, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
    fiber->initial = fiber->context;
    fiber->own_high = (char *)fiber->context.sp + START_FRAMES_BYTES; /* above lie the thread-local variables */
    memcpy(&fiber->initial_frame, fiber->context.sp, sizeof(fiber->initial_frame));
    return 0;
}

static uint32_t handle_slot(uintptr_t handle)
{
    return (uint32_t)((handle * 0x9e3779b97f4a7c15u) >> 40) % HANDLE_SLOTS;
}

SchedThread *sched_fiber_by_pthread(uintptr_t handle)
{
    for (uint32_t slot = handle_slot(handle); by_handle[slot]; slot = (slot + 1) % HANDLE_SLOTS) {
        if ((uintptr_t)by_handle[slot]->pthread == handle && !by_handle[slot]->retired) {
            return by_handle[slot];
        }
    }
    return NULL;
}

static bool handle_add(SchedThread *fiber)
{
    static unsigned used;
    uint32_t slot = handle_slot((uintptr_t)fiber->pthread);

    if (used == HANDLE_SLOTS / 2) {
        errno = EAGAIN;
        return false;
    }
    while (by_handle[slot]) {
        slot = (slot + 1) % HANDLE_SLOTS;
    }
    by_handle[slot] = fiber;
    used++;
    return true;
}

static SchedThread *fiber_new(unsigned id)
{
    SchedThread *fiber = mmap(NULL, sizeof(*fiber), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int error;

    if (fiber == MAP_FAILED) {
        return NULL;
    }
    fiber->id = (uint16_t)id;
    fiber->own_low = sched_stack_alloc(STACK_BYTES);
    if (!fiber->own_low) {
        munmap(fiber, sizeof(*fiber));
        return NULL;
    }
    error = start_pthread(fiber);
    if (error) {
        munmap(fiber, sizeof(*fiber));
        errno = -error;
        return NULL;
    }
    return handle_add(fiber) ? fiber : NULL;
}

SchedThread *sched_fiber_get(unsigned id)
{
    if (id >= SCHED_THREADS_MAX) {
        errno = EAGAIN;
        return NULL;
    }
    if (sched_fibers_[id] && sched_fibers_[id]->retired) {
        sched_fibers_[id] = NULL; /* its memory stays: the parked kernel thread lies in it */
    }
    if (!sched_fibers_[id]) {
        sched_fibers_[id] = fiber_new(id);
    }
    return sched_fibers_[id];
}

void sched_fiber_abandon(SchedThread *fiber)
{
    /* TSan's shadow of the call stack cannot be wound back from here, so under TSan a new thread takes the place */
    if (__tsan_acquire) {
        fiber->retired = true;
        return;
    }
    fiber->context = fiber->initial;
    if (__asan_unpoison_memory_region) {
        __asan_unpoison_memory_region(fiber->own_low, (size_t)((char *)fiber->initial.sp - fiber->own_low));
    }
    memcpy(fiber->initial.sp, &fiber->initial_frame, sizeof(fiber->initial_frame));
}

int sched_prepare_threads(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!sched_fiber_get(i)) {
            return -errno;
        }
    }
    return 0;
}
