/* Start-up of the simulated OS, and the reset of its state when an execution begins. */
#include "os/os.h"

#include "os/aio.h"
#include "os/exit.h"
#include "os/heap.h"
#include "os/inode.h"
#include "os/held.h"
#include "os/mutex.h"
#include "os/once.h"
#include "os/thread.h"
#include "os/waitq.h"

/* On the kernel thread, before the body: fibers of an execution that failed are gone, and what they waited for with
 * them. */
static void begin(void)
{
    os_thread_reset();
    os_waitq_reset();
    os_mutex_reset();
    os_held_reset();
    os_once_reset();
    os_fd_reset();
    os_pipe_reset();
    os_rights_reset();
    os_socket_reset();
    os_epoll_reset();
    os_real_fd_reset();
    os_inode_reset();
    os_aio_reset();
}

void os_init(void)
{
    static bool done;

    if (done) {
        return;
    }
    done = true;
    sched_on_begin(begin);
    sched_on_thread_end(os_thread_ending);
    sched_on_abandon(os_held_abandon);
    sched_before_others(os_heap_leave);
}
