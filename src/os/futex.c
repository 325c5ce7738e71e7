/*
 * syscall(): futexes and kernel AIO are simulated, a few harmless calls pass, all others are not modelled.
 *
 *     step | waiter                                         | waker
 *     -----+------------------------------------------------+------------------------------------------
 *        1 | point; reads the word: it has the old value    |
 *        2 | joins the word's queue, sleeps (with 1 one step) |
 *        3 |                                                | changes the word (a point of its own)
 *        4 |                                                | point; takes up to n waiters out, wakes them
 *        5 | runs, returns 0                                |
 *
 * 1. The comparison and the sleep are one step, as in the kernel, where the queue's lock makes them one.
 * 2. Which waiter goes first is a decision among those whose bitset matches.
 * 3. Wakes are not remembered. A wait never returns 0 without one: what POSIX would call spurious is EINTR, from the
 *    experiment only.
 */
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/aio.h"
#include "os/clock.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/thread.h"
#include "os/waitq.h"

REAL_SYMBOL(syscall)

typedef struct FutexCall {
    uint32_t *word;
    int operation;
    uint32_t value;
    const struct timespec *time; /* or a count */
    uint32_t *other;
    uint32_t value3;
} FutexCall;

static long fail(int error)
{
    errno = error;
    return -1;
}

static bool futex_deadline(const FutexCall *call, bool absolute, uint64_t *deadline_ns)
{
    uint64_t span_ns;

    *deadline_ns = SCHED_FOREVER;
    if (!call->time) {
        return true;
    }
    os_reads(call->time, sizeof(*call->time));
    span_ns = os_span_ns(call->time);
    if (span_ns == UINT64_MAX) {
        return false;
    }
    if (absolute) {
        clockid_t clock = call->operation & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;

        return os_deadline(clock, call->time, deadline_ns) == 0;
    }
    *deadline_ns = os_deadline_after(span_ns);
    return true;
}

/* Relaxed is enough: all fibers run on one kernel thread, so the last write is seen. */
static uint32_t word_now(const FutexCall *call)
{
    return __atomic_load_n(call->word, __ATOMIC_RELAXED);
}

static long futex_wait(const FutexCall *call, bool absolute, uint32_t bitset)
{
    OsWaiter waiter = { .waiter.data = bitset };
    SchedBlock block = { .call = SCHED_CALL_FUTEX_WAIT, .spurious_ok = true, .object = call->word };
    SchedWake wake;

    if (!bitset || !futex_deadline(call, absolute, &block.deadline_ns)) {
        return fail(EINVAL);
    }
    if (word_now(call) != call->value) {
        os_acquire(call->word); /* as if woken at once: who has changed the word has released it before it woke */
        return fail(EAGAIN);
    }
    if (block.deadline_ns <= sched_now_ns()) {
        return fail(ETIMEDOUT);
    }
    os_waitq_join(OS_WAIT_FUTEX, call->word, &waiter);
    wake = sched_block(&block);
    os_waitq_leave(&waiter);
    if (wake != SCHED_WOKEN) {
        return fail(wake == SCHED_TIMEOUT ? ETIMEDOUT : EINTR);
    }
    os_acquire(call->word);
    return 0;
}

static OsWaiter *nth_match(const OsWaitQueue *queue, uint32_t bitset, unsigned n)
{
    for (SchedWaiter *waiter = queue->queue.first; waiter; waiter = waiter->next) {
        if ((waiter->data & bitset) && n-- == 0) {
            return (OsWaiter *)waiter;
        }
    }
    return NULL;
}

static unsigned matches(const OsWaitQueue *queue, uint32_t bitset)
{
    unsigned count = 0;

    for (const SchedWaiter *waiter = queue->queue.first; waiter; waiter = waiter->next) {
        count += (waiter->data & bitset) != 0;
    }
    return count;
}

_Static_assert(offsetof(OsWaiter, waiter) == 0, "nth_match() casts");

/* Wake up to n, but one at least: the kernel looks at the count only after it has woken somebody. */
static long futex_wake(const uint32_t *word, uint32_t n, uint32_t bitset)
{
    OsWaitQueue *queue = os_waitq_waiting[OS_WAIT_FUTEX] ? os_waitq_find(OS_WAIT_FUTEX, word) : NULL;
    unsigned left, woken = 0;

    if (!bitset) {
        return fail(EINVAL);
    }
    if (!queue) {
        return 0;
    }
    for (left = matches(queue, bitset); left && (woken == 0 || woken < n); left--, woken++) {
        OsWaiter *waiter = nth_match(queue, bitset, n > left ? 0 : sched_choose(left));

        sched_queue_remove(&waiter->waiter);
        sched_wake(waiter->waiter.thread);
    }
    os_release(word);
    return woken;
}

