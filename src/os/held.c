/*
 * Locks that are held; see held.h. A stack of (lock, thread): what was taken last is let go first, as a rule.
 *
 * TSan's owner is the context that took the lock: a coroutine has one of its own, which need not be the thread's present one.
 */
#include "os/held.h"

#include "os/sanitizer.h"
#include "sched/sched.h"

#define HELD_MAX 4096u
#define NO_SYNC  1u /* a switch orders nothing */

typedef struct Held {
    const volatile void *lock;
    const SchedThread *thread;
    void *context; /* TSan's */
} Held;

static Held held[HELD_MAX];
static unsigned count;

void os_held_add(const volatile void *lock)
{
    if (!__tsan_mutex_pre_unlock) {
        return;
    }
    if (count == HELD_MAX) {
        sched_fail("unmodelled", "more than %u locks held at once under ThreadSanitizer", HELD_MAX);
    }
    held[count++] = (Held){ lock, sched_thread_self(), __tsan_get_current_fiber() };
}

void os_held_remove(const volatile void *lock)
{
    for (unsigned i = count; i-- > 0;) {
        if (held[i].lock == lock) {
            held[i] = held[--count];
            return;
        }
    }
}

void os_held_reset(void)
{
    count = 0;
}

void os_held_abandon(void)
{
    const SchedThread *self = sched_thread_self();
    void *context = count ? __tsan_get_current_fiber() : NULL;

    for (unsigned i = 0; i < count; i++) {
        if (held[i].thread == self) {
            __tsan_switch_to_fiber(held[i].context, NO_SYNC);
            __tsan_mutex_pre_unlock((void *)(uintptr_t)held[i].lock, 0);
            __tsan_mutex_post_unlock((void *)(uintptr_t)held[i].lock, 0);
            __tsan_switch_to_fiber(context, NO_SYNC);
        }
    }
}
