/*
 * The graph lock. The protocol and its invariants are told in graph_lock.h.
 *
 * Threads: bdrv_graph_wr*() and the _main_loop functions run in the main thread, bdrv_graph_co_rd*() in coroutines of
 * any thread.
 */
#include "core/graph_lock.h"

#include <glib.h>
#include <sys/queue.h>

#include "core/aio_context_int.h"
#include "core/aio_wait.h"
#include "core/atomic.h"
#include "core/block_drain.h"
#include "core/co_queue.h"
#include "core/fatal.h"
#include "core/main_loop.h"

struct BdrvGraphRWlock {
    /* Readers that came in here minus readers that left here, modulo 2^32. Written by the context's own thread, read
     * by the writer. Atomic. */
    uint32_t reader_count;

    TAILQ_ENTRY(BdrvGraphRWlock) next_aio; /* under aio_context_list_lock */
};

/* Protects the list of contexts, orphaned_reader_count and reader_queue, and orders sleeping readers with the end of a
 * write. */
static QemuMutex aio_context_list_lock;
static TAILQ_HEAD(, BdrvGraphRWlock) aio_context_list = TAILQ_HEAD_INITIALIZER(aio_context_list);

/* What the counters of contexts that are gone had come to. Under aio_context_list_lock. */
static uint32_t orphaned_reader_count;

/* Readers that found a writer. Under aio_context_list_lock. */
static CoQueue reader_queue;

/* 1: the graph may be changing at this moment. 0: it is not, though a writer may be waiting for readers to leave.
 * Written by the main thread, read by readers in any thread. Atomic. */
static int has_writer;

static void __attribute__((constructor)) graph_lock_init(void)
{
    qemu_mutex_init(&aio_context_list_lock);
}

void bdrv_graph_lock_reset(void)
{
    core_assert(TAILQ_EMPTY(&aio_context_list));
    core_assert(qemu_co_queue_empty(&reader_queue));
    orphaned_reader_count = 0;
    has_writer = 0;
}

/* ------------------------------------------------------------------------------------------- counters */

void register_aiocontext(AioContext *ctx)
{
    BdrvGraphRWlock *counter = g_new0(BdrvGraphRWlock, 1);

    ctx->bdrv_graph = counter;
    QEMU_LOCK_GUARD(&aio_context_list_lock);
    TAILQ_INSERT_TAIL(&aio_context_list, counter, next_aio);
}

void unregister_aiocontext(AioContext *ctx)
{
    BdrvGraphRWlock *counter = ctx->bdrv_graph;

    QEMU_LOCK_GUARD(&aio_context_list_lock);
    orphaned_reader_count += qatomic_read(&counter->reader_count);
    TAILQ_REMOVE(&aio_context_list, counter, next_aio);
    ctx->bdrv_graph = NULL;
    g_free(counter);
}

/*
 * The number of readers in all contexts. Any thread.
 *
 * The counters are not read at one moment. A reader that comes in a context already added up, moves, and leaves in one
 * that is still to come is seen leaving but not coming: the sum is one too small, even negative. While has_writer is 0
 * that may be (the caller adds up again); once it is 1 no new reader stays, and the sum is exact. docs/findings.md, 2;
 * fault graph-lock-sum-of-moving-readers.
 */
static int32_t reader_count(void)
{
    BdrvGraphRWlock *counter;
    uint32_t sum;

    QEMU_LOCK_GUARD(&aio_context_list_lock);

    sum = orphaned_reader_count;
    TAILQ_FOREACH(counter, &aio_context_list, next_aio) {
        /* ORDER: reader_count before anything that the writer then changes
         * PAIRS: bdrv_graph_co_rdunlock()
         * ELSE:  the writer changes what the reader is still reading */
        sum += qatomic_load_acquire(&counter->reader_count);
    }
    return (int32_t)sum;
}

unsigned bdrv_graph_reader_count(void)
{
    int32_t count = reader_count();

    core_assert(count >= 0);
    return (unsigned)count;
}

/* ------------------------------------------------------------------------------------------- writer */

/*
 * Nobody writes: readers may come in, and those that came while has_writer was 1 must. One of them may be what a reader
 * that is in waits for (a request and the coroutine that copies for it, say), while the writer waits for that one.
 * docs/findings.md, 6; fault graph-lock-queued-reader-stays.
 */
static void no_coroutine_fn let_readers_in(void)
{
    QEMU_LOCK_GUARD(&aio_context_list_lock);

    /* ORDER: the changes to the graph before has_writer
     * PAIRS: bdrv_graph_co_rdlock()
     * ELSE:  a reader gets in on 0 and reads the graph as it was, or half changed. Against readers that go to sleep the
     *        list lock is enough. */
    qatomic_store_release(&has_writer, 0);
    qemu_co_enter_all(&reader_queue, &aio_context_list_lock);
}

