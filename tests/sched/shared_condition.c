/*
 * A buffer of one place whose producers and consumers wait on the same condition, and whoever changes it wakes one of them: the
 * wakeup of a producer can go to another producer, which finds the buffer full and sleeps again.
 */
#include <pthread.h>

#include "core/atomic.h"
#include "programs.h"

#define PAIRS 2u
#define ITEMS 2u

static pthread_mutex_t lock;
static pthread_cond_t changed;
static unsigned full;

static void put_or_take(unsigned wanted)
{
    pthread_mutex_lock(&lock);
    while (qatomic_read(&full) != wanted) {
        pthread_cond_wait(&changed, &lock);
    }
    qatomic_set(&full, !wanted);
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void *produce(void *unused)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        put_or_take(0);
    }
    return unused;
}

static void *consume(void *unused)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        put_or_take(1);
    }
    return unused;
}

void shared_condition(void *unused)
{
    pthread_t threads[2 * PAIRS];

    (void)unused;
    full = 0;
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&changed, NULL);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        pthread_create(&threads[i], NULL, i % 2 ? consume : produce, NULL);
    }
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        pthread_join(threads[i], NULL);
    }
}
