/*
 * EventNotifier: an eventfd that makes a poll in another thread return. Level-triggered: it stays readable until it is
 * cleared. Names and semantics: QEMU's include/qemu/event_notifier.h.
 */
#ifndef WAKEFUZZ_CORE_EVENT_NOTIFIER_H
#define WAKEFUZZ_CORE_EVENT_NOTIFIER_H

#include <stdbool.h>

typedef struct EventNotifier {
    int fd; /* -1 when closed */
} EventNotifier;

typedef void EventNotifierHandler(EventNotifier *);

/* active: whether it starts as set. Returns 0 or a negative errno. */
int event_notifier_init(EventNotifier *e, bool active);
/* Closes the descriptor; no event loop may have it in its list. Harmless after a failed init and when called twice. */
void event_notifier_cleanup(EventNotifier *e);
int event_notifier_get_fd(const EventNotifier *e);
/* Any thread; never blocks. Returns 0 or a negative errno. */
int event_notifier_set(EventNotifier *e);
/* Any thread; never blocks. Returns whether it was set. */
bool event_notifier_test_and_clear(EventNotifier *e);

#endif
