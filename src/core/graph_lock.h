/*
 * The graph lock: readers may look at nodes and edges of the block graph, the writer may change them.
 *
 * Readers are coroutines in any thread. Each AioContext has a counter of its own, so that readers in different threads
 * share no cache line; the writer adds the counters up. The only writer is the main thread, outside coroutines, and it
 * waits by polling its event loop, so that readers in the main context go on. The main thread itself may read at any
 * time without taking anything: nobody but itself could write.
 *
 *     writer (main thread)                                reader
 *     1  under the list lock: has_writer = 0, wake queue  a  reader_count + 1
 *     2  AIO_WAIT_WHILE(sum of reader_count >= 1)         b  full barrier
 *     3  has_writer = 1                                   c  has_writer == 0: in
 *     4  full barrier                                     d  else, under the list lock: has_writer == 0: in;
 *     5  sum >= 1: back to 1                                 else reader_count - 1, kick, sleep in queue, back to a
 *     6  write                                            e  read
 *     7  as 1                                             f  reader_count - 1, full barrier, kick
 *
 * has_writer is 0 while the writer polls in step 2, because callbacks that run there take the lock as readers. For the
 * same reason has_writer does not tell whether a writer waits, and step f kicks whatever it reads: only num_waiters of
 * AioWait is the right question (QEMU e3082ab3b3; fault graph-lock-unlock-no-kick).
 *
 * Step 1 wakes the queue, which QEMU does in step 7 only: a reader that came between 3 and 5 sleeps in the queue, and the
 * one that the writer goes back to wait for may be waiting for him (docs/findings.md, 6).
 *
 * Invariants
 *  1. While the writer writes, has_writer is 1 and the sum over all counters is 0, but for readers between a and d.
 *  2. A counter is written only in its own context's thread. A coroutine that moved in between leaves +1 in one and -1
 *     in the other: only the sum means anything.
 *  3. The balance of a context that goes away moves to orphaned_reader_count.
 *  4. The list of contexts, orphaned_reader_count and reader_queue are under aio_context_list_lock.
 *
 * From QEMU: block/graph-lock.c, include/block/graph-lock.h.
 */
#ifndef WAKEFUZZ_CORE_GRAPH_LOCK_H
#define WAKEFUZZ_CORE_GRAPH_LOCK_H

#include <stdbool.h>

#include "core/aio_context.h"
#include "core/coroutine.h"

/* Marks a function that must not run inside a coroutine, since it polls. */
#define no_coroutine_fn

/* Per-context state, behind AioContext.bdrv_graph. */
typedef struct BdrvGraphRWlock BdrvGraphRWlock;

/*
 * Give ctx its counter, or take it away. Called where a context is created and where it is freed:
 * unregister_aiocontext() must have the context to itself. Any thread; both may block for a moment on the list lock.
 */
void register_aiocontext(AioContext *ctx);
void unregister_aiocontext(AioContext *ctx);

/*
 * Take the lock for writing. Main thread only, outside coroutines and not while it is taken; polls the main context
 * until all readers have left. New requests are held back meanwhile: all nodes are quiesced, without waiting for the
 * requests that run. The caller must not hold anything that a reader needs in order to leave.
 */
void no_coroutine_fn bdrv_graph_wrlock(void);

/*
 * The same, in a section in which all nodes are drained: no request runs between this call and the
 * bdrv_drain_all_end() that the caller makes after bdrv_graph_wrunlock(). For changes that need idle nodes.
 */
void no_coroutine_fn bdrv_graph_wrlock_drained(void);

/* Release the lock, wake the readers that wait, and run the bottom halves that the section has scheduled (such as
 * deferred unrefs). Main thread only, outside coroutines. The bottom halves may poll and may take the lock again. */
void no_coroutine_fn bdrv_graph_wrunlock(void);

/*
 * Take the lock for reading, and release it. Coroutines of any thread; rdlock yields while the writer writes. The
 * release never blocks or yields. A reader that is in may wait for another coroutine that takes the lock: that one gets
 * in as long as the writer waits for the first.
 */
void coroutine_fn bdrv_graph_co_rdlock(void);
void coroutine_fn bdrv_graph_co_rdunlock(void);

/* The main thread, outside coroutines, reads the graph in between. Nothing is taken, but neither is anything allowed
 * that would write. */
void bdrv_graph_rdlock_main_loop(void);
void bdrv_graph_rdunlock_main_loop(void);

/* Abort as "assertion" where the caller is not allowed to read, or to write, the graph. Readable: the main thread, or
 * somebody has the lock for reading. Any thread; the first may block for a moment on the list lock. */
void assert_bdrv_graph_readable(void);
void assert_bdrv_graph_writable(void);

/* How many readers there are, in all contexts. Any thread; may block for a moment on the list lock. For tests and
 * reports. */
unsigned bdrv_graph_reader_count(void);

/* Back to the state of before the first use: no writer, nobody waits. Call it between two executions, when all
 * contexts have been freed; on any thread. */
void bdrv_graph_lock_reset(void);

/* ------------------------------------------------------------------------------------------- guards */

typedef struct GraphLockable {
    char unused;
} GraphLockable;

static inline GraphLockable coroutine_fn graph_lockable_auto_lock(void)
{
    bdrv_graph_co_rdlock();
    return (GraphLockable){ 0 };
}

static inline void coroutine_fn graph_lockable_auto_unlock(GraphLockable *guard)
{
    (void)guard;
    bdrv_graph_co_rdunlock();
}

static inline GraphLockable graph_lockable_auto_lock_mainloop(void)
{
    bdrv_graph_rdlock_main_loop();
    return (GraphLockable){ 0 };
}

static inline void graph_lockable_auto_unlock_mainloop(GraphLockable *guard)
{
    (void)guard;
    bdrv_graph_rdunlock_main_loop();
}

/* Read the graph until the end of the enclosing block: in a coroutine, or in the main thread outside one. At most one
 * of each in a block. */
#define GRAPH_RDLOCK_GUARD() \
    __attribute__((cleanup(graph_lockable_auto_unlock), unused)) GraphLockable graph_guard_ = graph_lockable_auto_lock()
#define GRAPH_RDLOCK_GUARD_MAINLOOP()                            \
    __attribute__((cleanup(graph_lockable_auto_unlock_mainloop), \
                   unused)) GraphLockable graph_main_guard_ = graph_lockable_auto_lock_mainloop()

#endif
