/*
 * The wait-for graph of blocked threads. Runs on the kernel thread after an execution.
 *
 * Who holds a lock is read off the trace: the thread that took it last and has not let it go since.
 */
#include "check/waits.h"

static bool takes(const SchedStep *step)
{
    switch (step->call) {
    case SCHED_CALL_MUTEX_LOCK:
    case SCHED_CALL_MUTEX_TRYLOCK:
    case SCHED_CALL_MUTEX_TIMEDLOCK:
    case SCHED_CALL_RWLOCK_RDLOCK:
    case SCHED_CALL_RWLOCK_WRLOCK:
    case SCHED_CALL_SPIN_LOCK:
        return step->operation == SCHED_CALL;
    default:
        return false;
    }
}

static bool lets_go(const SchedStep *step)
{
    switch (step->call) {
    case SCHED_CALL_MUTEX_UNLOCK:
    case SCHED_CALL_RWLOCK_UNLOCK:
    case SCHED_CALL_SPIN_UNLOCK:
        return step->operation == SCHED_CALL;
    default:
        return false;
    }
}

static bool waits_on_condition(const SchedStep *step)
{
    return step->operation == SCHED_CALL && (step->call == SCHED_CALL_COND_WAIT || step->call == SCHED_CALL_COND_TIMEDWAIT);
}

/* A thread that sleeps in a condition wait has given back the lock that it took last; one that came out of it has
 * that lock again, and there is no step that says so. */
static bool gave_it_to_condition(CheckTrace trace, size_t taken)
{
    uint16_t thread = trace.steps[taken].thread;
    size_t last = trace.count;

    while (last-- > taken + 1 && trace.steps[last].thread != thread) {
    }
    if (last <= taken || !(trace.steps[last].flags & SCHED_STEP_BLOCKED) || !waits_on_condition(&trace.steps[last])) {
        return false;
    }
    for (size_t i = taken + 1; i < last; i++) {
        if (trace.steps[i].thread == thread && takes(&trace.steps[i])) {
            return false;
        }
    }
    return true;
}

/* Does the thread that took the lock at `taken` still have it at the end? */
static bool still_held(CheckTrace trace, size_t taken)
{
    const SchedStep *lock = &trace.steps[taken];

    for (size_t i = taken + 1; i < trace.count; i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == lock->thread && step->object == lock->object && lets_go(step)) {
            return false;
        }
    }
    return !gave_it_to_condition(trace, taken);
}

static void find_lock_holder(CheckTrace trace, uintptr_t object, CheckWait *wait)
{
    for (size_t i = trace.count; i-- > 0;) {
        const SchedStep *step = &trace.steps[i];

        if (i == wait->sleep_step || step->object != object || !takes(step)) {
            continue;
        }

        SchedThread *thread = sched_thread_by_id(step->thread);
        const SchedBlock *block = thread ? sched_thread_block(thread) : NULL;
        bool asks_for_it = block && (uintptr_t)block->object == object && takes(step) &&
                           check_last_sleep(trace, step->thread, trace.count) == i;

        if (!asks_for_it && still_held(trace, i)) {
            wait->holder = step->thread;
            wait->taken_step = i;
            return;
        }
    }
}

/* pthread_join waits for a thread: its descriptor or its pthread_t is the object. */
static void find_joined(const void *object, CheckWait *wait)
{
    for (uint32_t id = 0; id < sched_thread_count(); id++) {
        SchedThread *thread = sched_thread_by_id(id);

        if (thread && ((const void *)thread == object || sched_thread_handle(thread) == (uintptr_t)object)) {
            wait->holder = id;
        }
    }
}

static void find_holder(CheckTrace trace, const SchedBlock *block, CheckWait *wait)
{
    switch (block->call) {
    case SCHED_CALL_JOIN:
        find_joined(block->object, wait);
        break;
    case SCHED_CALL_MUTEX_LOCK:
    case SCHED_CALL_MUTEX_TIMEDLOCK:
    case SCHED_CALL_RWLOCK_RDLOCK:
    case SCHED_CALL_RWLOCK_WRLOCK:
    case SCHED_CALL_SPIN_LOCK:
        find_lock_holder(trace, (uintptr_t)block->object, wait);
        break;
    default:
        break;
    }
}

static const CheckWait *wait_of(const CheckWait *waits, unsigned count, uint32_t thread)
{
    for (unsigned i = 0; i < count; i++) {
        if (waits[i].waiter == thread) {
            return &waits[i];
        }
    }
    return NULL;
}

static bool leads_back(const CheckWait *waits, unsigned count, const CheckWait *start)
{
    const CheckWait *wait = start;

    for (unsigned i = 0; wait && i <= count; i++) {
        if (wait->holder == start->waiter) {
            return true;
        }
        wait = wait->holder == CHECK_NO_THREAD ? NULL : wait_of(waits, count, wait->holder);
    }
    return false;
}

unsigned check_waits(CheckTrace trace, CheckWait *waits, unsigned max)
{
    unsigned count = 0;

    for (uint32_t id = 0; id < sched_thread_count() && count < max; id++) {
        SchedThread *thread = sched_thread_by_id(id);
        const SchedBlock *block = thread ? sched_thread_block(thread) : NULL;

        if (!block) {
            continue;
        }
        waits[count] = (CheckWait){
            .waiter = id,
            .holder = CHECK_NO_THREAD,
            .call = block->call,
            .sleep_step = check_last_sleep(trace, id, trace.count),
            .taken_step = CHECK_NO_STEP,
        };
        find_holder(trace, block, &waits[count++]);
    }
    for (unsigned i = 0; i < count; i++) {
        waits[i].in_cycle = leads_back(waits, count, &waits[i]);
    }
    return count;
}
