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

bool runstate_is_running(void); /* any thread */
/* Main thread. Each emits its event where it changes something; vm_stop() waits until no request is under way. */
void vm_stop(void);
void vm_start(void);

/* Ask the main loop to end. Any thread; also what a signal handler's thread calls. */
void qemu_system_shutdown_request(void);
/* Whether somebody has asked. The main loop looks at it after each round. */
bool main_loop_should_exit(void);

#endif
