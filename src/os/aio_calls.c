/*
 * Kernel AIO as programs call it: libaio's functions, which return a negative errno, and syscall(SYS_io_...), which sets errno. Each is
 * a scheduling point. Outside an execution they are the real system calls.
 */
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/aio.h"
#include "os/real.h"

REAL_SYMBOL(syscall)

/* libaio.h is not included: its struct iocb has the kernel's layout under other names. */
int io_setup(int events, aio_context_t *id);
int io_destroy(aio_context_t id);
int io_submit(aio_context_t id, long count, struct iocb **iocbs);
int io_cancel(aio_context_t id, struct iocb *iocb, struct io_event *result);
int io_getevents(aio_context_t id, long least, long most, struct io_event *events, struct timespec *timeout);
int io_pgetevents(aio_context_t id, long least, long most, struct io_event *events, struct timespec *timeout, sigset_t *mask);
int io_queue_init(int events, aio_context_t *id);
int io_queue_release(aio_context_t id);
int io_queue_run(aio_context_t id);

static int real_result(long result)
{
    return result < 0 ? -errno : (int)result;
}

int io_setup(int events, aio_context_t *id)
{
    if (!sched_here()) {
        return real_result(REAL(syscall)(SYS_io_setup, events, id));
    }
    SCHED_POINT(SCHED_CALL_OTHER, 0);
    return (int)os_aio_setup((unsigned)events, id);
}

int io_destroy(aio_context_t id)
{
    if (!sched_here()) {
        return real_result(REAL(syscall)(SYS_io_destroy, id));
    }
    SCHED_POINT(SCHED_CALL_OTHER, os_aio_object(id));
    return (int)os_aio_destroy(id);
}

int io_submit(aio_context_t id, long count, struct iocb **iocbs)
{
    if (!sched_here()) {
        return real_result(REAL(syscall)(SYS_io_submit, id, count, iocbs));
    }
    SCHED_POINT(SCHED_CALL_IO_SUBMIT, os_aio_object(id));
    return (int)os_aio_submit(id, count, iocbs);
}

int io_cancel(aio_context_t id, struct iocb *iocb, struct io_event *result)
{
    if (!sched_here()) {
        return real_result(REAL(syscall)(SYS_io_cancel, id, iocb, result));
    }
    SCHED_POINT(SCHED_CALL_OTHER, os_aio_object(id));
    return (int)os_aio_cancel(id, iocb, result);
}

int io_getevents(aio_context_t id, long least, long most, struct io_event *events, struct timespec *timeout)
{
    if (!sched_here()) {
        return real_result(REAL(syscall)(SYS_io_getevents, id, least, most, events, timeout));
    }
    SCHED_POINT(SCHED_CALL_IO_GETEVENTS, os_aio_object(id));
    return (int)os_aio_getevents(id, least, most, events, timeout);
}

/* No signal is ever delivered: the mask changes nothing. */
int io_pgetevents(aio_context_t id, long least, long most, struct io_event *events, struct timespec *timeout, sigset_t *mask)
{
    struct {
        sigset_t *mask;
        size_t bytes;
    } kernel_mask = { mask, 8 };

    if (!sched_here()) {
        return real_result(REAL(syscall)(SYS_io_pgetevents, id, least, most, events, timeout, &kernel_mask));
    }
    SCHED_POINT(SCHED_CALL_IO_GETEVENTS, os_aio_object(id));
    return (int)os_aio_getevents(id, least, most, events, timeout);
}

/* ---- libaio's conveniences, on the functions above */

int io_queue_init(int events, aio_context_t *id)
{
    if (events <= 0) {
        return -EINVAL;
    }
    memset(id, 0, sizeof(*id));
    return io_setup(events, id);
}

int io_queue_release(aio_context_t id)
{
    return io_destroy(id);
}

int io_queue_run(aio_context_t id)
{
    typedef void Callback(aio_context_t, struct iocb *, long, long);
    struct timespec now = { 0 };
    struct io_event event;
    int result;

    while ((result = io_getevents(id, 0, 1, &event, &now)) == 1) {
        Callback *callback = (Callback *)(uintptr_t)event.data;

        callback(id, (struct iocb *)(uintptr_t)event.obj, event.res, event.res2);
    }
    return result;
}

/* ---- syscall() */

static SchedCall kind_of(long number)
{
    return number == SYS_io_submit                                     ? SCHED_CALL_IO_SUBMIT
           : number == SYS_io_getevents || number == SYS_io_pgetevents ? SCHED_CALL_IO_GETEVENTS
                                                                       : SCHED_CALL_OTHER;
}

bool os_aio_syscall(long number, const long *argument, long *result, void *site, void *frame)
{
    if (number != SYS_io_setup && number != SYS_io_destroy && number != SYS_io_submit && number != SYS_io_cancel &&
        number != SYS_io_getevents && number != SYS_io_pgetevents) {
        return false;
    }
    sched_point(kind_of(number), number == SYS_io_setup ? 0 : os_aio_object((aio_context_t)argument[0]), site, frame);
    switch (number) {
    case SYS_io_setup:
        *result = os_aio_setup((unsigned)argument[0], (aio_context_t *)argument[1]);
        break;
    case SYS_io_destroy:
        *result = os_aio_destroy((aio_context_t)argument[0]);
        break;
    case SYS_io_submit:
        *result = os_aio_submit((aio_context_t)argument[0], argument[1], (struct iocb **)argument[2]);
        break;
    case SYS_io_cancel:
        *result = os_aio_cancel((aio_context_t)argument[0], (struct iocb *)argument[1], (struct io_event *)argument[2]);
        break;
    default:
        *result = os_aio_getevents((aio_context_t)argument[0], argument[1], argument[2], (struct io_event *)argument[3],
                                   (const struct timespec *)argument[4]);
        break;
    }
    *result = os_result(*result);
    return true;
}
