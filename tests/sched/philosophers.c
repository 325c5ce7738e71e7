/* Dining philosophers: the deadlock needs every thread to hold its own fork and none its neighbour's. */
#include <assert.h>
#include <pthread.h>

#include "programs.h"

#define SEATS_MAX 8u

static pthread_mutex_t forks[SEATS_MAX];
static uintptr_t seats;

static void *dine(void *seat)
{
    uintptr_t left = (uintptr_t)seat, right = (left + 1) % seats;

    pthread_mutex_lock(&forks[left]);
    pthread_mutex_lock(&forks[right]);
    pthread_mutex_unlock(&forks[right]);
    pthread_mutex_unlock(&forks[left]);
    return NULL;
}

void philosophers(void *count)
{
    pthread_t threads[SEATS_MAX];

    seats = (uintptr_t)count;
    assert(seats <= SEATS_MAX);
    for (uintptr_t i = 0; i < seats; i++) {
        pthread_mutex_init(&forks[i], NULL);
    }
    for (uintptr_t i = 0; i < seats; i++) {
        pthread_create(&threads[i], NULL, dine, (void *)i);
    }
    for (uintptr_t i = 0; i < seats; i++) {
        pthread_join(threads[i], NULL);
    }
}
