/*
 * A machine for targets: a guest with a disk, which are paused and go on as the machine's state changes.
 *
 * Invariants that it checks: devices are told when the machine stops and when it goes on, by turns, and it does not go on when the program
 * ends; what the device took from its ring has ended when it has stopped, and so has what it was told of; of the requests of jobs that
 * were under way then none is left when the machine has stopped.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_MACHINE_H
#define WAKEFUZZ_FUZZ_SCENARIO_MACHINE_H

#include "core/block_backend.h"
#include "core/vm_state.h"
#include "fuzz/scenario.h"
#include "fuzz/scenario_guest.h"
#include "fuzz/scenario_jobs.h"

/* The guest's disk: in memory, or a file on Linux AIO. */
typedef enum ScenarioDisk { DISK_MEMORY, DISK_CACHED, DISK_DIRECT, SCENARIO_DISKS } ScenarioDisk;

typedef struct ScenarioMachine {
    Scenario *scenario;
    ScenarioJobs *jobs;
    VMChangeStateEntry *handlers[3];
    bool running; /* as devices were told */

    /* NULL without a guest. */
    BlockDriverState *disk;
    BlockBackend *blk;
    VirtIOBlock *device;
    ScenarioGuest guest;
    bool guest_paused;
} ScenarioMachine;

/* A machine without a guest. Main thread, like all of these. */
void scenario_machine_begin(ScenarioMachine *machine, Scenario *scenario, ScenarioJobs *jobs);

/* Plug in a disk of that many bytes, the user's node, served in ctx, and let a guest run that sends requests, batch per kick. Polls. */
void scenario_machine_plug(ScenarioMachine *machine, AioContext *ctx, ScenarioDisk kind, int64_t bytes, bool polls,
                           unsigned request_count, unsigned batch);

/* Nobody is about to stop the machine, or to let it go on. */
void scenario_machine_check(const ScenarioMachine *machine);

/* After qemu_cleanup(), which in QEMU ends with the devices still there. Polls. */
void scenario_machine_unplug(ScenarioMachine *machine);
void scenario_machine_end(ScenarioMachine *machine);

#endif
