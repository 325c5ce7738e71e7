/*
 * RCU: readers that never wait, and memory that is freed when none of them can still see it.
 *
 * A reader marks a section; within it, what it reached through a pointer that it read with qatomic_rcu_read() stays. A writer
 * puts a new pointer there with qatomic_rcu_set(), and frees the old object with call_rcu(), which returns at once: the
 * call_rcu thread does it, under the big lock, after a grace period, that is, when each section that had begun has ended.
 *
 *     reader                                     synchronize_rcu() (in practice the call_rcu thread)
 *     1  ctr = rcu_gp_ctr; barrier               a  rcu_gp_ctr + 2; for each reader: waiting = true; barrier
 *     2  reads pointers, uses objects            b  ctr 0 or the new number: done with this reader
 *     3  ctr = 0 (release); barrier              c  some are left: sleeps for rcu_gp_event, resets it, back to b
 *     4  waiting: false; sets rcu_gp_event
 *
 * Either 4 sees a, or b sees 3. Steps a and c sleep only where the grace period is forced: when many callbacks have piled up, when
 * somebody drains, or after 50 ms; before, the thread looks again every 10 ms, and readers need not wake it.
 *
 * Invariants
 *  1. ctr and depth are written by their reader alone. ctr is 0 outside of sections, and the number of a grace period, which is
 *     odd, inside.
 *  2. Each reader is in one of two lists while rcu_registry_lock is free: the registry, or those with which the grace period
 *     under way is done.
 *  3. Callbacks run in the order of their calls, one at a time, under the big lock, and may call call_rcu() themselves.
 *
 * A program without rcu_init() has no readers to wait for: there registering and sections do nothing, and nothing can be freed.
 * QEMU's notifiers by which a virtual CPU is told to leave its section (rcu_add_force_rcu_notifier()) are not here.
 *
 * From QEMU: include/qemu/rcu.h, util/rcu.c, docs/devel/rcu.rst; after liburcu's "memory barrier" flavour.
 */
#ifndef WAKEFUZZ_CORE_RCU_H
#define WAKEFUZZ_CORE_RCU_H

#include <stdbool.h>
#include <stddef.h>

#include "core/atomic.h"

typedef struct rcu_head {
    struct rcu_head *next;
    void (*func)(struct rcu_head *head);
} rcu_head;

typedef void RCUCBFunc(struct rcu_head *head);

/*
 * Start: the calling thread becomes the first reader, and the call_rcu thread is created. The main thread, after core_init(),
 * before threads that are to be readers.
 */
void rcu_init(void);

/*
 * Run all callbacks, also those that they make, and end the call_rcu thread. The main thread, outside of sections, when no other
 * reader is registered; drops the big lock meanwhile, if the caller has it. Nothing where RCU was not started.
 */
void rcu_cleanup(void);

/* Each thread that has sections registers before and unregisters after them. Any thread; blocks for a short time. */
void rcu_register_thread(void);
void rcu_unregister_thread(void);

/* A section; nests. A registered thread; never blocks, and the caller must not sleep for long inside. */
void rcu_read_lock(void);
void rcu_read_unlock(void);

/* Wait for a grace period. Any thread outside of sections; blocks. */
void synchronize_rcu(void);

/* Call func(head) after a grace period, in the call_rcu thread under the big lock. Any thread; never blocks. head belongs to the
 * callee until then. */
void call_rcu1(struct rcu_head *head, RCUCBFunc *func);

/* The same for an object whose first field, of this name, is a struct rcu_head; func gets the address of both. Unlike in QEMU its type
 * is RCUCBFunc in any case: to call a function through another type is undefined. */
#define call_rcu(object, func, field)                                                                        \
    ({                                                                                                       \
        _Static_assert(offsetof(__typeof__(*(object)), field) == 0, "the rcu_head must be the first field"); \
        call_rcu1(&(object)->field, (func));                                                                 \
    })

/* Wait until all callbacks that this thread has asked for have run. Any thread outside of sections and callbacks; blocks, and
 * drops the big lock meanwhile, if the caller has it. */
void drain_call_rcu(void);

/* Publish a pointer, and read one that was published. Any thread; the reader within a section. */
#define qatomic_rcu_set(pointer, value) qatomic_store_release(pointer, value)
#define qatomic_rcu_read(pointer)       qatomic_load_acquire(pointer)

/* Part of core_thread_reset(), and of core_reset(): fails with "leak" where RCU was not cleaned up. */
void rcu_thread_reset(void);
void rcu_reset(void);

#endif
