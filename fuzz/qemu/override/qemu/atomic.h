/*
 * Found before QEMU's header of the same name. QEMU's definitions stay in force, with their memory orders; the compiler's operations
 * that they expand to become scheduling points here. So each version of QEMU brings its own macros, and code that uses an operation
 * directly is seen too.
 *
 * 1. The point stands before the access; every argument is evaluated once.
 * 2. A site has the name of function, file and expression: constraints of an input name it alike in every flavour.
 * 3. TSan knows no barriers. To it, what comes before any of them that releases comes before what follows any later one that acquires: that is more
 *    order than there is, but what only barriers order is no race.
 */
#ifndef WAKEFUZZ_FUZZ_QEMU_ATOMIC_H
#define WAKEFUZZ_FUZZ_QEMU_ATOMIC_H

#include_next "qemu/atomic.h"

#include "sched/point.h"

#define LANE_READ_(operation, pointer, access)               \
    ({                                                       \
        __auto_type lane_p_ = (pointer);                     \
        SCHED_ATOMIC_POINT(operation, #pointer, lane_p_, 0); \
        access;                                              \
    })

#define LANE_RMW_(builtin, pointer, value, order)               \
    ({                                                          \
        __auto_type lane_p_ = (pointer);                        \
        __auto_type lane_v_ = (value);                          \
        SCHED_ATOMIC_POINT(SCHED_RMW, #pointer, lane_p_, 0);    \
        __auto_type lane_r_ = builtin(lane_p_, lane_v_, order); \
        sched_atomic_done();                                    \
        lane_r_;                                                \
    })

/* A macro is not expanded within itself: the names on the right are the compiler's. */
#define __atomic_load_n(pointer, order)       LANE_READ_(SCHED_LOAD, pointer, __atomic_load_n(lane_p_, order))
#define __atomic_load(pointer, result, order) LANE_READ_(SCHED_LOAD, pointer, __atomic_load(lane_p_, result, order))

#define __atomic_store_n(pointer, value, order)                                           \
    ({                                                                                    \
        __auto_type lane_p_ = (pointer);                                                  \
        __auto_type lane_v_ = (value);                                                    \
        SCHED_ATOMIC_POINT(SCHED_STORE, #pointer, lane_p_, (uint64_t)(uintptr_t)lane_v_); \
        __atomic_store_n(lane_p_, lane_v_, order);                                        \
    })

#define __atomic_exchange_n(pointer, value, order) LANE_RMW_(__atomic_exchange_n, pointer, value, order)
#define __atomic_fetch_add(pointer, value, order)  LANE_RMW_(__atomic_fetch_add, pointer, value, order)
#define __atomic_fetch_sub(pointer, value, order)  LANE_RMW_(__atomic_fetch_sub, pointer, value, order)
#define __atomic_fetch_and(pointer, value, order)  LANE_RMW_(__atomic_fetch_and, pointer, value, order)
#define __atomic_fetch_or(pointer, value, order)   LANE_RMW_(__atomic_fetch_or, pointer, value, order)
#define __atomic_fetch_xor(pointer, value, order)  LANE_RMW_(__atomic_fetch_xor, pointer, value, order)
#define __atomic_add_fetch(pointer, value, order)  LANE_RMW_(__atomic_add_fetch, pointer, value, order)
#define __atomic_sub_fetch(pointer, value, order)  LANE_RMW_(__atomic_sub_fetch, pointer, value, order)
#define __atomic_and_fetch(pointer, value, order)  LANE_RMW_(__atomic_and_fetch, pointer, value, order)
#define __atomic_or_fetch(pointer, value, order)   LANE_RMW_(__atomic_or_fetch, pointer, value, order)
#define __atomic_xor_fetch(pointer, value, order)  LANE_RMW_(__atomic_xor_fetch, pointer, value, order)

#define __atomic_compare_exchange_n(pointer, expected, desired, weak, success, failure)                 \
    ({                                                                                                  \
        __auto_type lane_p_ = (pointer);                                                                \
        __auto_type lane_v_ = (desired);                                                                \
        SCHED_ATOMIC_POINT(SCHED_RMW, #pointer, lane_p_, 0);                                            \
        bool lane_r_ = __atomic_compare_exchange_n(lane_p_, expected, lane_v_, weak, success, failure); \
        sched_atomic_done();                                                                            \
        lane_r_;                                                                                        \
    })

#if __has_feature(thread_sanitizer)
void lane_barrier(int order);
/* On x86 these are barriers of the compiler, as the operation itself is one of the processor: TSan is told. */
#undef smp_mb__before_rmw
#define smp_mb__before_rmw() ({ lane_barrier(__ATOMIC_SEQ_CST); })
#undef smp_mb__after_rmw
#define smp_mb__after_rmw() ({ lane_barrier(__ATOMIC_SEQ_CST); })
#else
#define lane_barrier(order) ((void)0)
#endif

/* Full barriers are steps that a report shows; the others order nothing that the scheduler could reorder. */
#define __atomic_thread_fence(order)       \
    ({                                     \
        if ((order) == __ATOMIC_SEQ_CST) { \
            SCHED_FENCE_POINT();           \
        }                                  \
        lane_barrier(order);               \
        __atomic_thread_fence(order);      \
    })

#endif
