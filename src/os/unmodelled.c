/*
 * Calls that the simulated OS does not model. Inside an execution each ends it as `unmodelled`, by name; outside it
 * is the real one.
 *
 * A call belongs here when it can wait for something that only another thread or the kernel can do, when it makes a
 * process or a thread behind the scheduler's back, or when its effect comes at a time of the kernel's choosing. What
 * neither waits nor depends on the other threads (setsockopt on a real socket, open of a file) just passes and is not
 * listed.
 *
 * The functions have various types. All their arguments are integers and pointers, at most six, so one shape passes
 * them all on; it is given the libc name with an assembler label, past the type that the headers declare.
 */
#include <stddef.h>

#include "os/real.h"
#include "sched/sched.h"

/* clang-format off */
#define UNMODELLED(X)                                                                                              \
    /* threads */                                                                                                  \
    X(pthread_cancel) X(pthread_sigqueue)                                                                          \
    /* processes */                                                                                                \
    X(fork) X(_Fork) X(daemon) X(system) X(popen) X(pclose) X(posix_spawn) X(posix_spawnp)                         \
    X(execve) X(execv) X(execvp) X(execvpe) X(fexecve)                                                             \
    X(wait) X(waitpid) X(waitid) X(wait3) X(wait4) X(pidfd_open)                                                   \
    /* signals */                                                                                                  \
    X(kill) X(sigqueue) X(sigwait) X(sigwaitinfo) X(sigtimedwait) X(sigsuspend) X(pause) X(signalfd)               \
    /* timers that signal */                                                                                       \
    X(alarm) X(ualarm) X(setitimer) X(timer_create) X(timer_settime)                                               \
    /* the clock of the machine */                                                                                 \
    X(clock_settime) X(settimeofday)                                                                               \
    /* sockets */                                                                                                  \
    X(recvmmsg) X(sendmmsg) X(getaddrinfo)                                                                         \
    /* descriptors that the kernel makes ready */                                                                  \
    X(inotify_init) X(inotify_init1) X(fanotify_init) X(userfaultfd)                                               \
    X(splice) X(tee) X(vmsplice) X(sendfile) X(sendfile64)                                                         \
    /* locks between processes */                                                                                  \
    X(flock) X(lockf) X(lockf64) X(sem_open) X(semop) X(semtimedop)                                                \
    X(msgsnd) X(msgrcv) X(mq_open) X(mq_send) X(mq_timedsend) X(mq_receive) X(mq_timedreceive) X(mq_notify)        \
    /* I/O by threads of libc's own */                                                                             \
    X(aio_read) X(aio_write) X(aio_fsync) X(aio_suspend) X(lio_listio) X(getaddrinfo_a)                            \
    X(aio_read64) X(aio_write64) X(aio_fsync64) X(aio_suspend64) X(lio_listio64)
/* clang-format on */

typedef long Call(long, long, long, long, long, long);

#define DEFINE(name)                                                                      \
    extern Call intercepted_##name __asm__("__interceptor_" #name) __attribute__((weak)); \
    Call unmodelled_##name __asm__(#name);                                                \
    long unmodelled_##name(long a, long b, long c, long d, long e, long f)                \
    {                                                                                     \
        static Call *real;                                                                \
        if (sched_here()) {                                                               \
            sched_fail("unmodelled", #name " is not modelled");                           \
        }                                                                                 \
        if (!real) {                                                                      \
            real = intercepted_##name ? intercepted_##name : (Call *)os_libc(#name);      \
        }                                                                                 \
        return real(a, b, c, d, e, f);                                                    \
    }

UNMODELLED(DEFINE)

/* Two cannot be passed on like that. vfork's caller must not return into a frame that the child has left, so it is a
 * fork. */
long unmodelled_vfork(void) __asm__("vfork");
long unmodelled_vfork(void)
{
    if (sched_here()) {
        sched_fail("unmodelled", "vfork is not modelled");
    }
    return unmodelled_fork(0, 0, 0, 0, 0, 0);
}

/* A signal that is none asks whether the thread exists. */
typedef int Kill(unsigned long, int);
extern Kill intercepted_pthread_kill __asm__("__interceptor_pthread_kill") __attribute__((weak));
Kill unmodelled_pthread_kill __asm__("pthread_kill");

int unmodelled_pthread_kill(unsigned long thread, int signal)
{
    static Kill *real;

    if (sched_here() && signal) {
        sched_fail("unmodelled", "pthread_kill is not modelled");
    }
    if (!real) {
        real = intercepted_pthread_kill ? intercepted_pthread_kill : (Kill *)os_libc("pthread_kill");
    }
    return real(thread, signal);
}
