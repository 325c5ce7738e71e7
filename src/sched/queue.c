/* Lists of waiting threads: doubly linked, first come first. */
#include "sched/internal.h"

void sched_queue_add(SchedQueue *queue, SchedWaiter *waiter)
{
    waiter->thread = sched_self_;
    waiter->queue = queue;
    waiter->next = NULL;
    waiter->previous = queue->last;
    if (queue->last) {
        queue->last->next = waiter;
    } else {
        queue->first = waiter;
    }
    queue->last = waiter;
}

void sched_queue_remove(SchedWaiter *waiter)
{
    SchedQueue *queue = waiter->queue;

    if (!queue) {
        return;
    }
    if (waiter->previous) {
        waiter->previous->next = waiter->next;
    } else {
        queue->first = waiter->next;
    }
    if (waiter->next) {
        waiter->next->previous = waiter->previous;
    } else {
        queue->last = waiter->previous;
    }
    waiter->queue = NULL;
}

static SchedThread *wake(SchedWaiter *waiter)
{
    sched_queue_remove(waiter);
    sched_wake(waiter->thread);
    return waiter->thread;
}

SchedThread *sched_queue_wake_first(SchedQueue *queue)
{
    return queue->first ? wake(queue->first) : NULL;
}

unsigned sched_queue_wake_all(SchedQueue *queue)
{
    unsigned count = 0;

    while (queue->first) {
        wake(queue->first);
        count++;
    }
    return count;
}

unsigned sched_queue_length(const SchedQueue *queue)
{
    unsigned length = 0;

    for (const SchedWaiter *waiter = queue->first; waiter; waiter = waiter->next) {
        length++;
    }
    return length;
}

SchedThread *sched_queue_wake_chosen(SchedQueue *queue)
{
    SchedWaiter *waiter = queue->first;

    if (!waiter) {
        return NULL;
    }
    if (waiter->next) {
        for (unsigned n = sched_choose(sched_queue_length(queue)); n > 0; n--) {
            waiter = waiter->next;
        }
    }
    return wake(waiter);
}
