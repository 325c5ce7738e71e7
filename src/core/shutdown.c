/*
 * The ordered end of the program; shutdown.h has the steps and their reasons. Main thread.
 */
#include "core/shutdown.h"

#include <glib.h>

#include "core/block_drain.h"
#include "core/blockdev.h"
#include "core/chardev.h"
#include "core/export.h"
#include "core/fatal.h"
#include "core/job.h"
#include "core/main_loop.h"
#include "core/monitor.h"
#include "core/runstate.h"

typedef struct UserCreatable {
    IOThread *iothread;
    STAILQ_ENTRY(UserCreatable) next;
} UserCreatable;

static STAILQ_HEAD(, UserCreatable) objects = STAILQ_HEAD_INITIALIZER(objects);

void user_creatable_add_iothread(IOThread *iothread)
{
    UserCreatable *object = g_new0(UserCreatable, 1);

    core_assert(qemu_in_main_thread());
    object->iothread = iothread;
    STAILQ_INSERT_TAIL(&objects, object, next);
}

void user_creatable_cleanup(void)
{
    core_assert(qemu_in_main_thread());
    while (!STAILQ_EMPTY(&objects)) {
        UserCreatable *object = STAILQ_FIRST(&objects);

        STAILQ_REMOVE_HEAD(&objects, next);
        iothread_destroy(object->iothread);
        g_free(object);
    }
}

void qemu_cleanup(void)
{
    core_assert(qemu_in_main_thread());

    blk_exp_close_all();
    vm_shutdown();
    bdrv_drain_all_begin();
    job_cancel_sync_all();
    bdrv_close_all();
    monitor_cleanup();
    qemu_chr_cleanup();
    user_creatable_cleanup();
}
