/*
 * The points at which the mutated copy of src/core asks whether a mutant is chosen: tools/lib/mutate.py writes the calls, and this header is
 * included in front of each file. Numbers are those of table.json; 0 is no mutant.
 *
 * With no mutant chosen each macro does what the one of core/atomic.h does whose place it takes, and makes the same scheduling points at
 * the same sites.
 */
#ifndef WAKEFUZZ_MUTANTS_MUTANT_H
#define WAKEFUZZ_MUTANTS_MUTANT_H

#include <stdbool.h>

#include "mutant_bases.h"

/* The number of a file's n-th mutant. */
#define MUTANT(file, n) (mutant_base_##file + (n))

/* Is this mutant chosen? Notes that the point was reached. Any thread. */
bool mutant(unsigned number);

/* One of two. */
static inline bool mutant_any(unsigned a, unsigned b)
{
    return (int)mutant(a) | (int)mutant(b);
}

/* A condition that may be made false or true. */
bool mutant_if(unsigned never, unsigned always, bool condition);

/* The condition of a loop that may be ended after one turn; *turns is the loop's own. */
bool mutant_once(unsigned once, unsigned *turns, bool condition);

/* A QemuLockable that locks nothing. */
void *mutant_no_lock(void);

/* ---- read-modify-write */