/* Wake up to call->value and move up to `limit` others to the other word. */
static long futex_requeue(const FutexCall *call)
{
    int limit = (int)(intptr_t)call->time;
    OsWaitQueue *queue;
    long moved = 0, woken = 0;

    if (limit < 0 || (int)call->value < 0) {
        return fail(EINVAL);
    }
    queue = os_waitq_waiting[OS_WAIT_FUTEX] ? os_waitq_find(OS_WAIT_FUTEX, call->word) : NULL;
    if (call->value) {
        woken = futex_wake(call->word, call->value, FUTEX_BITSET_MATCH_ANY);
    }
    for (; queue && queue->queue.first && moved < limit && call->other != call->word; moved++) {
        OsWaiter *waiter = (OsWaiter *)queue->queue.first;
        bool last = queue->users == 1;

        os_waitq_move(waiter, OS_WAIT_FUTEX, call->other);
        queue = last ? NULL : queue;
    }
    return woken + moved;
}

/* To wake takes the address alone: who unlocks a mutex may do so after another thread has taken it, let it go and freed it. */
static bool reads_word(int operation)
{
    operation &= FUTEX_CMD_MASK;
    return operation != FUTEX_WAKE && operation != FUTEX_WAKE_BITSET && operation != FUTEX_REQUEUE;
}

static long futex(const FutexCall *call)
{
    if ((uintptr_t)call->word % sizeof(*call->word)) {
        return fail(EINVAL);
    }
    if (reads_word(call->operation)) {
        os_touch(call->word);
    }
    switch (call->operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
        return futex_wait(call, false, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAIT_BITSET:
        return futex_wait(call, true, call->value3);
    case FUTEX_WAKE:
        return futex_wake(call->word, call->value, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET:
        return futex_wake(call->word, call->value, call->value3);
    case FUTEX_CMP_REQUEUE:
        if (word_now(call) != call->value3) {
            return fail(EAGAIN);
        }
        return futex_requeue(call);
    case FUTEX_REQUEUE:
        return futex_requeue(call);
    default:
        sched_fail("unmodelled", "futex operation %d is not modelled", call->operation & FUTEX_CMD_MASK);
    }
}

static SchedCall futex_kind(int operation)
{
    operation &= FUTEX_CMD_MASK;
    return operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET ? SCHED_CALL_FUTEX_WAIT : SCHED_CALL_FUTEX_WAKE;
}

/* Calls that neither wait nor tell about the machine's time. */
static bool harmless(long number)
{
    return number == SYS_membarrier || number == SYS_getpid || number == SYS_sched_getattr || number == SYS_sched_setattr ||
           number == SYS_getcpu || number == SYS_getrandom || number == SYS_memfd_create;
}

long syscall(long number, ...)
{
    long argument[6], result;
    va_list arguments;

    va_start(arguments, number);
    for (unsigned i = 0; i < 6; i++) {
        argument[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    if (!sched_here() || harmless(number)) {
        return REAL(syscall)(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
    }
    if (number == SYS_gettid) {
        return os_thread_tid();
    }
    if (number == SYS_futex) {
        FutexCall call = {
            .word = (uint32_t *)argument[0],
            .operation = (int)argument[1],
            .value = (uint32_t)argument[2],
            .time = (const struct timespec *)argument[3],
            .other = (uint32_t *)argument[4],
            .value3 = (uint32_t)argument[5],
        };

        if (futex_kind(call.operation) == SCHED_CALL_FUTEX_WAKE) {
            os_release(call.word); /* before the point: the word is free already, and who takes it now need not sleep */
        }
        SCHED_POINT(futex_kind(call.operation), call.word);
        return futex(&call);
    }
    if (number == SYS_userfaultfd) {
        return fail(EPERM); /* what Linux says to the unprivileged */
    }
    if (os_aio_syscall(number, argument, &result, __builtin_return_address(0), __builtin_frame_address(0))) {
        return result;
    }
    sched_fail("unmodelled", "syscall %ld is not modelled", number);
}
