/*
 * Waiting for a coroutine with a limit, as co_sleep.h tells.
 *
 * Threads: the context in which qemu_co_timeout() is called, and nothing else: the coroutine has to end there too, as marker is a plain
 * variable of both.
 *
 * Invariants
 *  1. Whoever sets the marker second frees the state: the sleeper where the work was done in time, the work where the
 *     sleeper has given up.
 */
#include <errno.h>

#include "core/co_sleep.h"

typedef struct QemuCoTimeoutState {
    CoroutineEntry *entry;
    void *opaque;
    QemuCoSleep sleep_state;
    bool marker; /* one side is through; of the context alone */
    CleanupFunc *clean;
} QemuCoTimeoutState;

static void coroutine_fn qemu_co_timeout_entry(void *opaque)
{
    QemuCoTimeoutState *s = opaque;

    s->entry(s->opaque);
    if (!s->marker) {
        s->marker = true;
        qemu_co_sleep_wake(&s->sleep_state);
        return;
    }
    if (s->clean) {
        s->clean(s->opaque);
    }
    g_free(s);
}

int coroutine_fn qemu_co_timeout(CoroutineEntry *entry, void *opaque, uint64_t timeout_ns, CleanupFunc *clean)
{
    QemuCoTimeoutState *s;

    if (timeout_ns == 0) {
        entry(opaque);
        return 0;
    }

    s = g_new(QemuCoTimeoutState, 1);
    *s = (QemuCoTimeoutState){ .entry = entry, .opaque = opaque, .clean = clean };
    qemu_co_sleep_init(&s->sleep_state);
    aio_co_enter(qemu_get_current_aio_context(), qemu_coroutine_create(qemu_co_timeout_entry, s));

    qemu_co_sleep_ns_wakeable(&s->sleep_state, QEMU_CLOCK_REALTIME, (int64_t)timeout_ns);
    if (s->marker) {
        g_free(s);
        return 0;
    }
    s->marker = true;
    return -ETIMEDOUT;
}
