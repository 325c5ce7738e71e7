/*
 * A character device over a terminal that others open: nobody tells the device when they do, and when they have gone.
 *
 * Of a client that goes it learns when it reads. Of one that comes it learns by looking: once a second while nobody is there, and whenever
 * the front end writes something.
 *
 *     timer, pty_chr_write() > pty_chr_update_read_handler() > pty_chr_state(true) > CHR_EVENT_OPENED
 *     the reader > pty_chr_state(false) > CHR_EVENT_CLOSED
 *
 * A front end that is told that somebody is there greets, that is, it writes from inside of the event. The state must be known by then, or
 * that write looks again, finds somebody, and tells the front end (QEMU 3a3567d337; fault pty-open-event-recurses).
 *
 * Invariants
 *  1. connected says what the front end was told last: OPENED and CLOSED come in turn.
 *  2. While connected is false the timer is pending.
 *
 * Of those who have opened the terminal one is served at a time, in order. What comes from one who has gone before it was noticed is lost, and
 * so is what is written while nobody is there, as on a serial line.
 *
 * Threads: the main thread, or one that holds the big lock in its place; anybody opens.
 *
 * Names and semantics: QEMU's chardev/char-pty.c. The terminal is one end of a socket pair for each who opens it.
 */
#ifndef WAKEFUZZ_CORE_CHARDEV_PTY_H
#define WAKEFUZZ_CORE_CHARDEV_PTY_H

#include "core/chardev.h"

typedef struct PtyChardev PtyChardev;

/* A terminal with its front end's handlers, which may write to it. Main thread. */
PtyChardev *qemu_chr_new_pty(IOReadHandler *read, IOEventHandler *event, void *opaque);
/* Hang up on all, without an event. Nobody opens it any more. Main thread. */
void qemu_chr_free_pty(PtyChardev *chr);

/* Open the terminal: fd is one end of a stream socket pair, and the device's from now on. Any thread; never blocks. */
void qemu_chr_open_pty(PtyChardev *chr, int fd);

/* Returns how many bytes the terminal has taken: 0 where nobody was there, even if somebody is now; -1 with errno. */
int pty_chr_write(PtyChardev *chr, const uint8_t *buf, int size);

#endif
