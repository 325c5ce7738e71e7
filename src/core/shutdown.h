/*
 * The ordered end of the program.
 *
 * Everything may still be going on when it begins: clients of exports send requests, devices serve their queues, jobs run or sleep,
 * commands arrive. Each step stops one kind of actor, and stands where it does because of the others:
 *
 *     step                       | must come                 | or else
 *     1  blk_exp_close_all()     | before the nodes are      | an export's coroutine sleeps in the queue of its drained backend, and
 *                                | drained for good          | the export waits for it (QEMU 1895b977f9)
 *     2  vm_shutdown()           | before the same           | a device's requests end in that queue
 *     3  bdrv_drain_all_begin()  | before jobs are cancelled | cancelling waits for requests that are throttled or keep coming
 *     4  job_cancel_sync_all()   | before nodes are closed   | jobs own nodes
 *     5  bdrv_close_all()        | before io threads end     | nodes call back in them
 *     6  monitor_cleanup()       | after all that            | commands are what made the rest, and may still name it
 *     7  qemu_chr_cleanup()      | after that                | monitors use their devices to the last
 *     8  user_creatable_cleanup()| last                      | io threads run the others' coroutines
 *
 * The section that step 3 begins never ends: nothing is to run from there on.
 *
 * Main thread outside coroutines. From QEMU: qemu_cleanup() in system/runstate.c, main() in
 * storage-daemon/qemu-storage-daemon.c, qom/object_interfaces.c.
 */
#ifndef WAKEFUZZ_CORE_SHUTDOWN_H
#define WAKEFUZZ_CORE_SHUTDOWN_H

#include "core/iothread.h"

/* The steps above, after monitor_init_globals(). Polls. Afterwards the main loop, RCU and the monitors' globals are there, and nothing
 * that uses them. */
void qemu_cleanup(void);

/* The io thread belongs to the user: user_creatable_cleanup() destroys it. */
void user_creatable_add_iothread(IOThread *iothread);

/* Destroy what the user has created, in the order of its creation. Blocks until the threads have ended. */
void user_creatable_cleanup(void);

#endif
