/*
 * Barriers. The number of threads comes from the real object; those who have arrived are those who sleep in its queue.
 *
 * 1. The last to arrive wakes the others and gets PTHREAD_BARRIER_SERIAL_THREAD.
 * 2. A woken thread is out of the queue at once, so the next round counts from zero whoever runs first.
 * 3. Each arrival happens before each departure of its round.
 */
#include <pthread.h>

#include "os/real.h"
#include "os/sanitizer.h"
#include "os/waitq.h"

REAL_SYMBOL(pthread_barrier_wait)

/* The head of glibc's pthread_barrier_t. */
typedef struct BarrierHead {
    unsigned in, current_round, count;
} BarrierHead;

int pthread_barrier_wait(pthread_barrier_t *barrier)
{
    SchedBlock block = { .call = SCHED_CALL_BARRIER_WAIT, .object = barrier, .deadline_ns = SCHED_FOREVER };

    if (!sched_here()) {
        return REAL(pthread_barrier_wait)(barrier);
    }
    SCHED_POINT(SCHED_CALL_BARRIER_WAIT, barrier);
    os_touch(barrier);
    os_release(barrier);
    if (os_waitq_length(OS_WAIT_BARRIER, barrier) + 1 >= ((const BarrierHead *)(const void *)barrier)->count) {
        os_waitq_wake_all(OS_WAIT_BARRIER, barrier);
        os_acquire(barrier);
        return PTHREAD_BARRIER_SERIAL_THREAD;
    }
    os_waitq_sleep(OS_WAIT_BARRIER, &block);
    os_acquire(barrier);
    return 0;
}
