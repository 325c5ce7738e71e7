/*
 * Two-stage locking: two values belong together, each has a lock of its own.
 *
 *     step | a writer                         | the reader
 *     -----+----------------------------------+--------------------------------------------
 *        1 | lock 1: base = 1                 |
 *        2 |                                  | lock 1: reads base: 1
 *        3 |                                  | lock 2: reads derived: 0, expects 2
 *        4 | lock 2: derived = base + 1       |
 */
#include <assert.h>
#include <pthread.h>

#include "core/atomic.h"
#include "programs.h"

#define THREADS_MAX 100u

static pthread_mutex_t base_lock, derived_lock;
static int base, derived;

static void *write_pair(void *unused)
{
    pthread_mutex_lock(&base_lock);
    qatomic_set(&base, 1);
    pthread_mutex_unlock(&base_lock);
    pthread_mutex_lock(&derived_lock);
    qatomic_set(&derived, qatomic_read(&base) + 1);
    pthread_mutex_unlock(&derived_lock);
    return unused;
}

static void *read_pair(void *unused)
{
    int seen_base, seen_derived;

    pthread_mutex_lock(&base_lock);
    seen_base = qatomic_read(&base);
    pthread_mutex_unlock(&base_lock);
    if (seen_base == 0) {
        return unused;
    }
    pthread_mutex_lock(&derived_lock);
    seen_derived = qatomic_read(&derived);
    pthread_mutex_unlock(&derived_lock);
    assert(seen_derived == seen_base + 1);
    return unused;
}

void two_stage(void *count)
{
    uintptr_t threads = (uintptr_t)count;
    pthread_t handles[THREADS_MAX];

    assert(threads >= 2 && threads <= THREADS_MAX);
    base = derived = 0;
    pthread_mutex_init(&base_lock, NULL);
    pthread_mutex_init(&derived_lock, NULL);
    for (uintptr_t i = 0; i < threads; i++) {
        pthread_create(&handles[i], NULL, i + 1 < threads ? write_pair : read_pair, NULL);
    }
    for (uintptr_t i = 0; i < threads; i++) {
        pthread_join(handles[i], NULL);
    }
}
