/*
 * Locks that are held; see held.h. A stack of (lock, thread): what was taken last is let go first, as a rule.
 */
#include "os/held.h"

#include "os/sanitizer.h"
#include "sched/sched.h"

#define HELD_MAX 4096u

typedef struct Held {
    const volatile void *lock;
    const SchedThread *thread;
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
    held[count++] = (Held){ lock, sched_thread_self() };
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

    for (unsigned i = 0; i < count; i++) {
        if (held[i].thread == self) {
            __tsan_mutex_pre_unlock((void *)(uintptr_t)held[i].lock, 0);
            __tsan_mutex_post_unlock((void *)(uintptr_t)held[i].lock, 0);
        }
    }
}
