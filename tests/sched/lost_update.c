/*
 * Lost update.
 *
 *     step | thread 1             | thread 2
 *     -----+----------------------+---------------------
 *        1 | reads balance: 0     |
 *        2 |                      | reads balance: 0
 *        3 |                      | writes 1
 *        4 | writes 1             |
 */
#include <assert.h>
#include <pthread.h>

#include "core/atomic.h"
#include "programs.h"

static int balance;

static void *deposit(void *unused)
{
    int before = qatomic_read(&balance);

    qatomic_set(&balance, before + 1);
    return unused;
}

void lost_update(void *unused)
{
    pthread_t threads[2];

    (void)unused;
    balance = 0;
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, deposit, NULL);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert(balance == 2);
}
