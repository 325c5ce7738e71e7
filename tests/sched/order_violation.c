/*
 * Order violation: a reader takes for granted that two words change together.
 *
 *     step | a setter      | the checker
 *     -----+---------------+------------------------------------------
 *        1 | first = 1     |
 *        2 |               | reads first: 1, second: 0: neither pair
 *        3 | second = -1   |
 *
 * The first setter that comes to its second write closes the window for good: with many setters it is open for a moment of a long
 * execution only.
 */
#include <assert.h>
#include <pthread.h>

#include "core/atomic.h"
#include "programs.h"

#define SETTERS_MAX 100u

static int first, second;

static void *set_both(void *unused)
{
    qatomic_set(&first, 1);
    qatomic_set(&second, -1);
    return unused;
}

static void *check_both(void *unused)
{
    int a = qatomic_read(&first);
    int b = qatomic_read(&second);

    assert((a == 0 && b == 0) || (a == 1 && b == -1) || (a == 0 && b == -1));
    return unused;
}

void order_violation(void *count)
{
    uintptr_t setters = (uintptr_t)count;
    pthread_t threads[SETTERS_MAX], checker;

    assert(setters <= SETTERS_MAX);
    first = second = 0;
    for (uintptr_t i = 0; i < setters; i++) {
        pthread_create(&threads[i], NULL, set_both, NULL);
    }
    pthread_create(&checker, NULL, check_both, NULL);
    for (uintptr_t i = 0; i < setters; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(checker, NULL);
}
