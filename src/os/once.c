/*
 * pthread_once. Whether the routine has run is kept in the real control word; that it is running now, in the list
 * below: glibc and TSan mark that differently, and both would block.
 *
 *     step | A                                        | B
 *     -----+------------------------------------------+-------------------------------------------
 *        1 | enters its run into the list             |
 *        2 | real pthread_once: the routine runs      |
 *        3 |                                          | finds the run in the list, sleeps
 *        4 | leaves the list, wakes all               |
 *        5 |                                          | real pthread_once: finds it done
 *
 * A routine that calls pthread_once on its own control sleeps for ever, as natively.
 */
#include "os/once.h"

#include "os/real.h"
#include "os/sanitizer.h"
#include "os/thread.h"
#include "os/waitq.h"

REAL_SYMBOL(pthread_once)

/* On the stack of the thread that runs the routine. */
typedef struct OnceRun {
    const pthread_once_t *control;
    struct OnceRun *next;
} OnceRun;

static OnceRun *runs;

void os_once_reset(void)
{
    runs = NULL;
}

static bool running(const pthread_once_t *control)
{
    const OnceRun *run = runs;

    while (run && run->control != control) {
        run = run->next;
    }
    return run != NULL;
}

static void leave(OnceRun *run)
{
    OnceRun **link = &runs;

    while (*link != run) {
        link = &(*link)->next;
    }
    *link = run->next;
}

int os_once(pthread_once_t *control, void (*routine)(void))
{
    SchedBlock block = { .call = SCHED_CALL_ONCE, .object = control, .deadline_ns = SCHED_FOREVER };
    OnceRun run = { .control = control };
    OsThread *self = os_thread_self();
    int error;

    os_touch(control);
    while (running(control)) {
        os_waitq_sleep(OS_WAIT_ONCE, &block);
    }
    run.next = runs;
    runs = &run;
    self->once_depth++;
    error = REAL(pthread_once)(control, routine);
    self->once_depth--;
    leave(&run);
    os_waitq_wake_all(OS_WAIT_ONCE, control);
    return error;
}

int pthread_once(pthread_once_t *control, void (*routine)(void))
{
    if (!sched_here()) {
        return REAL(pthread_once)(control, routine);
    }
    SCHED_POINT(SCHED_CALL_ONCE, control);
    return os_once(control, routine);
}
