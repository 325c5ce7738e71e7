/*
 * ABA: a lock-free stack compares only the head's number, which can come back.
 *
 *     step | thread 1                          | thread 2
 *     -----+-----------------------------------+----------------------------------------
 *        1 | pop: reads head 1, its next 2     |
 *        2 |                                   | pops 1, pops 2, keeps 2
 *        3 |                                   | pushes 1: head is 1 again, its next 3
 *        4 | head 1 -> 2 succeeds: 2 is back   |
 *        5 | pops 2, which thread 2 holds      |
 */
#include <assert.h>
#include <pthread.h>

#include "core/atomic.h"
#include "programs.h"

#define NODES 3

static int head, next[NODES + 1]; /* 0: none */
static int held[NODES + 1];

static int pop(void)
{
    for (;;) {
        int top = qatomic_read(&head), below;

        if (!top) {
            return 0;
        }
        below = qatomic_read(&next[top]);
        if (qatomic_cmpxchg(&head, top, below) == top) {
            assert(!held[top]);
            held[top] = 1;
            return top;
        }
    }
}

static void push(int node)
{
    int top;

    if (!node) {
        return;
    }
    held[node] = 0;
    do {
        top = qatomic_read(&head);
        qatomic_set(&next[node], top);
    } while (qatomic_cmpxchg(&head, top, node) != top);
}

static void *use(void *unused)
{
    for (unsigned i = 0; i < 2; i++) {
        int first = pop(), second = pop();

        push(first);
        push(second);
    }
    return unused;
}

void aba_stack(void *unused)
{
    pthread_t threads[2];

    (void)unused;
    for (int i = 1; i <= NODES; i++) {
        next[i] = i < NODES ? i + 1 : 0;
        held[i] = 0;
    }
    head = 1;
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, use, NULL);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
}
