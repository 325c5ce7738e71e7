/* Futexes behave as the kernel's, under every plan. */
#include "os_test.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t word, other, ready;

static long futex(uint32_t *address, int operation, uint32_t value, const void *time, uint32_t *second, uint32_t value3)
{
    return syscall(SYS_futex, address, operation, value, time, second, value3);
}

static void refusals(void)
{
    struct timespec span = { 0, 5000000 }, bad = { 0, 1000000000 }, past = { 1, 0 }, soon;

    word = 5;
    SYS(futex(&word, FUTEX_WAIT, 4, NULL, NULL, 0));
    SYS(futex(&word, FUTEX_WAIT, 5, &span, NULL, 0));
    SYS(futex(&word, FUTEX_WAIT_PRIVATE, 5, &span, NULL, 0));
    SYS(futex(&word, FUTEX_WAIT, 4, &span, NULL, 0));
    SYS(futex(&word, FUTEX_WAIT, 5, &bad, NULL, 0));
    SYS(futex(&word, FUTEX_WAIT_BITSET, 5, &past, NULL, FUTEX_BITSET_MATCH_ANY));
    SYS(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &past, NULL, 1));
    soon = in_ms(CLOCK_MONOTONIC, 5);
    SYS(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 5, &soon, NULL, 1));
    soon = in_ms(CLOCK_REALTIME, 5);
    SYS(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &soon, NULL, 1));
    SYS(futex(&word, FUTEX_WAIT_BITSET, 5, NULL, NULL, 0));
    SYS(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
    SYS(futex(&word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
    SYS(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 5, NULL, NULL, 0));
    SYS(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, 4));
    SYS(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, 5));
}

static void *wait_for_change(void *unused)
{
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0) {
        futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
    return unused;
}

static void wake_all(void)
{
    pthread_t threads[3];

    word = 0;
    for (int i = 0; i < 3; i++) {
        threads[i] = start(wait_for_change, NULL);
    }
    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    for (int i = 0; i < 3; i++) {
        finish(threads[i]);
    }
    say("word %u", word);
}

/* A lock of three states: free, taken, taken with sleepers; each unlock wakes one. Its word decides all. */
static uint32_t lock;
static int inside;

static void lock_take(void)
{
    uint32_t seen = 0;

    if (__atomic_compare_exchange_n(&lock, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
        return;
    }
    while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE) != 0) {
        futex(&lock, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
    }
}

static void lock_drop(void)
{
    if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2) {
        futex(&lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void *count_inside(void *unused)
{
    for (int i = 0; i < 20; i++) {
        lock_take();
        int seen = inside;
        sched_yield();
        inside = seen + 1;
        lock_drop();
    }
    return unused;
}

static void wake_one_is_a_lock(void)
{
    pthread_t threads[3];

    inside = 0;
    for (int i = 0; i < 3; i++) {
        threads[i] = start(count_inside, NULL);
    }
    for (int i = 0; i < 3; i++) {
        finish(threads[i]);
    }
    say("inside %d, lock %u", inside, lock);
}

static void *wait_bitset(void *bitset)
{
    __atomic_fetch_add(&ready, 1, __ATOMIC_RELEASE);
    return (void *)futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (uint32_t)(long)bitset);
}

/* A wake finds only who sleeps already, so it is repeated until it has found somebody: natively the sleeper may be
 * late. */
static long wake_until_found(uint32_t bitset)
{
    long woken;

    while ((woken = futex(&word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bitset)) == 0) {
        sched_yield();
    }
    return woken;
}

static void bitsets(void)
{
    pthread_t even, odd;

    word = ready = 0;
    even = start(wait_bitset, (void *)2);
    odd = start(wait_bitset, (void *)1);
    say("woken by no common bit %ld", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, 4));
    say("woken by bit 1: %ld", wake_until_found(2));
    say("result %ld", (long)finish(even));
    say("woken by bit 0: %ld", wake_until_found(1));
    say("result %ld", (long)finish(odd));
}

static void *wait_plain(void *unused)
{
    long result = futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);

    return unused ? NULL : (void *)result;
}

static void requeue(void)
{
    pthread_t thread;

    word = other = 0;
    thread = start(wait_plain, NULL);
    while (futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)1, &other, 0) == 0) {
        sched_yield();
    }
    say("none left at the first word: %ld", futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
    say("woken at the second: %ld", futex(&other, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
    say("result %ld", (long)finish(thread));
}

/* Whose memory may be gone: the kernel looks for sleepers at the address, and reads nothing. */
static void wake_at_freed_word(void)
{
    volatile uintptr_t address = (uintptr_t)malloc(sizeof(uint32_t));

    free((void *)address);
    say("woken there: %ld", futex((uint32_t *)address, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
    say("by bits: %ld", futex((uint32_t *)address, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, 1));
}

static void membarrier(void)
{
    say("membarrier knows something: %d", syscall(SYS_membarrier, 0, 0) > 0);
}

static const OsProgram programs[] = {
    { "/os/futex/refusals", refusals },
    { "/os/futex/wake-all", wake_all },
    { "/os/futex/wake-one-is-a-lock", wake_one_is_a_lock },
    { "/os/futex/bitsets", bitsets },
    { "/os/futex/requeue", requeue },
    { "/os/futex/wake-at-freed-word", wake_at_freed_word },
    { "/os/futex/membarrier", membarrier },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