void no_coroutine_fn bdrv_graph_wrlock(void)
{
    core_assert(qemu_in_main_thread());
    core_assert(!qemu_in_coroutine());
    core_assert(!qatomic_read(&has_writer));

    /* Requests that keep coming would keep the writer out for ever. Those that run already are readers like others. */
    bdrv_drain_all_begin_nopoll();

    do {
        /* Readers must get in while the main loop is polled: the writer may be waiting for one that has yet to take
         * the lock. */
        let_readers_in();
        AIO_WAIT_WHILE_UNLOCKED(NULL, reader_count() != 0);
        qatomic_set(&has_writer, 1);

        /* ORDER: has_writer before reading reader_count again
         * PAIRS: bdrv_graph_co_rdlock()
         * ELSE:  a reader that has just come is not seen and does not see the writer: both go ahead; fault
         *        graph-wrlock-no-barrier */
        smp_mb();
    } while (reader_count() != 0);

    bdrv_drain_all_end();
}

void no_coroutine_fn bdrv_graph_wrlock_drained(void)
{
    bdrv_drain_all_begin();
    bdrv_graph_wrlock();
}

void no_coroutine_fn bdrv_graph_wrunlock(void)
{
    core_assert(qemu_in_main_thread());
    core_assert(!qemu_in_coroutine());
    core_assert(qatomic_read(&has_writer));

    let_readers_in();

    /* After the readers are on their way: a bottom half may poll for something that takes one of them to go on. */
    aio_bh_poll(qemu_get_aio_context());
}

/* ------------------------------------------------------------------------------------------- readers */

static BdrvGraphRWlock *my_counter(void)
{
    return qemu_get_current_aio_context()->bdrv_graph;
}

/*
 * The writer was seen. Returns true where it has left meanwhile, with the reader still counted; else the reader was
 * uncounted, has slept, and has to try again.
 *
 * The lock makes this one step for bdrv_graph_wrunlock(), which wakes those whom it finds asleep: either the reader
 * sleeps before, and is woken, or it comes after, and reads has_writer as 0.
 */
static bool coroutine_fn reader_wait_for_writer(BdrvGraphRWlock *counter)
{
    QEMU_LOCK_GUARD(&aio_context_list_lock);

    if (!qatomic_read(&has_writer)) {
        return true;
    }
    qatomic_set(&counter->reader_count, counter->reader_count - 1);

    /* The writer may have counted this reader in, and be waiting for it. */
    aio_wait_kick();
    qemu_co_queue_wait(&reader_queue, &aio_context_list_lock);
    return false;
}

void coroutine_fn bdrv_graph_co_rdlock(void)
{
    /* Not asked for again after the sleep: a coroutine that waits in a queue is woken where it went to sleep. */
    BdrvGraphRWlock *counter = my_counter();

    core_assert(qemu_in_coroutine());
    for (;;) {
        qatomic_set(&counter->reader_count, counter->reader_count + 1);

        /* ORDER: reader_count before reading has_writer
         * PAIRS: bdrv_graph_wrlock()
         * ELSE:  both sides go ahead; fault graph-wrlock-no-barrier */
        smp_mb();

        /* ORDER: has_writer before reading the graph
         * PAIRS: let_readers_in()
         * ELSE:  the reader sees the graph of before the write */
        if (!qatomic_load_acquire(&has_writer)) {
            return;
        }
        if (reader_wait_for_writer(counter)) {
            return;
        }
    }
}

void coroutine_fn bdrv_graph_co_rdunlock(void)
{
    BdrvGraphRWlock *counter = my_counter();

    /* ORDER: reading the graph before reader_count
     * PAIRS: reader_count()
     * ELSE:  the writer changes what the reader is still reading */
    qatomic_store_release(&counter->reader_count, counter->reader_count - 1);

    /* ORDER: reader_count before reading num_waiters, in the kick
     * PAIRS: bdrv_graph_wrlock()
     * ELSE:  the writer sleeps on the old count and nobody kicks; fault graph-lock-unlock-no-kick shows the same end */
    smp_mb();

    /* Whatever has_writer says: the writer that polls in AIO_WAIT_WHILE() has set it to 0. */
    aio_wait_kick();
}

void bdrv_graph_rdlock_main_loop(void)
{
    core_assert(qemu_in_main_thread());
    core_assert(!qemu_in_coroutine());
}

void bdrv_graph_rdunlock_main_loop(void)
{
    core_assert(qemu_in_main_thread());
    core_assert(!qemu_in_coroutine());
}

void assert_bdrv_graph_readable(void)
{
    core_assert(qemu_in_main_thread() || reader_count());
}

void assert_bdrv_graph_writable(void)
{
    core_assert(qemu_in_main_thread());
    core_assert(qatomic_read(&has_writer));
}
