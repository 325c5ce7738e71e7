/*
 * QEMU as the program under test in flavour native: nothing of ours is in it, and what targets ask of the simulated OS is not done. Its main loop
 * cannot be set up twice, so that each scenario is a child, which QEMU's handler of fork() gives a thread for call_rcu.
 */
#include "fuzz/qemu/scenario.h"

#include <signal.h>

#include "fuzz/native.h"
#include "os/os.h"

/* The real disk does not fail on demand. */
void os_aio_set_faults(unsigned faults)
{
}

static void init(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the storage daemon */
    scenario_init_qemu();
}

static void run(FuzzInput *in)
{
    qemu_init_main_loop(&error_fatal);
    fuzz_target.run(in);
}

const NativeProgram native_program = { .init = init, .run = run, .in_child = native_in_child };
