/*
 * Lost wakeup: the flag is looked at before the lock is taken.
 *
 *     step | waiter                      | setter
 *     -----+-----------------------------+------------------------
 *        1 | reads ready: 0              |
 *        2 |                             | ready = 1
 *        3 |                             | signals: nobody waits
 *        4 | locks, waits for ever       |
 */
#include <pthread.h>

#include "core/atomic.h"
#include "programs.h"

static pthread_mutex_t lock;
static pthread_cond_t changed;
static int ready;

static void *wait_for_flag(void *unused)
{
    while (!qatomic_read(&ready)) {
        pthread_mutex_lock(&lock);
        pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static void *set_flag(void *unused)
{
    qatomic_set(&ready, 1);
    pthread_mutex_lock(&lock);
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return unused;
}

void lost_wakeup_flag(void *unused)
{
    pthread_t waiter, setter;

    (void)unused;
    ready = 0;
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&changed, NULL);
    pthread_create(&waiter, NULL, wait_for_flag, NULL);
    pthread_create(&setter, NULL, set_flag, NULL);
    pthread_join(waiter, NULL);
    pthread_join(setter, NULL);
}
