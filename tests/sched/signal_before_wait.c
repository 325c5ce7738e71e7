/* A signal that nobody waits for yet is forgotten: a condition variable has no memory, and here nothing else has. */
#include <pthread.h>

#include "programs.h"

static pthread_mutex_t lock;
static pthread_cond_t event;

static void *wait_once(void *unused)
{
    pthread_mutex_lock(&lock);
    pthread_cond_wait(&event, &lock);
    pthread_mutex_unlock(&lock);
    return unused;
}

static void *signal_once(void *unused)
{
    pthread_mutex_lock(&lock);
    pthread_cond_signal(&event);
    pthread_mutex_unlock(&lock);
    return unused;
}

void signal_before_wait(void *unused)
{
    pthread_t waiter, signaller;

    (void)unused;
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&event, NULL);
    pthread_create(&waiter, NULL, wait_once, NULL);
    pthread_create(&signaller, NULL, signal_once, NULL);
    pthread_join(waiter, NULL);
    pthread_join(signaller, NULL);
}
