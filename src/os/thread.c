/*
 * Threads: create, join, detach, exit, names.
 *
 * 1. A thread's handle is the pthread_t of the real thread whose fiber it is, so that the real pthread_self() agrees.
 * 2. What the creator did happens before the thread; what the thread did happens before a join returns. TSan is told
 *    so through the thread's record.
 * 3. A record lives as long as the execution: what was joined or detached stays known as such.
 */
#include "os/thread.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/real.h"
#include "os/sanitizer.h"

#define NAME_BYTES 16u /* the kernel's limit, with the final 0 */

REAL_SYMBOL(pthread_create)
REAL_SYMBOL(pthread_join)
REAL_SYMBOL(pthread_tryjoin_np)
REAL_SYMBOL(pthread_timedjoin_np)
REAL_SYMBOL(pthread_clockjoin_np)
REAL_SYMBOL(pthread_detach)
REAL_SYMBOL(pthread_setname_np)
REAL_SYMBOL(pthread_getname_np)
REAL_SYMBOL(gettid)

static OsThread threads[SCHED_THREADS_MAX];
static unsigned thread_count;

void os_thread_reset(void)
{
    thread_count = 0;
}

OsThread *os_thread_of(SchedThread *thread)
{
    void **slot = sched_thread_slot(thread);

    if (!*slot) {
        OsThread *record = &threads[thread_count++];

        *record = (OsThread){ .thread = thread };
        *slot = record;
    }
    return *slot;
}

OsThread *os_thread_self(void)
{
    return os_thread_of(sched_thread_self());
}

pid_t os_thread_tid(void)
{
    static __thread pid_t tid;
    static pthread_mutex_t probe = PTHREAD_MUTEX_INITIALIZER;
    static int (*lock)(pthread_mutex_t *), (*unlock)(pthread_mutex_t *);

    if (!tid) {
        if (!lock) {
            /* libc's, not the interceptors: TSan must not take the probe for an order between threads */
            lock = (int (*)(pthread_mutex_t *))(size_t)os_libc("pthread_mutex_lock");
            unlock = (int (*)(pthread_mutex_t *))(size_t)os_libc("pthread_mutex_unlock");
        }
        lock(&probe);
        tid = probe.__data.__owner;
        unlock(&probe);
    }
    return tid;
}

pid_t gettid(void)
{
    return sched_here() ? os_thread_tid() : REAL(gettid)();
}

/* ---- create */

static void *thread_main(void *opaque)
{
    OsThread *self = opaque;

    os_acquire(self);
    return self->function(self->argument);
}

int os_thread_create(pthread_t *handle, bool detached, void *(*function)(void *), void *argument)
{
    OsThread *record, *creator;
    SchedThread *thread;

    if (sched_thread_count() >= SCHED_THREADS_MAX - 1) {
        return EAGAIN;
    }
    creator = os_thread_self(); /* the first record belongs to thread 0 */
    record = &threads[thread_count++];
    *record = (OsThread){ .function = function, .argument = argument, .mask = creator->mask, .detached = detached };
    thread = sched_thread_create(thread_main, record);
    record->thread = thread;
    *sched_thread_slot(thread) = record;
    os_release(record); /* before anybody else can run */
    if (detached) {
        sched_thread_reap(thread);
    }
    *handle = (pthread_t)sched_thread_handle(thread);
    return 0;
}

int pthread_create(pthread_t *handle, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
    int state = PTHREAD_CREATE_JOINABLE;

    if (!sched_here()) {
        return REAL(pthread_create)(handle, attributes, function, argument);
    }
    SCHED_POINT(SCHED_CALL_CREATE, 0);
    if (attributes) {
        pthread_attr_getdetachstate(attributes, &state);
    }
    os_writes(handle, sizeof(*handle));
    return os_thread_create(handle, state == PTHREAD_CREATE_DETACHED, function, argument);
}

/* ---- join */

/* Why target cannot be joined by self, or 0. */
static int join_error(const OsThread *self, const OsThread *target)
{
    if (target->joined) {
        return ESRCH;
    }
    if (target->detached) {
        return EINVAL;
    }
    if (target == self || self->joiner == target) {
        return EDEADLK;
    }
    return target->joiner ? EINVAL : 0;
}

static int wait_for_end(OsThread *self, OsThread *target, uint64_t deadline_ns)
{
    SchedBlock block = { .call = SCHED_CALL_JOIN, .object = target, .deadline_ns = deadline_ns };
    SchedWaiter waiter = { 0 };

    target->joiner = self;
    while (!sched_thread_ended(target->thread) && sched_now_ns() < deadline_ns) {
        sched_queue_add(sched_thread_joiners(target->thread), &waiter);
        sched_block(&block);
        sched_queue_remove(&waiter);
    }
    target->joiner = NULL;
    return sched_thread_ended(target->thread) ? 0 : ETIMEDOUT;
}

/* A thread that was started outside the execution: it can be joined only if it has ended already. */
static int join_foreign(pthread_t handle, void **value, bool may_block)
{
    int error = REAL(pthread_tryjoin_np)(handle, value);

    if (error == EBUSY && may_block) {
        sched_fail("unmodelled", "pthread_join of a thread that was created outside the execution is not modelled");
    }
    return error;
}

