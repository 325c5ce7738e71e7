/* See runstate.h. */
#include "core/runstate.h"

#include "core/atomic.h"
#include "core/block_drain.h"
#include "core/main_loop.h"
#include "core/monitor.h"

static bool running;            /* written by the main thread; atomic */
static bool shutdown_requested; /* atomic */

void runstate_init(void)
{
    running = true;
    shutdown_requested = false;
}

bool runstate_is_running(void)
{
    return qatomic_read(&running);
}

void vm_stop(void)
{
    if (qatomic_read(&running)) {
        qatomic_set(&running, false);
        bdrv_drain_all();
        qapi_event_emit(QAPI_EVENT_STOP, NULL);
    }
}

void vm_start(void)
{
    if (!qatomic_read(&running)) {
        qatomic_set(&running, true);
        qapi_event_emit(QAPI_EVENT_RESUME, NULL);
    }
}

void qemu_system_shutdown_request(void)
{
    qatomic_set(&shutdown_requested, true);
    qemu_notify_event();
}

bool main_loop_should_exit(void)
{
    return qatomic_read(&shutdown_requested);
}
