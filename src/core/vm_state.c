/*
 * Handlers of the machine's state, as vm_state.h tells. Main thread.
 */
#include "core/vm_state.h"

#include <glib.h>

#include "core/fatal.h"
#include "core/main_loop.h"
#include "core/queue.h"

struct VMChangeStateEntry {
    VMChangeStateHandler *cb;
    void *opaque;
    TAILQ_ENTRY(VMChangeStateEntry) entries;
};

static TAILQ_HEAD(VMChangeStateHead, VMChangeStateEntry) vm_change_state_head = TAILQ_HEAD_INITIALIZER(vm_change_state_head);

VMChangeStateEntry *qemu_add_vm_change_state_handler(VMChangeStateHandler *cb, void *opaque)
{
    VMChangeStateEntry *entry = g_new0(VMChangeStateEntry, 1);

    core_assert(qemu_in_main_thread());
    entry->cb = cb;
    entry->opaque = opaque;
    TAILQ_INSERT_TAIL(&vm_change_state_head, entry, entries);
    return entry;
}

void qemu_del_vm_change_state_handler(VMChangeStateEntry *entry)
{
    core_assert(qemu_in_main_thread());
    TAILQ_REMOVE(&vm_change_state_head, entry, entries);
    g_free(entry);
}

void vm_state_notify(bool running)
{
    VMChangeStateEntry *entry;

    core_assert(qemu_in_main_thread());
    if (running) {
        TAILQ_FOREACH(entry, &vm_change_state_head, entries) {
            entry->cb(entry->opaque, true);
        }
    } else {
        TAILQ_FOREACH_REVERSE(entry, &vm_change_state_head, VMChangeStateHead, entries)
        {
            entry->cb(entry->opaque, false);
        }
    }
}
