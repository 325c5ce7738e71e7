/*
 * For scenarios that are compiled twice from one source: with the core, and with QEMU (tools/qemu-lane). They use QEMU's public names only, and
 * note what a user of these functions can see: which callback ran in which thread, in which order, with which result. Run by one input in
 * first-in-first-out order, both must note the same (tests/conform).
 *
 * Main thread unless said otherwise.
 */
#ifndef WAKEFUZZ_FUZZ_BOTH_H
#define WAKEFUZZ_FUZZ_BOTH_H

#if __has_include("qemu/osdep.h")

#include "fuzz/qemu/scenario.h"

#include "block/thread-pool.h"
#if __has_include("qemu/defer-call.h")
#include "qemu/defer-call.h"
#endif
#if __has_include("qemu/lockcnt.h")
#include "qemu/lockcnt.h"
#endif

#define qemu_co_sleep_init(w) (*(w) = (QemuCoSleep){ 0 })

/* A disk on which each request takes this long, and its backend, both in an io thread. */
static inline BlockBackend *both_open_disk(Scenario *scenario, unsigned index, int64_t latency_ns, BlockDriverState **disk)
{
    *disk = scenario_open_null("disk", 4096, latency_ns);
    return scenario_new_backend(scenario, index, *disk);
}

/* Where GLib sources beside the main loop's own belong. */
static inline GMainContext *both_main_context(void)
{
    return g_main_context_default();
}

/* An io thread that can run GLib's loop, too. Ended by iothread_destroy(). */
static inline IOThread *both_new_iothread(const char *name)
{
    return iothread_create(name, &error_abort);
}

/* Whether the loop looks for a while at handlers with io_poll before it sleeps; not before this call. Any thread. */
static inline void both_set_polling(AioContext *ctx, bool polls)
{
    aio_context_set_poll_params(ctx, polls ? 16 * SCALE_US : 0, 0, 0, &error_abort);
}

/* How many workers the context's thread pool may have, and keeps. In its home thread. */
static inline void both_set_workers(AioContext *ctx, int least, int most)
{
    aio_context_set_thread_pool_params(ctx, least, most, &error_abort);
}

#else

#include <glib.h>

#include "core/atomic.h"
#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/co_mutex.h"
#include "core/co_queue.h"
#include "core/co_rwlock.h"
#include "core/co_sleep.h"
#include "core/defer_call.h"
#include "core/event_notifier.h"
#include "core/graph_lock.h"
#include "core/lockcnt.h"
#include "core/thread_pool.h"
#include "core/timer.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

static inline BlockBackend *both_open_disk(Scenario *scenario, unsigned index, int64_t latency_ns, BlockDriverState **disk)
{
    BlockBackend *blk = blk_new(scenario_context(scenario, index));

    *disk = bdrv_new_ram("disk", scenario_context(scenario, index), 4096);
    bdrv_ram_set_completion(*disk, RAM_COMPLETE_TIMER, latency_ns);
    blk_insert_bs(blk, *disk);
    return blk;
}

static inline GMainContext *both_main_context(void)
{
    return qemu_main_loop_get_g_main_context();
}

static inline IOThread *both_new_iothread(const char *name)
{
    return iothread_new_with_g_main_context(name);
}

static inline void both_set_polling(AioContext *ctx, bool polls)
{
    aio_context_set_poll_params(ctx, polls ? 4 : 0);
}

static inline void both_set_workers(AioContext *ctx, int least, int most)
{
    aio_context_set_thread_pool_params(ctx, least, most);
}

#endif

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define BOTH_THREADS 2u /* io threads of such a scenario */

/* Which context the calling thread has: 0 main, from 1 an io thread's. Any thread. */
unsigned both_here(Scenario *scenario);

/* Run function(opaque) in the thread of this context, and wait for its end. */
void both_do_in(Scenario *scenario, unsigned index, void (*function)(void *), void *opaque);

/* Let all threads do what is ready to be done, until there is nothing more; the clock hardly moves. */
void both_settle(Scenario *scenario);

/* Let that much time pass, while the io threads and the main context work. */
void both_sleep(Scenario *scenario, int64_t ns);

#endif