/* The read alone, or the read and, a scheduling point later, the write. */
#define MUTANT_RMW_(drop, split, builtin, result, pointer, value)                                    \
    ({                                                                                               \
        __auto_type atomic_p_ = (pointer);                                                           \
        __typeof__(*atomic_p_) atomic_v_ = (value), atomic_r_;                                       \
        bool mutant_drop_ = mutant(drop), mutant_split_ = mutant(split);                             \
        ATOMIC_POINT_(SCHED_RMW, #pointer, atomic_p_, 0);                                            \
        atomic_r_ = mutant_drop_ || mutant_split_ ? *(volatile __typeof__(*atomic_p_) *)atomic_p_    \
                                                  : builtin(atomic_p_, atomic_v_, __ATOMIC_SEQ_CST); \
        ATOMIC_DONE_();                                                                              \
        if (mutant_split_) {                                                                         \
            ATOMIC_POINT_(SCHED_STORE, "mutant, " #pointer, atomic_p_, ATOMIC_BITS_(result));        \
            __atomic_store_n(atomic_p_, result, __ATOMIC_RELAXED);                                   \
        }                                                                                            \
        atomic_r_;                                                                                   \
    })

#define MUTANT_QATOMIC_XCHG(d, s, p, v)      MUTANT_RMW_(d, s, __atomic_exchange_n, atomic_v_, p, v)
#define MUTANT_QATOMIC_FETCH_ADD(d, s, p, v) MUTANT_RMW_(d, s, __atomic_fetch_add, atomic_r_ + atomic_v_, p, v)
#define MUTANT_QATOMIC_FETCH_SUB(d, s, p, v) MUTANT_RMW_(d, s, __atomic_fetch_sub, atomic_r_ - atomic_v_, p, v)
#define MUTANT_QATOMIC_FETCH_AND(d, s, p, v) MUTANT_RMW_(d, s, __atomic_fetch_and, atomic_r_ &atomic_v_, p, v)
#define MUTANT_QATOMIC_FETCH_OR(d, s, p, v)  MUTANT_RMW_(d, s, __atomic_fetch_or, atomic_r_ | atomic_v_, p, v)
#define MUTANT_QATOMIC_FETCH_INC(d, s, p)    MUTANT_QATOMIC_FETCH_ADD(d, s, p, 1)
#define MUTANT_QATOMIC_FETCH_DEC(d, s, p)    MUTANT_QATOMIC_FETCH_SUB(d, s, p, 1)
#define MUTANT_QATOMIC_ADD(d, s, p, v)       ((void)MUTANT_QATOMIC_FETCH_ADD(d, s, p, v))
#define MUTANT_QATOMIC_SUB(d, s, p, v)       ((void)MUTANT_QATOMIC_FETCH_SUB(d, s, p, v))
#define MUTANT_QATOMIC_AND(d, s, p, v)       ((void)MUTANT_QATOMIC_FETCH_AND(d, s, p, v))
#define MUTANT_QATOMIC_OR(d, s, p, v)        ((void)MUTANT_QATOMIC_FETCH_OR(d, s, p, v))
#define MUTANT_QATOMIC_INC(d, s, p)          ((void)MUTANT_QATOMIC_FETCH_INC(d, s, p))
#define MUTANT_QATOMIC_DEC(d, s, p)          ((void)MUTANT_QATOMIC_FETCH_DEC(d, s, p))

/* Its second mutant is that nothing is ordered: an interleaving does not tell that from a split exchange, whose read is not used. */
#define MUTANT_QATOMIC_SET_MB(drop, relaxed, pointer, value) ((void)MUTANT_QATOMIC_XCHG(drop, relaxed, pointer, value))

#define MUTANT_QATOMIC_CMPXCHG(drop, split, pointer, expected, desired)                                                     \
    ({                                                                                                                      \
        __auto_type atomic_p_ = (pointer);                                                                                  \
        __typeof__(*atomic_p_) atomic_e_ = (expected), mutant_e_ = atomic_e_;                                               \
        __typeof__(*atomic_p_) atomic_v_ = (desired);                                                                       \
        bool mutant_drop_ = mutant(drop), mutant_split_ = mutant(split);                                                    \
        ATOMIC_POINT_(SCHED_RMW, #pointer, atomic_p_, 0);                                                                   \
        if (mutant_drop_ || mutant_split_) {                                                                                \
            atomic_e_ = *(volatile __typeof__(*atomic_p_) *)atomic_p_;                                                      \
        } else {                                                                                                            \
            (void)__atomic_compare_exchange_n(atomic_p_, &atomic_e_, atomic_v_, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
        }                                                                                                                   \
        ATOMIC_DONE_();                                                                                                     \
        if (mutant_split_ && atomic_e_ == mutant_e_) {                                                                      \
            ATOMIC_POINT_(SCHED_STORE, "mutant, " #pointer, atomic_p_, ATOMIC_BITS_(atomic_v_));                            \
            __atomic_store_n(atomic_p_, atomic_v_, __ATOMIC_RELAXED);                                                       \
        }                                                                                                                   \
        atomic_e_;                                                                                                          \
    })

/* ---- orders */

#define MUTANT_LOAD_ACQUIRE(relaxed, pointer)                                                                          \
    ({                                                                                                                 \
        __auto_type atomic_p_ = (pointer);                                                                             \
        bool mutant_relaxed_ = mutant(relaxed);                                                                        \
        ATOMIC_POINT_(SCHED_LOAD, #pointer, atomic_p_, 0);                                                             \
        mutant_relaxed_ ? __atomic_load_n(atomic_p_, __ATOMIC_RELAXED) : __atomic_load_n(atomic_p_, __ATOMIC_ACQUIRE); \
    })

#define MUTANT_STORE_RELEASE(relaxed, pointer, value)                             \
    ({                                                                            \
        __auto_type atomic_p_ = (pointer);                                        \
        __typeof__(*atomic_p_) atomic_v_ = (value);                               \
        bool mutant_relaxed_ = mutant(relaxed);                                   \
        ATOMIC_POINT_(SCHED_STORE, #pointer, atomic_p_, ATOMIC_BITS_(atomic_v_)); \
        if (mutant_relaxed_) {                                                    \
            __atomic_store_n(atomic_p_, atomic_v_, __ATOMIC_RELAXED);             \
        } else {                                                                  \
            __atomic_store_n(atomic_p_, atomic_v_, __ATOMIC_RELEASE);             \
        }                                                                         \
    })

/* ---- guards */

#define MUTANT_LOCKABLE_(number, pointer) (mutant(number) ? (QemuLockable *)mutant_no_lock() : QEMU_MAKE_LOCKABLE(pointer))

#define MUTANT_LOCK_GUARD(number, pointer) \
    QEMU_LOCKABLE_GUARD_ LOCKABLE_NAME_(lock_guard_, __COUNTER__) = qemu_lockable_guard_begin(MUTANT_LOCKABLE_(number, pointer))

#define MUTANT_WITH_LOCK_GUARD(number, pointer)                                                                               \
    for (QEMU_LOCKABLE_GUARD_ with_guard_ = qemu_lockable_guard_begin(MUTANT_LOCKABLE_(number, pointer)); with_guard_.object; \
         qemu_lockable_guard_end(&with_guard_), with_guard_.object = NULL)

void bdrv_graph_co_rdlock(void);
void bdrv_graph_co_rdunlock(void);
void bdrv_graph_rdlock_main_loop(void);
void bdrv_graph_rdunlock_main_loop(void);

static inline bool mutant_graph_lock(unsigned number)
{
    bool held = !mutant(number);

    if (held) {
        bdrv_graph_co_rdlock();
    }
    return held;
}

static inline void mutant_graph_unlock(const bool *held)
{
    if (*held) {
        bdrv_graph_co_rdunlock();
    }
}

static inline bool mutant_graph_lock_mainloop(unsigned number)
{
    bool held = !mutant(number);

    if (held) {
        bdrv_graph_rdlock_main_loop();
    }
    return held;
}

static inline void mutant_graph_unlock_mainloop(const bool *held)
{
    if (*held) {
        bdrv_graph_rdunlock_main_loop();
    }
}

#define MUTANT_GRAPH_RDLOCK_GUARD(number) \
    __attribute__((cleanup(mutant_graph_unlock), unused)) bool graph_guard_ = mutant_graph_lock(number)
#define MUTANT_GRAPH_RDLOCK_GUARD_MAINLOOP(number) \
    __attribute__((cleanup(mutant_graph_unlock_mainloop), unused)) bool graph_main_guard_ = mutant_graph_lock_mainloop(number)

#endif
