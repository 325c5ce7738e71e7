/*
 * Two locks, two orders.
 *
 *     step | thread 1            | thread 2
 *     -----+---------------------+--------------------
 *        1 | locks a             |
 *        2 |                     | locks b
 *        3 | waits for b         | waits for a
 */
#include <pthread.h>

#include "programs.h"

static pthread_mutex_t a, b;

static void *a_then_b(void *unused)
{
    pthread_mutex_lock(&a);
    pthread_mutex_lock(&b);
    pthread_mutex_unlock(&b);
    pthread_mutex_unlock(&a);
    return unused;
}

static void *b_then_a(void *unused)
{
    pthread_mutex_lock(&b);
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
    pthread_mutex_unlock(&b);
    return unused;
}

void abba_deadlock(void *unused)
{
    pthread_t first, second;

    (void)unused;
    pthread_mutex_init(&a, NULL);
    pthread_mutex_init(&b, NULL);
    pthread_create(&first, NULL, a_then_b, NULL);
    pthread_create(&second, NULL, b_then_a, NULL);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
}
