/*
 * A QMP monitor as the storage daemon has it, in its own thread, on a character device at one end of a socket pair; and at the other end a
 * client, in a thread too, which sends commands one after the other and does not wait for answers.
 *
 * Main thread only, after scenario_qmp_begin().
 */
#ifndef WAKEFUZZ_FUZZ_QEMU_SCENARIO_WIRE_H
#define WAKEFUZZ_FUZZ_QEMU_SCENARIO_WIRE_H

#include "fuzz/qemu/scenario.h"

#include "chardev/char.h"

#define WIRE_COMMANDS_MAX 5u

typedef struct WireClient {
    const char *texts[WIRE_COMMANDS_MAX]; /* static storage */
    unsigned count;
    bool stays; /* it does not close its end before the monitor is gone */
    int fd;
    Chardev *device;
    QemuThread thread;
} WireClient;

/* What the client will send: one to WIRE_COMMANDS_MAX of these texts. */
void scenario_wire_read(WireClient *client, const char *const *texts, unsigned text_count, FuzzInput *in);

/* Set up device and monitor, and start the client. */
void scenario_wire_begin(WireClient *client);

/* After scenario_qmp_end(): drop the device, and wait for the client. */
void scenario_wire_end(WireClient *client);

#endif
