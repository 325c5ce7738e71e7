/*
 * What the unit tests of the scheduler share: a lock, a condition, threads and sleep, each the smallest thing that can be built on
 * sched.h, so that these tests stand on the scheduler alone and not on the simulated OS.
 *
 * Everything named kit_ is called on fibers, unless said otherwise.
 *
 * 1. State of a program is static: objects on stacks have no identity. Each body begins by putting it back.
 */
#ifndef WAKEFUZZ_TESTS_UNIT_SCHED_KIT_H
#define WAKEFUZZ_TESTS_UNIT_SCHED_KIT_H

#include <glib.h>
#include <string.h>

#include "core/atomic.h"
#include "sched/random.h"
#include "sched/sched.h"

#define KIT_MS UINT64_C(1000000)

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KIT_TSAN 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define KIT_TSAN 1
#endif

#ifdef KIT_TSAN
/* TSan cannot know that the kit's locks are locks. Its machinery runs all the same, and that is what is tested with it here. The races of
 * programs are the business of the tests of os/. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "report_bugs=0:atexit_sleep_ms=0";
}
#endif

typedef struct KitMutex {
    bool locked;
    SchedQueue waiters;
} KitMutex;

typedef struct KitCond {
    SchedQueue waiters;
} KitCond;

/* Sleep in queue until woken or until the deadline. */
static inline SchedWake kit_wait(SchedQueue *queue, SchedCall call, const void *object, uint64_t deadline_ns)
{
    SchedBlock block = { .call = call, .object = object, .deadline_ns = deadline_ns };
    SchedWaiter waiter;
    SchedWake wake;

    sched_queue_add(queue, &waiter);
    wake = sched_block(&block);
    sched_queue_remove(&waiter);
    return wake;
}

static inline void kit_lock(KitMutex *mutex)
{
    SCHED_POINT(SCHED_CALL_MUTEX_LOCK, mutex);
    while (mutex->locked) {
        kit_wait(&mutex->waiters, SCHED_CALL_MUTEX_LOCK, mutex, SCHED_FOREVER);
    }
    mutex->locked = true;
}

static inline void kit_unlock(KitMutex *mutex)
{
    SCHED_POINT(SCHED_CALL_MUTEX_UNLOCK, mutex);
    mutex->locked = false;
    sched_queue_wake_all(&mutex->waiters);
}

/* The atomic step of a condition wait lies between the point and the sleep: nobody else runs there. */
static inline SchedWake kit_cond_wait(KitCond *cond, KitMutex *mutex, uint64_t deadline_ns)
{
    SchedWake wake;

    SCHED_POINT(SCHED_CALL_COND_WAIT, cond);
    mutex->locked = false;
    sched_queue_wake_all(&mutex->waiters);
    wake = kit_wait(&cond->waiters, SCHED_CALL_COND_WAIT, cond, deadline_ns);
    kit_lock(mutex);
    return wake;
}

/* Which waiter it wakes is a decision. */
static inline void kit_cond_signal(KitCond *cond)
{
    SCHED_POINT(SCHED_CALL_COND_SIGNAL, cond);
    sched_queue_wake_chosen(&cond->waiters);
}

static inline SchedThread *kit_spawn(void *(*function)(void *), void *argument)
{
    SCHED_POINT(SCHED_CALL_CREATE, 0);
    return sched_thread_create(function, argument);
}

static inline void *kit_join(SchedThread *thread)
{
    SCHED_POINT(SCHED_CALL_JOIN, 0);
    if (!sched_thread_ended(thread)) {
        kit_wait(sched_thread_joiners(thread), SCHED_CALL_JOIN, thread, SCHED_FOREVER);
    }
    sched_thread_reap(thread);
    return sched_thread_value(thread);
}

static inline void kit_sleep_until(uint64_t deadline_ns)
{
    SchedBlock block = { .call = SCHED_CALL_SLEEP, .sleeping = true, .deadline_ns = deadline_ns };

    SCHED_POINT(SCHED_CALL_SLEEP, 0);
    sched_block(&block);
}

static inline void kit_yield(void)
{
    sched_yield_point(__builtin_return_address(0), __builtin_frame_address(0));
}

/* A fake stack would give automatic variables heap addresses, and so identities that they do not have in other flavours. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_stack_use_after_return=0";
}

/* Kernel thread: run once, must end well. */
static inline const SchedResult *kit_run_done(void (*body)(void *), void *argument, const SchedPlan *plan)
{
    const SchedResult *result = sched_run(body, argument, plan, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_DONE);
    return result;
}

/* Kernel thread: the deviations of the last execution as a plan of base FIFO. False: there are more than an input holds. */
static inline bool kit_pure_plan(const SchedResult *result, bool atomics, SchedPlan *pure)
{
    uint8_t bytes[SCHED_PLAN_BYTES_MAX];
    SchedPlan plan = { .atomics = atomics };
    size_t length;

    if (!result->deviations_complete || result->deviation_count > SCHED_OVERRIDES_MAX) {
        return false;
    }
    plan.override_count = (uint8_t)result->deviation_count;
    memcpy(plan.overrides, result->deviations, result->deviation_count * sizeof(plan.overrides[0]));
    length = sched_plan_encode(&plan, bytes); /* decoding sorts them */
    g_assert_cmpuint(sched_plan_decode(pure, bytes, length), ==, length);
    return true;
}

/* Kernel thread: first in main(). */
static inline void kit_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    if (sched_init()) {
        g_error("the scheduler cannot be prepared");
    }
    sched_install_fault_handler();
}

#endif
