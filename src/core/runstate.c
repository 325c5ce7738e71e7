/* See runstate.h. */
#include "core/runstate.h"

#include "core/atomic.h"
#include "core/block_drain.h"
#include "core/blockdev.h"
#include "core/main_loop.h"
#include "core/monitor.h"
#include "core/vm_state.h"

static int run_state;           /* RunState; written by the main thread; atomic */
static bool shutdown_requested; /* atomic */

void runstate_init(void)
{
    run_state = RUN_STATE_RUNNING;
    shutdown_requested = false;
}

RunState runstate_get(void)
{
    return (RunState)qatomic_read(&run_state);
}

bool runstate_is_running(void)
{
    return runstate_get() == RUN_STATE_RUNNING;
}

/* A machine that is paused already is shut down all the same: a command to go on, which was taken from its queue before, must find that
 * it is too late (docs/findings.md, 8; fault vm-shutdown-leaves-paused). */
static int do_vm_stop(RunState state, bool send_stop)
{
    bool was_running = runstate_is_running();

    if (was_running || state == RUN_STATE_SHUTDOWN) {
        qatomic_set(&run_state, (int)state);
    }
    if (was_running) {
        vm_state_notify(false);
        if (send_stop) {
            qapi_event_emit(QAPI_EVENT_STOP, NULL);
        }
    }
    bdrv_drain_all();
    return bdrv_flush_all();
}

int vm_stop(void)
{
    return do_vm_stop(RUN_STATE_PAUSED, true);
}

int vm_shutdown(void)
{
    return do_vm_stop(RUN_STATE_SHUTDOWN, false);
}

void vm_start(void)
{
    if (!runstate_is_running()) {
        qapi_event_emit(QAPI_EVENT_RESUME, NULL);
        qatomic_set(&run_state, RUN_STATE_RUNNING);
        vm_state_notify(true);
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