/* deadline_ns 0: do not wait. */
int os_thread_join(pthread_t handle, void **value, uint64_t deadline_ns)
{
    SchedThread *thread = sched_thread_by_handle((uintptr_t)handle);
    OsThread *self = os_thread_self(), *target;
    int error;

    if (!thread) {
        return join_foreign(handle, value, deadline_ns != 0);
    }
    target = os_thread_of(thread);
    error = join_error(self, target);
    if (error) {
        return error;
    }
    error = wait_for_end(self, target, deadline_ns);
    if (error) {
        return deadline_ns ? error : EBUSY;
    }
    target->joined = true;
    os_acquire(target);
    if (value) {
        os_writes(value, sizeof(*value));
        *value = sched_thread_value(thread);
    }
    sched_thread_reap(thread);
    return 0;
}

const void *os_thread_object(pthread_t handle)
{
    SchedThread *thread = sched_thread_by_handle((uintptr_t)handle);

    return thread ? os_thread_of(thread) : NULL;
}

int pthread_join(pthread_t handle, void **value)
{
    if (!sched_here()) {
        return REAL(pthread_join)(handle, value);
    }
    SCHED_POINT(SCHED_CALL_JOIN, os_thread_object(handle));
    return os_thread_join(handle, value, SCHED_FOREVER);
}

int pthread_tryjoin_np(pthread_t handle, void **value)
{
    if (!sched_here()) {
        return REAL(pthread_tryjoin_np)(handle, value);
    }
    SCHED_POINT(SCHED_CALL_JOIN, os_thread_object(handle));
    return os_thread_join(handle, value, 0);
}

/* A deadline that is not 0, which os_thread_join() takes for "do not wait". */
static int join_deadline(clockid_t clock, const struct timespec *time, uint64_t *deadline_ns)
{
    *deadline_ns = SCHED_FOREVER;
    if (!time) {
        return 0;
    }
    if (os_deadline(clock, time, deadline_ns)) {
        return EINVAL;
    }
    *deadline_ns += *deadline_ns == 0;
    return 0;
}

int pthread_clockjoin_np(pthread_t handle, void **value, clockid_t clock, const struct timespec *time)
{
    uint64_t deadline_ns;

    if (!sched_here()) {
        return REAL(pthread_clockjoin_np)(handle, value, clock, time);
    }
    SCHED_POINT(SCHED_CALL_JOIN, os_thread_object(handle));
    if ((clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) || join_deadline(clock, time, &deadline_ns)) {
        return EINVAL;
    }
    return os_thread_join(handle, value, deadline_ns);
}

int pthread_timedjoin_np(pthread_t handle, void **value, const struct timespec *time)
{
    uint64_t deadline_ns;

    if (!sched_here()) {
        return REAL(pthread_timedjoin_np)(handle, value, time);
    }
    SCHED_POINT(SCHED_CALL_JOIN, os_thread_object(handle));
    if (join_deadline(CLOCK_REALTIME, time, &deadline_ns)) {
        return EINVAL;
    }
    return os_thread_join(handle, value, deadline_ns);
}

/* ---- detach */

int os_thread_detach(pthread_t handle)
{
    SchedThread *thread = sched_thread_by_handle((uintptr_t)handle);
    OsThread *target;

    if (!thread) {
        return REAL(pthread_detach)(handle);
    }
    target = os_thread_of(thread);
    if (target->joined) {
        return ESRCH;
    }
    if (target->detached) {
        return EINVAL;
    }
    target->detached = true;
    sched_thread_reap(thread);
    return 0;
}

int pthread_detach(pthread_t handle)
{
    if (!sched_here()) {
        return REAL(pthread_detach)(handle);
    }
    SCHED_POINT(SCHED_CALL_DETACH, os_thread_object(handle));
    return os_thread_detach(handle);
}

/* ---- names */

int pthread_setname_np(pthread_t handle, const char *name)
{
    SchedThread *thread;

    if (!sched_here()) {
        return REAL(pthread_setname_np)(handle, name);
    }
    if (strlen(name) >= NAME_BYTES) {
        return ERANGE;
    }
    thread = sched_thread_by_handle((uintptr_t)handle);
    if (!thread) {
        return REAL(pthread_setname_np)(handle, name);
    }
    sched_thread_set_name(thread, name);
    if (__tsan_acquire) {
        REAL(pthread_setname_np)(handle, name); /* for its reports */
    }
    return 0;
}

int pthread_getname_np(pthread_t handle, char *buffer, size_t size)
{
    SchedThread *thread;

    if (!sched_here()) {
        return REAL(pthread_getname_np)(handle, buffer, size);
    }
    thread = sched_thread_by_handle((uintptr_t)handle);
    if (!thread) {
        return REAL(pthread_getname_np)(handle, buffer, size);
    }
    if (size < NAME_BYTES) {
        return ERANGE;
    }
    os_writes(buffer, NAME_BYTES);
    os_copy(buffer, sched_thread_name(thread), NAME_BYTES); /* SCHED_NAME_BYTES is more */
    buffer[NAME_BYTES - 1] = '\0';
    return 0;
}
