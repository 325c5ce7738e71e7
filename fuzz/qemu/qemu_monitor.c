/*
 * Target qemu_monitor: the storage daemon's QMP monitor in its own thread. A client sends commands at any moment, also while the monitor is
 * being cleaned up, as the daemon does at its end.
 *
 * Needs: monitor/qmp.c qmp_dispatcher_co
 *
 * Invariants: the cleanup ends.
 *
 * The empty scenario is one command that is no coroutine, against the cleanup: enough for QEMU's fc1a2ec7da.
 */
#include "fuzz/qemu/scenario_qmp.h"
#include "fuzz/qemu/scenario_wire.h"

static const char *const texts[] = {
    "{\"execute\":\"query-commands\"}",
    "{\"execute\":\"query-block\"}",
    "{\"execute\":\"no-such-command\"}",
    "{\"execute\":\"query-named-block-nodes\"}",
    "}",
};

static void run(FuzzInput *in)
{
    WireClient client;
    unsigned rounds = fuzz_choice(in, 6);

    scenario_wire_read(&client, texts, G_N_ELEMENTS(texts), in);
    scenario_qmp_begin();
    scenario_wire_begin(&client);
    for (unsigned i = 0; i < rounds; i++) {
        main_loop_wait(true);
    }
    scenario_qmp_end();
    scenario_wire_end(&client);
}

const FuzzTarget fuzz_target = { .name = "qemu_monitor", .run = run };
