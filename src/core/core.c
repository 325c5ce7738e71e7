/*
 * The life of the core as a whole. Main thread, but for core_thread_reset().
 */
#include "core/core.h"

#include "core/aio_context.h"
#include "core/coroutine.h"
#include "core/defer_call.h"
#include "core/fatal.h"
#include "core/linux_aio.h"
#include "core/main_loop.h"
#include "core/monitor.h"
#include "core/qmp_json.h"
#include "core/rcu.h"
#include "core/runstate.h"
#include "core/thread.h"
#include "core/thread_pool.h"

void core_thread_reset(void)
{
    bql_thread_reset();
    defer_call_thread_reset();
    aio_context_thread_reset();
    coroutine_thread_reset();
    rcu_thread_reset();
    monitor_thread_reset();
}

void core_init(void)
{
    core_thread_reset();
    bql_init();
    coroutine_init();
    thread_pool_reset();
    runstate_init();
    qmp_json_init();
}

void core_reset(void)
{
    if (coroutine_live_count()) {
        core_fatal("leak", "%zu coroutines have not ended", coroutine_live_count());
    }
    if (qemu_get_aio_context()) {
        core_fatal("leak", "the main loop was not cleaned up");
    }
    if (aio_context_live_count()) {
        core_fatal("leak", "%u AioContexts were not freed", aio_context_live_count());
    }
    rcu_reset();
    laio_set_max_events(LAIO_MAX_EVENTS);
    bql_destroy();
    core_thread_reset();
}
