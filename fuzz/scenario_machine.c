#include "fuzz/scenario_machine.h"

#include <unistd.h>

#include "core/block_drivers.h"
#include "core/block_file.h"
#include "core/blockdev.h"
#include "fuzz/fuzz.h"

/* ---- the state changes: the virtual CPU is paused first, then the device stops */

static void machine_changed(void *opaque, bool running)
{
    ScenarioMachine *machine = opaque;

    fuzz_check(!running || !scenario_is_ending(machine->scenario));
    fuzz_check(running != machine->running);
    machine->running = running;
    if (running) {
        scenario_jobs_check(machine->jobs);
    } else {
        scenario_jobs_note(machine->jobs);
    }
}

static bool guest_waits(const ScenarioMachine *machine)
{
    return __atomic_load_n(&machine->guest.done, __ATOMIC_SEQ_CST) < __atomic_load_n(&machine->guest.sent, __ATOMIC_SEQ_CST);
}

/* Once and for all: what the targets are about is the end. */
static void pause_guest(void *opaque, bool running)
{
    ScenarioMachine *machine = opaque;

    if (running || machine->guest_paused) {
        return;
    }
    machine->guest_paused = true;
    if (guest_waits(machine)) {
        fuzz_reached("guest-paused-with-a-request-under-way");
    }
    scenario_guest_pause(&machine->guest);
}

static void change_device(void *opaque, bool running)
{
    ScenarioMachine *machine = opaque;

    if (running) {
        fuzz_check(virtio_blk_start(machine->device) == 0);
        return;
    }
    virtio_blk_stop(machine->device);
    fuzz_check(virtio_blk_is_idle(machine->device));
    scenario_guest_check(&machine->guest);
    if (guest_waits(machine)) {
        fuzz_reached("request-left-in-the-ring");
    }
}

/* ---- life */

void scenario_machine_begin(ScenarioMachine *machine, Scenario *scenario, ScenarioJobs *jobs)
{
    machine->scenario = scenario;
    machine->jobs = jobs;
    machine->running = true;
    machine->handlers[0] = qemu_add_vm_change_state_handler(machine_changed, machine);
}

static BlockDriverState *new_disk(AioContext *ctx, ScenarioDisk kind, int64_t bytes)
{
    BlockDriverState *bs;
    const char *path;

    if (kind == DISK_MEMORY) {
        bs = bdrv_new_ram("guest", ctx, bytes);
        bdrv_ram_set_completion(bs, RAM_COMPLETE_BH, 0);
        return bs;
    }
    path = fuzz_file("guest");
    bs = bdrv_new_file("guest", ctx, path, bytes, kind == DISK_DIRECT ? BDRV_O_NOCACHE : 0);
    fuzz_check(bs != NULL);
    unlink(path);
    return bs;
}

void scenario_machine_plug(ScenarioMachine *machine, AioContext *ctx, ScenarioDisk kind, int64_t bytes, bool polls,
                           unsigned request_count, unsigned batch)
{
    machine->disk = new_disk(ctx, kind, bytes);
    bdrv_set_monitor_owned(machine->disk);
    machine->blk = blk_new(ctx);
    blk_insert_bs(machine->blk, machine->disk);
    machine->device = virtio_blk_new(machine->blk, polls);
    fuzz_check(machine->device != NULL);

    /* Called in the opposite order when the machine stops. */
    machine->handlers[1] = qemu_add_vm_change_state_handler(change_device, machine);
    machine->handlers[2] = qemu_add_vm_change_state_handler(pause_guest, machine);
    scenario_guest_start(&machine->guest, machine->device, request_count, batch);
}

void scenario_machine_check(const ScenarioMachine *machine)
{
    if (!machine->running) {
        scenario_jobs_check(machine->jobs);
    }
}

void scenario_machine_unplug(ScenarioMachine *machine)
{
    fuzz_check(!machine->running);
    if (machine->device) {
        qemu_del_vm_change_state_handler(machine->handlers[1]);
        qemu_del_vm_change_state_handler(machine->handlers[2]);
        virtio_blk_free(machine->device);
        blk_unref(machine->blk);
    }
}

void scenario_machine_end(ScenarioMachine *machine)
{
    qemu_del_vm_change_state_handler(machine->handlers[0]);
}
