/*
 * Signal masks: each thread has its own, as it would have in its own kernel thread; a new one has its creator's. Signals are not delivered, so
 * that is all. The kernel thread that runs them all keeps the mask that the fuzzing engine needs.
 */
#include <errno.h>
#include <signal.h>

#include "os/real.h"
#include "os/sanitizer.h"
#include "os/thread.h"

REAL_SYMBOL(pthread_sigmask)
REAL_SYMBOL(sigprocmask)

static void change(sigset_t *mask, int how, const sigset_t *set)
{
    for (int number = 1; number < NSIG; number++) {
        bool named = sigismember(set, number) == 1;

        if (how == SIG_SETMASK ? named : (how == SIG_BLOCK && named)) {
            sigaddset(mask, number);
        } else if (how == SIG_SETMASK || named) {
            sigdelset(mask, number);
        }
    }
    sigdelset(mask, SIGKILL);
    sigdelset(mask, SIGSTOP);
}

int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t *mask;
    sigset_t before;

    if (!sched_here()) {
        return REAL(pthread_sigmask)(how, set, old);
    }
    if (set && how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK) {
        return EINVAL;
    }
    mask = &os_thread_self()->mask;
    before = *mask;
    if (set) {
        change(mask, how, set);
    }
    if (old) {
        os_writes(old, sizeof(*old));
        *old = before;
    }
    return 0;
}

int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    int error;

    if (!sched_here()) {
        return REAL(sigprocmask)(how, set, old);
    }
    error = pthread_sigmask(how, set, old);
    if (error) {
        errno = error;
        return -1;
    }
    return 0;
}
