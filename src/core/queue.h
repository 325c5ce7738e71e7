/*
 * What <sys/queue.h> lacks: lists that are filled by any thread and emptied by one, and lists that are walked while
 * they grow.
 */
#ifndef WAKEFUZZ_CORE_QUEUE_H
#define WAKEFUZZ_CORE_QUEUE_H

#include <stddef.h>
#include <sys/queue.h>

#include "core/atomic.h"

/*
 * Put element in front of a singly-linked list. Any thread.
 *
 * ORDER: the element's contents before its appearance in the list (the exchange is a full barrier)
 * PAIRS: SLIST_MOVE_ATOMIC
 * ELSE:  the consumer runs a callback that does not see what its producer wrote; QEMU e8d3b1a25f
 */
#define SLIST_INSERT_HEAD_ATOMIC(head, element, field)                                      \
    do {                                                                                    \
        __typeof__(element) queue_old_;                                                     \
        do {                                                                                \
            queue_old_ = qatomic_read(&(head)->slh_first);                                  \
            (element)->field.sle_next = queue_old_;                                         \
        } while (qatomic_cmpxchg(&(head)->slh_first, queue_old_, (element)) != queue_old_); \
    } while (0)

/*
 * Take all elements of the list from, which other threads may be filling, into the list to, which is this thread's
 * own.
 */
#define SLIST_MOVE_ATOMIC(to, from) ((void)((to)->slh_first = qatomic_xchg(&(from)->slh_first, NULL)))

/*
 * First element of a list that another thread may be filling. Walking on by SLIST_NEXT is safe for the list's only
 * consumer.
 *
 * ORDER: the head before the element's contents
 * PAIRS: SLIST_INSERT_HEAD_ATOMIC
 * ELSE:  the walk reads an element that is not filled in yet
 */
#define SLIST_FIRST_ATOMIC(head) qatomic_load_acquire(&(head)->slh_first)

/*
 * LIST elements that know whether they are in a list: zero them before the first use, and remove them by
 * LIST_SAFE_REMOVE only.
 */
#define LIST_IS_INSERTED(element, field) ((element)->field.le_prev != NULL)
#define LIST_SAFE_REMOVE(element, field)        \
    do {                                        \
        if (LIST_IS_INSERTED(element, field)) { \
            LIST_REMOVE(element, field);        \
            (element)->field.le_prev = NULL;    \
            (element)->field.le_next = NULL;    \
        }                                       \
    } while (0)

/*
 * LIST_INSERT_HEAD for a list that other threads walk meanwhile; changers exclude each other by a lock.
 * LIST_FIRST_ATOMIC begins a walk; LIST_NEXT goes on.
 *
 * ORDER: the element's contents before its appearance in the list
 * PAIRS: LIST_FIRST_ATOMIC
 * ELSE:  the walk reads an element that is not filled in yet
 */
#define LIST_INSERT_HEAD_ATOMIC(head, element, field)                            \
    do {                                                                         \
        (element)->field.le_next = (head)->lh_first;                             \
        (element)->field.le_prev = &(head)->lh_first;                            \
        if ((element)->field.le_next) {                                          \
            (element)->field.le_next->field.le_prev = &(element)->field.le_next; \
        }                                                                        \
        qatomic_store_release(&(head)->lh_first, (element));                     \
    } while (0)
#define LIST_FIRST_ATOMIC(head) qatomic_load_acquire(&(head)->lh_first)

/* The variable next must be declared by the caller; the body may remove element, and nothing else, from the list. */
#define LIST_FOREACH_SAFE(element, head, field, next) \
    for ((element) = LIST_FIRST(head); (element) && ((next) = LIST_NEXT(element, field), 1); (element) = (next))

/* Put the whole list source in front of the list head; source is empty afterwards. */
#define STAILQ_PREPEND(head, source)                     \
    do {                                                 \
        if (!STAILQ_EMPTY(source)) {                     \
            *(source)->stqh_last = (head)->stqh_first;   \
            if (STAILQ_EMPTY(head)) {                    \
                (head)->stqh_last = (source)->stqh_last; \
            }                                            \
            (head)->stqh_first = (source)->stqh_first;   \
            STAILQ_INIT(source);                         \
        }                                                \
    } while (0)

#endif
