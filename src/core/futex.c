/* The two futex calls of the core. Any thread. */
#include "core/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/fatal.h"

void qemu_futex_wait(unsigned *word, unsigned value)
{
    if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0) < 0 && errno != EAGAIN && errno != EINTR) {
        core_fatal("assertion", "%s: %s", __func__, strerror(errno));
    }
}

void qemu_futex_wake(unsigned *word, int n)
{
    if (syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0) < 0) {
        core_fatal("assertion", "%s: %s", __func__, strerror(errno));
    }
}
