/*
 * Atomic accesses and memory barriers, with the names and the orders of QEMU's public atomics API (docs/devel/atomics.rst).
 *
 * This header is the only place where the core and the scheduler meet. In a simulated build (WAKEFUZZ_SIMULATED) each access is a
 * scheduling point: it tells the scheduler what it is about to do, and another thread may run first. In a native build the macros
 * are the compiler's atomics and nothing else.
 *
 * Every argument is evaluated once. All macros may be called by any thread and never block by themselves.
 */
#ifndef WAKEFUZZ_CORE_ATOMIC_H
#define WAKEFUZZ_CORE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef WAKEFUZZ_SIMULATED
#include "sched/point.h"
#define ATOMIC_POINT_(operation, text, pointer, value) SCHED_ATOMIC_POINT(operation, text, pointer, value)
#define ATOMIC_DONE_()                                 sched_atomic_done()
#define ATOMIC_FENCE_()                                SCHED_FENCE_POINT()
#else
#define ATOMIC_POINT_(operation, text, pointer, value) ((void)0)
#define ATOMIC_DONE_()                                 ((void)0)
#define ATOMIC_FENCE_()                                ((void)0)
#endif

/* The bits of a value, for the step table: any integer, bool or pointer. */
#define ATOMIC_BITS_(value) ((uint64_t)(uintptr_t)(value))

#define ATOMIC_LOAD_(pointer, order)                       \
    ({                                                     \
        __auto_type atomic_p_ = (pointer);                 \
        ATOMIC_POINT_(SCHED_LOAD, #pointer, atomic_p_, 0); \
        __atomic_load_n(atomic_p_, order);                 \
    })

#define ATOMIC_STORE_(pointer, value, order)                                      \
    ({                                                                            \
        __auto_type atomic_p_ = (pointer);                                        \
        __typeof__(*atomic_p_) atomic_v_ = (value);                               \
        ATOMIC_POINT_(SCHED_STORE, #pointer, atomic_p_, ATOMIC_BITS_(atomic_v_)); \
        __atomic_store_n(atomic_p_, atomic_v_, order);                            \
    })

#define ATOMIC_RMW_(builtin, pointer, value)                                     \
    ({                                                                           \
        __auto_type atomic_p_ = (pointer);                                       \
        __typeof__(*atomic_p_) atomic_v_ = (value);                              \
        ATOMIC_POINT_(SCHED_RMW, #pointer, atomic_p_, 0);                        \
        __auto_type atomic_r_ = builtin(atomic_p_, atomic_v_, __ATOMIC_SEQ_CST); \
        ATOMIC_DONE_();                                                          \
        atomic_r_;                                                               \
    })

/* Relaxed load and store. */
#define qatomic_read(pointer)       ATOMIC_LOAD_(pointer, __ATOMIC_RELAXED)
#define qatomic_set(pointer, value) ATOMIC_STORE_(pointer, value, __ATOMIC_RELAXED)

/* Acquire load and release store. */
#define qatomic_load_acquire(pointer)         ATOMIC_LOAD_(pointer, __ATOMIC_ACQUIRE)
#define qatomic_store_release(pointer, value) ATOMIC_STORE_(pointer, value, __ATOMIC_RELEASE)

/* A store that is followed by a full barrier. */
#define qatomic_set_mb(pointer, value) ((void)qatomic_xchg(pointer, value))

/* Sequentially consistent read-modify-write; each returns the old value. */
#define qatomic_xchg(pointer, value)      ATOMIC_RMW_(__atomic_exchange_n, pointer, value)
#define qatomic_fetch_add(pointer, value) ATOMIC_RMW_(__atomic_fetch_add, pointer, value)
#define qatomic_fetch_sub(pointer, value) ATOMIC_RMW_(__atomic_fetch_sub, pointer, value)
#define qatomic_fetch_and(pointer, value) ATOMIC_RMW_(__atomic_fetch_and, pointer, value)
#define qatomic_fetch_or(pointer, value)  ATOMIC_RMW_(__atomic_fetch_or, pointer, value)
#define qatomic_fetch_inc(pointer)        qatomic_fetch_add(pointer, 1)
#define qatomic_fetch_dec(pointer)        qatomic_fetch_sub(pointer, 1)

/* The same, for callers that do not want the old value. */
#define qatomic_add(pointer, value) ((void)qatomic_fetch_add(pointer, value))
#define qatomic_sub(pointer, value) ((void)qatomic_fetch_sub(pointer, value))
#define qatomic_and(pointer, value) ((void)qatomic_fetch_and(pointer, value))
#define qatomic_or(pointer, value)  ((void)qatomic_fetch_or(pointer, value))
#define qatomic_inc(pointer)        ((void)qatomic_fetch_inc(pointer))
#define qatomic_dec(pointer)        ((void)qatomic_fetch_dec(pointer))

/* Compare and exchange; returns the value found. */
#define qatomic_cmpxchg(pointer, expected, desired)                                                                     \
    ({                                                                                                                  \
        __auto_type atomic_p_ = (pointer);                                                                              \
        __typeof__(*atomic_p_) atomic_e_ = (expected);                                                                  \
        __typeof__(*atomic_p_) atomic_v_ = (desired);                                                                   \
        ATOMIC_POINT_(SCHED_RMW, #pointer, atomic_p_, 0);                                                               \
        (void)__atomic_compare_exchange_n(atomic_p_, &atomic_e_, atomic_v_, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
        ATOMIC_DONE_();                                                                                                 \
        atomic_e_;                                                                                                      \
    })

/* Barriers. In the simulated build they are recorded steps, so that a report can show them. */
#define smp_mb()                                 \
    ({                                           \
        ATOMIC_FENCE_();                         \
        __atomic_thread_fence(__ATOMIC_SEQ_CST); \
    })
#define smp_wmb()            __atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_rmb()            __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_mb_acquire()     __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_mb_release()     __atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_mb__before_rmw() ((void)0) /* the RMW macros above are sequentially consistent */
#define smp_mb__after_rmw()  smp_mb()

#endif
