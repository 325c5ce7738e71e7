/*
 * Who wants to know that the machine stops or goes on: devices, which then stop their queues or serve them again.
 *
 * Main thread. From QEMU: system/runstate.c. QEMU's priorities by depth in the device tree are not here: handlers are called in the
 * order of their registration when the machine goes on, and in the opposite order when it stops.
 */
#ifndef WAKEFUZZ_CORE_VM_STATE_H
#define WAKEFUZZ_CORE_VM_STATE_H

#include <stdbool.h>

typedef struct VMChangeStateEntry VMChangeStateEntry;
typedef void VMChangeStateHandler(void *opaque, bool running);

/* cb may poll. Not from within a handler. */
VMChangeStateEntry *qemu_add_vm_change_state_handler(VMChangeStateHandler *cb, void *opaque);
void qemu_del_vm_change_state_handler(VMChangeStateEntry *entry);

/* Call all handlers. Polls. */
void vm_state_notify(bool running);

#endif
