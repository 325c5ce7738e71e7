/*
 * Whether the machine runs, and whether the program shall end: as much of it as QMP commands and events need.
 *
 * From QEMU: system/runstate.c.
 */
#ifndef WAKEFUZZ_CORE_RUNSTATE_H
#define WAKEFUZZ_CORE_RUNSTATE_H

#include <stdbool.h>

/* Main thread; the machine runs, nobody has asked to end. */
void runstate_init(void);

typedef enum RunState {
    RUN_STATE_RUNNING,
    RUN_STATE_PAUSED,
    RUN_STATE_SHUTDOWN, /* for good */
} RunState;

RunState runstate_get(void);    /* any thread */
bool runstate_is_running(void); /* any thread */

/*
 * Stop the machine, for now or as part of the program's end, or let it go on. Where that changes something, whoever wants to know is
 * told (vm_state.h), and vm_stop() and vm_start() emit their events. The first two then wait until no request is under way, and flush:
 * 0 or the first error. Main thread; poll.
 */
int vm_stop(void);
int vm_shutdown(void);
void vm_start(void);

/* Ask the main loop to end. Any thread; also what a signal handler's thread calls. */
void qemu_system_shutdown_request(void);
/* Whether somebody has asked. The main loop looks at it after each round. */
bool main_loop_should_exit(void);

#endif
