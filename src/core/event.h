/*
 * QemuEvent: a flag that threads can wait for, on a futex.
 *
 * One thread resets the event, looks at its condition once more and waits; others make the condition true and set the
 * event. Setting an event that is set costs one barrier and one load. Protocol: QEMU's util/event.c, fixed as in
 * 9586a1329f.
 */
#ifndef WAKEFUZZ_CORE_EVENT_H
#define WAKEFUZZ_CORE_EVENT_H

#include <stdbool.h>

typedef struct QemuEvent {
    unsigned value; /* states above the code in event.c; any thread reads and writes it */
    bool initialized;
} QemuEvent;

/* init: whether the event starts as set. */
void qemu_event_init(QemuEvent *event, bool init);
/* Nobody may be waiting. */
void qemu_event_destroy(QemuEvent *event);
/* Any thread; never blocks. What was written before is seen by whoever returns from qemu_event_wait(). */
void qemu_event_set(QemuEvent *event);
/* The waiter's side, before it looks at its condition; never blocks. */
void qemu_event_reset(QemuEvent *event);
/* Blocks while the event is not set. */
void qemu_event_wait(QemuEvent *event);

#endif
