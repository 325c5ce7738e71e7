/*
 * The big lock. Any thread.
 *
 * Invariant: bql_held is true in exactly the thread that holds the mutex.
 */
#include "core/fatal.h"
#include "core/thread.h"

static QemuMutex bql;
static __thread bool bql_held;

/*
 * A coroutine may change threads between two calls: the address of the thread variable must be worked out anew each
 * time.
 */
static __attribute__((noinline)) bool *bql_held_here(void)
{
    bool *held = &bql_held;

    __asm__ volatile("" : "+r"(held));
    return held;
}

void bql_lock(void)
{
    core_assert(!bql_locked());
    qemu_mutex_lock(&bql);
    *bql_held_here() = true;
}

void bql_unlock(void)
{
    core_assert(bql_locked());
    *bql_held_here() = false;
    qemu_mutex_unlock(&bql);
}

bool bql_locked(void)
{
    return *bql_held_here();
}

void bql_init(void)
{
    qemu_mutex_init(&bql);
}

void bql_destroy(void)
{
    core_assert(!bql_locked());
    qemu_mutex_destroy(&bql);
}

void bql_thread_reset(void)
{
    *bql_held_here() = false;
}
